//! [`SessionId`], [`SessionPrefix`] and [`IdSource`]: who a session is, and where its id comes from.

use std::cmp::Ordering;
use std::fmt;

use uuid::Uuid;

/// The id of a session, `clientId` on the wire: 32 lower-case hexadecimal digits, 122 of whose bits are random.
///
/// Whoever knows it may use the session, so logs show [`SessionId::shortened`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(u128);

impl SessionId {
    /// Makes an id from 128 bits, six of which are fixed by the form (UUID version 4).
    #[must_use]
    pub fn from_random(bits: u128) -> Self {
        Self(uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().as_u128())
    }

    /// Reads the wire form; `None` if no id of this server can look like that.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 32 || !digits {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(Self)
    }

    /// Returns the first eight digits, which tell sessions apart in a log and open none.
    #[must_use]
    pub fn shortened(self) -> String {
        format!("{:08x}", self.0 >> 96)
    }
}

/// The beginning of an id by which people find a session: its shortened form, a few digits more, or all of it.
///
/// Lengths in between are none, so that nobody finds out an id digit by digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPrefix {
    digits: u128,
    /// Bits of an id that the prefix leaves open, less than 128.
    open_bits: u32,
}

impl SessionPrefix {
    /// How many digits to show where the shortened forms of two ids are the same: 80 bits stay secret.
    pub const LONGER_DIGITS: usize = 12;

    /// Reads 8, 12 or 32 lower-case hexadecimal digits; `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !matches!(text.len(), 8 | Self::LONGER_DIGITS | 32) || !digits {
            return None;
        }
        let open_bits = 4 * (32 - u32::try_from(text.len()).ok()?);
        u128::from_str_radix(text, 16).ok().map(|digits| Self { digits, open_bits })
    }

    /// The prefix that the shortened form of an id is.
    pub(super) const fn shortest_of(id: SessionId) -> Self {
        Self { digits: id.0 >> 96, open_bits: 96 }
    }

    /// Compares the prefix with an id: equal if the id begins with it, less if the id comes after all that do.
    pub(super) fn compare(self, id: SessionId) -> Ordering {
        self.digits.cmp(&(id.0 >> self.open_bits))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = Uuid::encode_buffer();
        formatter.write_str(Uuid::from_u128(self.0).simple().encode_lower(&mut buffer))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SessionId({}…)", self.shortened())
    }
}

/// Where the engine's randomness comes from, so that the engine itself is deterministic.
pub trait IdSource: Send + Sync {
    /// Returns 128 bits that nobody outside can guess.
    fn random(&self) -> u128;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_short_longer_or_whole() {
        let id = SessionId::parse("0123456789abcdef0123456789abcdef").unwrap();
        for good in ["01234567", "0123456789ab", "0123456789abcdef0123456789abcdef"] {
            assert_eq!(SessionPrefix::parse(good).unwrap().compare(id), Ordering::Equal, "{good}");
        }
        assert_eq!(SessionPrefix::parse(&id.shortened()), Some(SessionPrefix::shortest_of(id)));
        assert_eq!(SessionPrefix::parse("01234566").unwrap().compare(id), Ordering::Less);
        assert_eq!(SessionPrefix::parse("0123456789ac").unwrap().compare(id), Ordering::Greater);
        for bad in ["", "0123456", "0123456g", "0123456A", "+1234567", "012345678", "0123456789abc"] {
            assert_eq!(SessionPrefix::parse(bad), None, "{bad}");
        }
    }
}
