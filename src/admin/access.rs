//! Who is let in: the token, and the checks that keep web pages out.
//!
//! A browser on the operator's machine reaches the admin listener, and so does every page it shows. Browsers mark what
//! they send for a page of another origin, except when that page's own name has been made to lead here (DNS
//! rebinding): then only the name in `Host` is wrong.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::web::{HeaderValue, Request, Response, StatusCode, header, origin::AllowedOrigins};

use super::{TokenCheck, refuse};

/// Refuses a request without the right `Authorization: Bearer`.
pub(super) fn check_token(request: &Request, is_right: &TokenCheck) -> Option<Response> {
    let sent = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let token = sent.and_then(|sent| {
        let (scheme, token) = sent.split_at_checked(b"Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token.trim_ascii())
    });
    if token.is_some_and(|token| is_right(token)) {
        return None;
    }
    let sentence = if token.is_some() { "the token is wrong" } else { "send the token as Authorization: Bearer TOKEN" };
    let mut response = refuse(StatusCode::UNAUTHORIZED, sentence);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    Some(response)
}

/// Refuses what a browser sends for a page of another origin; programs send neither header.
pub(super) fn check_page(request: &Request) -> Option<Response> {
    let is_own = AllowedOrigins::default().judge(request).is_ok();
    let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
    let is_near = site.is_none_or(|site| site == b"same-origin" || site == b"none");
    let sentence = "pages of other origins may not use the admin listener";
    (!is_own || !is_near).then(|| refuse(StatusCode::FORBIDDEN, sentence))
}

/// Refuses a request to any host but this machine's loopback.
///
/// One without a host passes: health checks over HTTP/1.0 send none, and every browser does.
pub(super) fn check_host(request: &Request) -> Option<Response> {
    let is_named = request.authority().is_some() || request.headers().contains_key(header::HOST);
    let is_loopback = request.authority().is_some_and(is_loopback);
    let sentence = "without a token the admin listener answers to localhost and loopback addresses only";
    (is_named && !is_loopback).then(|| refuse(StatusCode::FORBIDDEN, sentence))
}

/// Whether `host[:port]` can only mean this machine: names are not looked up, because that is what rebinding abuses.
fn is_loopback(authority: &str) -> bool {
    if let Some(address) = authority.strip_prefix('[') {
        let address = address.split_once(']').map(|(address, _)| address.parse::<Ipv6Addr>());
        return address.is_some_and(|address| address.is_ok_and(|address| address.is_loopback()));
    }
    let host = authority.split_once(':').map_or(authority, |(host, _)| host);
    host.eq_ignore_ascii_case("localhost") || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_by_its_text() {
        for host in ["localhost", "LOCALHOST:8081", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:8081"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["", "a", "localhost.evil", "127.0.0.1.evil:80", "10.0.0.1", "[::2]:1", "[::1", "127.1", "user@::1"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
