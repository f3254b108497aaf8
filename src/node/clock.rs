//! [`Clock`]: the one place that reads the time for the engine.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::bayeux::Time;

/// Counts from the Unix epoch at start with the monotonic clock, so that it never goes backwards and its readings
/// still mean something to people.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    epoch: Duration,
}

impl Clock {
    /// Starts a clock.
    #[must_use]
    pub fn start() -> Self {
        // A system clock before 1970 is wrong, but no reason not to serve.
        let epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), epoch }
    }

    /// Reads the clock.
    #[must_use]
    pub fn now(&self) -> Time {
        let elapsed = self.epoch + self.started.elapsed();
        Time::from_millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }
}
