//! The negotiation of extensions (RFC 6455, 9.1; RFC 7692, 7.1): whether a client offers permessage-deflate in a way
//! that can be kept.

use http::HeaderValue;

/// The one extension that is spoken.
const NAME: &str = "permessage-deflate";

/// What is answered to an offer that is taken: each message is compressed by itself, in both directions.
const ANSWER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// The same for a client that asked for the largest window, which is the one that is used.
const ANSWER_WITH_WINDOW: &str =
    "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=15";

/// Offers that are looked at, of any extension; clients make one or two.
const OFFERS_MAX: usize = 16;

/// Parameters of one offer; there are four to permessage-deflate.
const PARAMETERS_MAX: usize = 8;

/// A header that is no list of extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::web) struct Malformed;

/// Returns the answer to the first offer of permessage-deflate that can be kept, if there is one.
///
/// `values` are the lines of `Sec-WebSocket-Extensions`. Offers of other extensions, or with parameters that are unknown,
/// repeated or out of range, are passed over.
///
/// # Errors
///
/// A line is not in the grammar; the opening handshake must fail then.
pub(in crate::web) fn agree<'v>(
    values: impl Iterator<Item = &'v HeaderValue>,
) -> Result<Option<HeaderValue>, Malformed> {
    let mut answer = None;
    let mut offers = 0;
    for value in values {
        let mut rest = Rest(value.as_bytes());
        loop {
            // Empty elements of a list mean nothing (RFC 9110, 5.6.1).
            while rest.take(b',') {}
            if rest.is_empty() {
                break;
            }
            let offer = rest.offer()?;
            offers += 1;
            if offers > OFFERS_MAX {
                return Err(Malformed);
            }
            answer = answer.or(offer);
            if !rest.is_empty() && !rest.take(b',') {
                return Err(Malformed);
            }
        }
    }
    Ok(answer.map(HeaderValue::from_static))
}

/// What has not been read of a line.
struct Rest<'v>(&'v [u8]);

impl<'v> Rest<'v> {
    /// Reads one offer, `name *( ; parameter )`; yields the answer to it if it can be kept.
    fn offer(&mut self) -> Result<Option<&'static str>, Malformed> {
        let is_known = self.token()?.eq_ignore_ascii_case(NAME.as_bytes());
        let mut offer = Offer::default();
        let mut parameters = 0;
        while self.take(b';') {
            let name = self.token()?;
            let value = if self.take(b'=') { Some(self.value()?) } else { None };
            parameters += 1;
            if parameters > PARAMETERS_MAX {
                return Err(Malformed);
            }
            offer.add(name, value.as_deref());
        }
        Ok(if is_known { offer.answer() } else { None })
    }

    /// Takes this byte off, with the blanks around it, if it is next.
    fn take(&mut self, byte: u8) -> bool {
        self.0 = self.0.trim_ascii_start();
        let Some(rest) = self.0.strip_prefix(&[byte]) else { return false };
        self.0 = rest.trim_ascii_start();
        true
    }

    /// Whether nothing but blanks is left.
    fn is_empty(&self) -> bool {
        self.0.trim_ascii_start().is_empty()
    }

    fn token(&mut self) -> Result<&'v [u8], Malformed> {
        let length = self.0.iter().position(|&byte| !is_token(byte)).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(length);
        self.0 = rest;
        if token.is_empty() { Err(Malformed) } else { Ok(token) }
    }

    /// Reads a value; if it is quoted, what it stands for must be a token all the same.
    fn value(&mut self) -> Result<Vec<u8>, Malformed> {
        let Some(mut rest) = self.0.strip_prefix(b"\"") else { return self.token().map(<[u8]>::to_vec) };
        let mut value = Vec::new();
        loop {
            let (byte, behind) = match rest {
                [b'"', behind @ ..] if !value.is_empty() => {
                    self.0 = behind;
                    return Ok(value);
                }
                [b'\\', byte, behind @ ..] | [byte, behind @ ..] if is_token(*byte) => (*byte, behind),
                _ => return Err(Malformed),
            };
            value.push(byte);
            rest = behind;
        }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The parameters of one offer of permessage-deflate, each at most once.
#[derive(Default)]
struct Offer {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    /// A window of other than the usual size cannot be promised.
    server_max_window_bits: Option<u8>,
    /// The client may be told a smaller window, or tells one; any it may use can be read.
    client_max_window_bits: bool,
    is_refused: bool,
}

impl Offer {
    fn add(&mut self, name: &[u8], value: Option<&[u8]>) {
        let is_new = match (name, value) {
            (b"server_no_context_takeover", None) => !std::mem::replace(&mut self.server_no_context_takeover, true),
            (b"client_no_context_takeover", None) => !std::mem::replace(&mut self.client_no_context_takeover, true),
            (b"client_max_window_bits", value) if value.is_none_or(|value| window_bits(value).is_some()) => {
                !std::mem::replace(&mut self.client_max_window_bits, true)
            }
            (b"server_max_window_bits", Some(value)) => match window_bits(value) {
                Some(bits) => self.server_max_window_bits.replace(bits).is_none(),
                None => false,
            },
            _ => false,
        };
        self.is_refused |= !is_new;
    }

    fn answer(&self) -> Option<&'static str> {
        match self.server_max_window_bits {
            _ if self.is_refused => None,
            None => Some(ANSWER),
            Some(15) => Some(ANSWER_WITH_WINDOW),
            Some(_) => None,
        }
    }
}

/// Reads the size of a window, 8 to 15 without a leading zero.
fn window_bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(lines: &[&'static str]) -> Result<Option<&'static str>, Malformed> {
        let values: Vec<_> = lines.iter().map(|line| HeaderValue::from_static(line)).collect();
        let answer = agree(values.iter())?;
        Ok(answer.map(|answer| [ANSWER, ANSWER_WITH_WINDOW].into_iter().find(|known| answer == known).unwrap()))
    }

    /// [PD-1] The first is what Chromium and the npm package `ws` offer.
    #[test]
    fn offers_that_can_be_kept_are_taken() {
        for offer in [
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate",
            "PerMessage-Deflate;client_max_window_bits=10",
            "permessage-deflate; client_no_context_takeover; server_no_context_takeover",
            "permessage-deflate ; client_max_window_bits = \"12\" ",
            "x-webkit-deflate-frame, permessage-deflate",
            ", foo; bar=\"b\\az\"; baz,, permessage-deflate,",
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
        ] {
            assert_eq!(answer(&[offer]), Ok(Some(ANSWER)), "{offer}");
        }
        assert_eq!(answer(&["foo", "permessage-deflate"]), Ok(Some(ANSWER)));
        assert_eq!(answer(&["permessage-deflate; server_max_window_bits=15"]), Ok(Some(ANSWER_WITH_WINDOW)));
        assert_eq!(answer(&["permessage-deflate; server_max_window_bits=\"1\\5\""]), Ok(Some(ANSWER_WITH_WINDOW)));
    }

    /// [PD-2]
    #[test]
    fn offers_that_cannot_be_kept_are_declined() {
        for offer in [
            "",
            "permessage-bzip2",
            "permessage-deflate; server_max_window_bits=10",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; server_max_window_bits=015",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=\"+8\"",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
            "permessage-deflate; Server_No_Context_Takeover",
            "permessage-deflate; unknown",
        ] {
            assert_eq!(answer(&[offer]), Ok(None), "{offer}");
        }
        assert_eq!(answer(&[]), Ok(None));
    }

    /// [PD-2]
    #[test]
    fn what_is_no_list_of_extensions_is_malformed() {
        for line in [
            ";",
            "permessage-deflate;",
            "permessage-deflate client_max_window_bits",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; client_max_window_bits=\"\"",
            "permessage-deflate; client_max_window_bits=\"12",
            "permessage-deflate; client_max_window_bits=\"1 2\"",
            "permessage-deflate; client_max_window_bits=\"12\\",
            "permessage-deflate; =1",
            "permessage/deflate",
            "permessage-deflate, @",
        ] {
            assert_eq!(answer(&[line]), Err(Malformed), "{line}");
        }
        let many = |count: usize| HeaderValue::try_from(vec!["permessage-deflate"; count].join(",")).unwrap();
        assert!(agree([many(OFFERS_MAX)].iter()).is_ok());
        assert_eq!(agree([many(OFFERS_MAX + 1)].iter()), Err(Malformed));
        let long = |count: usize| HeaderValue::try_from(format!("foo{}", "; a=b".repeat(count))).unwrap();
        assert_eq!(agree([long(PARAMETERS_MAX)].iter()), Ok(None));
        assert_eq!(agree([long(PARAMETERS_MAX + 1)].iter()), Err(Malformed));
    }
}
