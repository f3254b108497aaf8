//! `GET /admin/channels`: names with the number of their subscribers.

use serde::Serialize;

use crate::node::Node;
use crate::web::{Request, Response, StatusCode};

use super::{answer, listing::Window};

#[derive(Serialize)]
struct Listing<'a> {
    channels: Vec<Row<'a>>,
    /// Channels of any name.
    total: usize,
    /// `after` for the next page, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<&'a str>,
}

#[derive(Serialize)]
struct Row<'a> {
    channel: &'a str,
    /// Those of this very name; subscribers of patterns count at the pattern.
    subscribers: usize,
}

/// Lists channels and patterns by name, those that begin with `?prefix=`.
pub(super) fn list(node: &Node, request: &Request) -> Response {
    let Window { limit, after } = match Window::read(request) {
        Ok(window) => window,
        Err(refusal) => return *refusal,
    };
    let prefix = request.parameter("prefix").unwrap_or_default();
    let (rows, has_more) = node.engine().channel_page(&prefix, &after, limit);
    let next = rows.last().filter(|_| has_more).map(|(name, _)| name.as_str());
    let channels = rows.iter().map(|(name, count)| Row { channel: name.as_str(), subscribers: *count }).collect();
    answer(StatusCode::OK, &Listing { channels, total: node.engine().channel_count(), next })
}
