//! [`Rejection`]: why a message was refused, as the client reads it.

use std::borrow::Cow;
use std::fmt;

/// The `error` of a failed reply, in Bayeux's form `code:arguments:text`.
///
/// The texts are CometD's ([EN-11]); clients act on the advice and some compare the code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A message without `channel`, or an unsubscribe from a channel that does not exist.
    ChannelMissing,
    /// The session does not exist, has ended, or is not the one the connection may use.
    SessionUnknown,
    /// The policy refused the handshake, or the server is full.
    HandshakeDenied,
    /// A publish needs a new channel and may not create it.
    ChannelCreateDenied(Reason),
    /// A publish was refused.
    PublishDenied(Reason),
    /// A subscribe needs a new channel and may not create it.
    CreateDenied(Reason),
    /// A subscribe was refused.
    SubscribeDenied(Reason),
    /// A subscribe or unsubscribe without `subscription`.
    SubscriptionMissing,
    /// A `subscription` that is no channel name and no array of them.
    SubscriptionInvalid,
    /// A subscription that a session which has just ended cannot have.
    SubscribeFailed,
    /// An unsubscribe from a meta channel.
    UnsubscribeFailed,
    /// An extension or a listener dropped the message.
    MessageDeleted,
    /// `channel` is no channel name.
    ChannelInvalid,
    /// `id` breaks its grammar.
    MessageIdInvalid,
}

/// The middle part of a rejection: which rule refused.
pub type Reason = Cow<'static, str>;

/// The reason given when the security policy refuses.
pub const BY_POLICY: Reason = Cow::Borrowed("denied_by_security_policy");
/// The reason given when authorizers exist and none grants.
pub const BY_NOT_GRANTING: Reason = Cow::Borrowed("denied_by_not_granting");
/// The reason given when a limit of this server is reached.
pub const BY_LIMIT: Reason = Cow::Borrowed("denied_by_limit");

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChannelMissing => formatter.write_str("400::channel_missing"),
            Self::SessionUnknown => formatter.write_str("402::session_unknown"),
            Self::HandshakeDenied => formatter.write_str("403::handshake_denied"),
            Self::ChannelCreateDenied(reason) => write!(formatter, "403:{reason}:channel_create_denied"),
            Self::PublishDenied(reason) => write!(formatter, "403:{reason}:publish_denied"),
            Self::CreateDenied(reason) => write!(formatter, "403:{reason}:create_denied"),
            Self::SubscribeDenied(reason) => write!(formatter, "403:{reason}:subscribe_denied"),
            Self::SubscriptionMissing => formatter.write_str("403::subscription_missing"),
            Self::SubscriptionInvalid => formatter.write_str("403::subscription_invalid"),
            Self::SubscribeFailed => formatter.write_str("403::subscribe_failed"),
            Self::UnsubscribeFailed => formatter.write_str("403::unsubscribe_failed"),
            Self::MessageDeleted => formatter.write_str("404::message_deleted"),
            Self::ChannelInvalid => formatter.write_str("405::channel_invalid"),
            Self::MessageIdInvalid => formatter.write_str("405::message_id_invalid"),
        }
    }
}
