//! `/health/live` and `/health/ready`, for whatever starts and stops the process.

use serde::Serialize;

use crate::node::{Health, Node};
use crate::web::{Response, StatusCode};

use super::answer;

#[derive(Serialize)]
struct Live {
    status: &'static str,
}

#[derive(Serialize)]
struct Ready {
    status: &'static str,
    sessions: usize,
    channels: usize,
}

/// Answers 200: who can answer is alive.
pub(super) fn live() -> Response {
    answer(StatusCode::OK, &Live { status: "live" })
}

/// Answers 200 if the node serves, else 503, with what it holds.
pub(super) fn ready(node: &Node) -> Response {
    let (code, status) = match node.health() {
        Health::Ready => (StatusCode::OK, "ready"),
        Health::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting"),
        Health::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
    };
    let engine = node.engine();
    answer(code, &Ready { status, sessions: engine.session_count(), channels: engine.channel_count() })
}
