//! Which pages may talk to the server: the rule for `Origin`, and the CORS headers that tell a browser so.

use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use super::{
    Request, Response, Scheme,
    response::{self, Body},
};

/// How long a browser may remember the answer to a preflight, in seconds; Jetty's filter has the same.
const PREFLIGHT_MAX_AGE: HeaderValue = HeaderValue::from_static("1800");

/// Methods that are spoken on the public listener.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, HEAD, OPTIONS");

/// Headers that known clients send, allowed whether a preflight asks for them or not.
const REQUEST_HEADERS: [&str; 6] = ["Content-Type", "X-Requested-With", "Authorization", "Accept", "Origin", "Pragma"];

/// Longest list of headers that a preflight may ask for, in bytes; longer ones are not repeated.
const ASKED_HEADERS_MAX: usize = 2048;

/// Longest part of a refused origin that is quoted, in bytes.
const QUOTED_ORIGIN_MAX: usize = 100;

/// Origins other than the server's own that may use it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedOrigins {
    /// `*`: every origin that has a name.
    any: bool,
    /// `null`: sandboxed frames, local files. Every page can make itself one, so `*` does not include it.
    null: bool,
    listed: Vec<String>,
}

/// An entry of the list that is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no origin: write scheme://host or scheme://host:port without a path, \"null\", or \"*\"")]
pub struct OriginError(String);

/// A request that may be answered, and what its answers must say to the browser.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    /// The origin to be repeated, if the page is of another one.
    cross: Option<HeaderValue>,
}

/// A request from a page that may not use the server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OriginRefusal {
    /// The page's origin is known and not listed.
    #[error("origin {origin} is not allowed; {} would have to list it", OriginRefusal::KEY)]
    Listed {
        /// The origin, shortened and without anything but visible ASCII.
        origin: String,
    },
    /// A script of a page that hides its origin, which only `*` allows.
    #[error(
        "a script of another site is not allowed without a Referer that {} lists; \"*\" there would allow it",
        OriginRefusal::KEY
    )]
    Hidden,
}

impl OriginRefusal {
    /// The setting that would allow it.
    pub const KEY: &'static str = "server.allowed_origins";

    /// Answers 403 with this error's sentence, which names the setting.
    #[must_use]
    pub fn response(&self) -> Response {
        response::text(StatusCode::FORBIDDEN, self.to_string())
    }
}

impl Admitted {
    /// Adds what a page of another origin needs to see the answer, also an error; nothing for the server's own pages.
    pub fn add_headers(&self, response: &mut Response) {
        let Some(origin) = &self.cross else { return };
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}

impl AllowedOrigins {
    /// Checks a list of `scheme://host[:port]`, `null` and `*`.
    ///
    /// # Errors
    ///
    /// An entry is none of these.
    pub fn parse<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Result<Self, OriginError> {
        let mut allowed = Self::default();
        for entry in entries {
            match entry.as_ref() {
                "*" => allowed.any = true,
                "null" => allowed.null = true,
                origin if Origin::parse(origin).is_some() => allowed.listed.push(origin.to_owned()),
                other => return Err(OriginError(other.to_owned())),
            }
        }
        Ok(allowed)
    }

    /// Decides whether a request may be answered, whatever its method and transport.
    ///
    /// Programs send no `Origin` and are let in; so are the server's own pages, then those of listed origins.
    ///
    /// # Errors
    ///
    /// The page is of another origin.
    pub fn judge(&self, request: &Request) -> Result<Admitted, OriginRefusal> {
        let Some(value) = request.headers().get(header::ORIGIN) else { return Ok(Admitted::default()) };
        let allowed = match value.as_bytes() {
            b"null" => self.null,
            text => match str::from_utf8(text).ok().and_then(Origin::parse) {
                Some(origin) if own_origin(request).is_some_and(|own| own.is(&origin)) => {
                    return Ok(Admitted::default());
                }
                Some(origin) => self.any || self.lists(&origin),
                None => false,
            },
        };
        if allowed { Ok(Admitted { cross: Some(value.clone()) }) } else { Err(refusal(value)) }
    }

    /// Decides whether a script element may be answered: browsers send no `Origin` with it.
    ///
    /// Its page is named by `Referer`. A page that suppresses that is told from the server's own by `Sec-Fetch-Site`, which
    /// no script can change, but which browsers send to https and localhost only. Programs send neither.
    ///
    /// # Errors
    ///
    /// The page is of another origin.
    pub fn judge_script(&self, request: &Request) -> Result<Admitted, OriginRefusal> {
        if request.headers().contains_key(header::ORIGIN) {
            return self.judge(request);
        }
        let Some(referer) = request.headers().get(header::REFERER) else {
            let is_own = matches!(request.header("sec-fetch-site"), None | Some("same-origin" | "none"));
            return if is_own || self.any { Ok(Admitted::default()) } else { Err(OriginRefusal::Hidden) };
        };
        let page = str::from_utf8(referer.as_bytes()).ok().and_then(origin_of_url);
        let allowed = page
            .is_some_and(|page| own_origin(request).is_some_and(|own| own.is(&page)) || self.any || self.lists(&page));
        if allowed { Ok(Admitted::default()) } else { Err(refusal(referer)) }
    }

    /// Answers `OPTIONS`: a browser's question whether a page may send a request, or anything else with an empty 200.
    #[must_use]
    pub fn preflight(&self, request: &Request) -> Response {
        let (origin, method) =
            (request.headers().get(header::ORIGIN), request.headers().get(header::ACCESS_CONTROL_REQUEST_METHOD));
        let mut response = Response::new(Body::empty());
        let (Some(origin), Some(_)) = (origin, method) else {
            response.headers_mut().insert(header::ALLOW, METHODS);
            return response;
        };
        if let Err(refusal) = self.judge(request) {
            return refusal.response();
        }
        // Said to own pages too: behind a proxy a browser may ask although it looks like one origin from here.
        Admitted { cross: Some(origin.clone()) }.add_headers(&mut response);
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_MAX_AGE);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers(request));
        if request.header("access-control-request-private-network") == Some("true") {
            let name = HeaderName::from_static("access-control-allow-private-network");
            headers.insert(name, HeaderValue::from_static("true"));
        }
        response
    }

    /// Returns whether this request is `OPTIONS`, to be answered by [`preflight`](Self::preflight).
    #[must_use]
    pub fn is_preflight(request: &Request) -> bool {
        *request.method() == Method::OPTIONS
    }

    fn lists(&self, origin: &Origin<'_>) -> bool {
        self.listed.iter().filter_map(|entry| Origin::parse(entry)).any(|listed| listed.is(origin))
    }
}

/// The three parts that make two origins the same one.
#[derive(Clone, Copy, Debug)]
struct Origin<'a> {
    scheme: &'a str,
    host: &'a str,
    /// The port, that of the scheme filled in.
    port: Option<u16>,
}

impl<'a> Origin<'a> {
    /// Reads `scheme://host[:port]`; nothing may follow.
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        (!scheme.is_empty() && scheme.bytes().all(is_scheme)).then_some(())?;
        Self::of(scheme, authority)
    }

    /// Reads `host[:port]`, of a URL with this scheme.
    fn of(scheme: &'a str, authority: &'a str) -> Option<Self> {
        // The colons of an IPv6 address stand inside brackets.
        let after_address = authority.rfind(']').map_or(0, |bracket| bracket + 1);
        let (host, port) = match authority[after_address..].rfind(':') {
            Some(colon) => {
                let (host, port) = authority.split_at(after_address + colon);
                (host, Some(port[1..].parse().ok()?))
            }
            None => (authority, None),
        };
        let is_host = |byte: u8| byte.is_ascii_graphic() && !b"/?#@\\*\"<>".contains(&byte);
        (!host.is_empty() && host.bytes().all(is_host)).then_some(())?;
        let of_scheme = match scheme {
            scheme if scheme.eq_ignore_ascii_case("http") => Some(80),
            scheme if scheme.eq_ignore_ascii_case("https") => Some(443),
            _ => None,
        };
        Some(Self { scheme, host, port: port.or(of_scheme) })
    }

    fn is(&self, other: &Origin<'_>) -> bool {
        self.port == other.port
            && self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.host.eq_ignore_ascii_case(other.host)
    }
}

/// Returns the origin of a page, from its URL.
fn origin_of_url(url: &str) -> Option<Origin<'_>> {
    let (scheme, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    Origin::parse(&url[..scheme.len() + "://".len() + host.len()])
}

/// Returns the origin that pages of this server have, as far as the request tells.
///
/// Behind a proxy that ends TLS the page is `https` although the request is not, so `X-Forwarded-Proto` goes first. A
/// page cannot add that header to a request without asking in a preflight, so believing it lets no other page in.
fn own_origin(request: &Request) -> Option<Origin<'_>> {
    let scheme = match request.header("x-forwarded-proto") {
        Some(forwarded) => forwarded.split(',').next().unwrap_or_default().trim(),
        None if request.scheme() == Scheme::Https => "https",
        None => "http",
    };
    Origin::of(scheme, request.authority()?)
}

/// The headers that a preflight is told are allowed: the usual ones, and whatever it asks for.
fn allowed_headers(request: &Request) -> HeaderValue {
    let asked = request.header(header::ACCESS_CONTROL_REQUEST_HEADERS).unwrap_or_default();
    let asked = if asked.len() <= ASKED_HEADERS_MAX { asked } else { "" };
    let mut names = REQUEST_HEADERS.to_vec();
    for name in asked.split(',').map(str::trim) {
        let is_new = !names.iter().any(|known| known.eq_ignore_ascii_case(name));
        if is_new && HeaderName::try_from(name).is_ok() {
            names.push(name);
        }
    }
    HeaderValue::try_from(names.join(", ")).expect("names of headers are visible ASCII")
}

fn refusal(origin: &HeaderValue) -> OriginRefusal {
    let bytes = origin.as_bytes();
    let shown = bytes[..bytes.len().min(QUOTED_ORIGIN_MAX)].escape_ascii().to_string();
    OriginRefusal::Listed { origin: shown }
}

#[cfg(test)]
mod tests {
    use super::{super::request::tests::request, *};

    fn allowed(entries: &[&str]) -> AllowedOrigins {
        AllowedOrigins::parse(entries).unwrap()
    }

    fn judge(entries: &[&str], headers: &[&str]) -> Result<Admitted, OriginRefusal> {
        allowed(entries).judge(&request("POST", "/cometd", headers))
    }

    fn is_cross(entries: &[&str], origin: &str) -> bool {
        let admitted = judge(entries, &["host: push.example", &format!("origin: {origin}")]);
        admitted.is_ok_and(|admitted| admitted.cross.is_some_and(|echo| echo == origin))
    }

    #[test]
    fn programs_and_own_pages_are_let_in() {
        assert_eq!(judge(&[], &["host: a"]), Ok(Admitted::default()));
        for (host, origin) in [
            ("push.example", "http://push.example"),
            ("push.example:80", "http://PUSH.example"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("[::1]:8080", "http://[::1]:8080"),
            ("[::1]", "http://[::1]"),
        ] {
            let headers = [&*format!("host: {host}"), &*format!("origin: {origin}")];
            assert_eq!(judge(&[], &headers), Ok(Admitted::default()), "{origin}");
        }
    }

    #[test]
    fn scheme_host_and_port_must_all_agree() {
        for origin in ["https://push.example", "http://push.example:81", "http://x.push.example", "null", "", "http://"]
        {
            assert!(judge(&[], &["host: push.example", &format!("origin: {origin}")]).is_err(), "{origin}");
        }
        assert!(judge(&[], &["origin: http://push.example"]).is_err());
    }

    #[test]
    fn a_proxy_that_ends_tls_may_say_so() {
        let page = ["host: push.example", "origin: https://push.example", "x-forwarded-proto: https"];
        assert_eq!(judge(&[], &page), Ok(Admitted::default()));
        assert!(judge(&[], &page[..2]).is_err());
    }

    #[test]
    fn other_pages_need_the_list() {
        assert!(is_cross(&["https://app.example"], "https://app.example"));
        assert!(is_cross(&["https://app.example:443"], "https://APP.example"));
        assert!(is_cross(&["*"], "https://any.example"));
        assert!(is_cross(&["capacitor://localhost"], "capacitor://localhost"));
        assert!(is_cross(&["null"], "null"));
        assert!(!is_cross(&["*"], "null"));
        assert!(!is_cross(&["*"], "no origin"));
        assert!(!is_cross(&["https://app.example"], "https://app.example.evil"));
    }

    #[test]
    fn a_refusal_names_the_setting_and_is_harmless_to_log() {
        let long = format!("origin: http://{}", "e".repeat(300));
        let refusal = judge(&[], &["host: a", &long]).unwrap_err();
        assert!(refusal.to_string().contains("server.allowed_origins"));
        assert!(matches!(&refusal, OriginRefusal::Listed { origin } if origin.len() == 100));
        assert_eq!(refusal.response().status(), 403);
        assert!(AllowedOrigins::parse(["https://app.example/"]).is_err());
        assert!(AllowedOrigins::parse(["app.example"]).is_err());
        assert!(AllowedOrigins::parse(["https://*.app.example"]).is_err());
    }

    fn script(entries: &[&str], headers: &[&str]) -> Result<Admitted, OriginRefusal> {
        let headers: Vec<&str> = ["host: push.example"].iter().chain(headers).copied().collect();
        allowed(entries).judge_script(&request("GET", "/cometd", &headers))
    }

    #[test]
    fn scripts_are_judged_by_the_page_that_they_stand_in() {
        let listed = &["https://app.example"][..];
        for (entries, headers) in [
            (&[][..], &[][..]),
            (&[], &["referer: http://push.example/page?x=y"]),
            (&[], &["sec-fetch-site: same-origin"]),
            (&[], &["sec-fetch-site: none"]),
            (listed, &["referer: https://app.example/", "sec-fetch-site: cross-site"]),
            (listed, &["referer: https://app.example"]),
            (listed, &["origin: https://app.example", "referer: https://evil.example/"]),
            (&["*"], &["referer: https://any.example/"]),
            (&["*"], &["sec-fetch-site: cross-site"]),
        ] {
            assert!(script(entries, headers).is_ok(), "{headers:?}");
        }
        for headers in [
            &["referer: https://evil.example/"][..],
            &["referer: https://evil.example/https://app.example/"],
            &["referer: https://app.example.evil/"],
            &["referer: https://app.example@evil.example/"],
            &["referer: https://evil.example\\@app.example/"],
            &["referer: http://app.example/"],
            &["referer: about:blank"],
            &["referer: "],
            &["referer: https://evil.example/", "sec-fetch-site: same-origin"],
            &["sec-fetch-site: cross-site"],
            &["sec-fetch-site: same-site"],
            &["sec-fetch-site: unheard-of"],
            &["origin: https://evil.example", "referer: https://app.example/"],
        ] {
            let refusal = script(listed, headers).expect_err(headers[0]);
            assert!(refusal.to_string().contains("server.allowed_origins"), "{refusal}");
        }
    }

    #[test]
    fn answers_to_other_pages_carry_the_origin() {
        let admitted = judge(&["*"], &["host: a", "origin: https://b"]).unwrap();
        let mut response = response::empty(StatusCode::OK);
        admitted.add_headers(&mut response);
        assert_eq!(response.headers()["access-control-allow-origin"], "https://b");
        assert_eq!(response.headers()["access-control-allow-credentials"], "true");
        assert_eq!(response.headers()["vary"], "Origin");
        let mut response = response::empty(StatusCode::OK);
        Admitted::default().add_headers(&mut response);
        assert!(response.headers().is_empty());
    }

    #[test]
    fn preflights_are_answered_in_full() {
        let ask = [
            "host: a",
            "origin: https://b",
            "access-control-request-method: POST",
            "access-control-request-headers: content-type, x-special, , bad name",
            "access-control-request-private-network: true",
        ];
        let ask = request("OPTIONS", "/cometd", &ask);
        let response = allowed(&["https://b"]).preflight(&ask);
        assert_eq!((response.status(), response.body().bytes().len()), (StatusCode::OK, 0));
        let headers = response.headers();
        assert_eq!(headers["access-control-allow-origin"], "https://b");
        assert_eq!(headers["access-control-allow-credentials"], "true");
        assert_eq!(headers["access-control-max-age"], "1800");
        assert_eq!(headers["access-control-allow-methods"], "GET, POST, HEAD, OPTIONS");
        assert_eq!(headers["access-control-allow-private-network"], "true");
        assert_eq!(headers["vary"], "Origin");
        let expected = "Content-Type, X-Requested-With, Authorization, Accept, Origin, Pragma, x-special";
        assert_eq!(headers["access-control-allow-headers"], expected);
        assert_eq!(allowed(&[]).preflight(&ask).status(), 403);
    }

    #[test]
    fn options_without_a_question_is_an_empty_200() {
        let response = allowed(&[]).preflight(&request("OPTIONS", "/cometd", &["host: a"]));
        assert_eq!(response.status(), 200);
        assert!(!response.headers().contains_key("access-control-allow-origin"));
    }
}
