//! [`Cookies`]: what the browsers of a replay have been given.

use std::collections::BTreeMap;

use super::transcript::Headers;

/// Cookies by browser and name.
#[derive(Clone, Debug, Default)]
pub struct Cookies(BTreeMap<u32, BTreeMap<String, String>>);

impl Cookies {
    /// Returns what a browser sends, if it has been given anything.
    #[must_use]
    pub fn of(&self, browser: u32) -> Option<String> {
        let cookies = self.0.get(&browser)?.iter().map(|(name, value)| format!("{name}={value}"));
        Some(cookies.collect::<Vec<_>>().join("; "))
    }

    /// Takes the cookies of an answer.
    pub fn take(&mut self, browser: u32, headers: &Headers) {
        for (_, value) in headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")) {
            let cookie = value.split(';').next().unwrap_or_default();
            let (name, value) = cookie.split_once('=').unwrap_or((cookie, ""));
            self.0.entry(browser).or_default().insert(name.trim().to_owned(), value.trim().to_owned());
        }
    }
}
