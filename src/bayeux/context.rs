//! [`Context`]: what hooks and services may do while a message is handled.

use serde_json::value::RawValue;

use super::call::Call;
use super::channel::ChannelName;
use super::engine::{Dirty, Engine};
use super::extension::Binary;
use super::hooks::SessionView;
use super::ids::SessionId;
use super::message::Message;
use super::time::Time;

/// The engine as a hook sees it.
///
/// What is done here takes effect at once; what it makes sendable leaves when the message at hand has been handled.
pub struct Context<'a, T> {
    engine: &'a Engine<T>,
    now: Time,
    sender: Option<SessionView>,
    dirty: &'a mut Dirty<T>,
}

impl<'a, T: Clone + PartialEq> Context<'a, T> {
    pub(super) fn new(engine: &'a Engine<T>, now: Time, sender: Option<SessionView>, dirty: &'a mut Dirty<T>) -> Self {
        Self { engine, now, sender, dirty }
    }

    /// The session that sent the message at hand; `None` for messages of the server itself.
    #[must_use]
    pub fn sender(&self) -> Option<&SessionView> {
        self.sender.as_ref()
    }

    /// When the message at hand arrived.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.now
    }

    /// The engine.
    #[must_use]
    pub const fn engine(&self) -> &'a Engine<T> {
        self.engine
    }

    /// Sends a message to one session, whatever it subscribes to; false if the session is gone.
    pub fn deliver(&mut self, to: SessionId, message: Message<'_>) -> bool {
        let from = self.sender.map(|sender| sender.id);
        self.engine.deliver(self.now, from, to, message, self.dirty)
    }

    /// Takes the message at hand as a remote call, to be answered now or later; `None` if it has no `id` or no sender.
    #[must_use]
    pub fn call(&self, message: &Message<'_>) -> Option<Call> {
        Call::of(self.sender?.id, message)
    }

    /// Answers a remote call ([SV-3]); false if that came to nothing, as [`Call::answer`] says.
    pub fn answer(&mut self, call: &Call, result: Result<&RawValue, &RawValue>) -> bool {
        call.answer(self.engine, self.now, result, self.dirty)
    }

    /// Answers a remote call with bytes ([BI-3]); false if that came to nothing, as [`Call::answer`] says.
    pub fn answer_binary(&mut self, call: &Call, result: Result<&Binary, &Binary>) -> bool {
        call.answer_binary(self.engine, self.now, result, self.dirty)
    }

    /// Publishes from the server; returns how many sessions it was queued for, or `None` if a hook dropped it.
    pub fn publish(&mut self, channel: &ChannelName, message: Message<'_>) -> Option<usize> {
        let accepted = self.engine.publish(self.now, None, channel, message, self.dirty)?;
        Some(self.engine.commit(self.now, accepted, None, None, self.dirty))
    }

    /// Ends a session as the server's decision ([DC-4]); false if it is gone already.
    pub fn disconnect(&mut self, session: SessionId) -> bool {
        self.engine.disconnect(self.now, session, self.dirty)
    }
}
