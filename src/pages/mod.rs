//! The page that is served at `/`: a Bayeux client for the browser, embedded in the binary.
//!
//! It is plain HTML, CSS and ES modules, as they lie in this folder: no build step, nothing of third parties, nothing
//! fetched from elsewhere. It works under [`SECURITY_HEADERS`], which allow neither inline scripts nor inline styles.
//!
//! **Must not know** the node, the engine or any setting: it is files and a router. What the page shows it learns as any
//! client does, but for the paths of the mounts, which [`routes`] is told.
//!
//! Start reading at [`routes`], then `page.js`.

use bytes::Bytes;

use crate::web::{HeaderName, HeaderValue, Request, Response, Router, StatusCode, header, response};

/// One file of the page.
///
/// Files are few and small, so a browser asks each time whether its copy is still good.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// The path of the URL at which it is served, with its leading slash.
    pub path: &'static str,
    /// The value of `Content-Type`.
    pub content_type: &'static str,
    /// The content.
    pub bytes: &'static [u8],
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// All files of the page. The first one is the page itself, at `/`.
pub const ASSETS: &[Asset] = &[
    Asset { path: "/", content_type: "text/html; charset=utf-8", bytes: include_bytes!("index.html") },
    Asset { path: "/page.css", content_type: "text/css; charset=utf-8", bytes: include_bytes!("page.css") },
    Asset { path: "/page.js", content_type: JAVASCRIPT, bytes: include_bytes!("page.js") },
    Asset { path: "/bayeux.js", content_type: JAVASCRIPT, bytes: include_bytes!("bayeux.js") },
    Asset { path: "/feed.js", content_type: JAVASCRIPT, bytes: include_bytes!("feed.js") },
    Asset { path: "/snippets.js", content_type: JAVASCRIPT, bytes: include_bytes!("snippets.js") },
    Asset { path: "/icon.svg", content_type: "image/svg+xml", bytes: include_bytes!("icon.svg") },
];

/// Headers that every answer with an [`Asset`] carries, besides `Content-Type` and `ETag`.
///
/// `ws:` and `wss:` are listed because older browsers do not count a WebSocket to the page's own host as `'self'`.
pub const SECURITY_HEADERS: &[(&str, &str)] = &[
    (
        "content-security-policy",
        "default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-cache"),
];

/// What the page asks the server about itself, beside the assets.
const ABOUT: &str = "/mirant.json";

/// Makes the routes of the page: its files, and `/mirant.json` with the server's version and the paths of its mounts.
#[must_use]
pub fn routes(mounts: &[String]) -> Router {
    let about = serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "mounts": mounts }).to_string();
    let about = File::new("application/json", about.into());
    let assets =
        ASSETS.iter().map(|asset| (asset.path, File::new(asset.content_type, Bytes::from_static(asset.bytes))));
    assets.chain([(ABOUT, about)]).fold(Router::new(), |router, (path, file)| {
        router.get(path, move |request| std::future::ready(file.answer(&request)))
    })
}

/// Bytes with what HTTP says about them.
struct File {
    content_type: &'static str,
    bytes: Bytes,
    /// The value of `ETag`, with its quotes.
    entity_tag: String,
}

impl File {
    fn new(content_type: &'static str, bytes: Bytes) -> Self {
        let entity_tag = format!("\"{:016x}\"", fingerprint(&bytes));
        Self { content_type, bytes, entity_tag }
    }

    /// Answers with the bytes, or with 304 if the client has them.
    fn answer(&self, request: &Request) -> Response {
        let mut response = if self.is_known_to(request) {
            response::empty(StatusCode::NOT_MODIFIED)
        } else {
            response::content(StatusCode::OK, self.content_type, self.bytes.clone())
        };
        let headers = response.headers_mut();
        for (name, value) in SECURITY_HEADERS {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let entity_tag = HeaderValue::from_str(&self.entity_tag).expect("an entity tag is hexadecimal in quotes");
        headers.insert(header::ETAG, entity_tag);
        response
    }

    /// Whether `If-None-Match` names these bytes; weak tags, which proxies make, count as well (RFC 9110, 13.1.2).
    fn is_known_to(&self, request: &Request) -> bool {
        let known = request.header(header::IF_NONE_MATCH).unwrap_or_default();
        known.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == self.entity_tag)
    }
}

/// FNV-1a, 64 bit: nobody gains by a collision here, so it need not be a cryptographic one.
fn fingerprint(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::Scheme;

    /// What `index.html` and the modules name must be served, and nothing else is.
    #[test]
    fn every_asset_is_used_and_every_use_is_an_asset() {
        let names: Vec<&str> = ASSETS.iter().map(|asset| asset.path.trim_start_matches('/')).collect();
        let texts: Vec<&str> = ASSETS.iter().filter_map(|asset| std::str::from_utf8(asset.bytes).ok()).collect();
        let all = texts.concat();
        for name in names.iter().filter(|name| !name.is_empty()) {
            assert!(
                all.contains(&format!("\"{name}\"")) || all.contains(&format!("\"./{name}\"")),
                "{name} is not used"
            );
        }
        for import in all.split("from \"./").skip(1) {
            let name = import.split('"').next().unwrap_or_default();
            assert!(names.contains(&name), "{name} is imported but not served");
        }
    }

    /// The content security policy would block these without a word to the visitor.
    #[test]
    fn the_page_has_no_inline_script_or_style() {
        let page = std::str::from_utf8(ASSETS[0].bytes).unwrap();
        for forbidden in ["<style", " style=", " onclick=", "javascript:", "http://", "https://"] {
            assert!(!page.contains(forbidden), "index.html contains {forbidden}");
        }
        assert_eq!(page.matches("<script").count(), page.matches("<script type=\"module\" src=").count());
    }

    async fn answer(method: &str, path: &str, if_none_match: &str) -> Response {
        let mut request = http::Request::builder().method(method).uri(path);
        if !if_none_match.is_empty() {
            request = request.header("if-none-match", if_none_match);
        }
        let request = request.body(Bytes::new()).unwrap();
        let request = Request::from_bytes(request, "127.0.0.1:9".parse().unwrap(), Scheme::Http);
        routes(&["/cometd".to_owned(), "/other".to_owned()]).handle(request).await
    }

    #[tokio::test]
    async fn every_asset_is_served_with_its_headers() {
        let mut tags = Vec::new();
        for asset in ASSETS {
            let response = answer("GET", asset.path, "").await;
            assert_eq!((response.status(), response.body().bytes()), (StatusCode::OK, asset.bytes));
            assert_eq!(response.headers()["content-type"], asset.content_type);
            for (name, value) in SECURITY_HEADERS {
                assert_eq!(response.headers()[*name], *value);
            }
            tags.push(response.headers()["etag"].clone());
        }
        tags.sort();
        tags.dedup();
        assert_eq!(tags.len(), ASSETS.len());
        assert_eq!(answer("HEAD", "/", "").await.status(), 200);
        assert_eq!(answer("POST", "/", "").await.status(), 405);
        assert_eq!(answer("GET", "/index.html", "").await.status(), 404);
    }

    #[tokio::test]
    async fn a_copy_that_is_still_good_is_not_sent_again() {
        let tag = answer("GET", "/page.js", "").await.headers()["etag"].to_str().unwrap().to_owned();
        assert!(tag.len() == 18 && tag.starts_with('"'), "{tag}");
        for known in [tag.clone(), format!("W/{tag}"), format!("\"a\", {tag}"), "*".to_owned()] {
            let response = answer("GET", "/page.js", &known).await;
            assert_eq!((response.status(), response.body().bytes()), (StatusCode::NOT_MODIFIED, &b""[..]), "{known}");
            assert_eq!(response.headers()["etag"], tag);
            assert_eq!(response.headers()["cache-control"], "no-cache");
        }
        assert_eq!(answer("GET", "/page.css", &tag).await.status(), 200);
    }

    #[tokio::test]
    async fn the_page_learns_version_and_mounts() {
        let response = answer("GET", "/mirant.json", "").await;
        let about: serde_json::Value = serde_json::from_slice(response.body().bytes()).unwrap();
        assert_eq!(about, serde_json::json!({"version": env!("CARGO_PKG_VERSION"), "mounts": ["/cometd", "/other"]}));
        assert_eq!(response.headers()["content-type"], "application/json");
    }
}
