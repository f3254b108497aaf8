//! [`Time`]: the engine's clock reading, given by the caller with every call.

use std::ops::Add;
use std::time::Duration;

/// Milliseconds since an origin of the caller's choice.
///
/// Readings given to one engine must not go backwards. A caller that starts from the Unix epoch and counts with a
/// monotonic clock from there gets both order and a meaning for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// Makes a reading of `milliseconds` since the caller's origin.
    #[must_use]
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(milliseconds)
    }

    /// Returns the milliseconds since the caller's origin.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns how long after `earlier` this reading is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Adds whole milliseconds, rounded up so that a deadline never comes early.
    fn add(self, duration: Duration) -> Self {
        let whole = u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(whole))
    }
}
