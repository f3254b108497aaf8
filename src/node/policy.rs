//! [`Policy`]: who may shake hands, create, subscribe and publish.

use std::future::Future;
use std::pin::Pin;

use crate::bayeux::{
    ChannelKind, ChannelName, Client, Denial, Message, Operation, Peer, SessionView, Verdict, is_protocol_channel,
};

use super::Node;

/// CometD's `SecurityPolicy`: asked before the engine handles a message ([SC-1]).
///
/// Every method grants unless it is written otherwise.
pub trait Policy: Send + Sync {
    /// May this peer have a session?
    fn can_handshake(&self, peer: &Peer, message: &Message<'_>) -> Decision {
        let _ = (peer, message);
        Decision::Granted
    }

    /// May this session create, subscribe or publish to the channel?
    ///
    /// Creation is asked first, and only for a channel that does not exist ([SC-3]).
    fn can(&self, operation: Operation, channel: &str, session: &SessionView, message: &Message<'_>) -> Decision {
        let _ = (operation, channel, session, message);
        Decision::Granted
    }
}

/// What a policy says.
pub enum Decision {
    /// Yes.
    Granted,
    /// No.
    Denied(Denial),
    /// It has to ask somebody; `None` is yes.
    Later(Pin<Box<dyn Future<Output = Option<Denial>> + Send>>),
}

impl Decision {
    async fn denial(self) -> Option<Denial> {
        match self {
            Self::Granted => None,
            Self::Denied(denial) => Some(denial),
            Self::Later(asking) => asking.await,
        }
    }
}

impl Node {
    /// Asks the policy everything the engine will want to know about a message.
    pub(super) async fn verdict(&self, peer: &Peer, message: &Message<'_>) -> Verdict {
        let channel = message.channel.as_deref().unwrap_or("");
        if channel == "/meta/handshake" {
            let denial = self.policy.can_handshake(peer, message).denial().await;
            return denial.map_or_else(Verdict::granted, Verdict::handshake_denied);
        }
        let mut verdict = Verdict::granted();
        let Client::Id(id) = message.client else { return verdict };
        // A session that does not exist is refused by the engine, whatever the policy would say.
        let Some(session) = self.engine.view(id) else { return verdict };
        if channel == "/meta/subscribe" {
            let names = message.subscription_names().unwrap_or_default();
            // The engine refuses more than that as a whole, so nobody need be asked about each.
            let max = self.engine.config().limits.max_subscriptions;
            for (position, name) in names.iter().enumerate().filter(|_| names.len() <= max) {
                let denied = self.ask(Operation::Subscribe, name, &session, message, position, &mut verdict).await;
                if denied {
                    // The engine stops at the first denial, so the rest need not be asked.
                    break;
                }
            }
        } else if !is_protocol_channel(channel) {
            self.ask(Operation::Publish, channel, &session, message, 0, &mut verdict).await;
        }
        verdict
    }

    /// Asks about creation, if the channel does not exist, and then about `operation`; true if one is denied.
    async fn ask(
        &self,
        operation: Operation,
        channel: &str,
        session: &SessionView,
        message: &Message<'_>,
        position: usize,
        verdict: &mut Verdict,
    ) -> bool {
        let Ok(name) = ChannelName::normalize(channel) else { return false };
        // An unknown meta channel can only be refused, so publishing to one is a question of creation.
        let is_meta = ChannelName::parse(name).is_ok_and(|name| name.kind() == ChannelKind::Meta);
        let creates = !self.engine.channel_exists(channel) || (is_meta && operation == Operation::Publish);
        let questions = [creates.then_some(Operation::Create), Some(operation)];
        for question in questions.into_iter().flatten() {
            let denial = self.policy.can(question, name, session, message).denial().await;
            if let Some(denial) = denial {
                verdict.deny(question, position, denial);
                return true;
            }
        }
        false
    }
}
