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

/// Returns the events of a batch as one event of a stream ([FY-3]).
///
/// A line break, which JSON allows between tokens, would end the event: it begins another line of its data.
pub(super) fn event(batch: &Batch) -> Vec<u8> {
    let mut json = Vec::new();
    batch.write_array(&mut json);
    let mut event = Vec::with_capacity(json.len() + 16);
    event.extend_from_slice(b"data: ");
    for line in json.split(|byte| matches!(byte, b'\r' | b'\n')) {
        if event.len() > b"data: ".len() {
            event.extend_from_slice(b"\r\ndata: ");
        }
        event.extend_from_slice(line);
    }
    event.extend_from_slice(b"\r\n\r\n");
    event
}

/// Returns a script that calls a function with a JSON array.
///
/// A hardened one begins with an empty comment, so that no other kind of file can begin with a name of the sender's
/// choice, and has no bare line breaks that JSON allows in strings and older scripts do not ([CP-7]).
pub(super) fn call(function: &str, json: &[u8], hardened: bool) -> Vec<u8> {
    let mut script = Vec::with_capacity(json.len() + function.len() + 6);
    if hardened {
        script.extend_from_slice(b"/**/");
    }
    script.extend_from_slice(function.as_bytes());
    script.push(b'(');
    let mut rest = json;
    while let [first, tail @ ..] = rest {
        match rest {
            [0xe2, 0x80, last @ (0xa8 | 0xa9), after @ ..] if hardened => {
                script.extend_from_slice(if *last == 0xa8 { b"\\u2028" } else { b"\\u2029" });
                rest = after;
            }
            _ => {
                script.push(*first);
                rest = tail;
            }
        }
    }
    script.push(b')');
    script
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
    fn a_hardened_call_has_no_bare_line_breaks() {
        let json = "[\"a\u{2028}b\u{2029}c\u{2027}\"]".as_bytes();
        assert_eq!(call("cb", json, true), "/**/cb([\"a\\u2028b\\u2029c\u{2027}\"])".as_bytes());
        assert_eq!(call("cb", json, false), [b"cb(", json, b")"].concat());
        assert_eq!(call("cb", "[\"\u{2020}\u{2028}".as_bytes(), true), "/**/cb([\"\u{2020}\\u2028)".as_bytes());
    }

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
