//! `ack`: what a client asks and acknowledges, and what replies say ([AK-1] to [AK-4]).
//!
//! What is kept until it is acknowledged, and how batches get their numbers, is in `bayeux/queue.rs`.

use crate::bayeux::message::{Message, ext_entry};
use crate::bayeux::reply::Reply;

const ACK: &str = "ack";

/// Whether a handshake asks for messages to be acknowledged: only `true` does.
pub(in crate::bayeux) fn is_wanted(handshake: &Message<'_>) -> bool {
    read(handshake, |json| json == "true").unwrap_or(false)
}

/// The number of the batch that a connect acknowledges; `None` if it says none, or something else than a number.
pub(in crate::bayeux) fn acknowledged(connect: &Message<'_>) -> Option<u64> {
    let number: f64 = read(connect, |json| serde_json::from_str(json).ok())??;
    // Fractions do not count, and what is below zero acknowledges nothing.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
    Some(number as u64)
}

fn read<R>(message: &Message<'_>, read: impl FnOnce(&str) -> R) -> Option<R> {
    ext_entry(message.ext.as_deref()?, ACK).map(|json| read(json.get()))
}

/// Confirms to a handshake that messages will be acknowledged; `batch` is that of messages which follow at once.
pub(in crate::bayeux) fn confirm(reply: &mut Reply<'_>, batch: Option<u64>) {
    match batch {
        None => reply.put_ext(ACK, "true"),
        Some(batch) => reply.put_ext(ACK, &format!("{{\"enabled\":true,\"batch\":{batch}}}")),
    }
}

/// Marks a reply to a message on a meta channel of a session that acknowledges: it has `ext`, and a connect the number
/// of the batch that leaves with it.
pub(in crate::bayeux) fn mark(reply: &mut Reply<'_>, batch: Option<u64>) {
    match batch {
        None => reply.ensure_ext(),
        Some(batch) => reply.put_ext(ACK, &batch.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_ext(ext: &str) -> Message<'_> {
        Message { ext: Some(ext.into()), ..Message::default() }
    }

    #[test]
    fn only_true_asks_for_acknowledgement() {
        assert!(is_wanted(&with_ext(r#"{"ack":true}"#)) && is_wanted(&with_ext(r#" { "x" : 1 , "ack" : true } "#)));
        for ext in [r#"{"ack":false}"#, r#"{"ack":"true"}"#, r#"{"ack":1}"#, r#"{"ack":{}}"#, "{}", "true", "[true]"] {
            assert!(!is_wanted(&with_ext(ext)), "{ext}");
        }
        assert!(!is_wanted(&Message::default()));
    }

    #[test]
    fn only_numbers_acknowledge() {
        let number = |ext: &str| acknowledged(&with_ext(ext));
        let read = [(r#"{"ack":3}"#, 3), (r#"{"ack":2.9}"#, 2), (r#"{"ack":-1}"#, 0), (r#"{"ack":1e300}"#, u64::MAX)];
        for (ext, expected) in read {
            assert_eq!(number(ext), Some(expected), "{ext}");
        }
        assert_eq!(number(r#"{"ack":9007199254740991}"#), Some((1 << 53) - 1));
        for ext in [r#"{"ack":"3"}"#, r#"{"ack":null}"#, r#"{"ack":true}"#, r#"{"ack":{}}"#, "{}", "3", "null"] {
            assert_eq!(number(ext), None, "{ext}");
        }
        assert_eq!(acknowledged(&Message::default()), None);
    }
}
