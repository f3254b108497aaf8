//! The protocol's own extensions: what clients may ask for in `ext`, and what the server adds by itself.
//!
//! The central type is [`Extensions`](super::config::Extensions), which says which of them are on. They stand where those
//! of a program that registers `ack`, `timesync`, `timestamp` and `binary` first would: a message meets them before the
//! program's own [`Extension`](super::Extension)s, a reply or publication after them ([SC-7]).
//!
//! **Must not know**: what the whole engine must not know; the system's clock and zones are told it as values.
//!
//! Start reading at the functions below, which the engine calls; each extension has a file.

pub(super) mod acknowledge;

mod activity;
mod binary;
mod timestamp;
mod timesync;
mod wall;

use super::channel::{ChannelKind, kind_of};
use super::engine::Engine;
use super::exchange::Exchange;
use super::message::Message;
use super::reply::Reply;
use super::time::Time;

pub use binary::{Binary, InvalidZ85, decode, encode};
pub use timestamp::{InvalidTimestampFormat, TimestampFormat, ZoneOffset};
pub(super) use timesync::Question;
pub(super) use wall::WallClock;

impl<T> Engine<T> {
    /// Tells the engine what people's clocks show: at `now` it is `unix_millis` since the Unix epoch, and `zone` holds.
    ///
    /// Until it is told, it takes its own time for that since the epoch, and UTC. Clocks are set and zones change, so
    /// it should be told again from time to time.
    pub fn set_wall_clock(&self, now: Time, unix_millis: u64, zone: ZoneOffset) {
        *self.wall.write() = WallClock::set(now, unix_millis, zone);
    }

    /// Reads what a client's message asks of the extensions.
    pub(super) fn read_extensions(&self, exchange: &Exchange<T>, message: &mut Message<'_>, reply: &mut Reply<'_>) {
        if message.ext.is_none() {
            return;
        }
        let is_meta = kind_of(message.channel_text()) == ChannelKind::Meta;
        if is_meta && self.config.extensions.timesync {
            let received = exchange.received;
            let shown = i64::try_from(self.wall.read().unix_millis(received)).unwrap_or(i64::MAX);
            reply.question = Question::of(message.ext.as_ref(), received, shown).map(Box::new);
        }
        if !is_meta && self.config.extensions.binary {
            binary::check(message);
        }
    }

    /// Writes into a reply that leaves now what the extensions have to say ([TS-1], [TM-1]).
    pub(super) fn write_extensions(&self, now: Time, reply: &mut Reply<'_>) {
        let extensions = &self.config.extensions;
        if let Some(question) = reply.question.take()
            && let Some(answer) = question.answer(now, extensions.timesync_accuracy_target)
        {
            reply.put_ext("timesync", &answer);
        }
        if extensions.timestamp {
            reply.timestamp = Some(self.timestamp(now));
        }
    }

    /// Stamps a message on its way to sessions ([TM-1]).
    pub(super) fn stamp(&self, now: Time, message: &mut Message<'_>) {
        if self.config.extensions.timestamp {
            message.extra.retain(|(name, _)| name != TIMESTAMP);
            message.extra.push((TIMESTAMP.into(), json_text(&self.timestamp(now)).into()));
        }
    }

    /// The time as messages carry it.
    pub(super) fn timestamp(&self, now: Time) -> String {
        let wall = self.wall.read();
        self.config.extensions.timestamp_format.format(wall.unix_millis(now), &wall.zone)
    }
}

/// The field in which messages say when they were sent.
pub(super) const TIMESTAMP: &str = "timestamp";

/// Writes a text as JSON.
pub(super) fn json_text(text: &str) -> String {
    serde_json::to_string(text).expect("a string can be written as JSON")
}
