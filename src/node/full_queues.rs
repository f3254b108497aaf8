//! [`FullQueues`]: tells whoever reads the log that clients do not keep up.

use std::time::Duration;

use crate::bayeux::{Time, Totals};

/// Least time between two lines: a thousand clients that stop reading are one event to an operator.
const EVERY: Duration = Duration::from_secs(10);

/// What full queues have cost, as far as it has been told.
#[derive(Debug, Default)]
pub(super) struct FullQueues {
    told: Totals,
    again_at: Option<Time>,
}

impl FullQueues {
    /// Writes a warning if queues were full since the last one, at most every ten seconds.
    pub(super) fn tell(&mut self, now: Time, totals: Totals) {
        if let Some((sessions_ended, messages_dropped)) = self.untold(now, totals) {
            tracing::warn!(
                sessions_ended,
                messages_dropped,
                "clients did not keep up and their queues were full: see max_queue, max_queue_bytes, queue_overflow"
            );
        }
    }

    /// Returns how many sessions ended and how many messages were dropped since it was last told, if it is to be told.
    fn untold(&mut self, now: Time, totals: Totals) -> Option<(u64, u64)> {
        let sessions = totals.sessions_overflowed - self.told.sessions_overflowed;
        let messages = totals.dropped - self.told.dropped;
        if (sessions, messages) == (0, 0) || self.again_at.is_some_and(|at| now < at) {
            return None;
        }
        self.told = totals;
        self.again_at = Some(now + EVERY);
        Some((sessions, messages))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_meanwhile_is_told_later_and_once() {
        let mut queues = FullQueues::default();
        let totals = |sessions_overflowed, dropped| Totals { sessions_overflowed, dropped, ..Totals::default() };
        let at = Time::from_millis;
        assert_eq!(queues.untold(at(0), totals(0, 0)), None);
        assert_eq!(queues.untold(at(50), totals(1, 0)), Some((1, 0)));
        assert_eq!(queues.untold(at(10_049), totals(3, 7)), None);
        assert_eq!(queues.untold(at(10_050), totals(3, 7)), Some((2, 7)));
        assert_eq!(queues.untold(at(60_000), totals(3, 7)), None);
    }
}
