//! [`Verdict`]: what the policy has said about one message, decided before the engine sees it.

use super::hooks::Operation;
use super::rejection::{BY_POLICY, Reason};

/// The policy's answer for one message. Whatever is not denied is granted.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    handshake: Option<Denial>,
    /// Denied operations, with the position of the channel in the message's `subscription`, zero for a publish.
    denied: Vec<(Operation, usize, Denial)>,
}

/// One denial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The middle part of the error text.
    pub reason: Reason,
    /// `advice` for the reply, JSON text of an object.
    pub advice: Option<String>,
    /// `ext` for the reply, JSON text of an object.
    pub ext: Option<String>,
}

impl Default for Denial {
    /// A denial in CometD's words, with no advice of its own.
    fn default() -> Self {
        Self { reason: BY_POLICY, advice: None, ext: None }
    }
}

impl Verdict {
    /// Nothing is denied.
    #[must_use]
    pub const fn granted() -> Self {
        Self { handshake: None, denied: Vec::new() }
    }

    /// The handshake is denied.
    #[must_use]
    pub const fn handshake_denied(denial: Denial) -> Self {
        Self { handshake: Some(denial), denied: Vec::new() }
    }

    /// Adds that an operation on one channel of the message is denied.
    pub fn deny(&mut self, operation: Operation, position: usize, denial: Denial) {
        self.denied.push((operation, position, denial));
    }

    pub(super) const fn handshake(&self) -> Option<&Denial> {
        self.handshake.as_ref()
    }

    pub(super) fn denial(&self, operation: Operation, position: usize) -> Option<&Denial> {
        self.denied.iter().find(|(denied, at, _)| *denied == operation && *at == position).map(|(_, _, denial)| denial)
    }
}
