//! What an operator may look at: sessions and channels as they are now.

use std::cmp::Ordering;
use std::time::Duration;

use super::channel::ChannelName;
use super::engine::Engine;
use super::hooks::SessionView;
use super::ids::{SessionId, SessionPrefix};
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
    /// Publications that wait for it, or for being acknowledged.
    pub queued_messages: usize,
    /// Bytes of those publications.
    pub queued_bytes: usize,
    /// How many of them have been sent and not yet acknowledged.
    pub unacknowledged_messages: usize,
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

    /// Returns the sessions whose ids begin with `prefix`, by id.
    #[must_use]
    pub fn sessions_with_prefix(&self, prefix: SessionPrefix) -> Vec<SessionId> {
        let mut ids = self.sessions.ids(|id| prefix.compare(id) == Ordering::Equal);
        ids.sort_unstable();
        ids
    }

    /// Returns about `count` sessions by id, from the first one behind `after`, and the last id of this page if there
    /// are more behind it.
    ///
    /// A page never ends between ids that look the same when shortened, so it may be a little longer than asked for,
    /// and shorter if sessions have ended meanwhile. `count` must not be zero.
    #[must_use]
    pub fn session_page(&self, after: Option<SessionPrefix>, count: usize) -> (Vec<SessionReport>, Option<SessionId>) {
        let mut ids = self.sessions.ids(|id| after.is_none_or(|after| after.compare(id) == Ordering::Less));
        let mut last = None;
        if ids.len() > count {
            // A million ids are many to sort for one page, so only the page is sorted.
            let (_, end, _) = ids.select_nth_unstable(count - 1);
            let (end, before) = (SessionPrefix::shortest_of(*end), ids.len());
            ids.retain(|id| end.compare(*id) != Ordering::Less);
            last = ids.iter().max().copied().filter(|_| ids.len() < before);
        }
        ids.sort_unstable();
        (ids.into_iter().filter_map(|id| self.session(id)).collect(), last)
    }

    /// Returns at most `count` channels and patterns with their subscriber counts, by name: those that begin with
    /// `prefix` and come after `after`. The second value says whether there are more.
    #[must_use]
    pub fn channel_page(&self, prefix: &str, after: &str, count: usize) -> (Vec<(ChannelName, usize)>, bool) {
        self.channels.page(prefix, after, count)
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
        unacknowledged_messages: session.queue.unacknowledged(),
        dropped_messages: session.dropped,
        timeout: session.times.timeout,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::super::config::EngineConfig;
    use super::super::engine::Dirty;
    use super::super::exchange::{Batch, Binding};
    use super::super::hooks::PlainNames;
    use super::super::ids::IdSource;
    use super::super::message::Message;
    use super::super::peer::{Peer, Transport};
    use super::super::time::Time;
    use super::super::verdict::Verdict;
    use super::*;

    /// Gives the first digits of ids, in turn.
    struct Digits(Mutex<Vec<u32>>);

    impl IdSource for Digits {
        fn random(&self) -> u128 {
            let mut digits = self.0.lock();
            let left = digits.len() as u128;
            // The rest differs, so that equal beginnings make different ids.
            (u128::from(digits.pop().unwrap_or_default()) << 96) | left
        }
    }

    /// An engine with a session for each of these beginnings.
    fn engine(beginnings: &[u32]) -> Engine<u8> {
        // The engine takes the seed of its hash tables first.
        let digits = [0].iter().chain(beginnings).rev().copied().collect();
        let engine = Engine::new(EngineConfig::default(), Arc::new(Digits(Mutex::new(digits))), Arc::new(PlainNames));
        let (now, mut dirty) = (Time::default(), Dirty::default());
        for _ in beginnings {
            let mut exchange = engine.begin(now, Peer::on(Transport::WebSocket), 0, Binding::Open, 1);
            engine.handle(now, &mut exchange, Message::to("/meta/handshake"), &Verdict::granted(), &mut dirty);
            engine.finish(now, exchange, &mut Batch::default(), &mut dirty);
        }
        engine
    }

    #[test]
    fn sessions_are_found_by_their_beginning() {
        let engine = engine(&[7, 9, 7]);
        let found = |text| engine.sessions_with_prefix(SessionPrefix::parse(text).unwrap());
        let sevens = found("00000007");
        assert!(sevens.len() == 2 && sevens[0] < sevens[1], "{sevens:?}");
        assert_eq!(found("000000090000").len(), 1);
        assert_eq!(found("00000008"), []);
        assert_eq!(found(&sevens[1].to_string()), sevens[1..]);
    }

    #[test]
    fn a_page_does_not_end_between_ids_that_look_the_same() {
        let engine = engine(&[5, 3, 4, 3, 3, 9]);
        let page = |after: Option<&str>, count| {
            let after = after.map(|after| SessionPrefix::parse(after).unwrap());
            let (reports, last) = engine.session_page(after, count);
            (
                reports.iter().map(|report| report.view.id.shortened()).collect::<Vec<_>>(),
                last.map(SessionId::shortened),
            )
        };
        let (three, four, five, nine) = ("00000003", "00000004", "00000005", "00000009");
        assert_eq!(page(None, 1), (vec![three.into(); 3], Some(three.into())));
        assert_eq!(page(Some(three), 2), (vec![four.into(), five.into()], Some(five.into())));
        assert_eq!(page(Some(five), 2), (vec![nine.into()], None));
        assert_eq!(page(Some(nine), 2), (vec![], None));
        assert_eq!(page(Some(three), 3), (vec![four.into(), five.into(), nine.into()], None));
        assert_eq!(page(Some(four), 1), (vec![five.into()], Some(five.into())));
    }
}
