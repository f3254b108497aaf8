//! Bytes to [`Message`]s: the one place that reads JSON from outside.
//!
//! Strict RFC 8259 on UTF-8, one array of objects or one bare object ([EN-1]). Values are checked but not decoded, so
//! numbers and strings inside `data` and `ext` keep the tokens they were sent with ([EN-9]).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::config::Limits;
use super::ids::SessionId;
use super::message::{Client, Message};

/// Why a body or frame cannot be read as messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, or a bare number or string.
    #[error("the request is not a JSON array of messages")]
    Syntax,
    /// JSON, but not messages: `null`, an array of something else, or a field of an impossible type.
    #[error("the request is JSON but not an array of messages")]
    NotMessages,
    /// More messages than `max_batch_messages`.
    #[error("the request has more messages than max_batch_messages allows")]
    TooMany,
    /// Nested deeper than `max_depth`.
    #[error("the request is nested deeper than max_depth allows")]
    TooDeep,
}

/// Decodes the messages of one request body or one frame.
///
/// An empty array gives no messages; what that means is the transport's business.
///
/// # Errors
///
/// See [`DecodeError`]; nothing of the input is used then.
pub fn decode<'a>(text: &'a str, limits: &Limits) -> Result<Vec<Message<'a>>, DecodeError> {
    // What is shorter than one bracket for each level cannot be too deep.
    if text.len() > limits.max_depth && depth_exceeds(text, limits.max_depth) {
        return Err(DecodeError::TooDeep);
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let messages = Batch { max: limits.max_batch_messages }
        .deserialize(&mut deserializer)
        .and_then(|messages| deserializer.end().map(|()| messages));
    messages.map_err(|error| {
        let text = error.to_string();
        if text.starts_with(TOO_MANY) {
            DecodeError::TooMany
        } else if error.is_data() && !text.starts_with(BARE) {
            DecodeError::NotMessages
        } else {
            DecodeError::Syntax
        }
    })
}

/// Reads a message that the engine has written itself, without limits and with every field that is in it.
pub(super) fn decode_publication(text: &str) -> Result<Message<'_>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    OneMessage { origin: Origin::Engine }.deserialize(&mut deserializer)
}

const TOO_MANY: &str = "too many messages";
const BARE: &str = "bare value";

/// Whether brackets outside strings nest deeper than `max`.
fn depth_exceeds(text: &str, max: usize) -> bool {
    let mut depth = 0usize;
    let mut in_string = false;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if in_string => {
                bytes.next();
            }
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > max {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// Reads the top level: an array of messages or one message.
struct Batch {
    max: usize,
}

impl<'de> DeserializeSeed<'de> for Batch {
    type Value = Vec<Message<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Batch {
    type Value = Vec<Message<'de>>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut messages = Vec::with_capacity(1);
        while let Some(message) = elements.next_element_seed(OneMessage { origin: Origin::Client })? {
            if messages.len() == self.max {
                return Err(A::Error::custom(TOO_MANY));
            }
            messages.push(message);
        }
        Ok(messages)
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
        OneMessage { origin: Origin::Client }.visit_map(fields).map(|message| vec![message])
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(E::custom(BARE))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Err(E::custom(BARE))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Err(E::custom(BARE))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Err(E::custom(BARE))
    }
}

/// Reads one object.
struct OneMessage {
    origin: Origin,
}

/// Who wrote a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Somebody else: fields of replies are dropped ([PB-8]).
    Client,
    /// This engine: answers of remote calls have fields of replies.
    Engine,
}

impl<'de> DeserializeSeed<'de> for OneMessage {
    type Value = Message<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneMessage {
    type Value = Message<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut message = Message::default();
        let mut places = BTreeMap::new();
        while let Some(key) = fields.next_key_seed(Text)? {
            let value = fields.next_value::<&'de RawValue>()?.get();
            set(&mut message, &mut places, key, value, self.origin).map_err(A::Error::custom)?;
        }
        Ok(message)
    }
}

/// Stores one field; the last of several with one name counts ([EN-4]).
///
/// `places` says where in `extra` a name is: a body may have hundreds of thousands, too many to compare each with all.
fn set<'a>(
    message: &mut Message<'a>,
    places: &mut BTreeMap<Cow<'a, str>, usize>,
    key: Cow<'a, str>,
    value: &'a str,
    origin: Origin,
) -> Result<(), &'static str> {
    let is_foreign = origin == Origin::Client;
    let present = (value != "null").then_some(Cow::Borrowed(value));
    match &*key {
        "channel" => {
            message.channel = match present {
                None => None,
                // Text that no string can hold is kept as it stands, quotes and all: no grammar allows it ([EN-3]).
                Some(raw) if value.starts_with('"') => Some(string(value).unwrap_or(raw)),
                Some(_) => return Err("channel is not a string"),
            }
        }
        "id" => message.id = present.map(|raw| string(value).unwrap_or(raw)),
        "clientId" => {
            message.client = match present.map(|_| string(value)) {
                None => Client::Absent,
                Some(text) => text.and_then(|id| SessionId::parse(&id)).map_or(Client::Foreign, Client::Id),
            }
        }
        "subscription" if is_foreign => message.subscription = present,
        "advice" if is_foreign => message.advice = present,
        "data" => message.data = Some(Cow::Borrowed(value)),
        "ext" => message.ext = Some(Cow::Borrowed(value)),
        "connectionType" | "supportedConnectionTypes" if is_foreign => message.connection_types = present,
        "error" | "minimumVersion" | "successful" | "version" | "x-messages" if is_foreign => {}
        _ => match places.entry(key) {
            Entry::Occupied(place) => message.extra[*place.get()].1 = Cow::Borrowed(value),
            Entry::Vacant(place) => {
                message.extra.push((place.key().clone(), Cow::Borrowed(value)));
                place.insert(message.extra.len() - 1);
            }
        },
    }
    Ok(())
}

/// Decodes a JSON string; `None` for any other value and for text that no string can hold, such as half a surrogate
/// pair.
pub(super) fn string(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(json).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// Reads an object's key, borrowed unless it has escapes.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a field name")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<usize, DecodeError> {
        decode(text, &Limits::default()).map(|messages| messages.len())
    }

    #[test]
    fn one_object_and_arrays_are_messages() {
        assert_eq!(read("{}"), Ok(1));
        assert_eq!(read(" [ {} , {} ] \n"), Ok(2));
        assert_eq!(read("[]"), Ok(0));
    }

    #[test]
    fn what_is_no_json_is_told_from_what_is_no_message() {
        for text in ["", "1", "\"x\"", "-1", "1.5", "[{}", "[{}] x", "[{}]]", "{\"a\":1,}", "\u{feff}[{}]", "01"] {
            assert_eq!(read(text), Err(DecodeError::Syntax), "{text:?}");
        }
        for text in ["null", "[1]", "[null]", "[[{}]]", "{\"channel\":5}"] {
            assert_eq!(read(text), Err(DecodeError::NotMessages), "{text:?}");
        }
    }

    #[test]
    fn limits_hold_at_their_edges() {
        let limits = Limits { max_batch_messages: 2, max_depth: 3, ..Limits::default() };
        assert_eq!(decode("[{},{}]", &limits).map(|messages| messages.len()), Ok(2));
        assert_eq!(decode("[{},{},{}]", &limits).map(|_| ()), Err(DecodeError::TooMany));
        assert!(decode(r#"[{"data":["[[[["]}]"#, &limits).is_ok());
        assert_eq!(decode(r#"[{"data":[[1]]}]"#, &limits).map(|_| ()), Err(DecodeError::TooDeep));
        let bomb = "[".repeat(100_000);
        assert_eq!(read(&bomb), Err(DecodeError::TooDeep));
    }

    #[test]
    fn the_last_of_two_equal_keys_counts() {
        let messages = decode(r#"{"channel":"/a","x":1,"ch\u0061nnel":"/b","x":2}"#, &Limits::default()).unwrap();
        assert_eq!(messages[0].channel.as_deref(), Some("/b"));
        assert_eq!(messages[0].extra, [(Cow::Borrowed("x"), Cow::Borrowed("2"))]);
    }

    #[test]
    fn very_many_fields_are_read_in_reasonable_time() {
        // Compared each with all, these would take minutes.
        let fields: Vec<String> = (0..200_000).map(|number| format!("\"{number:06}\":{number}")).collect();
        let text = format!("{{{}}}", fields.join(","));
        let messages = decode(&text, &Limits::default()).unwrap();
        assert_eq!(messages[0].extra.len(), 200_000);
        assert_eq!(messages[0].extra[199_999], (Cow::Borrowed("199999"), Cow::Borrowed("199999")));
    }

    #[test]
    fn ids_become_text() {
        for (sent, kept) in [("8", "8"), ("\"a-b\"", "a-b"), ("true", "true"), ("1.50", "1.50"), ("\"\"", "")] {
            let text = format!("{{\"id\":{sent}}}");
            assert_eq!(decode(&text, &Limits::default()).unwrap()[0].id.as_deref(), Some(kept));
        }
        assert_eq!(decode("{\"id\":null}", &Limits::default()).unwrap()[0].id, None);
    }
}
