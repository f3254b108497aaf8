//! [`Binary`]: bytes in `data`, as Z85 text under the marker `ext.binary`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::bayeux::codec::string;
use crate::bayeux::message::{Json, Message, ext_entry, ext_with, ext_without, write_field, write_string};

/// Bytes that a message carries, or a part of them.
///
/// A service takes them out of a message with [`Binary::of`] and puts its own into one with [`Binary::put_into`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binary {
    /// The bytes.
    pub data: Vec<u8>,
    /// Whether no further part follows.
    pub last: bool,
    /// What the sender says about them, JSON text.
    pub meta: Option<String>,
}

/// A text that is not Z85 as CometD writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidZ85 {
    /// A character outside the alphabet.
    #[error("the character at {0} is not one of Z85's")]
    Character(usize),
    /// Five characters that stand for more than 32 bits.
    #[error("the characters from {0} stand for more than four bytes")]
    Overflow(usize),
    /// One character more than groups need.
    #[error("the last character stands for no byte")]
    Length,
}

const ALPHABET: &[u8; 85] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
/// What no character of the alphabet stands for.
const NONE: u8 = 0xff;
/// The alphabet the other way round.
const VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < 85 {
        values[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    values
};

/// Writes bytes as Z85; the last one to three take one character more than they are ([BI-2]).
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() / 4 * 5 + 5);
    for group in bytes.chunks(4) {
        let mut padded = [0; 4];
        padded[..group.len()].copy_from_slice(group);
        let mut number = u32::from_be_bytes(padded);
        let mut symbols = [0; 5];
        for symbol in symbols.iter_mut().rev() {
            *symbol = ALPHABET[(number % 85) as usize];
            number /= 85;
        }
        text.extend(symbols[..=group.len()].iter().map(|symbol| char::from(*symbol)));
    }
    text
}

/// Reads Z85 with any number of bytes ([BI-2]).
///
/// # Errors
///
/// [`InvalidZ85`] where the text is not what [`encode`] could have written, but for the unused bits of a shorter last
/// group.
pub fn decode(text: &str) -> Result<Vec<u8>, InvalidZ85> {
    let mut bytes = Vec::with_capacity(text.len() / 5 * 4 + 4);
    each_group(text, |group| bytes.extend_from_slice(group))?;
    Ok(bytes)
}

/// Calls `take` with the bytes of each group.
fn each_group(text: &str, mut take: impl FnMut(&[u8])) -> Result<(), InvalidZ85> {
    for (position, group) in text.as_bytes().chunks(5).enumerate() {
        let start = position * 5;
        if group.len() == 1 {
            return Err(InvalidZ85::Length);
        }
        let mut number: u64 = 0;
        for place in 0..5 {
            // What is missing counts as the highest digit, so that the bytes before it come out whole.
            let value = group.get(place).map_or(84, |symbol| VALUES[usize::from(*symbol)]);
            if value == NONE {
                return Err(InvalidZ85::Character(start + place));
            }
            number = number * 85 + u64::from(value);
        }
        let number = u32::try_from(number).map_err(|_| InvalidZ85::Overflow(start))?;
        take(&number.to_be_bytes()[..group.len() - 1]);
    }
    Ok(())
}

impl Binary {
    /// Makes one that is complete and says nothing about itself.
    #[must_use]
    pub fn whole(data: impl Into<Vec<u8>>) -> Self {
        Self { data: data.into(), last: true, meta: None }
    }

    /// Reads the bytes of a message; `None` if it has no marker, or no good bytes under it ([BI-3]).
    #[must_use]
    pub fn of(message: &Message<'_>) -> Option<Self> {
        marker(message)?;
        let fields = fields(message)?;
        let data = decode(&string(fields.get("data")?.get())?).ok()?;
        let last = fields.get("last").is_some_and(|last| last.get() == "true");
        let meta = fields.get("meta").filter(|meta| meta.get() != "null").map(|meta| meta.get().to_owned());
        Some(Self { data, last, meta })
    }

    /// Puts the bytes into a message, with the marker.
    #[must_use]
    pub fn put_into<'a>(&self, mut message: Message<'a>) -> Message<'a> {
        message.data = Some(Cow::Owned(self.to_json()));
        message.ext = Some(Cow::Owned(ext_with(message.ext.as_ref(), MARKER, "{}")));
        message
    }

    /// Writes the bytes as `data` has them, which means them only under the marker.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = b"{\"data\":".to_vec();
        write_string(&encode(&self.data), &mut json);
        write_field("last", if self.last { "true" } else { "false" }, &mut json);
        if let Some(meta) = &self.meta {
            write_field("meta", meta, &mut json);
        }
        json.push(b'}');
        String::from_utf8(json).expect("Z85 and JSON text are UTF-8")
    }
}

/// The entry of `ext` that says that `data` is bytes.
const MARKER: &str = "binary";

fn marker<'m>(message: &'m Message<'_>) -> Option<&'m RawValue> {
    ext_entry(message.ext.as_ref()?, MARKER)
}

fn fields<'m>(message: &'m Message<'_>) -> Option<BTreeMap<String, &'m RawValue>> {
    serde_json::from_str(message.data.as_deref()?).ok()
}

/// Makes the marker of a message true: it is `{}`, or it is gone where there are no good bytes under it ([BI-1], [BI-4]).
pub(in crate::bayeux) fn check(message: &mut Message<'_>) {
    let Some(marker) = marker(message) else { return };
    let is_plain = marker.get() == "{}";
    let is_good = marker.get() != "null" && has_bytes(message);
    if is_good && is_plain {
        return;
    }
    let ext: Option<&Json<'_>> = message.ext.as_ref();
    let ext = if is_good { ext_with(ext, MARKER, "{}") } else { ext_without(ext, MARKER) };
    message.ext = Some(Cow::Owned(ext));
}

fn has_bytes(message: &Message<'_>) -> bool {
    let text = fields(message).and_then(|fields| Some(string(fields.get("data")?.get())?.into_owned()));
    text.is_some_and(|text| each_group(&text, |_| {}).is_ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    // [BI-2]
    #[test]
    fn vectors_of_cometd() {
        for (hex, text) in [
            ("", ""),
            ("864fd26fb559f75b", "HelloWorld"),
            ("0a0b0c", "3jvm"),
            ("0c000f0f0e0e", "3&*!G4H@"),
            ("48656c6c6f", "nm=QNzV"),
            ("ffffffff", "%nSc0"),
            ("ff", "@@"),
            ("00", "00"),
            ("0000", "000"),
        ] {
            assert_eq!(encode(&bytes(hex)), text, "{hex}");
            assert_eq!(decode(text), Ok(bytes(hex)), "{text}");
        }
    }

    // [BI-4]
    #[test]
    fn what_is_no_z85_is_refused() {
        for (text, error) in [
            ("Hello;", InvalidZ85::Length),
            ("HelloW;rld", InvalidZ85::Character(6)),
            ("He\"oo", InvalidZ85::Character(2)),
            ("\u{e9}llo", InvalidZ85::Character(0)),
            ("0 ", InvalidZ85::Character(1)),
            ("%nSc1", InvalidZ85::Overflow(0)),
            ("00000#####", InvalidZ85::Overflow(5)),
            ("%#", InvalidZ85::Overflow(0)),
            ("0", InvalidZ85::Length),
        ] {
            assert_eq!(decode(text), Err(error), "{text}");
        }
        // The unused bits of a short group may be anything, as CometD has it.
        assert_eq!(decode("0A"), decode("0r"));
    }

    proptest! {
        // [BI-2]
        #[test]
        fn bytes_come_back(data: Vec<u8>) {
            let text = encode(&data);
            prop_assert_eq!(text.len(), data.len() / 4 * 5 + if data.len() % 4 == 0 { 0 } else { data.len() % 4 + 1 });
            prop_assert_eq!(decode(&text), Ok(data));
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            if let Ok(data) = decode(&text) {
                prop_assert_eq!(encode(&data).len(), text.len());
            }
        }
    }

    fn message<'a>(data: &'a str, ext: &'a str) -> Message<'a> {
        Message { data: Some(data.into()), ext: Some(ext.into()), ..Message::to("/bin") }
    }

    // [BI-3]
    #[test]
    fn a_message_gives_and_takes_bytes() {
        let sent = message(r#"{"data":"HelloWorld","last":true,"meta":{"name":"f.bin"}}"#, r#"{"binary":{}}"#);
        let binary = Binary::of(&sent).expect("bytes");
        assert_eq!(binary.data, bytes("864fd26fb559f75b"));
        assert!(binary.last);
        assert_eq!(binary.meta.as_deref(), Some(r#"{"name":"f.bin"}"#));
        let built = binary.put_into(Message { ext: Some(r#"{"a":1.50}"#.into()), ..Message::to("/bin") });
        assert_eq!(built.data.as_deref(), sent.data.as_deref());
        assert_eq!(built.ext.as_deref(), Some(r#"{"a":1.50,"binary":{}}"#));
        assert_eq!(Binary::whole([0xff]).to_json(), r#"{"data":"@@","last":true}"#);
        let plain = message(r#"{"data":"HelloWorld","last":true}"#, "{}");
        assert_eq!(Binary::of(&plain), None);
    }

    // [BI-1], [BI-4]
    #[test]
    fn a_marker_stands_only_over_bytes() {
        let good = r#"{ "last":false, "data":"3jvm", "extra":7 }"#;
        for (data, ext, expected) in [
            (good, r#"{ "binary": {} }"#, r#"{ "binary": {} }"#),
            (good, r#"{"binary":true}"#, r#"{"binary":{}}"#),
            (good, r#"{"binary":{"x":1},"a":1.50}"#, r#"{"a":1.50,"binary":{}}"#),
            (good, r#"{"binary":null}"#, "{}"),
            (good, "{}", "{}"),
            (good, "null", "null"),
            (good, "5", "5"),
            ("\"3jvm\"", r#"{"binary":{},"a":1}"#, r#"{"a":1}"#),
            ("{}", r#"{"binary":{}}"#, "{}"),
            ("null", r#"{"binary":{}}"#, "{}"),
            (r#"{"data":5}"#, r#"{"binary":{}}"#, "{}"),
            (r#"{"data":";;;;;"}"#, r#"{"binary":{}}"#, "{}"),
        ] {
            let mut message = message(data, ext);
            check(&mut message);
            assert_eq!(message.ext.as_deref(), Some(expected), "{data} {ext}");
            assert_eq!(message.data.as_deref(), Some(data));
        }
    }
}
