//! [`Remote`]: a server under a URL, and the control or admin endpoints by which it can be told to do things.

use std::io::{Read, Write};
use std::time::Duration;

use super::http::{MessageHead, Piece, Splitter};
use super::player::Stage;
use super::transcript::Directive;
use super::upstream::ServerUrl;

/// How long an endpoint may take for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Longest answer of an endpoint that is read, in bytes.
const BODY_MAX: usize = 64 * 1024;

/// How a server is told to do things.
#[derive(Clone, Debug)]
pub enum Operator {
    /// It cannot be.
    Nobody,
    /// By the control endpoints of the reference server.
    Control(ServerUrl),
    /// By Mirant's admin listener, with its token if it asks for one.
    Admin(ServerUrl, Option<String>),
}

/// A server under a URL.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Where clients reach it.
    pub url: ServerUrl,
    /// How it is told to do things.
    pub operator: Operator,
}

impl Stage for Remote {
    fn url(&self) -> ServerUrl {
        self.url.clone()
    }

    fn can(&self, directive: &Directive) -> bool {
        match (directive, &self.operator) {
            (Directive::Cut(_) | Directive::Browser(..), _) => true,
            (Directive::Restart, _) | (_, Operator::Nobody) => false,
            (Directive::Control(..), operator) => matches!(operator, Operator::Control(_)),
            (Directive::Publish(..) | Directive::Disconnect(_), _) => true,
        }
    }

    fn publish(&mut self, channel: &str, data: &str) -> Result<(), String> {
        match &self.operator {
            Operator::Nobody => Err("nobody can publish there".to_owned()),
            Operator::Control(url) => ask(url, "POST", &format!("/publish?channel={}", encoded(channel)), None, data),
            Operator::Admin(url, token) => {
                let body = format!("{{\"channel\":{},\"data\":{data}}}", serde_json::Value::from(channel));
                ask(url, "POST", &format!("{}/admin/publish", url.path), token.as_deref(), &body)
            }
        }
    }

    fn disconnect(&mut self, id: &str) -> Result<(), String> {
        match &self.operator {
            Operator::Nobody => Err("nobody can disconnect a session there".to_owned()),
            Operator::Control(url) => ask(url, "POST", &format!("/disconnect?clientId={}", encoded(id)), None, ""),
            Operator::Admin(url, token) => {
                ask(url, "DELETE", &format!("{}/admin/sessions/{}", url.path, encoded(id)), token.as_deref(), "")
            }
        }
    }

    fn restart(&mut self) -> Result<(), String> {
        Err("nobody can restart it".to_owned())
    }

    fn control(&mut self, target: &str, body: &str) -> Result<(), String> {
        match &self.operator {
            Operator::Control(url) => ask(url, "POST", target, None, body),
            _ => Err("it has no control endpoints".to_owned()),
        }
    }
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// Sends a request to an endpoint; any status but 2xx is an error.
fn ask(url: &ServerUrl, method: &str, target: &str, token: Option<&str>, body: &str) -> Result<(), String> {
    let fail = |what: &dyn std::fmt::Display| format!("{method} {}{target}: {what}", url.authority());
    let mut headers = vec![
        ("Host".to_owned(), url.authority()),
        ("Content-Type".to_owned(), "application/json".to_owned()),
        ("Content-Length".to_owned(), body.len().to_string()),
        ("Connection".to_owned(), "close".to_owned()),
    ];
    headers.extend(token.map(|token| ("Authorization".to_owned(), format!("Bearer {token}"))));
    let mut bytes = MessageHead { start: format!("{method} {target} HTTP/1.1"), headers }.to_bytes();
    bytes.extend_from_slice(body.as_bytes());
    let mut stream = url.connect().map_err(|error| fail(&error))?;
    stream.set_read_timeout(Some(ANSWER_MAX)).map_err(|error| fail(&error))?;
    stream.write_all(&bytes).map_err(|error| fail(&error))?;
    let (mut splitter, mut status, mut text) = (Splitter::default(), 0, Vec::new());
    let mut buffer = [0; 4096];
    loop {
        match splitter.next_piece().map_err(|error| fail(&error))? {
            Some(Piece::Head(head)) => {
                status = head.status().unwrap_or(0);
                splitter.expect_body(head.answer_framing(method).map_err(|error| fail(&error))?);
            }
            Some(Piece::Body { data, .. }) if text.len() < BODY_MAX => text.extend(data),
            Some(Piece::Body { .. } | Piece::End) => break,
            None => match stream.read(&mut buffer).map_err(|error| fail(&error))? {
                0 => break,
                count => splitter.push(&buffer[..count]),
            },
        }
    }
    if (200..300).contains(&status) {
        return Ok(());
    }
    Err(fail(&format!("{status} {}", String::from_utf8_lossy(&text).trim())))
}
