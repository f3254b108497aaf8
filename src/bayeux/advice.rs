//! [`Advice`]: what a client is told to do next.

use std::time::Duration;

/// What a client should do when its connect ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// Send the next connect.
    Retry,
    /// Handshake again.
    Handshake,
    /// Nothing; the session is over.
    None,
}

impl Reconnect {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Handshake => "handshake",
            Self::None => "none",
        }
    }
}

/// The `advice` field of a reply; fields that are `None` are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// `reconnect`.
    pub reconnect: Reconnect,
    /// `interval`: how long to wait before the next connect.
    pub interval: Option<Duration>,
    /// `timeout`: how long a connect may be held.
    pub timeout: Option<Duration>,
    /// `maxInterval`: how long a session lives without a connect.
    pub max_interval: Option<Duration>,
    /// `multiple-clients`: the browser has more sessions than may be held.
    pub multiple_clients: bool,
}

impl Advice {
    /// Advice of one word.
    #[must_use]
    pub const fn only(reconnect: Reconnect) -> Self {
        Self { reconnect, interval: None, timeout: None, max_interval: None, multiple_clients: false }
    }

    /// Advice to do something at once.
    #[must_use]
    pub const fn at_once(reconnect: Reconnect) -> Self {
        Self { interval: Some(Duration::ZERO), ..Self::only(reconnect) }
    }

    /// Appends the JSON object; durations are whole milliseconds.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"reconnect\":\"");
        out.extend_from_slice(self.reconnect.as_str().as_bytes());
        out.push(b'"');
        for (name, value) in
            [("interval", self.interval), ("timeout", self.timeout), ("maxInterval", self.max_interval)]
        {
            if let Some(value) = value {
                out.extend_from_slice(format!(",\"{name}\":{}", value.as_millis()).as_bytes());
            }
        }
        if self.multiple_clients {
            out.extend_from_slice(b",\"multiple-clients\":true");
        }
        out.push(b'}');
    }
}
