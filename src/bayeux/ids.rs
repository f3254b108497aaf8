//! [`SessionId`] and [`IdSource`]: who a session is, and where its id comes from.

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
