//! Batches to bytes: frames of a WebSocket, and the one array of an HTTP response.

use crate::bayeux::{Batch, Shared};
use crate::web::websocket::{deflated_text, encode_text};

/// HTTP responses longer than this are written in ASCII only, because `cometd-nodejs-client` decodes each read of its
/// socket on its own and breaks characters that two reads share ([LP-9]).
const ASCII_ONLY_ABOVE: usize = 16 * 1024;

/// From how many bytes on the messages of a connection are compressed; `None` if that was not agreed on.
pub(super) type DeflateFrom = Option<usize>;

/// Appends a batch as WebSocket frames ([WS-5]).
///
/// `messages_per_frame` of one sends the frames that publications already are; zero puts all events into one frame.
pub(super) fn frames(batch: &Batch, messages_per_frame: usize, deflate: DeflateFrom, out: &mut Vec<u8>) {
    if batch.together {
        let mut payload = Vec::new();
        batch.write_array(&mut payload);
        text(&payload, deflate, out);
        return;
    }
    if let Some(handshake) = &batch.handshake {
        array(&[handshake], deflate, out);
    }
    if messages_per_frame == 1 {
        for event in &batch.events {
            out.extend_from_slice(event_frame(event, deflate));
        }
    } else {
        let size = if messages_per_frame == 0 { usize::MAX } else { messages_per_frame };
        for events in batch.events.chunks(size.min(batch.events.len().max(1))) {
            let parts: Vec<&[u8]> = events.iter().map(|event| event.json()).collect();
            array(&parts, deflate, out);
        }
    }
    for replies in [&batch.replies, &batch.connect] {
        if !replies.is_empty() {
            array(&[replies], deflate, out);
        }
    }
}

/// Returns the frame of one event, which all connections share, compressed or not ([PD-3]).
pub(super) fn event_frame(event: &Shared, deflate: DeflateFrom) -> &[u8] {
    match deflate {
        Some(threshold) if event.payload().len() >= threshold => event.compressed_frame(deflated_text),
        _ => event.frame(),
    }
}

/// Appends one text frame, compressed if that was agreed on and makes it shorter.
fn text(payload: &[u8], deflate: DeflateFrom, out: &mut Vec<u8>) {
    match deflate.filter(|&threshold| payload.len() >= threshold).and_then(|_| deflated_text(payload)) {
        Some(frame) => out.extend_from_slice(&frame),
        None => encode_text(out, payload),
    }
}

/// Appends one frame with an array of these elements.
fn array(elements: &[&[u8]], deflate: DeflateFrom, out: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(2 + elements.iter().map(|element| element.len() + 1).sum::<usize>());
    payload.push(b'[');
    for (position, element) in elements.iter().enumerate() {
        if position > 0 {
            payload.push(b',');
        }
        payload.extend_from_slice(element);
    }
    payload.push(b']');
    text(&payload, deflate, out);
}

/// Returns a batch as the body of an HTTP response.
pub(super) fn body(batch: &Batch) -> Vec<u8> {
    let events: usize = batch.events.iter().map(|event| event.json().len() + 1).sum();
    let handshake = batch.handshake.as_ref().map_or(0, Vec::len);
    let mut body = Vec::with_capacity(events + handshake + batch.replies.len() + batch.connect.len() + 4);
    batch.write_array(&mut body);
    if body.len() > ASCII_ONLY_ABOVE && !body.is_ascii() { escaped(&body) } else { body }
}

/// Writes characters beyond ASCII as `\uXXXX`; they stand inside strings only, so the meaning is the same.
fn escaped(json: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(json).expect("bodies are made of checked UTF-8");
    let mut out = Vec::with_capacity(json.len() + json.len() / 2);
    let mut units = [0; 2];
    for character in text.chars() {
        if character.is_ascii() {
            out.push(character as u8);
        } else {
            for unit in character.encode_utf16(&mut units) {
                out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_bodies_are_ascii_and_mean_the_same() {
        let text = "é😀".repeat(5_000);
        let batch = Batch { replies: format!("{{\"data\":\"{text}\"}}").into_bytes(), ..Batch::default() };
        let long = body(&batch);
        assert!(long.is_ascii());
        let value: serde_json::Value = serde_json::from_slice(&long).unwrap();
        assert_eq!(value[0]["data"], serde_json::Value::String(text));
        let short = Batch { replies: "{\"data\":\"é\"}".into(), ..Batch::default() };
        assert_eq!(body(&short), "[{\"data\":\"é\"}]".as_bytes());
    }
}
