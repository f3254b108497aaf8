//! What an operator may look at: sessions and channels as they are now.

use std::time::Duration;

use super::channel::ChannelName;
use super::engine::Engine;
use super::hooks::SessionView;
use super::ids::SessionId;
use super::session::{Slot, State};

/// One session as it is now.
#[derive(Clone, Debug)]
pub struct SessionReport {
    /// Who it is.
    pub view: SessionView,
    /// Whether it has sent its first connect.
    pub is_connected: bool,
    /// Whether a connect of it is held.
    pub is_held: bool,
    /// Its subscriptions, by the names the client used, sorted.
    pub subscriptions: Vec<ChannelName>,
    /// Publications that wait for it.
    pub queued_messages: usize,
    /// Bytes of those publications.
    pub queued_bytes: usize,
    /// Publications that were dropped because its queue was full.
    pub dropped_messages: u64,
    /// Its own `timeout`, if it has one.
    pub timeout: Option<Duration>,
}

impl<T: Clone + PartialEq> Engine<T> {
    /// How many sessions there are, local ones included.
    #[must_use]
    pub fn session_count(&self) -> usize {
        self.sessions.len()
    }

    /// How many channels and patterns there are.
    #[must_use]
    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }

    /// Returns what hooks may know of a session that is there.
    #[must_use]
    pub fn view(&self, id: SessionId) -> Option<SessionView> {
        self.sessions.get(id).map(|slot| *slot.view())
    }

    /// Returns one session.
    #[must_use]
    pub fn session(&self, id: SessionId) -> Option<SessionReport> {
        self.sessions.get(id).map(|slot| report(&slot))
    }

    /// Returns all sessions, by id.
    #[must_use]
    pub fn session_reports(&self) -> Vec<SessionReport> {
        let mut reports: Vec<_> = self.sessions.snapshot().iter().map(|slot| report(slot)).collect();
        reports.sort_by_key(|report| report.view.id);
        reports
    }

    /// Returns all channels and patterns with their subscriber counts, by name.
    #[must_use]
    pub fn channel_reports(&self) -> Vec<(ChannelName, usize)> {
        self.channels.snapshot()
    }
}

fn report<T>(slot: &Slot<T>) -> SessionReport {
    let session = slot.session.lock();
    SessionReport {
        view: *slot.view(),
        is_connected: session.state == State::Connected,
        is_held: session.held.is_some(),
        subscriptions: session.subscription_names(),
        queued_messages: session.queue.len(),
        queued_bytes: session.queue.bytes(),
        dropped_messages: session.dropped,
        timeout: session.timeout,
    }
}
