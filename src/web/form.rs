//! `name=value` pairs of query strings and form bodies.

use std::borrow::Cow;

/// A percent-encoded value whose bytes are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a percent-encoded value is not UTF-8")]
pub struct NotUtf8;

/// Splits a query string or a form into its pairs, in order, still encoded.
pub fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Decodes the values of all parameters called `name`, in order.
///
/// # Errors
///
/// The bytes of a value are not UTF-8.
pub fn values<'a>(text: &'a str, name: &str) -> Result<Vec<Cow<'a, str>>, NotUtf8> {
    let named = pairs(text).filter(|(key, _)| decode(key).is_ok_and(|key| key == name));
    named.map(|(_, value)| decode(value)).collect()
}

/// Decodes the values of `name` if `body` is a form that starts with it; `None` if it is anything else.
///
/// The type of the body is not asked, because browsers send such forms as `text/plain` to avoid a preflight. Some
/// programs send JSON after the name without encoding it. An encoder would have replaced its quotation marks, so such a
/// body has one value that goes on to the end.
///
/// # Errors
///
/// The bytes of a value are not UTF-8.
pub fn sniff<'a>(body: &'a str, name: &str) -> Result<Option<Vec<Cow<'a, str>>>, NotUtf8> {
    let Some(value) = body.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) else { return Ok(None) };
    if value.trim_start().starts_with(['[', '{']) && value.contains('"') {
        return Ok(Some(vec![Cow::Borrowed(value)]));
    }
    // A text body may end with a line break that belongs to nothing.
    values(body.trim_end(), name).map(Some)
}

/// Decodes `%HH` and `+` of a parameter; a percent sign that starts no such pair stands for itself, as in browsers.
///
/// # Errors
///
/// The bytes are not UTF-8.
pub fn decode(text: &str) -> Result<Cow<'_, str>, NotUtf8> {
    if text.bytes().any(|byte| byte == b'+') {
        percent_decode(&text.replace('+', " ")).map(owned)
    } else {
        percent_decode(text)
    }
}

/// Decodes `%HH` of a path, where a plus sign means itself.
///
/// # Errors
///
/// The bytes are not UTF-8.
pub fn percent_decode(text: &str) -> Result<Cow<'_, str>, NotUtf8> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail.split_first_chunk::<2>().filter(|_| *first == b'%');
        match escaped.and_then(|([high, low], tail)| Some((hex(*high)? << 4 | hex(*low)?, tail))) {
            Some((byte, tail)) => {
                bytes.push(byte);
                rest = tail;
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| NotUtf8)
}

fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_in_order_and_decoded() {
        let query = "jsonp=cb&message=%5B%7B%22a%22:1%7D%5D&_=17&message=a+b&&flag";
        assert_eq!(values(query, "message").unwrap(), [r#"[{"a":1}]"#, "a b"]);
        assert_eq!(values(query, "flag").unwrap(), [""]);
        assert!(values(query, "none").unwrap().is_empty());
    }

    #[test]
    fn forms_are_recognised_by_their_start() {
        let sniff = |body| sniff(body, "message").unwrap();
        assert_eq!(sniff(r#"[{"message=":1}]"#), None);
        assert_eq!(sniff("messages=1"), None);
        assert_eq!(sniff("message=%5B%7B%22a%22%3A%22%2B%22%7D%5D\n").unwrap(), [r#"[{"a":"+"}]"#]);
        assert_eq!(sniff("message=%5B1%5D&x=y&message=%7B%7D").unwrap(), ["[1]", "{}"]);
        assert_eq!(sniff("message=[]").unwrap(), ["[]"]);
        assert_eq!(sniff(r#"message=[{"a":"1+1=2 & 100%41"}]"#).unwrap(), [r#"[{"a":"1+1=2 & 100%41"}]"#]);
        assert_eq!(super::sniff("message=%ff", "message"), Err(NotUtf8));
    }

    #[test]
    fn malformed_escapes_stand_for_themselves() {
        assert_eq!(decode("100%").unwrap(), "100%");
        assert_eq!(decode("%4").unwrap(), "%4");
        assert_eq!(decode("%zz%41").unwrap(), "%zzA");
    }

    #[test]
    fn bytes_that_are_not_utf8_are_refused() {
        assert_eq!(decode("%ff"), Err(NotUtf8));
        assert_eq!(values("message=%C3%28", "message"), Err(NotUtf8));
        assert_eq!(decode("%E2%82%ac").unwrap(), "€");
    }

    #[test]
    fn plus_is_a_space_only_in_forms() {
        assert_eq!(decode("a+b%2B").unwrap(), "a b+");
        assert_eq!(percent_decode("a+b%2F").unwrap(), "a+b/");
    }
}
