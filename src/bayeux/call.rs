//! [`Call`]: a remote call of a client, which is answered once.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::value::RawValue;

use super::engine::{Dirty, Engine};
use super::extension::Binary;
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
        let (Ok(data) | Err(data)) = result;
        self.send(engine, now, result.is_ok(), |answer| answer.with_data(data), dirty)
    }

    /// Sends bytes as the result, or as the reason why there is none ([BI-3]).
    ///
    /// False as for [`answer`](Self::answer).
    pub fn answer_binary<T: Clone + PartialEq>(
        &self,
        engine: &Engine<T>,
        now: Time,
        result: Result<&Binary, &Binary>,
        dirty: &mut Dirty<T>,
    ) -> bool {
        let (Ok(binary) | Err(binary)) = result;
        self.send(engine, now, result.is_ok(), |answer| binary.put_into(answer), dirty)
    }

    fn send<'a, T: Clone + PartialEq>(
        &'a self,
        engine: &Engine<T>,
        now: Time,
        successful: bool,
        fill: impl FnOnce(Message<'a>) -> Message<'a>,
        dirty: &mut Dirty<T>,
    ) -> bool {
        if self.is_answered.swap(true, Ordering::Relaxed) {
            return false;
        }
        let mut message = fill(Message::to(&self.channel).with_id(&*self.id));
        let successful = if successful { "true" } else { "false" };
        message.extra.push((Cow::Borrowed("successful"), Cow::Borrowed(successful)));
        engine.deliver(now, None, self.session, message, dirty)
    }
}
