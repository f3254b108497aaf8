//! [`Request`]: what a client asked for, as every layer but `server` sees it.

use std::{borrow::Cow, mem, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, Method, Version, header::AsHeaderName, request::Parts};
use http_body_util::Full;

use super::{
    body::{self, BodyError, BodyLimits},
    form,
};

/// Whether a request came over TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain TCP.
    Http,
    /// TLS.
    Https,
}

/// A request whose head was read and whose body may still be under way.
#[derive(Debug)]
pub struct Request {
    pub(super) parts: Parts,
    body: Unread,
    remote: SocketAddr,
    scheme: Scheme,
    rest: String,
}

/// Where the body comes from.
#[derive(Debug)]
enum Unread {
    Connection(hyper::body::Incoming),
    Memory(Bytes),
}

impl Request {
    /// Takes over what hyper received from `remote`.
    #[must_use]
    pub fn from_hyper(request: http::Request<hyper::body::Incoming>, remote: SocketAddr, scheme: Scheme) -> Self {
        let (parts, body) = request.into_parts();
        Self { parts, body: Unread::Connection(body), remote, scheme, rest: String::new() }
    }

    /// Makes a request out of memory, for tests and for callers inside the process.
    #[must_use]
    pub fn from_bytes(request: http::Request<Bytes>, remote: SocketAddr, scheme: Scheme) -> Self {
        let (parts, body) = request.into_parts();
        Self { parts, body: Unread::Memory(body), remote, scheme, rest: String::new() }
    }

    /// Returns the method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.parts.method
    }

    /// Returns the path as sent, percent-encoded, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.parts.uri.path()
    }

    /// Returns what follows the prefix of the [`Router`](super::Router)'s route, decoded; empty on other routes.
    #[must_use]
    pub fn rest(&self) -> &str {
        &self.rest
    }

    /// Returns the query as sent, without its question mark; empty if there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        self.parts.uri.query().unwrap_or_default()
    }

    /// Returns the first query parameter of this name, decoded; one that is not UTF-8 counts as absent.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        let named = |&(key, _): &(&str, &str)| form::decode(key).is_ok_and(|key| key == name);
        form::pairs(self.query()).find(named).and_then(|(_, value)| form::decode(value).ok())
    }

    /// Returns the version of HTTP.
    #[must_use]
    pub fn version(&self) -> Version {
        self.parts.version
    }

    /// Returns all headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// Returns the first header of this name, unless it has bytes other than visible ASCII, spaces and tabs.
    pub fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Returns the host and port that the client asked for: of the URI if it names one, else the `Host` header.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        match self.parts.uri.authority() {
            Some(authority) => Some(authority.as_str()),
            None => self.header(http::header::HOST),
        }
    }

    /// Returns the address of the other end of the connection, which may be a proxy's.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Returns whether the connection is plain or TLS.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Reads the body; a second call finds it empty.
    ///
    /// # Errors
    ///
    /// As [`body::read`].
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: the body is lost.
    pub async fn body(&mut self, limits: &BodyLimits) -> Result<Bytes, BodyError> {
        match mem::replace(&mut self.body, Unread::Memory(Bytes::new())) {
            // Reading any of it would ask the client to send what is going to be refused.
            Unread::Connection(incoming)
                if self.parts.headers.contains_key(http::header::EXPECT)
                    && http_body::Body::size_hint(&incoming).lower() > limits.max_bytes as u64 =>
            {
                Err(BodyError::TooLarge { max_bytes: limits.max_bytes })
            }
            Unread::Connection(incoming) => body::read(incoming, limits).await,
            Unread::Memory(bytes) => body::read(Full::new(bytes), limits).await,
        }
    }

    /// Notes what follows the prefix of the route that was chosen.
    pub(super) fn with_rest(mut self, rest: String) -> Self {
        self.rest = rest;
        self
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    const LIMITS: BodyLimits =
        BodyLimits { max_bytes: 10, idle: Duration::from_secs(5), total: Duration::from_secs(5) };

    /// A request without a body, with headers of the form `name: value`.
    pub(in crate::web) fn request(method: &str, uri: &str, headers: &[&str]) -> Request {
        let mut builder = http::Request::builder().method(method).uri(uri);
        for header in headers {
            let (name, value) = header.split_once(':').unwrap();
            builder = builder.header(name, value.trim());
        }
        let request = builder.body(Bytes::new()).unwrap();
        Request::from_bytes(request, "127.0.0.1:9".parse().unwrap(), Scheme::Http)
    }

    #[test]
    fn parameters_are_decoded() {
        let request = request("GET", "/a%20b?x=1+2&x=3&%79=%C3%A9&z=%ff", &[]);
        assert_eq!(request.path(), "/a%20b");
        assert_eq!(request.parameter("x").unwrap(), "1 2");
        assert_eq!(request.parameter("y").unwrap(), "é");
        assert_eq!(request.parameter("z"), None);
        assert_eq!(request.parameter("none"), None);
    }

    #[test]
    fn the_uri_names_the_host_before_the_header_does() {
        assert_eq!(request("GET", "/", &["host: a:1"]).authority(), Some("a:1"));
        assert_eq!(request("GET", "http://b/", &["host: a:1"]).authority(), Some("b"));
        assert_eq!(request("GET", "/", &[]).authority(), None);
    }

    #[tokio::test]
    async fn a_body_is_read_once() {
        let body = http::Request::new(Bytes::from_static(b"[]"));
        let mut request = Request::from_bytes(body, "127.0.0.1:9".parse().unwrap(), Scheme::Http);
        assert_eq!(request.body(&LIMITS).await.unwrap(), "[]");
        assert_eq!(request.body(&LIMITS).await.unwrap(), "");
    }
}
