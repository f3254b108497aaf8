//! The table of all settings: the one place that says what they are called, what they may hold and what they mean.
//!
//! Reading a file, the environment and flags, refusing unknown names, and `docs/configuration.md` all follow it. A new
//! setting is a field in `sections.rs` or in the configuration of the engine, and one row here.

use std::time::Duration;

use super::Config;
use super::kind::Kind;
use super::sections::{Mount, TransportHttpConfig};
use super::texts;
use super::units::Bare;
use crate::bayeux::config::TransportConfig;

/// One setting, or for a transport option the same setting of several transports.
pub(super) struct Row {
    /// Section that holds it; a transport option may also stand in the sections of its transports.
    pub(super) section: &'static str,
    /// Name within the section.
    pub(super) name: &'static str,
    /// Field and form.
    pub(super) place: Place,
    /// What it does, for the reference: whole sentences without the form, which [`Kind::describe`] gives.
    pub(super) doc: &'static str,
}

/// Which part of [`Config`] a row fills.
pub(super) enum Place {
    /// A field that exists once.
    Once(Kind<Config>),
    /// A field of each mount.
    Mount(Kind<Mount>),
    /// An option of the engine that each of these transports has.
    Engine(Transports, Kind<TransportConfig>),
    /// An option of HTTP or WebSocket that each of these transports has.
    Http(Transports, Kind<TransportHttpConfig>),
}

/// Which transports have an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transports {
    /// Every transport.
    All,
    /// `websocket` only.
    WebSocket,
    /// `long-polling` and `callback-polling`.
    Polling,
    /// `long-polling`, and `callback-polling` has the same.
    LongPolling,
    /// `callback-polling` only.
    CallbackPolling,
}

/// The sections in the order of the reference, with what they are about.
pub(super) const SECTIONS: &[(&str, &str)] = &[
    ("server", "The public listener: where it is, who may talk to it, and what one connection may cost."),
    ("admin", "The admin listener, for operators and back ends. Keep it away from the public."),
    ("log", "The log, which goes to standard error."),
    (
        "mount",
        "The Bayeux end points, each a `[[mount]]` block in the file. Without any there is one at `/cometd`. In flags and \
         variables they are counted from 0: `--set mount.0.path=/bayeux`, `MIRANT_MOUNT__0__PATH=/bayeux`.",
    ),
    ("bayeux", "The protocol. The names are CometD's option names in snake case where CometD has the option."),
];

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
const GIB: usize = 1 << 30;

use Place::{Engine, Http, Once};
use Transports::{All, CallbackPolling, LongPolling, Polling, WebSocket};

const fn row(section: &'static str, name: &'static str, place: Place, doc: &'static str) -> Row {
    Row { section, name, place, doc }
}

/// All settings, by section, in the order of the reference.
pub(super) static TABLE: &[Row] = &[
    // [server]
    row(
        "server",
        "listen",
        Once(Kind::Text {
            form: texts::ADDRESS,
            set: |config, text| texts::address(text).map(|address| config.server.listen = address),
            show: |config| Some(config.server.listen.to_string()),
        }),
        "Address of the public listener; port 0 takes any free port. `0.0.0.0:8080` listens on all IPv4 interfaces.",
    ),
    row(
        "server",
        "allowed_origins",
        Once(Kind::List {
            form: texts::ORIGINS,
            set: |config, items| texts::origins(items).map(|origins| config.server.allowed_origins = origins),
            show: |config| config.server.allowed_origins.clone(),
        }),
        "Foreign sites whose pages may talk to this server, over HTTP and WebSocket alike. The server's own origin and \
         programs that send no `Origin` are always allowed.",
    ),
    row(
        "server",
        "header_timeout",
        Once(Kind::Duration { at: |config| &mut config.server.header_timeout, range: MS..=HOUR, bare: Bare::Refused }),
        "How long the head of a request may take to arrive.",
    ),
    row(
        "server",
        "body_timeout",
        Once(Kind::Duration { at: |config| &mut config.server.body_timeout, range: MS..=HOUR, bare: Bare::Refused }),
        "How long the body of a request, or a WebSocket message, may take to arrive.",
    ),
    row(
        "server",
        "idle_timeout",
        Once(Kind::Duration { at: |config| &mut config.server.idle_timeout, range: MS..=DAY, bare: Bare::Refused }),
        "How long an HTTP connection may rest between two requests. A held `/meta/connect` is not rest.",
    ),
    row(
        "server",
        "shutdown_timeout",
        Once(Kind::Duration {
            at: |config| &mut config.server.shutdown_timeout,
            range: MS..=HOUR,
            bare: Bare::Refused,
        }),
        "How long a stop may take before connections that are still open are cut.",
    ),
    row(
        "server",
        "max_connections",
        Once(Kind::Count { at: |config| &mut config.server.max_connections, range: 1..=10_000_000 }),
        "Most connections open at once. The process needs a file limit (`ulimit -n`) somewhat above it.",
    ),
    row(
        "server",
        "max_header_bytes",
        Once(Kind::Size { at: |config| &mut config.server.max_header_bytes, range: 8 * KIB..=MIB }),
        "Room for the head of a request. A longer one is refused, but as it is read in steps, up to twice as much may pass.",
    ),
    row(
        "server",
        "max_headers",
        Once(Kind::Count { at: |config| &mut config.server.max_headers, range: 16..=1_000 }),
        "Most header fields of a request.",
    ),
    // [admin]
    row(
        "admin",
        "listen",
        Once(Kind::Text {
            form: texts::OPTIONAL_ADDRESS,
            set: |config, text| texts::optional_address(text).map(|address| config.admin.listen = address),
            show: |config| Some(config.admin.listen.map_or_else(|| "off".to_owned(), |address| address.to_string())),
        }),
        "Address of the admin listener; port 0 takes any free port. An address that other machines can reach needs a \
         `token`.",
    ),
    row(
        "admin",
        "token",
        Once(Kind::Text {
            form: texts::TOKEN,
            set: |config, text| texts::token(text).map(|token| config.admin.token = Some(token)),
            show: |_| None,
        }),
        "Secret that every admin request carries as `Authorization: Bearer TOKEN`. Better in the variable \
         `MIRANT_ADMIN__TOKEN` than in a flag, which other users of the machine can see.",
    ),
    // [log]
    row(
        "log",
        "level",
        Once(Kind::Text {
            form: texts::LEVEL,
            set: |config, text| texts::level(text).map(|level| config.log.level = level),
            show: |config| Some(config.log.level.clone()),
        }),
        "How much is logged. `debug` also tells why connections ended and requests were refused. The variable `RUST_LOG` \
         means the same; `MIRANT_LOG__LEVEL` wins over it.",
    ),
    // [[mount]]
    row(
        "mount",
        "path",
        Place::Mount(Kind::Text {
            form: texts::MOUNT_PATH,
            set: |mount, text| texts::mount_path(text).map(|path| mount.path = path),
            show: |mount| Some(mount.path.clone()),
        }),
        "Path of the end point, for HTTP and WebSocket. A path below it belongs to it too.",
    ),
    // [bayeux], engine-wide
    row(
        "bayeux",
        "allowed_transports",
        Once(Kind::List {
            form: texts::TRANSPORTS,
            set: |config, items| texts::transports(items).map(|list| config.engine.allowed_transports = list),
            show: |config| config.engine.allowed_transports.iter().map(ToString::to_string).collect(),
        }),
        "Transports offered to clients, in this order. `eventsource` is offered to clients that ask for it, as those of \
         Faye do. Its URLs and those of `callback-polling` hold the `clientId`, which logs of proxies may keep.",
    ),
    row(
        "bayeux",
        "broadcast_to_publisher",
        Once(Kind::Bool(|config| &mut config.engine.broadcast_to_publisher)),
        "Whether a publisher that is subscribed to its channel receives its own messages.",
    ),
    row(
        "bayeux",
        "validate_message_fields",
        Once(Kind::Bool(|config| &mut config.engine.validate_message_fields)),
        "Whether `channel` and `id` of each message are checked against the grammar of the protocol.",
    ),
    row(
        "bayeux",
        "sweep_period",
        Once(Kind::Duration {
            at: |config| &mut config.engine.sweep_period,
            range: Duration::from_millis(10)..=HOUR,
            bare: Bare::Milliseconds,
        }),
        "Time between two passes over idle channels; a channel is removed on the third pass that finds it idle.",
    ),
    row(
        "bayeux",
        "max_batch_messages",
        Once(Kind::Count { at: |config| &mut config.engine.limits.max_batch_messages, range: 1..=1_000_000 }),
        "Most messages in one request body or frame.",
    ),
    row(
        "bayeux",
        "max_depth",
        Once(Kind::Count { at: |config| &mut config.engine.limits.max_depth, range: 8..=1_000 }),
        "Deepest nesting of JSON in one request body or frame.",
    ),
    row(
        "bayeux",
        "max_channel_length",
        Once(Kind::Count { at: |config| &mut config.engine.limits.max_channel_length, range: 32..=65_536 }),
        "Most bytes of a channel name.",
    ),
    row(
        "bayeux",
        "max_id_length",
        Once(Kind::Count { at: |config| &mut config.engine.limits.max_id_length, range: 16..=65_536 }),
        "Most bytes of a message `id`.",
    ),
    row(
        "bayeux",
        "max_subscriptions",
        Once(Kind::Count { at: |config| &mut config.engine.limits.max_subscriptions, range: 1..=1_000_000 }),
        "Most subscriptions of one session, and most channels in one subscribe message.",
    ),
    row(
        "bayeux",
        "max_sessions",
        Once(Kind::Count { at: |config| &mut config.engine.limits.max_sessions, range: 1..=100_000_000 }),
        "Most sessions at once.",
    ),
    row(
        "bayeux",
        "max_channels",
        Once(Kind::Count { at: |config| &mut config.engine.limits.max_channels, range: 16..=100_000_000 }),
        "Most channels at once.",
    ),
    row(
        "bayeux",
        "max_advice_timeout",
        Once(Kind::Duration {
            at: |config| &mut config.engine.limits.max_advice_timeout,
            range: Duration::ZERO..=HOUR,
            bare: Bare::Refused,
        }),
        "Longest hold that a client may ask for with `advice.timeout`. The transport's own `timeout` is always allowed.",
    ),
    row(
        "bayeux",
        "max_advice_interval",
        Once(Kind::Duration {
            at: |config| &mut config.engine.limits.max_advice_interval,
            range: Duration::ZERO..=DAY,
            bare: Bare::Refused,
        }),
        "Longest pause that a client may announce with `advice.interval`.",
    ),
    row(
        "bayeux",
        "extensions",
        Once(Kind::List {
            form: texts::EXTENSIONS,
            set: |config, items| texts::set_extensions(&mut config.engine.extensions, items),
            show: |config| texts::show_extensions(&config.engine.extensions),
        }),
        "Extensions of the protocol that are on. `ack`: messages are kept until the client acknowledges them. `timesync`: \
         clients learn how far their clock is off. `timestamp`: all that leaves says when. `activity`: sessions that only \
         connect are ended. `binary`: services see binary data as bytes.",
    ),
    row(
        "bayeux",
        "timesync_accuracy_target",
        Once(Kind::Duration {
            at: |config| &mut config.engine.extensions.timesync_accuracy_target,
            range: Duration::ZERO..=HOUR,
            bare: Bare::Milliseconds,
        }),
        "A client whose clock is known to be nearer than this is told nothing more by `timesync`.",
    ),
    row(
        "bayeux",
        "timestamp_format",
        Once(Kind::Text {
            form: texts::TIMESTAMP_FORMAT,
            set: |config, text| {
                texts::timestamp_format(text).map(|format| config.engine.extensions.timestamp_format = format)
            },
            show: |config| Some(config.engine.extensions.timestamp_format.as_str().to_owned()),
        }),
        "How `timestamp` writes the time.",
    ),
    row(
        "bayeux",
        "timestamp_zone",
        Once(Kind::Text {
            form: texts::TIMESTAMP_ZONE,
            set: |config, text| texts::timestamp_zone(text).map(|zone| config.engine.extensions.timestamp_zone = zone),
            show: |config| {
                Some(config.engine.extensions.timestamp_zone.clone().unwrap_or_else(|| texts::SYSTEM_ZONE.to_owned()))
            },
        }),
        "Time zone for which `timestamp` writes the time.",
    ),
    row(
        "bayeux",
        "activity_mode",
        Once(Kind::Text {
            form: texts::ACTIVITY_MODE,
            set: |config, text| texts::activity_mode(text).map(|mode| config.engine.extensions.activity_mode = mode),
            show: |config| Some(texts::activity_mode_name(config.engine.extensions.activity_mode).to_owned()),
        }),
        "Whose messages `activity` takes for a sign of life: the client's, or also those for it. Connects and their \
         replies never count.",
    ),
    row(
        "bayeux",
        "activity_max_inactivity_period",
        Once(Kind::Duration {
            at: |config| &mut config.engine.extensions.activity_max_inactivity_period,
            range: MS..=DAY,
            bare: Bare::Milliseconds,
        }),
        "How long a session may be without a sign of life before `activity` ends it, when its next connect arrives.",
    ),
    row(
        "bayeux",
        "eventsource_retry",
        Once(Kind::Duration {
            at: |config| &mut config.http.event_source.retry,
            range: Duration::from_millis(10)..=HOUR,
            bare: Bare::Refused,
        }),
        "How long clients wait before they open an event stream that broke again; shorter than `max_interval`, or their \
         sessions expire meanwhile.",
    ),
    row(
        "bayeux",
        "eventsource_keep_alive",
        Once(Kind::Duration {
            at: |config| &mut config.http.event_source.keep_alive,
            range: Duration::from_millis(10)..=HOUR,
            bare: Bare::Refused,
        }),
        "Longest silence on an event stream; then a comment is sent, so that proxies in between do not close it. At most \
         half of `server.idle_timeout` counts: after that a stream is closed to which nothing could be written.",
    ),
    // [bayeux], options of transports
    row(
        "bayeux",
        "timeout",
        Engine(All, Kind::Duration { at: |options| &mut options.timeout, range: MS..=HOUR, bare: Bare::Milliseconds }),
        "How long a `/meta/connect` is held when nothing happens. Proxies and load balancers in between must wait longer.",
    ),
    row(
        "bayeux",
        "interval",
        Engine(
            All,
            Kind::Duration {
                at: |options| &mut options.interval,
                range: Duration::ZERO..=HOUR,
                bare: Bare::Milliseconds,
            },
        ),
        "How long a client is advised to wait before its next `/meta/connect`.",
    ),
    row(
        "bayeux",
        "max_interval",
        Engine(
            All,
            Kind::Duration { at: |options| &mut options.max_interval, range: MS..=DAY, bare: Bare::Milliseconds },
        ),
        "How long a session may go without a `/meta/connect`, after the advised `interval`, before it expires.",
    ),
    row(
        "bayeux",
        "max_processing",
        Engine(
            All,
            Kind::OptionalDuration {
                at: |options| &mut options.max_processing,
                range: MS..=DAY,
                bare: Bare::Milliseconds,
            },
        ),
        "How long a session whose `/meta/connect` is in progress may stay silent before it expires.",
    ),
    row(
        "bayeux",
        "max_lazy_timeout",
        Engine(
            All,
            Kind::Duration {
                at: |options| &mut options.max_lazy_timeout,
                range: Duration::ZERO..=HOUR,
                bare: Bare::Milliseconds,
            },
        ),
        "How long a lazy message may wait for company; 0 sends it at once.",
    ),
    row(
        "bayeux",
        "meta_connect_deliver_only",
        Engine(All, Kind::Bool(|options| &mut options.meta_connect_deliver_only)),
        "Whether messages travel only together with replies to `/meta/connect`, as they always do on `callback-polling`.",
    ),
    row(
        "bayeux",
        "max_queue",
        Engine(All, Kind::Count { at: |options| &mut options.max_queue, range: 1..=10_000_000 }),
        "Most messages that may wait for one session, those not yet acknowledged included. Unlike CometD's it is a real \
         limit and cannot be switched off.",
    ),
    row(
        "bayeux",
        "max_queue_bytes",
        Engine(All, Kind::Size { at: |options| &mut options.max_queue_bytes, range: KIB..=GIB }),
        "Most bytes of messages that may wait for one session. Keep it above `max_message_size`.",
    ),
    row(
        "bayeux",
        "queue_overflow",
        Engine(
            All,
            Kind::Text {
                form: texts::OVERFLOW,
                set: |options, text| texts::overflow(text).map(|overflow| options.queue_overflow = overflow),
                show: |options| Some(texts::overflow_name(options.queue_overflow).to_owned()),
            },
        ),
        "What happens when a message finds the queue full: the session ends as if the server had disconnected it, or its \
         oldest messages are dropped until the new one fits.",
    ),
    row(
        "bayeux",
        "max_batch_bytes",
        Engine(All, Kind::Size { at: |options| &mut options.max_batch_bytes, range: KIB..=64 * MIB }),
        "Most bytes of messages in one HTTP response, or in one batch that travels with a connect reply; the rest follows \
         on the next connect. A single larger message goes alone. Clients refuse batches that are too large for them.",
    ),
    row(
        "bayeux",
        "handshake_reconnect",
        Engine(All, Kind::Bool(|options| &mut options.handshake_reconnect)),
        "Whether advice tells clients `maxInterval`.",
    ),
    row(
        "bayeux",
        "allow_message_delivery_during_handshake",
        Engine(All, Kind::Bool(|options| &mut options.allow_message_delivery_during_handshake)),
        "Whether messages queued during the handshake follow its reply at once.",
    ),
    row(
        "bayeux",
        "max_message_size",
        Http(All, Kind::Size { at: |options| &mut options.max_message_size, range: 64..=GIB }),
        "Most bytes of one request body, of the messages in one query, or of one WebSocket message. A query has to fit into \
         `server.max_header_bytes` as well.",
    ),
    // [bayeux], long-polling and callback-polling
    row(
        "bayeux",
        "duplicate_meta_connect_http_response_code",
        Engine(
            Polling,
            Kind::Status { at: |options| &mut options.duplicate_meta_connect_http_response_code, range: 400..=599 },
        ),
        "Status that answers a held `/meta/connect` when a newer one of its session replaces it.",
    ),
    row(
        "bayeux",
        "max_sessions_per_browser",
        Engine(
            Polling,
            Kind::OptionalCount { at: |options| &mut options.max_sessions_per_browser, range: 0..=1_000_000 },
        ),
        "How many sessions of one browser may be held at once over HTTP/1.1; browsers open only six connections.",
    ),
    row(
        "bayeux",
        "http2_max_sessions_per_browser",
        Engine(
            Polling,
            Kind::OptionalCount { at: |options| &mut options.http2_max_sessions_per_browser, range: 0..=1_000_000 },
        ),
        "The same over HTTP/2.",
    ),
    row(
        "bayeux",
        "multi_session_interval",
        Engine(
            Polling,
            Kind::Duration {
                at: |options| &mut options.multi_session_interval,
                range: Duration::ZERO..=HOUR,
                bare: Bare::Milliseconds,
            },
        ),
        "Interval advised to a browser that has too many sessions, which are then polled; 0 refuses the connect.",
    ),
    row(
        "bayeux",
        "browser_cookie_name",
        Http(
            LongPolling,
            Kind::Text {
                form: texts::TOKEN_TEXT,
                set: |options, text| texts::token_text(text).map(|name| options.browser_cookie.name = name),
                show: |options| Some(options.browser_cookie.name.clone()),
            },
        ),
        "Name of the cookie by which the sessions of one browser are counted. No client needs it.",
    ),
    row(
        "bayeux",
        "browser_cookie_domain",
        Http(
            LongPolling,
            Kind::Text {
                form: texts::COOKIE_ATTRIBUTE,
                set: |options, text| texts::cookie_attribute(text).map(|domain| options.browser_cookie.domain = domain),
                show: |options| options.browser_cookie.domain.clone(),
            },
        ),
        "Its `Domain` attribute.",
    ),
    row(
        "bayeux",
        "browser_cookie_path",
        Http(
            LongPolling,
            Kind::Text {
                form: texts::COOKIE_ATTRIBUTE,
                set: |options, text| texts::cookie_path(text).map(|path| options.browser_cookie.path = path),
                show: |options| options.browser_cookie.path.clone(),
            },
        ),
        "Its `Path` attribute.",
    ),
    row(
        "bayeux",
        "browser_cookie_max_age",
        Http(
            LongPolling,
            Kind::OptionalDuration {
                at: |options| &mut options.browser_cookie.max_age,
                range: SECOND..=Duration::from_secs(400 * 24 * 3_600),
                bare: Bare::Seconds,
            },
        ),
        "Its `Max-Age` attribute; with -1 the cookie ends with the browser. A number without a unit is in seconds, as \
         CometD has it.",
    ),
    row(
        "bayeux",
        "browser_cookie_secure",
        Http(LongPolling, Kind::Bool(|options| &mut options.browser_cookie.secure)),
        "Whether it is marked `Secure` in answers to secure requests.",
    ),
    row(
        "bayeux",
        "browser_cookie_http_only",
        Http(LongPolling, Kind::Bool(|options| &mut options.browser_cookie.http_only)),
        "Whether scripts are kept from reading it.",
    ),
    row(
        "bayeux",
        "browser_cookie_same_site",
        Http(
            LongPolling,
            Kind::Text {
                form: texts::SAME_SITE,
                set: |options, text| texts::same_site(text).map(|value| options.browser_cookie.same_site = value),
                show: |options| options.browser_cookie.same_site.map(|value| value.as_str().to_owned()),
            },
        ),
        "Its `SameSite` attribute.",
    ),
    row(
        "bayeux",
        "browser_cookie_partitioned",
        Http(LongPolling, Kind::Bool(|options| &mut options.browser_cookie.partitioned)),
        "Whether it is marked `Partitioned`: kept apart for each site that embeds this one.",
    ),
    // [bayeux], callback-polling only
    row(
        "bayeux",
        "callback_parameter",
        Http(
            CallbackPolling,
            Kind::Text {
                form: texts::PARAMETER,
                set: |options, text| texts::parameter(text).map(|name| options.callback.parameter = name),
                show: |options| Some(options.callback.parameter.clone()),
            },
        ),
        "Query parameter that names the function to be called.",
    ),
    row(
        "bayeux",
        "callback_parameter_max_length",
        Http(CallbackPolling, Kind::Count { at: |options| &mut options.callback.max_length, range: 1..=1_024 }),
        "Most characters of that function's name.",
    ),
    row(
        "bayeux",
        "callback_hardening",
        Http(CallbackPolling, Kind::Bool(|options| &mut options.callback.hardened)),
        "Whether a response begins with an empty comment, tells browsers not to guess its type, and escapes the two line \
         breaks of Unicode, so that it can be nothing but a script. CometD does none of it.",
    ),
    // [bayeux], websocket only
    row(
        "bayeux",
        "messages_per_frame",
        Engine(WebSocket, Kind::Count { at: |options| &mut options.messages_per_frame, range: 0..=1_000_000 }),
        "Most messages in one frame; 0 puts all that wait into one.",
    ),
    row(
        "bayeux",
        "require_handshake_per_connection",
        Engine(WebSocket, Kind::Bool(|options| &mut options.require_handshake_per_connection)),
        "Whether a session may only be used on the connection of its handshake.",
    ),
    row(
        "bayeux",
        "idle_timeout",
        Http(
            WebSocket,
            Kind::Duration { at: |options| &mut options.idle_timeout, range: MS..=DAY, bare: Bare::Milliseconds },
        ),
        "How long a client may send nothing, even while it is held for longer at its own wish; must be longer than `timeout`.",
    ),
    row(
        "bayeux",
        "write_timeout",
        Http(
            WebSocket,
            Kind::Duration { at: |options| &mut options.write_timeout, range: MS..=DAY, bare: Bare::Milliseconds },
        ),
        "How long a client may take nothing of what is to be written to it before its connection is closed.",
    ),
    row(
        "bayeux",
        "protocol",
        Http(
            WebSocket,
            Kind::Text {
                form: texts::OPTIONAL_TOKEN_TEXT,
                set: |options, text| texts::optional_token_text(text).map(|protocol| options.protocol = protocol),
                show: |options| options.protocol.clone(),
            },
        ),
        "Subprotocol that is agreed on when the client offers it.",
    ),
    row(
        "bayeux",
        "permessage_deflate",
        Http(WebSocket, Kind::Bool(|options| &mut options.permessage_deflate)),
        "Whether messages are compressed for clients that offer `permessage-deflate` (CometD's \
         `enableExtension.permessage-deflate`). Costs processor time for bandwidth; no connection keeps a dictionary.",
    ),
    row(
        "bayeux",
        "permessage_deflate_threshold",
        Http(WebSocket, Kind::Size { at: |options| &mut options.permessage_deflate_threshold, range: 0..=GIB }),
        "From how many bytes on the server compresses a message, where `permessage_deflate` was agreed on.",
    ),
];
