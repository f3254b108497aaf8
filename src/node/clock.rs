//! [`Clock`] and [`Calendar`]: the one place that reads the time for the engine.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::bayeux::Time;
use crate::bayeux::config::Extensions;
use crate::bayeux::extension::ZoneOffset;

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

/// What people's clocks and calendars show, which may be set back and forth.
#[derive(Clone, Debug)]
pub(super) struct Calendar {
    zone: TimeZone,
}

impl Calendar {
    /// Takes the zone that timestamps are written for, or UTC if none are written.
    pub(super) fn new(extensions: &Extensions) -> Self {
        let zone = extensions.timestamp_zone.as_deref();
        let found = match zone {
            _ if !extensions.timestamp => Ok(TimeZone::UTC),
            None => TimeZone::try_system(),
            Some(name) => TimeZone::get(name),
        };
        let zone = found.unwrap_or_else(|error| {
            tracing::warn!(zone, %error, "time zone not known: timestamps are in UTC");
            TimeZone::UTC
        });
        Self { zone }
    }

    /// Reads the milliseconds since the Unix epoch, and what the zone has to do with UTC then.
    pub(super) fn read(&self) -> (u64, ZoneOffset) {
        let now = SystemTime::now();
        let millis = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let offset = Timestamp::try_from(now).map_or_else(
            |_| ZoneOffset::default(),
            |instant| {
                let info = self.zone.to_offset_info(instant);
                ZoneOffset { seconds: info.offset().seconds(), abbreviation: info.abbreviation().to_owned() }
            },
        );
        (u64::try_from(millis).unwrap_or(u64::MAX), offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_found_by_its_name() {
        let calendar = |zone: &str| {
            let timestamp_zone = Some(zone.to_owned());
            Calendar::new(&Extensions { timestamp: true, timestamp_zone, ..Extensions::default() })
        };
        let (millis, offset) = calendar("UTC").read();
        assert!(millis > 1_700_000_000_000, "{millis}");
        assert_eq!(offset, ZoneOffset::default());
        assert_eq!(calendar("Nowhere/Atlantis").read().1, ZoneOffset::default());
    }
}
