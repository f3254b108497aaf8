//! Settings that are texts of a certain form: how each is described, read and written.

use std::net::SocketAddr;

use super::kind::At;
use super::sections::{SameSite, Secret};
use crate::bayeux::Transport;
use crate::bayeux::config::{ActivityMode, Extensions, QueueOverflow};
use crate::bayeux::extension::TimestampFormat;

pub(super) const ADDRESS: &str = "address and port such as `127.0.0.1:8080` or `[::1]:8080`";
pub(super) const OPTIONAL_ADDRESS: &str = "address and port such as `127.0.0.1:8081`, or `off`";
pub(super) const ORIGINS: &str = "origins such as `https://example.com`, `null`, or `*` for all";
pub(super) const TOKEN: &str = "visible ASCII characters without spaces";
pub(super) const LEVEL: &str =
    "`off`, `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,mirant::transport=debug`";
pub(super) const MOUNT_PATH: &str = "path such as `/cometd`";
pub(super) const TRANSPORTS: &str = "`websocket`, `long-polling`, `callback-polling`, `eventsource`";
pub(super) const PARAMETER: &str = "1 to 64 letters, digits, dots, hyphens and underscores, other than `message`";
pub(super) const EXTENSIONS: &str = "`ack`, `timesync`, `timestamp`, `activity`, `binary`";
pub(super) const TIMESTAMP_FORMAT: &str =
    "Java date pattern such as `yyyy-MM-dd'T'HH:mm:ss.SSSX`, with the letters y M d E H h a m s S z Z X x";
pub(super) const TIMESTAMP_ZONE: &str = "name such as `UTC` or `Europe/Paris`, or `system` for that of the machine";
pub(super) const ACTIVITY_MODE: &str = "`client` or `client_server`";
pub(super) const OVERFLOW: &str = "`disconnect` or `drop-oldest`";
pub(super) const SAME_SITE: &str = "`Strict`, `Lax` or `None`; empty leaves it out";
pub(super) const TOKEN_TEXT: &str = "letters, digits and the signs that HTTP allows in a name";
pub(super) const OPTIONAL_TOKEN_TEXT: &str = "letters, digits and the signs that HTTP allows in a name; empty for none";
pub(super) const COOKIE_ATTRIBUTE: &str = "visible ASCII characters without `;`; empty leaves it out";

/// Longest text of a mount path, cookie attribute or name.
const TEXT_LENGTH_MAX: usize = 256;
/// Longest token: well below `max_header_bytes`, in which it has to arrive.
const TOKEN_LENGTH_MAX: usize = 4_096;
/// Longest name of a query parameter.
const PARAMETER_LENGTH_MAX: usize = 64;
/// What may be offered to clients.
const TRANSPORT_LIST: [Transport; 4] =
    [Transport::WebSocket, Transport::LongPolling, Transport::CallbackPolling, Transport::EventSource];
/// First segments that a mount may not take, so that a public path is never mistaken for one of the admin listener.
const RESERVED_SEGMENTS: [&str; 3] = ["admin", "health", "metrics"];

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("must be an address and a port such as \"127.0.0.1:8080\" or \"[::1]:8080\", not \"{text}\"")
    })
}

pub(super) fn optional_address(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.is_empty() || text == "off" { Ok(None) } else { address(text).map(Some) }
}

pub(super) fn origins(items: &[String]) -> Result<Vec<String>, String> {
    items.iter().map(|item| origin(item)).collect()
}

/// Brings an origin into the form in which browsers send it.
fn origin(text: &str) -> Result<String, String> {
    if text == "*" || text == "null" {
        return Ok(text.to_owned());
    }
    let lower = text.to_ascii_lowercase();
    let Some((scheme, host)) = lower.split_once("://").filter(|(scheme, host)| !scheme.is_empty() && !host.is_empty())
    else {
        return Err(format!("must list origins such as \"https://example.com\", not \"{text}\""));
    };
    if host.contains('*') {
        return Err(format!("cannot hold a pattern: list each origin of \"{text}\", or \"*\" for all"));
    }
    if host.contains(['/', '?', '#', '@', ',']) || !host.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("must list origins as scheme://host:port without a path, not \"{text}\""));
    }
    let host = match scheme {
        "http" => host.strip_suffix(":80").unwrap_or(host),
        "https" => host.strip_suffix(":443").unwrap_or(host),
        _ => host,
    };
    Ok(format!("{scheme}://{host}"))
}

/// Reads a bearer token. Its sentences never repeat the text.
pub(super) fn token(text: &str) -> Result<Secret, String> {
    if text.is_empty() {
        return Err("must not be empty; leave it out to have no token".to_owned());
    }
    if text.len() > TOKEN_LENGTH_MAX {
        return Err(format!("must have at most {TOKEN_LENGTH_MAX} characters"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("must consist of {TOKEN}"));
    }
    Ok(Secret::new(text.to_owned()))
}

/// Reads a log filter. A single word must be a level: the filter's own reader takes a misspelt level for the name of a
/// module, and then nothing at all is logged.
pub(super) fn level(text: &str) -> Result<String, String> {
    let wrong =
        |part: &str| format!("must be a level (off, error, warn, info, debug, trace) or module=level, not \"{part}\"");
    for part in text.split(',').map(str::trim) {
        let known =
            ["off", "error", "warn", "info", "debug", "trace"].iter().any(|level| part.eq_ignore_ascii_case(level));
        if !known && !part.contains('=') {
            return Err(wrong(part));
        }
    }
    tracing_subscriber::EnvFilter::try_new(text).map_err(|_| wrong(text))?;
    Ok(text.to_owned())
}

pub(super) fn mount_path(text: &str) -> Result<String, String> {
    let Some(rest) = text.strip_prefix('/') else {
        return Err(format!("must start with \"/\", as in \"/cometd\", not \"{text}\""));
    };
    if rest.is_empty() {
        return Err("cannot be \"/\", where the page is; write a path such as \"/cometd\"".to_owned());
    }
    if let Some(shorter) = text.strip_suffix('/') {
        return Err(format!("must not end with \"/\": write \"{shorter}\""));
    }
    if text.len() > TEXT_LENGTH_MAX {
        return Err(format!("must have at most {TEXT_LENGTH_MAX} characters"));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte);
    for segment in rest.split('/') {
        if segment.is_empty() || segment == "." || segment == ".." || !segment.bytes().all(plain) {
            return Err(format!("has a segment \"{segment}\" that a plain path cannot have: \"{text}\""));
        }
    }
    if let Some(segment) = rest.split('/').next().filter(|segment| RESERVED_SEGMENTS.contains(segment)) {
        return Err(format!("cannot lie under \"/{segment}\", which is a name of the admin listener"));
    }
    Ok(text.to_owned())
}

pub(super) fn transports(items: &[String]) -> Result<Vec<Transport>, String> {
    let mut transports = Vec::new();
    for item in items {
        let transport = TRANSPORT_LIST
            .into_iter()
            .find(|transport| transport.as_str() == item)
            .ok_or_else(|| format!("must list {}, not \"{item}\"", transport_names()))?;
        if transports.contains(&transport) {
            return Err(format!("lists \"{item}\" twice"));
        }
        transports.push(transport);
    }
    if transports.is_empty() {
        return Err(format!("must list at least one of {}", transport_names()));
    }
    Ok(transports)
}

fn transport_names() -> String {
    TRANSPORT_LIST.map(|transport| format!("\"{transport}\"")).join(", ")
}

pub(super) fn parameter(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !(1..=PARAMETER_LENGTH_MAX).contains(&text.len()) || !text.bytes().all(allowed) || text == "message" {
        return Err(format!("must be {PARAMETER}, not \"{text}\""));
    }
    Ok(text.to_owned())
}

/// The protocol's extensions by name.
const EXTENSION_FLAGS: [(&str, At<Extensions, bool>); 5] = [
    ("ack", |extensions| &mut extensions.ack),
    ("timesync", |extensions| &mut extensions.timesync),
    ("timestamp", |extensions| &mut extensions.timestamp),
    ("activity", |extensions| &mut extensions.activity),
    ("binary", |extensions| &mut extensions.binary),
];

/// Switches on the extensions of this list, and all others off.
pub(super) fn set_extensions(extensions: &mut Extensions, items: &[String]) -> Result<(), String> {
    let names = EXTENSION_FLAGS.map(|(name, _)| name);
    for (position, item) in items.iter().enumerate() {
        if !names.contains(&item.as_str()) {
            let near = |name: &&str| strsim::osa_distance(&item.to_lowercase(), name) <= 2;
            let nearest = names.into_iter().filter(near).min_by_key(|name| strsim::osa_distance(item, name));
            let hint = nearest.map_or_else(String::new, |name| format!("; did you mean \"{name}\"?"));
            return Err(format!(
                "must list {}, not \"{item}\"{hint}",
                names.map(|name| format!("\"{name}\"")).join(", ")
            ));
        }
        if items[..position].contains(item) {
            return Err(format!("lists \"{item}\" twice"));
        }
    }
    for (name, flag) in EXTENSION_FLAGS {
        *flag(extensions) = items.iter().any(|item| item == name);
    }
    Ok(())
}

pub(super) fn show_extensions(extensions: &Extensions) -> Vec<String> {
    let mut extensions = extensions.clone();
    let listed = EXTENSION_FLAGS.into_iter().filter(|(_, flag)| *flag(&mut extensions));
    listed.map(|(name, _)| name.to_owned()).collect()
}

pub(super) fn timestamp_format(text: &str) -> Result<TimestampFormat, String> {
    text.parse().map_err(|problem| format!("must be a {TIMESTAMP_FORMAT}, not \"{text}\": {problem}"))
}

/// How the settings call the zone of the machine.
pub(super) const SYSTEM_ZONE: &str = "system";

pub(super) fn timestamp_zone(text: &str) -> Result<Option<String>, String> {
    if text == SYSTEM_ZONE {
        return Ok(None);
    }
    match jiff::tz::TimeZone::get(text) {
        Ok(_) => Ok(Some(text.to_owned())),
        Err(_) => Err(format!("must be the {TIMESTAMP_ZONE}; this machine knows no zone \"{text}\"")),
    }
}

pub(super) fn activity_mode(text: &str) -> Result<ActivityMode, String> {
    [ActivityMode::Client, ActivityMode::ClientServer]
        .into_iter()
        .find(|mode| activity_mode_name(*mode) == text)
        .ok_or_else(|| format!("must be \"client\" or \"client_server\", not \"{text}\""))
}

pub(super) fn activity_mode_name(mode: ActivityMode) -> &'static str {
    match mode {
        ActivityMode::Client => "client",
        ActivityMode::ClientServer => "client_server",
    }
}

pub(super) fn overflow(text: &str) -> Result<QueueOverflow, String> {
    [QueueOverflow::Disconnect, QueueOverflow::DropOldest]
        .into_iter()
        .find(|overflow| overflow_name(*overflow) == text)
        .ok_or_else(|| format!("must be \"disconnect\" or \"drop-oldest\", not \"{text}\""))
}

pub(super) fn overflow_name(overflow: QueueOverflow) -> &'static str {
    match overflow {
        QueueOverflow::Disconnect => "disconnect",
        QueueOverflow::DropOldest => "drop-oldest",
    }
}

pub(super) fn same_site(text: &str) -> Result<Option<SameSite>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    [SameSite::Strict, SameSite::Lax, SameSite::None]
        .into_iter()
        .find(|value| value.as_str().eq_ignore_ascii_case(text))
        .map(Some)
        .ok_or_else(|| format!("must be \"Strict\", \"Lax\" or \"None\", not \"{text}\""))
}

/// Reads the name of a cookie or subprotocol: a `token` of HTTP.
pub(super) fn token_text(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || text.len() > TEXT_LENGTH_MAX || !text.bytes().all(allowed) {
        return Err(format!("must be 1 to {TEXT_LENGTH_MAX} {TOKEN_TEXT}, not \"{text}\""));
    }
    Ok(text.to_owned())
}

pub(super) fn optional_token_text(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() { Ok(None) } else { token_text(text).map(Some) }
}

pub(super) fn cookie_attribute(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > TEXT_LENGTH_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';') {
        return Err(format!(
            "must be at most {TEXT_LENGTH_MAX} visible ASCII characters without \";\", not \"{text}\""
        ));
    }
    Ok(Some(text.to_owned()))
}

pub(super) fn cookie_path(text: &str) -> Result<Option<String>, String> {
    let path = cookie_attribute(text)?;
    if path.as_ref().is_some_and(|path| !path.starts_with('/')) {
        return Err(format!("must start with \"/\", not \"{text}\""));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_take_the_form_in_which_browsers_send_them() {
        for (text, expected) in [
            ("*", "*"),
            ("null", "null"),
            ("https://Example.com", "https://example.com"),
            ("https://example.com:443", "https://example.com"),
            ("http://example.com:80", "http://example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
        ] {
            assert_eq!(origin(text).as_deref(), Ok(expected));
        }
        for text in
            ["", "example.com", "://x", "https://", "https://example.com/", "https://a@b", "https://*.example.com"]
        {
            assert!(origin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn mount_paths_are_plain_and_apart_from_the_admin_names() {
        for text in ["/cometd", "/a/b", "/cometd/45.0", "/administration"] {
            assert_eq!(mount_path(text).as_deref(), Ok(text));
        }
        for text in
            ["", "cometd", "/", "/cometd/", "/a//b", "/a/../b", "/a b", "/a?b", "/%61", "/admin", "/health/live"]
        {
            assert!(mount_path(text).is_err(), "{text}");
        }
        assert!(mount_path(&format!("/{}", "a".repeat(300))).is_err());
    }

    #[test]
    fn a_token_is_never_repeated() {
        for text in ["two words", "caf\u{e9}secret", "", "line\nsecret"] {
            let problem = token(text).expect_err("refused");
            assert!(!problem.contains("secret") && !problem.contains("two words"), "{problem}");
        }
        assert!(token("demo").is_ok());
    }

    #[test]
    fn a_misspelt_level_is_not_taken_for_a_module() {
        for text in ["info", "DEBUG", "off", "info,mirant::transport=debug", "mirant[session]=trace"] {
            assert_eq!(level(text).as_deref(), Ok(text));
        }
        for text in ["", "inf", "info,mirant", "mirant=loud"] {
            assert!(level(text).is_err(), "{text}");
        }
    }

    #[test]
    fn transports_are_known_and_listed_once() {
        let items = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(transports(&items(&["long-polling"])), Ok(vec![Transport::LongPolling]));
        for names in [&[][..], &["local"], &["websocket", "websocket"], &["WebSocket"]] {
            assert!(transports(&items(names)).is_err(), "{names:?}");
        }
    }

    #[test]
    fn extensions_are_known_and_listed_once() {
        let items = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut extensions = Extensions::default();
        assert_eq!(show_extensions(&extensions), ["ack", "timesync", "binary"]);
        set_extensions(&mut extensions, &items(&["timestamp", "ack"])).expect("known");
        assert_eq!(show_extensions(&extensions), ["ack", "timestamp"]);
        let problem = |names: &[&str]| set_extensions(&mut Extensions::default(), &items(names)).expect_err("refused");
        assert!(problem(&["ack", "Timesnyc"]).ends_with("not \"Timesnyc\"; did you mean \"timesync\"?"));
        assert!(problem(&["replay"]).ends_with("not \"replay\""));
        assert_eq!(problem(&["ack", "ack"]), "lists \"ack\" twice");
    }

    #[test]
    fn zones_and_formats_are_checked_when_they_are_read() {
        assert_eq!(timestamp_zone("system"), Ok(None));
        assert_eq!(timestamp_zone("UTC"), Ok(Some("UTC".to_owned())));
        assert!(timestamp_zone("Europe/Atlantis").is_err());
        assert!(timestamp_format("yyyy").is_ok());
        assert!(timestamp_format("now").is_err());
    }

    #[test]
    fn cookie_texts_cannot_break_out_of_their_header() {
        for text in ["a;b", "a b", "a\r\nb", "\u{e9}"] {
            assert!(cookie_attribute(text).is_err() && token_text(text).is_err(), "{text}");
        }
        assert_eq!(cookie_path("/app"), Ok(Some("/app".to_owned())));
        assert!(cookie_path("app").is_err());
        assert_eq!(cookie_attribute(""), Ok(None));
        assert_eq!(same_site("lax"), Ok(Some(SameSite::Lax)));
        assert!(same_site("loose").is_err());
    }
}
