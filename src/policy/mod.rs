//! Policies: implementations of [`Policy`], chosen by `server`.
//!
//! [`DefaultSecurityPolicy`] is CometD's: clients may do everything but create, subscribe or publish to meta channels.
//! [`Open`] allows that too.
//!
//! **Must not know**: transports, HTTP, and the other folders that serve clients.

use crate::bayeux::{ChannelName, Denial, Message, Operation, SessionView, Transport};
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
