//! [`Browsers`]: who returned which cookie, so that a recording of several clients can be played with the cookies that each
//! of them had. No cookie gets into a file.

use std::collections::BTreeMap;

use super::http::MessageHead;

/// Most cookies that are remembered; more are not told apart.
const COOKIES_MAX: usize = 10_000;

/// The browsers of a recording, numbered from 1.
#[derive(Debug, Default)]
pub struct Browsers {
    count: u32,
    /// Browser by connection.
    connections: BTreeMap<u64, u32>,
    /// Browser by cookie that the server gave, `name=value`.
    cookies: BTreeMap<String, u32>,
}

impl Browsers {
    /// Returns the browser that a request comes from, and whether that is new for its connection.
    pub fn of_request(&mut self, connection: u64, head: &MessageHead) -> (u32, bool) {
        let sent = head.header("cookie").unwrap_or_default();
        let known = sent.split(';').find_map(|cookie| self.cookies.get(cookie.trim()).copied());
        let before = self.connections.get(&connection).copied();
        // Whoever brings none on a new connection has not been given one: cookies come with the first answer, and before
        // that a client has one connection only. Other people's cookies tell nothing while the server has given none.
        let is_first = self.count == 0 || (!sent.is_empty() && self.cookies.is_empty());
        let browser = known.or(before).unwrap_or_else(|| {
            self.count = if is_first { 1 } else { self.count + 1 };
            self.count
        });
        self.connections.insert(connection, browser);
        (browser, before != Some(browser))
    }

    /// Notes the cookies that an answer gives to the browser of its connection.
    pub fn note_answer(&mut self, connection: u64, head: &MessageHead) {
        let Some(browser) = self.connections.get(&connection) else { return };
        for (_, value) in head.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")) {
            let cookie = value.split(';').next().unwrap_or_default().trim();
            if self.cookies.len() < COOKIES_MAX {
                self.cookies.insert(cookie.to_owned(), *browser);
            }
        }
    }

    /// Whether a browser has been given a cookie and this request of it returns none of those it has.
    #[must_use]
    pub fn keeps_back(&self, browser: u32, head: &MessageHead) -> bool {
        let sent = head.header("cookie").unwrap_or_default();
        let mut given = self.cookies.iter().filter(|(_, owner)| **owner == browser).peekable();
        given.peek().is_some() && !given.any(|(cookie, _)| sent.split(';').any(|other| other.trim() == cookie))
    }

    /// Whether none of the cookies of a request was given in this recording.
    #[must_use]
    pub fn are_foreign(&self, cookies: &str) -> bool {
        cookies.split(';').all(|cookie| !self.cookies.contains_key(cookie.trim()))
    }

    /// Forgets a connection that has ended.
    pub fn forget(&mut self, connection: u64) {
        self.connections.remove(&connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(name: &str, value: &str) -> MessageHead {
        MessageHead { start: "GET / HTTP/1.1".to_owned(), headers: vec![(name.to_owned(), value.to_owned())] }
    }

    #[test]
    fn browsers_are_told_apart_by_the_cookies_that_they_return() {
        let mut browsers = Browsers::default();
        let none = head("a", "b");
        assert_eq!(browsers.of_request(1, &none), (1, true));
        browsers.note_answer(1, &head("Set-Cookie", "B=1; Path=/"));
        assert_eq!(browsers.of_request(1, &head("Cookie", "x=y; B=1")), (1, false));
        assert_eq!(browsers.of_request(2, &head("Cookie", "B=1")), (1, true));
        assert_eq!(browsers.of_request(3, &none), (2, true));
        assert!(!browsers.keeps_back(2, &none), "it was given nothing");
        assert!(!browsers.keeps_back(1, &head("Cookie", "x=y; B=1")));
        assert!(browsers.keeps_back(1, &none) && browsers.keeps_back(1, &head("Cookie", "x=y; B=2")));
        browsers.note_answer(3, &head("Set-Cookie", "B=2"));
        assert_eq!(browsers.of_request(4, &head("Cookie", "B=2")), (2, true));
        assert_eq!(browsers.of_request(1, &none), (1, false));
        // One socket of a proxy may serve several browsers.
        assert_eq!(browsers.of_request(1, &head("Cookie", "B=2")), (2, true));
    }

    #[test]
    fn a_browser_that_had_cookies_before_is_one_browser() {
        let mut browsers = Browsers::default();
        assert_eq!(browsers.of_request(1, &head("Cookie", "old=1")), (1, true));
        assert_eq!(browsers.of_request(2, &head("Cookie", "old=1")), (1, true));
    }
}
