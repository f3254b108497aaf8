//! CometD's options as settings, and the released server's values for those that are not given.
//!
//! An option may stand alone or behind the prefix of a transport; the longest prefix that fits a transport wins. Where
//! CometD knows no limit, the largest that a settings file could ask for is taken: nothing here is without end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::ToSocketAddrs;
use std::str::FromStr;
use std::time::Duration;

use mirant::bayeux::Transport;
use mirant::bayeux::config::{ActivityMode, EngineConfig, Extensions, Limits, TransportConfig};
use mirant::config::{BrowserCookie, Callback, Config, SameSite, TransportHttpConfig};

use super::arguments::Arguments;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// The largest body, queue or message that a settings file may allow.
const SIZE_MAX: usize = 1 << 30;

/// The largest WebSocket message of Jetty, unless it is told otherwise.
const FRAME_MAX: usize = 65_536;

/// How long Jetty lets a WebSocket be silent, unless it is told otherwise.
const WEBSOCKET_IDLE: Duration = Duration::from_secs(30);

/// How long a stop waits for connections to end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// The transports that CometD has, in its order.
const TRANSPORTS: [Transport; 3] = [Transport::WebSocket, Transport::LongPolling, Transport::CallbackPolling];

/// Prefixes of the options of each transport, the more special ones last.
const WEBSOCKET: &[&str] = &["", "ws."];
const LONG_POLLING: &[&str] = &["", "long-polling.", "long-polling.json."];
const CALLBACK_POLLING: &[&str] = &["", "long-polling.", "long-polling.jsonp."];

/// What has a counterpart here, without prefixes.
const KNOWN: &[&str] = &[
    "allowMessageDeliveryDuringHandshake",
    "allowedTransports",
    "broadcastToPublisher",
    "browserCookieDomain",
    "browserCookieHttpOnly",
    "browserCookieMaxAge",
    "browserCookieName",
    "browserCookiePartitioned",
    "browserCookiePath",
    "browserCookieSameSite",
    "browserCookieSecure",
    "callbackParameter",
    "callbackParameterMaxLength",
    "duplicateMetaConnectHttpResponseCode",
    "enableExtension.permessage-deflate",
    "handshakeReconnect",
    "http2MaxSessionsPerBrowser",
    "idleTimeout",
    "interval",
    "maxInterval",
    "maxLazyTimeout",
    "maxMessageSize",
    "maxProcessing",
    "maxQueue",
    "maxSessionsPerBrowser",
    "messagesPerFrame",
    "metaConnectDeliverOnly",
    "multiSessionInterval",
    "protocol",
    "requireHandshakePerConnection",
    "sweepPeriod",
    "timeout",
    "validateMessageFields",
];

/// Makes the settings, and says which options change nothing.
///
/// # Errors
///
/// A sentence that says which argument is wrong.
pub(crate) fn config(arguments: &Arguments) -> Result<(Config, Vec<String>), String> {
    let mut config = released();
    let address = (arguments.host.as_str(), arguments.port).to_socket_addrs();
    let address = address.ok().and_then(|mut all| all.next());
    config.server.listen = address.ok_or_else(|| format!("--host {}: no such host", arguments.host))?;
    let server = Scope { options: &arguments.options, prefixes: &[""] };
    let websocket = Scope { prefixes: WEBSOCKET, ..server };
    let long_polling = Scope { prefixes: LONG_POLLING, ..server };
    let callback_polling = Scope { prefixes: CALLBACK_POLLING, ..server };
    let engine = &mut config.engine;
    server.flag("broadcastToPublisher", &mut engine.broadcast_to_publisher);
    server.flag("validateMessageFields", &mut engine.validate_message_fields);
    if let Some(period) = server.millis("sweepPeriod")?.flatten() {
        engine.sweep_period = period;
    }
    if let Some(names) = server.text("allowedTransports") {
        engine.allowed_transports = transports(names)?;
    }
    extensions(arguments, &mut engine.extensions);
    transport(&websocket, &mut engine.websocket)?;
    transport(&long_polling, &mut engine.long_polling)?;
    transport(&callback_polling, &mut engine.callback_polling)?;
    http(&websocket, &mut config.http.websocket)?;
    http(&long_polling, &mut config.http.long_polling)?;
    http(&callback_polling, &mut config.http.callback_polling)?;
    callback(&callback_polling, &mut config.http.callback_polling.callback)?;
    cookie(&long_polling, &mut config.http.long_polling.browser_cookie)?;
    Ok((config, remarks(&arguments.options)))
}

/// The settings with which the released server starts.
fn released() -> Config {
    let mut config = Config::default();
    config.server.allowed_origins = vec!["*".to_owned()];
    config.server.shutdown_timeout = SHUTDOWN_TIMEOUT;
    config.admin.listen = None;
    let transport = TransportConfig {
        timeout: Duration::from_secs(20),
        // What one session may pile up, in bytes, and what may leave at once stay limited: it is clients that need this.
        max_queue: 1_000_000,
        max_sessions_per_browser: Some(1),
        ..TransportConfig::default()
    };
    config.engine = EngineConfig {
        websocket: TransportConfig { max_batch_bytes: config.engine.websocket.max_batch_bytes, ..transport.clone() },
        long_polling: transport.clone(),
        callback_polling: transport,
        allowed_transports: TRANSPORTS.to_vec(),
        limits: Limits {
            max_batch_messages: 1_000_000,
            max_channel_length: 65_536,
            max_id_length: 65_536,
            max_subscriptions: 1_000_000,
            max_advice_timeout: DAY,
            max_advice_interval: DAY,
            ..Limits::default()
        },
        ..config.engine
    };
    config.http.long_polling.max_message_size = SIZE_MAX;
    config.http.callback_polling.max_message_size = SIZE_MAX;
    config.http.callback_polling.callback.hardened = false;
    config.http.websocket.max_message_size = FRAME_MAX;
    config.http.websocket.idle_timeout = WEBSOCKET_IDLE;
    config.http.websocket.permessage_deflate = true;
    config
}

/// Switches the extensions on that are asked for, and the others off.
fn extensions(arguments: &Arguments, extensions: &mut Extensions) {
    let is_on = |name: &str| arguments.extensions.contains(name);
    extensions.ack = is_on("ack");
    extensions.timesync = is_on("timesync");
    extensions.timestamp = is_on("timestamp");
    extensions.binary = is_on("binary");
    extensions.activity = arguments.activity.is_some();
    extensions.activity_mode = ActivityMode::Client;
    if let Some(limit) = arguments.activity {
        extensions.activity_max_inactivity_period = limit;
    }
}

/// Takes over what the engine wants to know about one transport.
fn transport(scope: &Scope<'_>, config: &mut TransportConfig) -> Result<(), String> {
    scope.time("timeout", &mut config.timeout)?;
    scope.time("interval", &mut config.interval)?;
    scope.time("maxInterval", &mut config.max_interval)?;
    scope.time("maxLazyTimeout", &mut config.max_lazy_timeout)?;
    scope.time("multiSessionInterval", &mut config.multi_session_interval)?;
    if let Some(limit) = scope.millis("maxProcessing")? {
        config.max_processing = limit.filter(|limit| !limit.is_zero());
    }
    // There it is only told to listeners; here it ends the session.
    scope.limit("maxQueue", &mut config.max_queue)?;
    scope.flag("metaConnectDeliverOnly", &mut config.meta_connect_deliver_only);
    scope.flag("handshakeReconnect", &mut config.handshake_reconnect);
    scope.flag("allowMessageDeliveryDuringHandshake", &mut config.allow_message_delivery_during_handshake);
    scope.flag("requireHandshakePerConnection", &mut config.require_handshake_per_connection);
    if let Some(count) = scope.number::<i64>("messagesPerFrame")? {
        config.messages_per_frame = usize::try_from(count).unwrap_or(0);
    }
    if let Some(status) = scope.number::<u16>("duplicateMetaConnectHttpResponseCode")? {
        if !(400..=599).contains(&status) {
            return Err("duplicateMetaConnectHttpResponseCode is a status from 400 to 599".to_owned());
        }
        config.duplicate_meta_connect_http_response_code = status;
    }
    if let Some(count) = scope.number::<i64>("maxSessionsPerBrowser")? {
        config.max_sessions_per_browser = u32::try_from(count).ok();
    }
    if let Some(count) = scope.number::<i64>("http2MaxSessionsPerBrowser")? {
        config.http2_max_sessions_per_browser = u32::try_from(count).ok();
    }
    Ok(())
}

/// Takes over what concerns HTTP and WebSocket only.
fn http(scope: &Scope<'_>, config: &mut TransportHttpConfig) -> Result<(), String> {
    scope.limit("maxMessageSize", &mut config.max_message_size)?;
    if let Some(timeout) = scope.millis("idleTimeout")? {
        config.idle_timeout = timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(DAY);
    }
    scope.flag("enableExtension.permessage-deflate", &mut config.permessage_deflate);
    if let Some(protocol) = scope.text("protocol") {
        config.protocol = Some(protocol.to_owned());
    }
    Ok(())
}

/// Takes over how the function is named that a response calls.
fn callback(scope: &Scope<'_>, callback: &mut Callback) -> Result<(), String> {
    if let Some(parameter) = scope.text("callbackParameter") {
        callback.parameter = parameter.to_owned();
    }
    scope.limit("callbackParameterMaxLength", &mut callback.max_length)
}

/// Takes over what is said about the browser's cookie.
fn cookie(scope: &Scope<'_>, cookie: &mut BrowserCookie) -> Result<(), String> {
    let text = |name: &str| scope.text(name).map(str::to_owned);
    if let Some(name) = text("browserCookieName") {
        cookie.name = name;
    }
    cookie.domain = text("browserCookieDomain").or(cookie.domain.take());
    cookie.path = text("browserCookiePath").or(cookie.path.take());
    if let Some(age) = scope.number::<i64>("browserCookieMaxAge")? {
        cookie.max_age = u64::try_from(age).ok().map(Duration::from_secs);
    }
    scope.flag("browserCookieSecure", &mut cookie.secure);
    scope.flag("browserCookieHttpOnly", &mut cookie.http_only);
    scope.flag("browserCookiePartitioned", &mut cookie.partitioned);
    if let Some(site) = scope.text("browserCookieSameSite") {
        cookie.same_site = match site {
            "Strict" => Some(SameSite::Strict),
            "Lax" => Some(SameSite::Lax),
            "None" => Some(SameSite::None),
            _ => return Err("browserCookieSameSite is Strict, Lax or None".to_owned()),
        };
    }
    Ok(())
}

/// Reads `allowedTransports`; names that nobody knows are left out, as there.
fn transports(names: &str) -> Result<Vec<Transport>, String> {
    let named = |name: &str| TRANSPORTS.into_iter().find(|transport| transport.as_str() == name.trim());
    let transports: Vec<_> = names.split(',').filter_map(named).collect();
    if transports.is_empty() {
        Err("allowedTransports names no transport of this server".to_owned())
    } else {
        Ok(transports)
    }
}

/// Says what was asked for and cannot be had.
fn remarks(options: &BTreeMap<String, String>) -> Vec<String> {
    let known: BTreeSet<_> = KNOWN.iter().copied().collect();
    let prefixes = [WEBSOCKET, LONG_POLLING, CALLBACK_POLLING].concat().into_iter().filter(|prefix| !prefix.is_empty());
    let is_known = |name: &str| {
        let bare = prefixes.clone().filter_map(|prefix| name.strip_prefix(prefix)).min_by_key(|bare| bare.len());
        known.contains(bare.unwrap_or(name))
    };
    options
        .iter()
        .filter_map(|(name, value)| match (name.as_str(), value.as_str()) {
            // It is how sessions are found here.
            ("trustClientSession", "true") => None,
            ("trustClientSession", _) => Some("trustClientSession is always true here".to_owned()),
            (name, _) if is_known(name) => None,
            (name, _) => Some(format!("--set {name}: there is nothing like it here, it changes nothing")),
        })
        .collect()
}

/// The options as one transport, or the server, sees them.
#[derive(Clone, Copy)]
struct Scope<'a> {
    options: &'a BTreeMap<String, String>,
    prefixes: &'a [&'a str],
}

impl Scope<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        let given = self.prefixes.iter().rev().find_map(|prefix| self.options.get(&format!("{prefix}{name}")));
        given.map(String::as_str)
    }

    fn number<N: FromStr>(&self, name: &str) -> Result<Option<N>, String> {
        let parse = |text: &str| text.parse().map_err(|_| format!("{name} takes a number, not {text}"));
        self.text(name).map(parse).transpose()
    }

    /// Anything but `true` is false, as there.
    fn flag(&self, name: &str, value: &mut bool) {
        if let Some(text) = self.text(name) {
            *value = text.eq_ignore_ascii_case("true");
        }
    }

    /// A time in milliseconds: not given, or less than nothing, or so long.
    fn millis(&self, name: &str) -> Result<Option<Option<Duration>>, String> {
        let number = self.number::<i64>(name)?;
        Ok(number.map(|number| u64::try_from(number).ok().map(Duration::from_millis)))
    }

    /// A time for which less than nothing means nothing.
    fn time(&self, name: &str, value: &mut Duration) -> Result<(), String> {
        if let Some(time) = self.millis(name)? {
            *value = time.unwrap_or_default();
        }
        Ok(())
    }

    /// A number of which less than one means that there is no limit, and leaves it as it is.
    fn limit(&self, name: &str, value: &mut usize) -> Result<(), String> {
        if let Some(limit) = self.number::<i64>(name)?.and_then(|limit| usize::try_from(limit).ok())
            && limit > 0
        {
            *value = limit;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(options: &[(&str, &str)]) -> Result<(Config, Vec<String>), String> {
        let options = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        config(&Arguments { options, ..Arguments::default() })
    }

    #[test]
    fn the_longest_prefix_wins() {
        let options = [
            ("timeout", "1000"),
            ("long-polling.timeout", "2000"),
            ("long-polling.json.timeout", "3000"),
            ("long-polling.jsonp.timeout", "4000"),
            ("ws.interval", "7"),
            ("ws.enableExtension.permessage-deflate", "false"),
        ];
        let (config, remarks) = with(&options).unwrap();
        assert_eq!(config.engine.websocket.timeout, Duration::from_secs(1));
        assert_eq!(config.engine.long_polling.timeout, Duration::from_secs(3));
        assert_eq!(config.engine.callback_polling.timeout, Duration::from_secs(4));
        assert_eq!(config.engine.websocket.interval, Duration::from_millis(7));
        assert_eq!(config.engine.long_polling.interval, Duration::ZERO);
        assert!(!config.http.websocket.permessage_deflate);
        assert_eq!(remarks, [""; 0]);
    }

    #[test]
    fn extensions_are_switched_by_name() {
        let line = ["--ext", "ack,timestamp", "--activity", "1500"].map(str::to_owned);
        let (config, _) = config(&Arguments::parse(line).unwrap()).unwrap();
        let on = config.engine.extensions;
        assert!(on.ack && on.timestamp && on.activity && !on.timesync && !on.binary);
        assert_eq!(on.activity_max_inactivity_period, Duration::from_millis(1_500));
    }

    #[test]
    fn what_has_no_counterpart_is_said() {
        let options =
            [("sweepThreads", "4"), ("ws.bufferSize", "1"), ("trustClientSession", "false"), ("maxQueue", "-1")];
        let (config, remarks) = with(&options).unwrap();
        assert_eq!(remarks.len(), 3, "{remarks:?}");
        assert_eq!(config.engine.websocket.max_queue, 1_000_000);
    }

    #[test]
    fn less_than_nothing_means_what_it_means_there() {
        let options = [
            ("maxSessionsPerBrowser", "-1"),
            ("ws.messagesPerFrame", "-1"),
            ("maxProcessing", "-1"),
            ("maxMessageSize", "-1"),
            ("sweepPeriod", "-1"),
            ("timeout", "-1"),
        ];
        let (config, _) = with(&options).unwrap();
        let engine = &config.engine;
        assert_eq!(engine.long_polling.max_sessions_per_browser, None);
        assert_eq!((engine.websocket.messages_per_frame, engine.websocket.max_processing), (0, None));
        assert_eq!(config.http.websocket.max_message_size, FRAME_MAX);
        assert_eq!((engine.sweep_period, engine.websocket.timeout), (Duration::from_millis(997), Duration::ZERO));
    }

    #[test]
    fn values_that_cannot_be_are_refused() {
        for (name, value) in [
            ("timeout", "soon"),
            ("duplicateMetaConnectHttpResponseCode", "200"),
            ("browserCookieSameSite", "lax"),
            ("allowedTransports", "pigeon"),
        ] {
            assert!(with(&[(name, value)]).unwrap_err().contains(name), "{name}");
        }
        let (config, _) = with(&[("allowedTransports", "long-polling, pigeon")]).unwrap();
        assert_eq!(config.engine.allowed_transports, [Transport::LongPolling]);
    }
}
