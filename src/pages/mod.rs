//! The page that is served at `/`: a Bayeux client for the browser, embedded in the binary.
//!
//! It is plain HTML, CSS and ES modules, as they lie in this folder: no build step, nothing of third parties, nothing
//! fetched from elsewhere. It works under [`SECURITY_HEADERS`], which allow neither inline scripts nor inline styles.

/// One file of the page.
///
/// Files are few and small, so a browser asks each time whether its copy is still good: answer an `If-None-Match` that
/// holds [`Asset::entity_tag`] with 304.
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

impl Asset {
    /// The value of `ETag`, with its quotes: it differs between any two contents that are likely to meet.
    #[must_use]
    pub fn entity_tag(&self) -> String {
        format!("\"{:016x}\"", fingerprint(self.bytes))
    }
}

/// FNV-1a, 64 bit: nobody gains by a collision here, so it need not be a cryptographic one.
const fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut index = 0;
    while index < bytes.len() {
        hash = (hash ^ bytes[index] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        index += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn entity_tags_differ() {
        let mut tags: Vec<String> = ASSETS.iter().map(Asset::entity_tag).collect();
        tags.sort();
        tags.dedup();
        assert_eq!(tags.len(), ASSETS.len());
        assert!(tags.iter().all(|tag| tag.len() == 18 && tag.starts_with('"')));
    }
}
