//! `long-polling`: one POST, one array of messages, one array of answers; a connect may be held.

use std::sync::Arc;

use uuid::Uuid;

use crate::bayeux::{Batch, DecodeError, Finished, Message, Shared, Transport, decode};
use crate::node::{Binding, Node, OutletRef, Session};
use crate::web::body::BodyError;
use crate::web::response::{Body, Delivery};
use crate::web::{HeaderValue, Request, Response, Scheme, StatusCode, charset, form, header, response};

use super::Mount;
use super::encode;
use super::held::{Answer, HeldRequest, Waiting};

/// What became of a request once its messages were handled.
enum Handled {
    /// Its answer is there: nothing of Bayeux.
    Answered(Response),
    /// Its answer has to be made, perhaps after a wait.
    Open(Open),
}

/// A request whose messages have been handled.
struct Open {
    /// The connect that is held.
    waiting: Option<Waiting>,
    unsent: Unsent,
    /// The scheme of a browser that has no cookie yet.
    new_browser: Option<Scheme>,
}

/// Answers one POST.
pub(super) fn serve(mount: &Mount, request: Request) -> impl Future<Output = Response> {
    // Boxed, so that thousands of held connects do not keep the room that reading a request takes.
    let handling = Box::pin(handle(mount, request));
    async move {
        let handled = handling.await;
        match handled {
            Handled::Answered(response) => response,
            Handled::Open(open) => open.answer(mount).await,
        }
    }
}

/// Reads one POST, handles its messages and flushes what they made sendable.
async fn handle(mount: &Mount, mut request: Request) -> Handled {
    let peer = mount.peer(&request, Transport::LongPolling);
    let new_browser = peer.browser.is_none().then(|| request.scheme());
    let held = HeldRequest::new();
    let outlet = OutletRef::new(Arc::clone(&held) as _);
    let mut pending = mount.node.pending();
    let mut batch = Batch::default();
    let (finished, binding) = {
        let body = match request.body(&mount.options.body).await {
            Ok(body) => body,
            Err(error) => return Handled::Answered(refuse_body(&error)),
        };
        let text = match charset::decode(request.headers().get(header::CONTENT_TYPE), &body) {
            Ok(text) => text,
            Err(error) => return Handled::Answered(error.response()),
        };
        let Ok(parts) = form::sniff(&text, "message") else {
            return Handled::Answered(response::text(StatusCode::BAD_REQUEST, "The form is not UTF-8."));
        };
        let messages = match &parts {
            None => decode(&text, &mount.node.engine().config().limits),
            Some(parts) => decode_parts(mount, parts),
        };
        let messages = match messages {
            Ok(messages) if messages.is_empty() => return Handled::Answered(response::json(StatusCode::OK, "[]")),
            Ok(messages) => messages,
            Err(error) => return Handled::Answered(refuse_messages(error)),
        };
        let received = mount.node.receive(peer, outlet.clone(), Binding::Open, messages, &mut pending).await;
        match received.map(|incoming| incoming.finish(&mut batch)) {
            Ok(finished) => finished,
            Err(fault) => {
                pending.flush().await;
                return Handled::Answered(response::text(StatusCode::INTERNAL_SERVER_ERROR, fault.to_string()));
            }
        }
        // The body ends here: kept while a connect is held, it would pin the connection's read buffer.
    };
    drop(request);
    let session = match binding {
        Binding::Session(session) => Some(session),
        Binding::Open | Binding::Nobody => None,
    };
    // Waiting begins before the flush, so that a request which is dropped in it lets go of its connect.
    let waiting = match (finished, &session) {
        (Finished::Held, Some(session)) => {
            Some(Waiting::new(held, outlet, Arc::clone(&mount.node), Arc::clone(session)))
        }
        _ => None,
    };
    let unsent = Unsent::new(&mount.node, session, batch);
    pending.flush().await;
    Handled::Open(Open { waiting, unsent, new_browser })
}

impl Open {
    async fn answer(self, mount: &Mount) -> Response {
        let Self { waiting, mut unsent, new_browser } = self;
        if let Some(waiting) = waiting {
            match waiting.await {
                Answer::Status(status) => {
                    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                    return response::text(status, "A newer /meta/connect of this session has replaced this one.");
                }
                Answer::Batch(batch) => unsent.batch = batch,
            }
        }
        let cookie =
            new_browser.filter(|_| unsent.batch.handshake.is_some()).map(|scheme| new_browser_cookie(mount, scheme));
        let mut response = unsent.into_response();
        if let Some(cookie) = cookie {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        response
    }
}

/// Decodes the values of several `message` parameters as one batch.
fn decode_parts<'a>(mount: &Mount, parts: &'a [std::borrow::Cow<'_, str>]) -> Result<Vec<Message<'a>>, DecodeError> {
    let limits = &mount.node.engine().config().limits;
    let mut messages = Vec::new();
    for part in parts {
        messages.extend(decode(part, limits)?);
        if messages.len() > limits.max_batch_messages {
            return Err(DecodeError::TooMany);
        }
    }
    Ok(messages)
}

/// CometD answers 500 to a body over its limit, where HTTP has 413 ([LP-6]).
fn refuse_body(error: &BodyError) -> Response {
    match error {
        BodyError::TooLarge { .. } => response::text(
            StatusCode::INTERNAL_SERVER_ERROR,
            "The request is larger than bayeux.long_polling.max_message_size allows.",
        ),
        _ => error.response(),
    }
}

fn refuse_messages(error: DecodeError) -> Response {
    let status = match error {
        DecodeError::Syntax | DecodeError::TooDeep | DecodeError::TooMany => StatusCode::BAD_REQUEST,
        DecodeError::NotMessages => StatusCode::INTERNAL_SERVER_ERROR,
    };
    response::text(status, error.to_string())
}

/// Makes a cookie that names the browser with 16 letters and digits ([BR-1]).
fn new_browser_cookie(mount: &Mount, scheme: Scheme) -> HeaderValue {
    let mut rest = Uuid::new_v4().as_u128();
    let id: String = (0..16)
        .map(|_| {
            let digit = u32::try_from(rest % 36).expect("a remainder of 36 is small");
            rest /= 36;
            char::from_digit(digit, 36).expect("36 digits exist")
        })
        .collect();
    mount.options.browser_cookie.set_cookie(&id, scheme)
}

/// An answer on its way to the connection.
///
/// Until the last byte is handed over, its publications can go back to their session ([LP-10]).
struct Unsent {
    node: Arc<Node>,
    session: Option<Arc<Session>>,
    batch: Batch,
}

impl Unsent {
    fn new(node: &Arc<Node>, session: Option<Arc<Session>>, batch: Batch) -> Self {
        Self { node: Arc::clone(node), session, batch }
    }

    fn into_response(mut self) -> Response {
        let body = encode::body(&self.batch);
        let events = std::mem::take(&mut self.batch.events);
        let starts_expiry = self.batch.starts_expiry;
        let body = match &self.session {
            Some(session) if starts_expiry || !events.is_empty() => {
                let (node, session) = (Arc::clone(&self.node), Arc::clone(session));
                Body::guarded(body, Box::new(Guard { node, session, events, starts_expiry }))
            }
            _ => Body::full(body),
        };
        let mut response = Response::new(body);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        let events = std::mem::take(&mut self.batch.events);
        if let (Some(session), false) = (&self.session, events.is_empty()) {
            let mut pending = self.node.pending();
            self.node.engine().put_back(session, events, pending.dirty());
        }
    }
}

/// Follows an answer until it is written.
struct Guard {
    node: Arc<Node>,
    session: Arc<Session>,
    events: Vec<Shared>,
    starts_expiry: bool,
}

impl Delivery for Guard {
    fn delivered(self: Box<Self>) {
        if self.starts_expiry {
            self.node.engine().written(self.node.now(), &self.session);
        }
    }

    fn lost(self: Box<Self>) {
        if !self.events.is_empty() {
            let mut pending = self.node.pending();
            self.node.engine().put_back(&self.session, self.events, pending.dirty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn future_size<A, B, F: Future>(_: &impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// What every held connect has beside its connection and session.
    #[test]
    fn a_held_request_is_small() {
        let size = future_size(&|mount: &'static Mount, request| serve(mount, request));
        println!("held request {size}");
        assert!(size <= 640, "{size} bytes");
    }
}
