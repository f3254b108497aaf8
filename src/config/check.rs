//! Rules that concern several settings at once.

use std::collections::BTreeMap;

use super::Config;
use super::error::{ConfigError, Origin};
use super::sections::SameSite;

/// Where each setting was written that was written at all.
pub(super) type Origins = BTreeMap<String, Origin>;

/// Checks settings that are each right by themselves, and returns what is wrong with them together.
pub(super) fn together(config: &Config, origins: &Origins) -> Vec<ConfigError> {
    let mut findings = Findings { origins, errors: Vec::new() };
    listeners(config, &mut findings);
    mounts(config, &mut findings);
    times(config, &mut findings);
    cookie(config, &mut findings);
    findings.errors
}

struct Findings<'a> {
    origins: &'a Origins,
    errors: Vec<ConfigError>,
}

impl Findings<'_> {
    /// Reports a problem at the first of these settings that was written, or at the first if none was.
    fn report(&mut self, keys: &[&str], problem: impl Into<String>) {
        let written = keys.iter().find_map(|key| Some((*key, self.origins.get(*key)?.clone())));
        let (key, origin) = written.unwrap_or((keys[0], Origin::Default));
        self.errors.push(ConfigError::BadValue { origin, key: key.to_owned(), problem: problem.into() });
    }
}

fn listeners(config: &Config, findings: &mut Findings<'_>) {
    let Some(admin) = config.admin.listen else { return };
    if admin == config.server.listen && admin.port() != 0 {
        findings
            .report(&["admin.listen", "server.listen"], format!("needs an address of its own: {admin} is taken twice"));
    }
    if !admin.ip().is_loopback() && config.admin.token.is_none() {
        let problem = format!("is {admin}, which other machines may reach: set admin.token, or listen on 127.0.0.1");
        findings.report(&["admin.listen"], problem);
    }
}

fn mounts(config: &Config, findings: &mut Findings<'_>) {
    for (index, mount) in config.mounts.iter().enumerate() {
        let key = format!("mount.{index}.path");
        for (earlier, other) in config.mounts[..index].iter().enumerate() {
            let other_key = format!("mount.{earlier}.path");
            let (path, other) = (mount.path.as_str(), other.path.as_str());
            if path == other {
                findings.report(&[&key, &other_key], format!("is used twice: \"{path}\""));
            } else if is_below(path, other) || is_below(other, path) {
                let problem =
                    format!("cannot be told apart: \"{path}\" and \"{other}\", one of which lies under the other");
                findings.report(&[&key, &other_key], problem);
            }
        }
    }
}

fn is_below(path: &str, other: &str) -> bool {
    path.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'))
}

fn times(config: &Config, findings: &mut Findings<'_>) {
    if config.http.websocket.idle_timeout <= config.engine.websocket.timeout {
        findings.report(
            &[
                "bayeux.websocket.idle_timeout",
                "bayeux.idle_timeout",
                "bayeux.websocket.timeout",
                "bayeux.timeout",
            ],
            "does not fit: bayeux.idle_timeout must be longer than the timeout of websocket, or connections are cut while \
             their connect is held",
        );
    }
}

fn cookie(config: &Config, findings: &mut Findings<'_>) {
    let cookie = &config.http.long_polling.browser_cookie;
    if cookie.secure {
        return;
    }
    let problem = "needs bayeux.browser_cookie_secure = true: browsers refuse the cookie otherwise";
    if cookie.same_site == Some(SameSite::None) {
        let keys = ["bayeux.long_polling.browser_cookie_same_site", "bayeux.browser_cookie_same_site"];
        findings.report(&keys, problem);
    }
    if cookie.partitioned {
        let keys = ["bayeux.long_polling.browser_cookie_partitioned", "bayeux.browser_cookie_partitioned"];
        findings.report(&keys, problem);
    }
}
