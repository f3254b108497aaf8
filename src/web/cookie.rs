//! Reading a cookie, and writing the one that CometD calls the browser cookie.

use std::{fmt::Write, time::Duration};

use http::{HeaderMap, HeaderValue, header};

use super::Scheme;

/// What the browser cookie looks like; each field is CometD's option of the same name after `browser_cookie_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrowserCookie {
    /// Its name; `BAYEUX_BROWSER` by default.
    pub name: String,
    /// The `Domain` attribute; none by default.
    pub domain: Option<String>,
    /// The `Path` attribute; `/` by default.
    pub path: Option<String>,
    /// The `Max-Age` attribute, in whole seconds; none by default, which is until the browser closes.
    pub max_age: Option<Duration>,
    /// Whether `Secure` is written when the request came over TLS; off by default.
    pub secure: bool,
    /// Whether `HttpOnly` is written; on by default.
    pub http_only: bool,
    /// The `SameSite` attribute; none by default.
    pub same_site: Option<SameSite>,
    /// Whether `Partitioned` is written; off by default.
    pub partitioned: bool,
}

/// Which requests from other sites a browser sends a cookie with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// None of them.
    Strict,
    /// Only those that open a page.
    Lax,
    /// All of them; browsers want `Secure` with it.
    None,
}

impl Default for BrowserCookie {
    fn default() -> Self {
        Self {
            name: "BAYEUX_BROWSER".to_owned(),
            domain: None,
            path: Some("/".to_owned()),
            max_age: None,
            secure: false,
            http_only: true,
            same_site: None,
            partitioned: false,
        }
    }
}

/// Why a cookie cannot be written as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CookieError {
    /// The name is empty or has characters that no cookie name may have.
    #[error("the name of the cookie is not a token")]
    Name,
    /// Domain or path contain a semicolon or something other than visible ASCII.
    #[error("domain or path of the cookie have characters that it cannot carry")]
    Attribute,
}

/// Reads and writes the browser cookie as configured.
#[derive(Clone, Debug)]
pub struct CookieJar {
    name: String,
    /// What follows the value, for plain and for TLS requests.
    plain: String,
    tls: String,
}

impl CookieJar {
    /// Checks the configuration and prepares the attributes.
    ///
    /// # Errors
    ///
    /// A part of it cannot stand in a header.
    pub fn new(cookie: &BrowserCookie) -> Result<Self, CookieError> {
        let name = cookie.name.clone();
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(CookieError::Name);
        }
        let mut texts = [&cookie.domain, &cookie.path].into_iter().flatten();
        if !texts.all(|text| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';')) {
            return Err(CookieError::Attribute);
        }
        Ok(Self { name, plain: attributes(cookie, Scheme::Http), tls: attributes(cookie, Scheme::Https) })
    }

    /// Returns the value that the client sent, if any; see [`read`].
    #[must_use]
    pub fn read<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        read(headers, &self.name)
    }

    /// Makes the value of a `Set-Cookie` header for the answer to a request of this scheme.
    ///
    /// # Panics
    ///
    /// If `value` has characters other than letters, digits and those of a token: the server makes it up itself.
    #[must_use]
    pub fn set_cookie(&self, value: &str, scheme: Scheme) -> HeaderValue {
        assert!(value.bytes().all(is_token), "the value of a cookie of our own is a token");
        let attributes = match scheme {
            Scheme::Http => &self.plain,
            Scheme::Https => &self.tls,
        };
        HeaderValue::try_from(format!("{}={value}{attributes}", self.name)).expect("every part was checked")
    }
}

/// Returns the value of the first cookie called `name`, in any case, without the quotation marks around it.
///
/// A cookie whose value is empty, or not UTF-8, counts as absent.
#[must_use]
pub fn read<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
    let mut named = pairs.filter_map(|pair| {
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        let (key, value) = (&pair[..equals], &pair[equals + 1..]);
        key.trim_ascii().eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
    });
    let value = named.next()?;
    let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
    str::from_utf8(value).ok().filter(|value| !value.is_empty())
}

/// Writes the attributes, in CometD's order.
fn attributes(cookie: &BrowserCookie, scheme: Scheme) -> String {
    let mut text = String::new();
    let mut add = |condition: bool, name: &str, value: &dyn std::fmt::Display| {
        if condition {
            write!(text, "; {name}{value}").expect("a string takes everything");
        }
    };
    let same_site = cookie.same_site.map_or("", |same_site| match same_site {
        SameSite::Strict => "Strict",
        SameSite::Lax => "Lax",
        SameSite::None => "None",
    });
    add(cookie.domain.is_some(), "Domain=", &cookie.domain.as_deref().unwrap_or_default());
    add(cookie.path.is_some(), "Path=", &cookie.path.as_deref().unwrap_or_default());
    add(cookie.max_age.is_some(), "Max-Age=", &cookie.max_age.unwrap_or_default().as_secs());
    add(cookie.http_only, "HttpOnly", &"");
    add(cookie.secure && scheme == Scheme::Https, "Secure", &"");
    add(cookie.same_site.is_some(), "SameSite=", &same_site);
    add(cookie.partitioned, "Partitioned", &"");
    text
}

/// Whether a byte may stand in a token (RFC 9110, 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(lines: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_static(line));
        }
        read(&headers, "BAYEUX_BROWSER").map(str::to_owned)
    }

    #[test]
    fn cookies_are_found_as_cometd_finds_them() {
        assert_eq!(find(&[]), None);
        assert_eq!(find(&[""]), None);
        assert_eq!(find(&["a=b; BAYEUX_BROWSER=x1; c=d"]).unwrap(), "x1");
        assert_eq!(find(&["bayeux_browser=x1"]).unwrap(), "x1");
        assert_eq!(find(&["BAYEUX_BROWSER=\"x1\""]).unwrap(), "x1");
        assert_eq!(find(&["BAYEUX_BROWSER=x1; BAYEUX_BROWSER=x2"]).unwrap(), "x1");
        assert_eq!(find(&["a", "b=1;;BAYEUX_BROWSER=x1=2"]).unwrap(), "x1=2");
        assert_eq!(find(&["BAYEUX_BROWSER=", "NOT_BAYEUX_BROWSER=x"]), None);
    }

    #[test]
    fn the_default_cookie_is_cometds() {
        let jar = CookieJar::new(&BrowserCookie::default()).unwrap();
        assert_eq!(jar.set_cookie("0a1b", Scheme::Https), "BAYEUX_BROWSER=0a1b; Path=/; HttpOnly");
    }

    #[test]
    fn attributes_keep_their_order_and_secure_needs_tls() {
        let cookie = BrowserCookie {
            name: "b".into(),
            domain: Some("push.example".into()),
            path: Some("/cometd".into()),
            max_age: Some(Duration::from_secs(3600)),
            secure: true,
            http_only: true,
            same_site: Some(SameSite::None),
            partitioned: true,
        };
        let jar = CookieJar::new(&cookie).unwrap();
        assert_eq!(
            jar.set_cookie("v", Scheme::Https),
            "b=v; Domain=push.example; Path=/cometd; Max-Age=3600; HttpOnly; Secure; SameSite=None; Partitioned"
        );
        assert!(!jar.set_cookie("v", Scheme::Http).to_str().unwrap().contains("Secure"));
    }

    #[test]
    fn what_a_header_cannot_carry_is_refused() {
        let named = |name: &str| CookieJar::new(&BrowserCookie { name: name.into(), ..BrowserCookie::default() });
        assert_eq!(named("").unwrap_err(), CookieError::Name);
        assert_eq!(named("a b").unwrap_err(), CookieError::Name);
        let path = BrowserCookie { path: Some("/; Secure".into()), ..BrowserCookie::default() };
        assert_eq!(CookieJar::new(&path).unwrap_err(), CookieError::Attribute);
    }
}
