//! The checked settings of each part: plain data, filled from the table of keys.

use std::fmt;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Settings of the public listener: where it is, and what one connection may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Address of the public listener; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Foreign origins whose pages may talk to this server: `scheme://host[:port]` in lower case without a default
    /// port, `null`, or `*` for all. A page of the server's own origin and a program that sends no `Origin` need no
    /// entry.
    pub allowed_origins: Vec<String>,
    /// How long the head of a request may take to arrive.
    pub header_timeout: Duration,
    /// How long the body of a request may take to arrive.
    pub body_timeout: Duration,
    /// How long a connection may rest between two requests.
    pub idle_timeout: Duration,
    /// How long a stop may take before connections that are still open are cut.
    pub shutdown_timeout: Duration,
    /// Most connections open at once.
    pub max_connections: usize,
    /// Room for the head of a request. A longer one is refused, but as it is read in steps, up to twice as much may pass.
    pub max_header_bytes: usize,
    /// Most header fields of a request.
    pub max_headers: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            allowed_origins: Vec::new(),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
            shutdown_timeout: Duration::from_secs(10),
            max_connections: 100_000,
            max_header_bytes: 64 * 1024,
            max_headers: 100,
        }
    }
}

/// Settings of the admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Address of the admin listener; `None` opens none, port 0 takes any free one.
    pub listen: Option<SocketAddr>,
    /// Bearer token that every admin request must carry; `None`, allowed on loopback only, asks for none.
    pub token: Option<Secret>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 8081))), token: None }
    }
}

/// Settings of the log, which goes to standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A level, or a comma-separated filter as in `RUST_LOG`.
    pub level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned() }
    }
}

/// One Bayeux end point of the public listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Path of the end point: starts with `/`, does not end with one.
    pub path: String,
}

impl Default for Mount {
    fn default() -> Self {
        Self { path: "/cometd".to_owned() }
    }
}

/// Options of the transports that concern HTTP and WebSocket only, not the engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpConfig {
    /// Options of `websocket`.
    pub websocket: TransportHttpConfig,
    /// Options of `long-polling`.
    pub long_polling: TransportHttpConfig,
    /// Options of `callback-polling`; its browser cookie is that of `long-polling`.
    pub callback_polling: TransportHttpConfig,
    /// Options of `eventsource`.
    pub event_source: EventSourceConfig,
}

/// Options of event streams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSourceConfig {
    /// How long a client is told to wait before it opens a stream that broke again.
    pub retry: Duration,
    /// Longest time without a byte; then a comment is sent.
    pub keep_alive: Duration,
}

impl Default for EventSourceConfig {
    fn default() -> Self {
        Self { retry: Duration::from_secs(5), keep_alive: Duration::from_secs(15) }
    }
}

/// HTTP and WebSocket options of one transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportHttpConfig {
    /// Most bytes of one request body, of the messages in one query, or of one WebSocket message.
    pub max_message_size: usize,
    /// HTTP: the cookie by which connects of one browser are counted.
    pub browser_cookie: BrowserCookie,
    /// `callback-polling`: the function that a response calls.
    pub callback: Callback,
    /// WebSocket: how long a client may send nothing; longer than the hold time.
    pub idle_timeout: Duration,
    /// WebSocket: how long a client may take nothing of what is to be written to it.
    pub write_timeout: Duration,
    /// WebSocket: subprotocol to agree on when the client offers it; `None` agrees on none.
    pub protocol: Option<String>,
    /// WebSocket: whether messages are compressed for clients that offer permessage-deflate.
    pub permessage_deflate: bool,
    /// WebSocket: from how many bytes on a message is compressed.
    pub permessage_deflate_threshold: usize,
}

impl Default for TransportHttpConfig {
    fn default() -> Self {
        Self {
            max_message_size: 2 * 1024 * 1024,
            browser_cookie: BrowserCookie::default(),
            callback: Callback::default(),
            idle_timeout: Duration::from_secs(300),
            write_timeout: Duration::from_secs(60),
            protocol: None,
            permessage_deflate: false,
            permessage_deflate_threshold: 1024,
        }
    }
}

/// How the function is named that a response of `callback-polling` calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// Query parameter that names it.
    pub parameter: String,
    /// Most characters of its name.
    pub max_length: usize,
    /// Whether a response is kept from being taken for anything but a script.
    pub hardened: bool,
}

impl Default for Callback {
    fn default() -> Self {
        Self { parameter: "jsonp".to_owned(), max_length: 64, hardened: true }
    }
}

/// The cookie by which connects of one browser are counted; no client needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrowserCookie {
    /// Name of the cookie.
    pub name: String,
    /// `Domain` attribute; `None` leaves it out.
    pub domain: Option<String>,
    /// `Path` attribute; `None` leaves it out.
    pub path: Option<String>,
    /// `Max-Age` attribute, whole seconds; `None` leaves it out, and the cookie ends with the browser.
    pub max_age: Option<Duration>,
    /// Whether the cookie is marked `Secure` in answers to secure requests.
    pub secure: bool,
    /// Whether scripts are kept from reading the cookie.
    pub http_only: bool,
    /// `SameSite` attribute; `None` leaves it out.
    pub same_site: Option<SameSite>,
    /// Whether the cookie is kept apart for each top-level site.
    pub partitioned: bool,
}

impl Default for BrowserCookie {
    fn default() -> Self {
        Self {
            name: "BAYEUX_BROWSER".to_owned(),
            domain: None,
            path: Some("/".to_owned()),
            max_age: None,
            secure: false,
            http_only: true,
            same_site: None,
            partitioned: false,
        }
    }
}

/// Value of a cookie's `SameSite` attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// Sent with requests from the same site only.
    Strict,
    /// Also sent when a link leads here from another site.
    Lax,
    /// Sent always; browsers accept it on `Secure` cookies only.
    None,
}

impl SameSite {
    /// Returns the value of the attribute as it is written in `Set-Cookie`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

/// A text that must not appear in logs, lists or error messages.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Returns the secret itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether `candidate` is the secret; how long the answer takes tells at most the length.
    #[must_use]
    pub fn matches(&self, candidate: &[u8]) -> bool {
        let secret = self.0.as_bytes();
        let difference = secret.iter().zip(candidate).fold(0, |sum, (left, right)| black_box(sum | (left ^ right)));
        secret.len() == candidate.len() && difference == 0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.0.as_bytes())
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        let admin = AdminConfig { token: Some(Secret::new("hunter2".to_owned())), ..AdminConfig::default() };
        let printed = format!("{admin:?} {admin:#?}");
        assert!(!printed.contains("hunter2"), "{printed}");
    }

    #[test]
    fn a_secret_matches_itself_only() {
        let secret = Secret::new("demo".to_owned());
        assert!(secret.matches(b"demo"));
        for other in ["", "dem", "demo1", "demx", "Demo"] {
            assert!(!secret.matches(other.as_bytes()), "{other}");
        }
    }
}
