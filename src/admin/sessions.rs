//! `/admin/sessions`: who is there, what one of them does, and ending it.
//!
//! Whoever knows a `clientId` may use the session, so ids are shown shortened, here too.

use std::sync::Arc;

use serde::Serialize;

use crate::bayeux::{ChannelName, SessionId, SessionPrefix, SessionReport, Transport};
use crate::node::Node;
use crate::web::{Request, Response, StatusCode, response};

use super::{answer, listing::Window, refuse};

#[derive(Serialize)]
struct Listing<'a> {
    sessions: Vec<Row<'a>>,
    /// Sessions on all pages.
    total: usize,
    /// `after` for the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// One session in a list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    client_id: String,
    /// The path of its mount; `null` for a session of this process.
    mount: Option<&'a str>,
    transport: &'static str,
    connected: bool,
    held: bool,
    subscription_count: usize,
    queued_messages: usize,
    queued_bytes: usize,
    unacknowledged_messages: usize,
}

/// One session alone.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Details<'a> {
    #[serde(flatten)]
    row: Row<'a>,
    dropped_messages: u64,
    /// Its own `timeout` in milliseconds, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<u128>,
    /// The names the client used.
    subscriptions: Vec<&'a str>,
}

/// More than one session is meant.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ambiguous {
    error: &'static str,
    /// Longer beginnings that tell them apart.
    client_ids: Vec<String>,
}

/// Lists sessions by id.
pub(super) fn list(node: &Node, mounts: &[String], request: &Request) -> Response {
    let Window { limit, after } = match Window::read(request) {
        Ok(window) => window,
        Err(refusal) => return *refusal,
    };
    let after = match SessionPrefix::parse(&after) {
        None if !after.is_empty() => return refuse(StatusCode::BAD_REQUEST, "after must be the next of a page"),
        after => after,
    };
    let (reports, last) = node.engine().session_page(after, limit);
    let sessions = reports.iter().map(|report| row(report, mounts)).collect();
    let total = node.engine().session_count();
    answer(StatusCode::OK, &Listing { sessions, total, next: last.map(SessionId::shortened) })
}

/// Shows one session.
pub(super) fn show(node: &Node, mounts: &[String], request: &Request) -> Response {
    let report = match find(node, request) {
        Ok(id) => node.engine().session(id),
        Err(refusal) => return *refusal,
    };
    let Some(report) = report else { return not_found() };
    let details = Details {
        row: row(&report, mounts),
        dropped_messages: report.dropped_messages,
        timeout: report.timeout.map(|timeout| timeout.as_millis()),
        subscriptions: report.subscriptions.iter().map(ChannelName::as_str).collect(),
    };
    answer(StatusCode::OK, &details)
}

/// Ends one session, as the server's decision.
pub(super) async fn end(node: Arc<Node>, request: Request) -> Response {
    let id = match find(&node, &request) {
        Ok(id) => id,
        Err(refusal) => return *refusal,
    };
    if !node.disconnect(id).await {
        return not_found();
    }
    tracing::info!(peer = %request.remote(), session = id.shortened(), "session ended through the admin listener");
    response::empty(StatusCode::NO_CONTENT)
}

/// Finds the one session whose id begins as the path says.
fn find(node: &Node, request: &Request) -> Result<SessionId, Box<Response>> {
    let prefix = SessionPrefix::parse(request.rest()).ok_or_else(|| Box::new(not_found()))?;
    the_one(&node.engine().sessions_with_prefix(prefix))
}

/// Returns the only id, or answers 404 or 409.
fn the_one(ids: &[SessionId]) -> Result<SessionId, Box<Response>> {
    match *ids {
        [] => Err(Box::new(not_found())),
        [id] => Ok(id),
        _ => {
            let longer = |id: &SessionId| id.to_string().chars().take(SessionPrefix::LONGER_DIGITS).collect();
            let error = "more than one session begins like that: give one of these";
            let client_ids = ids.iter().map(longer).collect();
            Err(Box::new(answer(StatusCode::CONFLICT, &Ambiguous { error, client_ids })))
        }
    }
}

fn not_found() -> Response {
    refuse(StatusCode::NOT_FOUND, "no such session")
}

fn row<'a>(report: &SessionReport, mounts: &'a [String]) -> Row<'a> {
    let is_local = report.view.transport == Transport::Local;
    let mount = mounts.get(usize::from(report.view.mount.0)).filter(|_| !is_local);
    Row {
        client_id: report.view.id.shortened(),
        mount: mount.map(String::as_str),
        transport: report.view.transport.as_str(),
        connected: report.is_connected,
        held: report.is_held,
        subscription_count: report.subscriptions.len(),
        queued_messages: report.queued_messages,
        queued_bytes: report.queued_bytes,
        unacknowledged_messages: report.unacknowledged_messages,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ambiguous_id_is_answered_with_longer_ones() {
        let ids = ["0123456700000000", "0123456710000000"].map(|half| SessionId::parse(&half.repeat(2)).unwrap());
        assert_eq!(the_one(&ids[..1]).unwrap(), ids[0]);
        assert_eq!(the_one(&[]).unwrap_err().status(), 404);
        let response = the_one(&ids).unwrap_err();
        let body: serde_json::Value = serde_json::from_slice(response.body().bytes()).unwrap();
        assert_eq!(response.status(), 409);
        assert_eq!(body["clientIds"], serde_json::json!(["012345670000", "012345671000"]));
    }
}
