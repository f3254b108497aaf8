//! Decoding a body by the charset of its `Content-Type`.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};
use http::{HeaderValue, StatusCode};

use super::response::{self, Response};

/// Longest label of a charset that an error quotes, in characters.
const QUOTED_LABEL_MAX: usize = 40;

/// Why a body is no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CharsetError {
    /// No charset has this label, shortened.
    #[error("unknown charset {0:?}")]
    Unknown(String),
    /// Its bytes do not belong to the charset of this name.
    #[error("body is not {0}")]
    Malformed(&'static str),
}

impl CharsetError {
    /// Returns the status that HTTP has for this: 415 or 400.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unknown(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// Answers with [`status`](Self::status) and this error's sentence.
    #[must_use]
    pub fn response(&self) -> Response {
        response::text(self.status(), self.to_string())
    }
}

/// Decodes `body` by the `charset` that `content_type` names, UTF-8 if it names none; the type itself is ignored.
///
/// UTF-8 is checked, not copied. A byte order mark stays in the text, where a JSON parser refuses it.
///
/// # Errors
///
/// The charset is unknown, or the body is not in it: nothing is replaced.
pub fn decode<'a>(content_type: Option<&HeaderValue>, body: &'a [u8]) -> Result<Cow<'a, str>, CharsetError> {
    let Some(label) = content_type.and_then(label) else { return utf8(body) };
    // Encoding knows this label as windows-1252, which differs in 0x80 to 0x9f; senders of Bayeux mean what they say.
    if label.eq_ignore_ascii_case("iso-8859-1") || label.eq_ignore_ascii_case("latin1") {
        return Ok(encoding_rs::mem::decode_latin1(body));
    }
    match Encoding::for_label_no_replacement(label.as_bytes()) {
        Some(encoding) if encoding == UTF_8 => utf8(body),
        Some(encoding) => encoding
            .decode_without_bom_handling_and_without_replacement(body)
            .ok_or(CharsetError::Malformed(encoding.name())),
        None => Err(CharsetError::Unknown(label.chars().take(QUOTED_LABEL_MAX).collect())),
    }
}

fn utf8(body: &[u8]) -> Result<Cow<'_, str>, CharsetError> {
    str::from_utf8(body).map(Cow::Borrowed).map_err(|_| CharsetError::Malformed("UTF-8"))
}

/// Returns the value of the `charset` parameter, unless it is empty.
fn label(content_type: &HeaderValue) -> Option<&str> {
    let parameters = content_type.to_str().ok()?.split(';');
    let mut named = parameters.filter_map(|parameter| parameter.split_once('='));
    let (_, value) = named.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))?;
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value).trim();
    Some(value).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(content_type: &'static str, body: &'static [u8]) -> Result<Cow<'static, str>, CharsetError> {
        decode(Some(&HeaderValue::from_static(content_type)), body)
    }

    #[test]
    fn utf8_is_the_default_and_is_not_copied() {
        let euro = "€".as_bytes();
        assert!(matches!(decode(None, euro), Ok(Cow::Borrowed("€"))));
        for content_type in [
            "application/json",
            "text/plain; charset=",
            "application/json;charset=UTF-8",
            "application/json; Charset=\"utf-8\"",
            "a/b; boundary=x; CHARSET = utf8 ",
        ] {
            assert!(matches!(decoded(content_type, euro), Ok(Cow::Borrowed("€"))), "{content_type}");
        }
    }

    #[test]
    fn a_byte_order_mark_stays() {
        assert_eq!(decode(None, b"\xef\xbb\xbf[]").unwrap(), "\u{feff}[]");
    }

    #[test]
    fn other_charsets_are_decoded() {
        assert_eq!(decoded("a/b;charset=ISO-8859-1", b"\xe4\x80").unwrap(), "ä\u{80}");
        assert_eq!(decoded("a/b;charset=iso-8859-7", b"\xe1").unwrap(), "α");
        assert_eq!(decoded("a/b;charset=windows-1252", b"\x80").unwrap(), "€");
        assert_eq!(decoded("a/b;charset=Shift_JIS", b"\x83\x65").unwrap(), "テ");
    }

    #[test]
    fn malformed_bodies_and_unknown_charsets_are_told_apart() {
        assert_eq!(decode(None, b"\xc3\x28"), Err(CharsetError::Malformed("UTF-8")));
        assert_eq!(decoded("a/b;charset=shift_jis", b"\x83"), Err(CharsetError::Malformed("Shift_JIS")));
        let unknown = decoded("a/b;charset=klingon", b"").unwrap_err();
        assert_eq!(unknown, CharsetError::Unknown("klingon".into()));
        assert_eq!((unknown.status(), CharsetError::Malformed("x").status()).0, 415);
    }
}
