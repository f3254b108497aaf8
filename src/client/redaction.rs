//! [`Redaction`]: what never gets into a file.

use super::pattern::{Fields, Pattern};
use super::transcript::Headers;

/// What stands in place of a secret.
pub const REDACTED: &str = "redacted";

/// Words that make a name that of a secret, wherever they stand in it.
const SECRET_WORDS: [&str; 18] = [
    "token",
    "password",
    "passwd",
    "passcode",
    "pwd",
    "passphrase",
    "secret",
    "credential",
    "authorization",
    "apikey",
    "api_key",
    "api-key",
    "cookie",
    "signature",
    "privatekey",
    "private_key",
    "sessionid",
    "session_id",
];

/// Names of header lines that are secrets although none of the words stands in them.
const SECRET_HEADERS: [&str; 4] = ["x-auth", "x-csrf", "x-xsrf", "x-session"];

/// Longest name of a WebSocket's subprotocol that is taken for one, in bytes.
const PROTOCOL_MAX: usize = 24;

/// What is taken out of what is written down. The default takes nothing out.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    by_name: bool,
    /// Paths of fields of messages, like `ext.auth`.
    paths: Vec<Vec<String>>,
}

impl Redaction {
    /// Takes out whatever has the name of a secret, and these fields of messages, written as paths like `ext.auth`.
    #[must_use]
    pub fn of_secrets(paths: &[String]) -> Self {
        let paths = paths.iter().map(|path| path.split('.').map(str::to_owned).collect()).collect();
        Self { by_name: true, paths }
    }

    /// Takes secrets out of a batch of messages.
    pub fn batch(&self, batch: &mut Pattern) {
        if self.by_name {
            hide_secrets(batch);
        }
        for message in batch.messages_mut() {
            self.paths.iter().for_each(|path| hide(message, path));
        }
    }

    /// Takes secrets out of header lines: their names stay.
    #[must_use]
    pub fn headers(&self, mut headers: Headers) -> Headers {
        if self.by_name {
            for (name, value) in &mut headers {
                let is_open = value.is_empty() || name.to_ascii_lowercase().starts_with("access-control-");
                if !is_open && is_secret_header(name) {
                    REDACTED.clone_into(value);
                } else if name.eq_ignore_ascii_case("sec-websocket-protocol") {
                    // Pages hand tokens over as if they were protocols, since they can set no other header line.
                    let items = value.split(',').map(str::trim);
                    let items = items.map(|item| if item.len() > PROTOCOL_MAX { REDACTED } else { item });
                    *value = items.collect::<Vec<_>>().join(", ");
                } else if name.eq_ignore_ascii_case("referer") {
                    *value = self.target(value);
                }
            }
        }
        headers
    }

    /// Takes secrets out of the target of a request: session ids behind `;`, and secrets in the query.
    #[must_use]
    pub fn target(&self, target: &str) -> String {
        if !self.by_name {
            return target.to_owned();
        }
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let clean = |text: &str, separator: char| {
            let parts = text.split(separator).map(|part| match part.split_once('=') {
                Some((name, _)) if is_secret(name) => format!("{name}={REDACTED}"),
                _ => part.to_owned(),
            });
            parts.collect::<Vec<_>>().join(&separator.to_string())
        };
        let path = clean(path, ';');
        query.map_or_else(|| path.clone(), |query| format!("{path}?{}", clean(query, '&')))
    }

    /// Takes secrets out of a text that is no JSON: forms are understood, other texts with the name of a secret in them
    /// are left out as a whole.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        if !self.by_name || !is_secret(text) {
            return text.to_owned();
        }
        let is_form = !text.contains([' ', '"', '{', '\n']) && text.contains('=');
        if is_form && !text.contains('%') {
            let cleaned = self.target(&format!("?{text}"));
            return cleaned.strip_prefix('?').unwrap_or(REDACTED).to_owned();
        }
        REDACTED.to_owned()
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

fn is_secret_header(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    is_secret(&lower) || SECRET_HEADERS.iter().any(|start| lower.starts_with(start))
}

fn redacted() -> Pattern {
    Pattern::Text(format!("\"{REDACTED}\""))
}

/// Hides every value whose key is the name of a secret. `null`, `true` and `false` are none.
fn hide_secrets(pattern: &mut Pattern) {
    match pattern {
        Pattern::Array(elements) => elements.iter_mut().for_each(hide_secrets),
        Pattern::Object(Fields { members, .. }) => {
            for (key, value) in members {
                let is_plain = matches!(value, Pattern::Null | Pattern::Bool(_));
                if is_secret(key) && !is_plain {
                    *value = redacted();
                } else {
                    hide_secrets(value);
                }
            }
        }
        _ => {}
    }
}

fn hide(pattern: &mut Pattern, path: &[String]) {
    let Some((first, rest)) = path.split_first() else { return };
    let Some(value) = pattern.member_mut(first) else { return };
    if rest.is_empty() {
        *value = redacted();
    } else {
        hide(value, rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(paths: &[&str], json: &str) -> String {
        let paths: Vec<String> = paths.iter().map(|&path| path.to_owned()).collect();
        let mut batch = Pattern::parse(json).unwrap();
        Redaction::of_secrets(&paths).batch(&mut batch);
        batch.to_string()
    }

    #[test]
    fn fields_with_the_names_of_secrets_are_hidden_wherever_they_stand() {
        let json =
            r#"[{"ext":{"accessToken":"a","auth":{"user":"u","Password":"p","token":null}},"data":[{"api_key":7}]}]"#;
        let expected = r#"[{"ext":{"accessToken":"redacted","auth":{"user":"u","Password":"redacted","token":null}},"data":[{"api_key":"redacted"}]}]"#;
        assert_eq!(hidden(&[], json), expected);
        assert_eq!(hidden(&["ext.auth"], r#"{"ext":{"auth":{"user":"u"}}}"#), r#"{"ext":{"auth":"redacted"}}"#);
        assert_eq!(hidden(&["ext.auth", "x"], r#"[{"ext":7}]"#), r#"[{"ext":7}]"#);
    }

    #[test]
    fn header_lines_targets_and_texts_lose_their_secrets() {
        let redaction = Redaction::of_secrets(&[]);
        let line = |name: &str, value: &str| redaction.headers(vec![(name.to_owned(), value.to_owned())])[0].1.clone();
        assert_eq!(line("Authorization", "Bearer abc"), REDACTED);
        assert_eq!(line("X-Auth-User", "abc"), REDACTED);
        assert_eq!(line("X-CSRF", "abc"), REDACTED);
        assert_eq!(line("Access-Control-Allow-Headers", "authorization"), "authorization");
        assert_eq!(line("Sec-WebSocket-Protocol", "bayeux, eyJhbGciOiJIUzI1NiJ9.e30.abc"), "bayeux, redacted");
        assert_eq!(line("Referer", "http://a/?access_token=abc&b=1"), "http://a/?access_token=redacted&b=1");
        assert_eq!(redaction.target("/cometd;jsessionid=abc?x=1"), "/cometd;jsessionid=redacted?x=1");
        assert_eq!(redaction.text("user=u&password=p"), "user=u&password=redacted");
        assert_eq!(redaction.text("my password is p"), REDACTED);
        assert_eq!(redaction.text("no JSON"), "no JSON");
        assert_eq!(Redaction::default().target("/?token=a"), "/?token=a");
    }
}
