//! [`WallClock`]: what people's clocks show, as far as whoever runs the engine has told it.

use super::ZoneOffset;
use crate::bayeux::time::Time;

/// How people's clocks differ from the engine's, which only counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::bayeux) struct WallClock {
    /// Milliseconds to add to the engine's time for those since the Unix epoch.
    ahead: i64,
    /// The zone of timestamps.
    pub(in crate::bayeux) zone: ZoneOffset,
}

impl WallClock {
    /// Sets the clock: at `now` it is `unix_millis` since the Unix epoch.
    pub(in crate::bayeux) fn set(now: Time, unix_millis: u64, zone: ZoneOffset) -> Self {
        let signed = |millis: u64| i64::try_from(millis).unwrap_or(i64::MAX);
        Self { ahead: signed(unix_millis).saturating_sub(signed(now.as_millis())), zone }
    }

    /// Returns the milliseconds since the Unix epoch.
    pub(in crate::bayeux) fn unix_millis(&self, now: Time) -> u64 {
        now.as_millis().saturating_add_signed(self.ahead)
    }
}
