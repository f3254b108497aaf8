//! Policies: implementations of [`Policy`], chosen by `server`.
//!
//! [`DefaultSecurityPolicy`] is CometD's: clients may do everything but create, subscribe or publish to meta channels.
//! [`Open`] allows that too. [`Denying`] puts a rule of a program's own in front of another policy.
//!
//! **Must not know**: transports, HTTP, and the other folders that serve clients.

use std::sync::Arc;

use crate::bayeux::{ChannelName, Denial, Message, Operation, Peer, SessionView, Transport};
use crate::node::{Decision, Policy};

/// CometD's `DefaultSecurityPolicy`: meta channels are closed to clients, everything else is open ([SC-1]).
///
/// Sessions of this process may do everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultSecurityPolicy;

impl Policy for DefaultSecurityPolicy {
    fn can(&self, _: Operation, channel: &str, session: &SessionView, _: &Message<'_>) -> Decision {
        use crate::bayeux::ChannelKind::Meta;
        let is_meta = ChannelName::parse(channel).is_ok_and(|name| name.kind() == Meta);
        if is_meta && session.transport != Transport::Local {
            Decision::Denied(Denial::default())
        } else {
            Decision::Granted
        }
    }
}

/// Everything is allowed, meta channels too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

impl Policy for Open {}

/// What a rule denies, and what another policy denies.
#[derive(Clone)]
pub struct Denying {
    rule: fn(&Message<'_>) -> Option<Denial>,
    otherwise: Arc<dyn Policy>,
}

impl Denying {
    /// Asks `rule` about each message first, handshakes too, and `otherwise` about those it says nothing of.
    #[must_use]
    pub fn new(rule: fn(&Message<'_>) -> Option<Denial>, otherwise: Arc<dyn Policy>) -> Self {
        Self { rule, otherwise }
    }
}

impl Policy for Denying {
    fn can_handshake(&self, peer: &Peer, message: &Message<'_>) -> Decision {
        (self.rule)(message).map_or_else(|| self.otherwise.can_handshake(peer, message), Decision::Denied)
    }

    fn can(&self, operation: Operation, channel: &str, session: &SessionView, message: &Message<'_>) -> Decision {
        let otherwise = || self.otherwise.can(operation, channel, session, message);
        (self.rule)(message).map_or_else(otherwise, Decision::Denied)
    }
}
