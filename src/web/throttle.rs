//! [`Throttle`]: lets one of many events through, so that strangers cannot fill the log.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Lets one event through now and then, and counts the others.
#[derive(Debug)]
pub struct Throttle {
    period: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    passed_at: Option<Instant>,
    stopped: u64,
}

impl Throttle {
    /// The least time between two events that pass: enough for whoever reads a log, and 10,000 lines a day at most.
    pub const PERIOD: Duration = Duration::from_secs(10);

    /// Lets the first event through, and then one in each `period` at most.
    #[must_use]
    pub fn new(period: Duration) -> Self {
        Self { period, state: Mutex::default() }
    }

    /// Returns how many events were stopped since the last that passed, if this one passes.
    pub fn pass(&self, now: Instant) -> Option<u64> {
        let mut state = self.state.lock();
        if state.passed_at.is_some_and(|at| now.saturating_duration_since(at) < self.period) {
            state.stopped += 1;
            return None;
        }
        state.passed_at = Some(now);
        Some(std::mem::take(&mut state.stopped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_many_passes_and_the_others_are_counted() {
        let throttle = Throttle::new(Throttle::PERIOD);
        let start = Instant::now();
        let millis = |millis| start + Duration::from_millis(millis);
        assert_eq!(throttle.pass(start), Some(0));
        for n in 0..5_000 {
            assert_eq!(throttle.pass(millis(n)), None);
        }
        assert_eq!(throttle.pass(millis(9_999)), None);
        assert_eq!(throttle.pass(millis(10_000)), Some(5_001));
        assert_eq!(throttle.pass(start), None, "a clock that was read before another");
        assert_eq!(throttle.pass(millis(40_000)), Some(1));
    }
}
