//! [`Peer`]: what is known of the sender of a message, and [`Transport`], how it came.

use std::fmt;

/// How messages of a session travel; a Bayeux connection type, or in process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// `websocket`.
    WebSocket,
    /// `long-polling`.
    LongPolling,
    /// A session inside this process, which no connection type names.
    Local,
}

impl Transport {
    /// Returns the Bayeux connection type, or `local`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::LongPolling => "long-polling",
            Self::Local => "local",
        }
    }

    /// Whether each message exchange is one HTTP request with one response.
    #[must_use]
    pub fn is_http(self) -> bool {
        matches!(self, Self::LongPolling)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
