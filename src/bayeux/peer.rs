//! [`Peer`]: what is known of the sender of a message, and [`Transport`], how it came.

use core::net::IpAddr;
use std::fmt;
use std::sync::Arc;

/// How messages of a session travel; a Bayeux connection type, or in process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// `websocket`.
    WebSocket,
    /// `long-polling`.
    LongPolling,
    /// `callback-polling`, which is called JSONP elsewhere.
    CallbackPolling,
    /// `eventsource`: a stream of events beside the requests of long-polling, as Faye has it.
    EventSource,
    /// A session inside this process, which no connection type names.
    Local,
}

impl Transport {
    /// Returns the Bayeux connection type, or `local`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::LongPolling => "long-polling",
            Self::CallbackPolling => "callback-polling",
            Self::EventSource => "eventsource",
            Self::Local => "local",
        }
    }

    /// Whether each exchange of messages is one HTTP request with one response.
    #[must_use]
    pub const fn is_http(self) -> bool {
        matches!(self, Self::LongPolling | Self::CallbackPolling | Self::EventSource)
    }

    /// Whether publications travel with connect replies only, whatever the session's own options ([CP-5]).
    pub(super) const fn is_connect_only(self) -> bool {
        matches!(self, Self::CallbackPolling)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A mount: one place where Bayeux is served, with sessions of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MountId(pub u16);

/// What is known of the sender of a message.
#[derive(Clone, Debug)]
pub struct Peer {
    /// How the message came.
    pub transport: Transport,
    /// Where it was sent to.
    pub mount: MountId,
    /// The sender's address; `None` inside the process.
    pub address: Option<IpAddr>,
    /// The browser the request came from, as its cookie names it.
    pub browser: Option<Arc<str>>,
    /// The version of HTTP, which decides how many connects of one browser may be held.
    pub http: HttpVersion,
}

/// Versions of HTTP that differ in how many requests a browser keeps open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.0 or 1.1: a browser opens at most six connections.
    #[default]
    One,
    /// HTTP/2: requests share a connection.
    Two,
}

impl Peer {
    /// The sender of messages inside this process.
    #[must_use]
    pub const fn local() -> Self {
        Self::on(Transport::Local)
    }

    /// A sender of whom nothing is known but the transport, on the first mount.
    #[must_use]
    pub const fn on(transport: Transport) -> Self {
        Self { transport, mount: MountId(0), address: None, browser: None, http: HttpVersion::One }
    }
}
