//! [`Deadlines`]: when the engine next needs to be called, and for which session.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use parking_lot::Mutex;

use super::ids::SessionId;
use super::time::Time;

/// A heap with one entry that counts for every session that has a deadline.
///
/// Moving a deadline later touches only the session: the old entry pops early, finds nothing due and is armed again.
/// Moving it earlier arms a new entry; the session knows which one counts and the other is ignored when it pops.
#[derive(Default)]
pub(super) struct Deadlines {
    armed: Mutex<BinaryHeap<Reverse<(Time, SessionId)>>>,
}

impl Deadlines {
    pub(super) fn arm(&self, at: Time, id: SessionId) {
        self.armed.lock().push(Reverse((at, id)));
    }

    /// Removes and returns an entry that is due.
    pub(super) fn pop_due(&self, now: Time) -> Option<(Time, SessionId)> {
        let mut armed = self.armed.lock();
        match armed.peek() {
            Some(Reverse((at, _))) if *at <= now => armed.pop().map(|Reverse(entry)| entry),
            _ => None,
        }
    }

    /// When the next entry is due.
    pub(super) fn next(&self) -> Option<Time> {
        self.armed.lock().peek().map(|Reverse((at, _))| *at)
    }
}
