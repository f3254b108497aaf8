//! [`Counters`]: what the engine has done since it was made.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts that only grow; each is right by itself, together they are not one moment.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Publications that were fanned out.
    pub(super) published: Counter,
    /// Publications put into a session's queue.
    pub(super) delivered: Counter,
    /// Publications dropped from a full queue.
    pub(super) dropped: Counter,
    /// Sessions that shook hands.
    pub(super) sessions_added: Counter,
    /// Sessions that ended because they were silent.
    pub(super) sessions_expired: Counter,
    /// Sessions that ended because their queue was full.
    pub(super) sessions_overflowed: Counter,
}

/// What an engine has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Publications that were fanned out.
    pub published: u64,
    /// Publications put into a session's queue.
    pub delivered: u64,
    /// Publications dropped from a full queue.
    pub dropped: u64,
    /// Sessions that shook hands.
    pub sessions_added: u64,
    /// Sessions that ended because they were silent.
    pub sessions_expired: u64,
    /// Sessions that ended because their queue was full.
    pub sessions_overflowed: u64,
}

impl Counters {
    /// Reads all counts.
    pub(super) fn totals(&self) -> Totals {
        Totals {
            published: self.published.get(),
            delivered: self.delivered.get(),
            dropped: self.dropped.get(),
            sessions_added: self.sessions_added.get(),
            sessions_expired: self.sessions_expired.get(),
            sessions_overflowed: self.sessions_overflowed.get(),
        }
    }
}

/// One count.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
