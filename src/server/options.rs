//! Settings to the options of the parts.

use std::time::Duration;

use crate::config::{self, Config};
use crate::transport::{CallbackOptions, Options, StreamOptions};
use crate::web::HeaderValue;
use crate::web::body::BodyLimits;
use crate::web::cookie::{BrowserCookie, CookieJar, SameSite};
use crate::web::origin::AllowedOrigins;
use crate::web::upgrade::Spoken;
use crate::web::websocket::Deflate;

use super::StartError;

/// Longest silence inside a body; a client that is alive sends something in that time.
const BODY_IDLE_MAX: Duration = Duration::from_secs(10);

/// Returns the options of the transports.
pub(super) fn transports(config: &Config) -> Result<Options, StartError> {
    let setting = |key: &str, error: &dyn std::fmt::Display| StartError::Setting(format!("{key}: {error}"));
    let origins = AllowedOrigins::parse(&config.server.allowed_origins)
        .map_err(|error| setting("server.allowed_origins", &error))?;
    let browser_cookie = CookieJar::new(&cookie(&config.http.long_polling.browser_cookie))
        .map_err(|error| setting("bayeux.browser_cookie_name", &error))?;
    let protocol = config.http.websocket.protocol.as_deref().map(HeaderValue::from_str).transpose();
    let protocol = protocol.map_err(|error| setting("bayeux.websocket.protocol", &error))?;
    let deflate = if config.http.websocket.permessage_deflate { Deflate::On } else { Deflate::Off };
    Ok(Options {
        origins,
        body: BodyLimits {
            max_bytes: config.http.long_polling.max_message_size,
            idle: config.server.body_timeout.min(BODY_IDLE_MAX),
            total: config.server.body_timeout,
        },
        browser_cookie,
        callback: callback(&config.http.callback_polling),
        stream: StreamOptions {
            retry: config.http.event_source.retry,
            // A stream that is read must never look like one that is not.
            keep_alive: config.http.event_source.keep_alive.min(config.server.idle_timeout / 2),
        },
        max_message_size: config.http.websocket.max_message_size,
        idle_timeout: config.http.websocket.idle_timeout,
        write_timeout: config.http.websocket.write_timeout,
        websocket: Spoken { protocol, deflate },
        deflate_threshold: config.http.websocket.permessage_deflate_threshold,
    })
}

fn callback(options: &config::TransportHttpConfig) -> CallbackOptions {
    CallbackOptions {
        parameter: options.callback.parameter.clone(),
        max_length: options.callback.max_length,
        hardened: options.callback.hardened,
        max_message_size: options.max_message_size,
    }
}

fn cookie(cookie: &config::BrowserCookie) -> BrowserCookie {
    BrowserCookie {
        name: cookie.name.clone(),
        domain: cookie.domain.clone(),
        path: cookie.path.clone(),
        max_age: cookie.max_age,
        secure: cookie.secure,
        http_only: cookie.http_only,
        same_site: cookie.same_site.map(|site| match site {
            config::SameSite::Strict => SameSite::Strict,
            config::SameSite::Lax => SameSite::Lax,
            config::SameSite::None => SameSite::None,
        }),
        partitioned: cookie.partitioned,
    }
}
