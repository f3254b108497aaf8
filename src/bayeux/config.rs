//! [`EngineConfig`]: the engine's times and limits, with the defaults of this server.
//!
//! Names are CometD's option names in snake case where CometD has the option (`docs/configuration.md`). Every limit is finite by
//! default.

use std::time::Duration;

use super::extension::TimestampFormat;
use super::peer::{HttpVersion, Transport};

/// Times and limits of an engine.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineConfig {
    /// Options of sessions and messages carried by `websocket`.
    pub websocket: TransportConfig,
    /// Options of sessions and messages carried by `long-polling`.
    pub long_polling: TransportConfig,
    /// Options of sessions and messages carried by `callback-polling`.
    pub callback_polling: TransportConfig,
    /// Transports advertised in handshake replies, in this order; `eventsource` only to clients that name it.
    pub allowed_transports: Vec<Transport>,
    /// Whether a publisher that is subscribed receives its own messages.
    pub broadcast_to_publisher: bool,
    /// Whether `channel` and `id` of each message are checked against the grammar.
    pub validate_message_fields: bool,
    /// Time between two passes over idle channels; a channel is removed on the third idle pass.
    pub sweep_period: Duration,
    /// Which of the protocol's extensions are on, and their options.
    pub extensions: Extensions,
    /// Upper bounds on what clients can make the engine hold.
    pub limits: Limits,
}

impl EngineConfig {
    /// Returns the options of one transport; local sessions share those of `long-polling`.
    #[must_use]
    pub fn transport(&self, transport: Transport) -> &TransportConfig {
        match transport {
            Transport::WebSocket => &self.websocket,
            // The requests beside an event stream are those of long-polling.
            Transport::LongPolling | Transport::EventSource | Transport::Local => &self.long_polling,
            Transport::CallbackPolling => &self.callback_polling,
        }
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            websocket: TransportConfig { max_batch_bytes: 32 * 1024, ..TransportConfig::default() },
            long_polling: TransportConfig::default(),
            callback_polling: TransportConfig::default(),
            allowed_transports: vec![
                Transport::WebSocket,
                Transport::LongPolling,
                Transport::CallbackPolling,
                Transport::EventSource,
            ],
            broadcast_to_publisher: true,
            validate_message_fields: true,
            sweep_period: Duration::from_millis(997),
            extensions: Extensions::default(),
            limits: Limits::default(),
        }
    }
}

/// Options that may differ from transport to transport.
#[derive(Clone, Debug, PartialEq)]
pub struct TransportConfig {
    /// How long a connect is held when nothing happens.
    pub timeout: Duration,
    /// How long a client is advised to wait before its next connect.
    pub interval: Duration,
    /// How long a session may go without a connect, after the advised interval, before it expires.
    pub max_interval: Duration,
    /// How long a session whose connect is in progress may stay silent before it expires; `None` is no limit.
    pub max_processing: Option<Duration>,
    /// How long a lazy message may wait; zero sends it at once.
    pub max_lazy_timeout: Duration,
    /// Whether messages travel only with connect replies; on `callback-polling` they always do.
    pub meta_connect_deliver_only: bool,
    /// Most messages that may wait for one session, those not yet acknowledged included.
    pub max_queue: usize,
    /// Most bytes of messages that may wait for one session, those not yet acknowledged included.
    pub max_queue_bytes: usize,
    /// What happens to a session whose queue is full.
    pub queue_overflow: QueueOverflow,
    /// Most bytes of messages in one HTTP response, or in one batch that travels with a connect reply. A single
    /// larger message goes alone.
    pub max_batch_bytes: usize,
    /// Whether advice carries `maxInterval`.
    pub handshake_reconnect: bool,
    /// Whether messages queued during the handshake follow its reply at once, counted in `x-messages`.
    pub allow_message_delivery_during_handshake: bool,
    /// HTTP: status of a held connect that a newer one of its session replaces; 400 or more.
    pub duplicate_meta_connect_http_response_code: u16,
    /// HTTP/1.1: how many connects of one browser may be held at once; `None` is no limit.
    pub max_sessions_per_browser: Option<u32>,
    /// HTTP/2: how many connects of one browser may be held at once; `None` is no limit.
    pub http2_max_sessions_per_browser: Option<u32>,
    /// HTTP: advised interval for a browser with too many sessions; zero refuses the connect.
    pub multi_session_interval: Duration,
    /// WebSocket: most messages in one frame; zero puts all into one.
    pub messages_per_frame: usize,
    /// WebSocket: whether a session may only be used on the connection of its handshake.
    pub require_handshake_per_connection: bool,
}

impl TransportConfig {
    /// How many requests of one browser may be kept open by this version of HTTP; `None` is no limit.
    pub(super) const fn max_held_per_browser(&self, http: HttpVersion) -> Option<u32> {
        match http {
            HttpVersion::One => self.max_sessions_per_browser,
            HttpVersion::Two => self.http2_max_sessions_per_browser,
        }
    }
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            interval: Duration::ZERO,
            max_interval: Duration::from_secs(10),
            max_processing: None,
            max_lazy_timeout: Duration::from_secs(5),
            meta_connect_deliver_only: false,
            max_queue: 32_768,
            max_queue_bytes: 16 * 1024 * 1024,
            queue_overflow: QueueOverflow::Disconnect,
            max_batch_bytes: 512 * 1024,
            handshake_reconnect: false,
            allow_message_delivery_during_handshake: false,
            duplicate_meta_connect_http_response_code: 500,
            max_sessions_per_browser: Some(3),
            http2_max_sessions_per_browser: None,
            multi_session_interval: Duration::from_secs(2),
            messages_per_frame: 1,
            require_handshake_per_connection: false,
        }
    }
}

/// What happens when a message finds the queue of its session full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueOverflow {
    /// The session is ended as if the server had disconnected it.
    Disconnect,
    /// The oldest messages are dropped until the new one fits.
    DropOldest,
}

/// Which of the protocol's extensions are on, and their options.
///
/// What is off is not known to the server: its `ext` is neither read nor answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extensions {
    /// Messages are kept until the client has acknowledged them.
    pub ack: bool,
    /// Clients learn how far their clock is from the server's.
    pub timesync: bool,
    /// Everything that leaves says when it left.
    pub timestamp: bool,
    /// Sessions whose people do nothing are ended, though their client keeps connecting.
    pub activity: bool,
    /// Services see binary data as bytes, not as text.
    pub binary: bool,
    /// `timesync`: a client whose clock is nearer than this is told nothing; CometD's `accuracyTarget`.
    pub timesync_accuracy_target: Duration,
    /// `timestamp`: how the time is written.
    pub timestamp_format: TimestampFormat,
    /// `timestamp`: name of the time zone it is written for, as in `Europe/Paris`; `None` is that of the machine. The
    /// engine knows no zones: whoever runs it tells it the offset.
    pub timestamp_zone: Option<String>,
    /// `activity`: whose messages count.
    pub activity_mode: ActivityMode,
    /// `activity`: how long a session may be without such messages; CometD's `maxInactivityPeriod`.
    pub activity_max_inactivity_period: Duration,
}

impl Default for Extensions {
    fn default() -> Self {
        Self {
            ack: true,
            timesync: true,
            timestamp: false,
            activity: false,
            binary: true,
            timesync_accuracy_target: Duration::from_millis(25),
            timestamp_format: TimestampFormat::default(),
            timestamp_zone: None,
            activity_mode: ActivityMode::Client,
            activity_max_inactivity_period: Duration::from_secs(15 * 60),
        }
    }
}

/// Whose messages show that a session is in use; connects and their replies never do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivityMode {
    /// Those of the client.
    Client,
    /// Those of the client and those for it.
    ClientServer,
}

/// Upper bounds on what clients can make the engine hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Messages in one request body or frame; 10,000 allows any batch a known client builds.
    pub max_batch_messages: usize,
    /// Nesting of JSON in one request body or frame.
    pub max_depth: usize,
    /// Bytes of a channel name.
    pub max_channel_length: usize,
    /// Bytes of a message `id`.
    pub max_id_length: usize,
    /// Subscriptions of one session, and channels named by one subscribe message.
    pub max_subscriptions: usize,
    /// Sessions at once.
    pub max_sessions: usize,
    /// Channels at once.
    pub max_channels: usize,
    /// Longest hold a client may ask for with `advice.timeout`; the transport's own `timeout` is always allowed.
    pub max_advice_timeout: Duration,
    /// Longest pause a client may announce with `advice.interval`.
    pub max_advice_interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_batch_messages: 10_000,
            max_depth: 1_000,
            max_channel_length: 1_024,
            max_id_length: 256,
            max_subscriptions: 10_000,
            max_sessions: 1_000_000,
            max_channels: 1_000_000,
            max_advice_timeout: Duration::from_secs(120),
            max_advice_interval: Duration::from_secs(600),
        }
    }
}
