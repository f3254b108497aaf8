//! [`Call`]: a remote call of a client, which is answered once.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::value::RawValue;

use super::engine::{Dirty, Engine};
use super::ids::SessionId;
use super::message::Message;
use super::time::Time;

/// A message to a service whose sender waits for an answer with the same `id` ([SV-3]).
///
/// Clones are the same call: whoever answers first has answered it ([SV-4]).
#[derive(Clone, Debug)]
pub struct Call {
    session: SessionId,
    channel: Arc<str>,
    id: Arc<str>,
    is_answered: Arc<AtomicBool>,
}

impl Call {
    /// Takes a message of a session as a call; `None` if it has no `id` to answer to.
    #[must_use]
    pub fn of(session: SessionId, message: &Message<'_>) -> Option<Self> {
        Some(Self {
            session,
            channel: message.channel.as_deref()?.into(),
            id: message.id.as_deref()?.into(),
            is_answered: Arc::default(),
        })
    }

    /// Sends the result, or why there is none, as `data`.
    ///
    /// False if the call has been answered already, if its session is gone, or if a hook dropped the answer.
    pub fn answer<T: Clone + PartialEq>(
        &self,
        engine: &Engine<T>,
        now: Time,
        result: Result<&RawValue, &RawValue>,
        dirty: &mut Dirty<T>,
    ) -> bool {
        if self.is_answered.swap(true, Ordering::Relaxed) {
            return false;
        }
        let successful = if result.is_ok() { "true" } else { "false" };
        let (Ok(data) | Err(data)) = result;
        let mut message = Message::to(&self.channel).with_id(&*self.id).with_data(data);
        message.extra.push((Cow::Borrowed("successful"), Cow::Borrowed(successful)));
        engine.deliver(now, None, self.session, message, dirty)
    }
}
