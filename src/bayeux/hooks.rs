//! What programs plug into the engine: extensions, listeners, authorizers, names.
//!
//! All are called without any lock of the engine held, on the thread that handles the message. A reply may pass its
//! extensions while the shell holds the writer lock of a connection, so these must not flush sessions themselves.

use std::sync::Arc;

use super::channel::ChannelName;
use super::context::Context;
use super::ids::SessionId;
use super::message::Message;
use super::peer::{MountId, Transport};
use super::rejection::Reason;
use super::reply::Reply;

/// Whether a message goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It goes on.
    Continue,
    /// It is dropped; a client's message is answered `404::message_deleted` ([SC-6]).
    Drop,
}

/// What hooks may know of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// Its id.
    pub id: SessionId,
    /// The mount of its handshake.
    pub mount: MountId,
    /// The transport of its handshake; [`Transport::Local`] is a session of this process.
    pub transport: Transport,
}

/// A server-wide or per-session handler of every message, CometD's `Extension`.
///
/// Incoming messages pass the server's extensions in the order of registration and then the session's. Outgoing ones and
/// replies, too, pass first those of the server and then those of the session, each list in reverse order ([SC-7]). A
/// broadcast passes the server's outgoing extensions once, before it is serialised. A session's own outgoing extension
/// makes a private copy for that session if it changes the message.
pub trait Extension: Send + Sync {
    /// Sees a message from `from`, which is `None` before a handshake and for unknown sessions.
    fn incoming(&self, from: Option<&SessionView>, message: &mut Message<'_>) -> Flow {
        let _ = (from, message);
        Flow::Continue
    }

    /// Sees a message on its way to subscribers; `to` is set for the extensions of one session.
    fn outgoing(&self, from: Option<SessionId>, to: Option<&SessionView>, message: &mut Message<'_>) -> Flow {
        let _ = (from, to, message);
        Flow::Continue
    }

    /// Sees a reply; dropping it leaves the client without an answer.
    fn reply(&self, to: Option<&SessionView>, reply: &mut Reply<'_>) -> Flow {
        let _ = (to, reply);
        Flow::Continue
    }
}

/// Sees the messages of a channel and, if registered on a pattern, of every channel that matches ([SC-6]).
///
/// Listeners are called from `/**` down to the exact channel; those on service channels are how services are written.
pub trait ChannelListener<T>: Send + Sync {
    /// Called for each accepted message, before it reaches subscribers.
    fn message(&self, context: &mut Context<'_, T>, channel: &ChannelName, message: &Message<'_>) -> Flow;
}

impl<T, F> ChannelListener<T> for F
where
    F: Fn(&mut Context<'_, T>, &ChannelName, &Message<'_>) -> Flow + Send + Sync,
{
    fn message(&self, context: &mut Context<'_, T>, channel: &ChannelName, message: &Message<'_>) -> Flow {
        self(context, channel, message)
    }
}

/// Sees sessions, subscriptions and channels come and go.
pub trait Listener<T>: Send + Sync {
    /// A session has shaken hands; messages delivered to it here may ride with the handshake reply ([HS-8]).
    fn session_added(&self, context: &mut Context<'_, T>, session: &SessionView) {
        let _ = (context, session);
    }

    /// A session is gone, with its subscriptions.
    fn session_removed(&self, context: &mut Context<'_, T>, session: &SessionView, ended: Ended) {
        let _ = (context, session, ended);
    }

    /// A session has subscribed; `channel` is the name it used.
    fn subscribed(&self, context: &mut Context<'_, T>, session: &SessionView, channel: &ChannelName) {
        let _ = (context, session, channel);
    }

    /// A session has unsubscribed or has ended.
    fn unsubscribed(&self, context: &mut Context<'_, T>, session: &SessionView, channel: &ChannelName) {
        let _ = (context, session, channel);
    }

    /// A channel has been created.
    fn channel_added(&self, channel: &ChannelName) {
        let _ = channel;
    }

    /// A channel has been swept.
    fn channel_removed(&self, channel: &ChannelName) {
        let _ = channel;
    }
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It said goodbye, or the server ended it.
    Disconnected,
    /// It was silent for too long.
    Expired,
}

/// What an authorizer or a policy is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Creating a channel by publishing or subscribing to it.
    Create,
    /// Subscribing.
    Subscribe,
    /// Publishing.
    Publish,
}

/// What an authorizer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// Granted, unless another authorizer denies.
    Grant,
    /// Denied at once, for this reason.
    Deny(Reason),
    /// No opinion.
    Ignore,
}

/// Decides about operations on a channel or on all channels of a pattern, CometD's `Authorizer` ([SC-4], [SC-5]).
///
/// Asked after the policy, from `/**` down to the exact channel, never about meta channels. Where authorizers exist
/// and none grants, the operation is denied.
pub trait Authorizer: Send + Sync {
    /// Decides about one operation.
    fn authorize(
        &self,
        operation: Operation,
        channel: &ChannelName,
        session: &SessionView,
        message: &Message<'_>,
    ) -> Authorization;
}

/// Maps the channel names that clients use to the names that messages are routed by ([CH-9]).
pub trait Naming: Send + Sync {
    /// Returns where a subscription of `session` to `outside` leads; nothing means that the name stands for itself.
    fn routes(&self, session: &SessionView, outside: &ChannelName) -> Vec<Route>;
}

/// One place a subscription leads to.
#[derive(Clone)]
pub struct Route {
    /// The routing name or pattern.
    pub routing: ChannelName,
    /// How the subscriber knows what arrives there; `None` is by its routing name.
    pub rename: Option<Arc<dyn Rename>>,
}

impl Route {
    /// Whether two routes lead to the same place under the same name.
    pub(super) fn leads_like(&self, other: &Self) -> bool {
        let same_name = match (&self.rename, &other.rename) {
            (None, None) => true,
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            _ => false,
        };
        same_name && self.routing == other.routing
    }
}

/// Gives routing names the outside names of one subscription.
pub trait Rename: Send + Sync {
    /// Returns the name under which the subscriber sees `routing`; `None` hides the message from it.
    fn outside(&self, routing: &ChannelName) -> Option<ChannelName>;
}

/// Every name stands for itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainNames;

impl Naming for PlainNames {
    fn routes(&self, _: &SessionView, _: &ChannelName) -> Vec<Route> {
        Vec::new()
    }
}
