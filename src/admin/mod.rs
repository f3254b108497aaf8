//! The admin listener's routes: publishing, looking at sessions and channels, ending sessions, health.
//!
//! [`routes`] makes a router that `server` mounts on a listener of its own. A call here is one more caller of the
//! [`Node`]; there is no state. Answers are JSON, refusals too: `{"error":"…"}`.
//!
//! | request | answer |
//! |---|---|
//! | `POST /admin/publish` | `{"channel","data"}` → `{"delivered":N}`; an array of those → an array of these |
//! | `GET /admin/sessions?limit=&after=` | `{"sessions":[…],"total":N,"next":"…"}` |
//! | `GET /admin/sessions/ID` | one session with its subscriptions; `ID` may be shortened |
//! | `DELETE /admin/sessions/ID` | 204; the session has ended |
//! | `GET /admin/channels?prefix=&limit=&after=` | `{"channels":[{"channel","subscribers"}],"total":N,"next":"…"}` |
//! | `GET /health/live`, `GET /health/ready` | `{"status":"…"}`, the latter 503 unless the node is ready; no token |
//!
//! **Must not know**: transports, policies, settings files, hyper. The token comes in as a check, so that no secret
//! is here to be logged.
//!
//! Start reading at [`routes`], then `access.rs` for who is let in.

mod access;
mod channels;
mod health;
mod listing;
mod publish;
mod sessions;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::Serialize;

use crate::node::Node;
use crate::web::{HeaderValue, Method, Request, Response, Router, StatusCode, header, response};

/// Says whether a bearer token is the right one, in a time that does not depend on how much of it is right.
pub type TokenCheck = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// Makes the routes of the admin listener.
///
/// `mounts` are the paths of the node's mounts in the order of their ids, to be shown with sessions. Without a `token`
/// the listener must be reachable from this machine only, and requests must name a loopback host, so that no page can
/// reach it by rebinding a name.
#[must_use]
pub fn routes(node: &Arc<Node>, mounts: &[String], token: Option<TokenCheck>) -> Router {
    let (is_open, mounts): (_, Arc<[String]>) = (token.is_none(), mounts.into());
    let mut admin = Router::new()
        .post("/admin/publish", with(node, publish::publish))
        .get("/admin/channels", with(node, |node, request| std::future::ready(channels::list(&node, &request))))
        .get("/admin/sessions", {
            let mounts = Arc::clone(&mounts);
            with(node, move |node, request| std::future::ready(sessions::list(&node, &mounts, &request)))
        })
        .below(Method::GET, "/admin/sessions/", {
            with(node, move |node, request| std::future::ready(sessions::show(&node, &mounts, &request)))
        })
        .below(Method::DELETE, "/admin/sessions/", with(node, sessions::end));
    if let Some(token) = token {
        admin = admin.guarded(move |request| access::check_token(request, &token));
    }
    let router = admin
        .get("/health/live", |_| std::future::ready(health::live()))
        .get("/health/ready", with(node, |node, _| std::future::ready(health::ready(&node))))
        .guarded(access::check_page);
    if is_open { router.guarded(access::check_host) } else { router }
}

/// Gives a handler the node.
fn with<F, H>(node: &Arc<Node>, handler: H) -> impl Fn(Request) -> F + use<F, H>
where
    H: Fn(Arc<Node>, Request) -> F,
{
    let node = Arc::clone(node);
    move |request| handler(Arc::clone(&node), request)
}

/// Answers with a value as JSON, which no cache may keep: it was true for a moment.
fn answer(status: StatusCode, value: &impl Serialize) -> Response {
    let bytes = serde_json::to_vec(value).expect("admin answers have text keys and cannot fail to serialise");
    let mut response = response::json(status, bytes);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Refuses a request in one sentence.
fn refuse(status: StatusCode, sentence: impl Into<String>) -> Response {
    answer(status, &Refusal { error: sentence.into() })
}

/// Why a request or an entry of it was refused.
#[derive(Serialize)]
struct Refusal {
    error: String,
}
