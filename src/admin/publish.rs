//! `POST /admin/publish`: messages of a back end, one or many in one request.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::bayeux::config::Limits;
use crate::bayeux::{ChannelName, Client, DecodeError, Message, decode};
use crate::node::{Node, Pending};
use crate::web::{Request, Response, StatusCode, body::BodyLimits};

use super::{Refusal, answer, refuse};

/// Most entries of one request: enough to make the round trip cheap, few enough that they leave together soon.
const ENTRIES_MAX: usize = 1_000;

/// What a back end may send at once; it is near and has no reason to be slow.
const BODY: BodyLimits =
    BodyLimits { max_bytes: 2 * 1024 * 1024, idle: Duration::from_secs(10), total: Duration::from_secs(60) };

/// What became of one entry.
#[derive(Serialize)]
#[serde(untagged)]
enum Outcome {
    /// It was queued for this many sessions.
    Delivered { delivered: usize },
    /// Nobody got it.
    Refused(Refusal),
}

/// Publishes the entries of a request in order; they leave together.
///
/// A wrong entry of an array does not stop the others. The answer comes when everything has been flushed.
///
/// # Cancel safety
///
/// If the caller goes away, what was published leaves all the same, and later entries are not published.
pub(super) async fn publish(node: Arc<Node>, mut request: Request) -> Response {
    let body = match request.body(&BODY).await {
        Ok(body) => body,
        Err(error) => return refuse(error.status(), error.to_string()),
    };
    let Ok(text) = str::from_utf8(&body) else { return refuse(StatusCode::BAD_REQUEST, "the body is not UTF-8") };
    // The engine's own reader: what passes here can be read again by whatever gets it.
    let limits = Limits { max_batch_messages: ENTRIES_MAX, ..node.engine().config().limits.clone() };
    let entries = match decode(text, &limits) {
        Ok(entries) => entries,
        Err(error) => return refuse_body(error, &limits),
    };
    let is_single = text.trim_ascii_start().starts_with('{');
    let mut pending = node.pending();
    let mut outcomes = Vec::with_capacity(entries.len());
    let (mut published, mut total) = (0, 0);
    for entry in entries {
        match publish_entry(&node, &limits, entry, &mut pending) {
            Ok(delivered) => {
                (published, total) = (published + 1, total + delivered);
                outcomes.push(Outcome::Delivered { delivered });
            }
            Err(error) => outcomes.push(Outcome::Refused(Refusal { error })),
        }
        if pending.is_long() {
            pending.flush_list().await;
        }
    }
    pending.flush().await;
    tracing::info!(peer = %request.remote(), published, refused = outcomes.len() - published, delivered = total,
        "published through the admin listener");
    match outcomes.first() {
        Some(outcome @ Outcome::Delivered { .. }) if is_single => answer(StatusCode::OK, outcome),
        Some(refused) if is_single => answer(StatusCode::BAD_REQUEST, refused),
        _ => answer(StatusCode::OK, &outcomes),
    }
}

fn publish_entry(node: &Node, limits: &Limits, entry: Message<'_>, pending: &mut Pending) -> Result<usize, String> {
    let Some(text) = &entry.channel else { return Err("channel is missing".into()) };
    let channel = ChannelName::parse(text).ok().filter(|name| name.as_str().len() <= limits.max_channel_length);
    let channel = channel.ok_or("channel is not a channel name")?;
    if entry.data.is_none() {
        return Err("data is missing".into());
    }
    if has_more_fields(&entry) {
        return Err("an entry has channel and data, nothing else".into());
    }
    node.publish_into(&channel, entry, None, pending).map_err(|error| error.to_string())
}

/// Whether an entry has fields that would be lost or mean something else than the caller thinks.
fn has_more_fields(entry: &Message<'_>) -> bool {
    entry.id.is_some()
        || entry.client != Client::Absent
        || entry.subscription.is_some()
        || entry.advice.is_some()
        || entry.ext.is_some()
        || !entry.extra.is_empty()
}

fn refuse_body(error: DecodeError, limits: &Limits) -> Response {
    let (status, sentence) = match error {
        DecodeError::Syntax => (StatusCode::BAD_REQUEST, "the body is not JSON".into()),
        DecodeError::NotMessages => {
            (StatusCode::BAD_REQUEST, r#"the body must be {"channel":"/…","data":…} or an array of these"#.into())
        }
        DecodeError::TooMany => (StatusCode::PAYLOAD_TOO_LARGE, format!("more than {ENTRIES_MAX} entries")),
        DecodeError::TooDeep => {
            (StatusCode::PAYLOAD_TOO_LARGE, format!("nested deeper than {} levels", limits.max_depth))
        }
    };
    refuse(status, sentence)
}
