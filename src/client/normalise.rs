//! [`Normaliser`]: turns what went over the wire into lines of a conversation: names for what the server chose, causes for
//! what nobody in the conversation explains, and only the header lines that matter.
//!
//! The converter of captures and the recorder share it; `docs/fixtures.md` lists what it changes.

use std::collections::{BTreeMap, BTreeSet};

use super::pattern::{Fields, Pattern};
use super::redaction::Redaction;
use super::transcript::{Answer, Body, Directive, Frame, Head, Headers, Request};

/// Service channels whose handler answers while the publish is processed.
const ANSWERING_SERVICES: [&str; 6] = ["echo", "tick", "forget", "call", "burst", "fail"];

/// Further services of the reference server, which recordings have as services only if nothing is inferred.
const ACTING_SERVICES: [&str; 2] = ["kick", "refuse"];

/// Shortest text that may be the id of a session.
const ID_MIN: usize = 16;

/// Most such ids that are remembered.
const STRANGERS_MAX: usize = 1000;

/// Longest burst that is understood as such.
const BURST_MAX: u64 = 100_000;

/// What is remembered of one connection.
#[derive(Clone, Debug, Default)]
pub struct Talk {
    /// `clientId` of the last message that named one.
    session: String,
    /// The foreign origin of the last request.
    origin: Option<String>,
}

/// A request as it came.
#[derive(Clone, Copy, Debug)]
pub struct RawRequest<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// Target, with its query.
    pub target: &'a str,
    /// All header lines.
    pub headers: &'a Headers,
    /// The body, without its transfer coding.
    pub body: &'a str,
}

/// What has been learned from the lines so far.
#[derive(Default)]
pub struct Normaliser {
    /// What the lines at the top will say; [`head`](Self::head) adds the rest.
    pub known: Head,
    /// Whether everything that operators and services did is in the conversation, so that nothing need be inferred.
    pub is_complete: bool,
    /// What is taken out of messages.
    redaction: Redaction,
    /// Names of the sessions by `clientId`.
    sessions: BTreeMap<String, String>,
    /// Acknowledgement numbers that the server gave.
    acknowledgements: BTreeSet<u64>,
    needs: BTreeSet<String>,
    transports: BTreeSet<&'static str>,
    origins: BTreeSet<String>,
    /// Channel and data of everything that a client in the conversation published or that a service answers.
    explained: BTreeSet<(String, String)>,
    /// How often something unexplained was published, and how often each session got it.
    published: BTreeMap<(String, String), usize>,
    delivered: BTreeMap<(String, String, String), usize>,
    /// Ids of the sessions whose end has its cause in the conversation.
    disconnected: BTreeSet<String>,
    /// Ids of sessions that are none of this conversation, in the order in which clients named them.
    strangers: Vec<String>,
}

impl Normaliser {
    /// Begins with what is known from elsewhere, and what is taken out of messages.
    #[must_use]
    pub fn new(known: Head, redaction: Redaction) -> Self {
        let needs = known.needs.iter().cloned().collect();
        Self { known, redaction, needs, ..Self::default() }
    }

    /// Returns the lines at the top, as far as they are known by now.
    #[must_use]
    pub fn head(&self) -> Head {
        let mut head = self.known.clone();
        if !self.origins.is_empty() {
            let origins = self.origins.iter().cloned().collect::<Vec<_>>().join(",");
            head.settings.entry("allowed_origins".to_owned()).or_insert(origins);
        }
        if !self.transports.is_empty() {
            head.origin.push(self.transports.iter().copied().collect::<Vec<_>>().join(" + "));
        }
        head.needs = self.needs.iter().cloned().collect();
        head
    }

    /// Returns the name of a session, if the server has given its id.
    #[must_use]
    pub fn session(&self, id: &str) -> Option<&str> {
        self.sessions.get(id).map(String::as_str)
    }

    /// Notes a publication whose cause is in the conversation, so that its deliveries need no other one.
    pub fn note_publish(&mut self, channel: &str, data: &Pattern) {
        *self.published.entry((channel.to_owned(), canonical(data))).or_default() += 1;
    }

    /// Notes that the cause of a session's end is in the conversation.
    pub fn note_disconnect(&mut self, id: &str) {
        self.disconnected.insert(id.to_owned());
    }

    /// Notes that a server must offer this.
    pub fn note_need(&mut self, need: &str) {
        self.needs.insert(need.to_owned());
    }

    /// Puts names in place of session ids in JSON that is no message, and takes secrets out of it.
    #[must_use]
    pub fn named(&self, mut json: Pattern) -> Pattern {
        self.redaction.batch(&mut json);
        self.put_names(&mut json);
        json
    }

    /// Turns a request into one of a conversation.
    ///
    /// # Errors
    ///
    /// The messages in its query are not UTF-8.
    pub fn request(&mut self, talk: &mut Talk, raw: RawRequest<'_>) -> Result<Request, String> {
        let method = if is_upgrade(raw.headers) { "UPGRADE" } else { raw.method };
        let own_origin = format!("http://{}", header(raw.headers, "host").unwrap_or_default());
        talk.origin = header(raw.headers, "origin").filter(|origin| *origin != own_origin).map(str::to_owned);
        let query = raw.target.split_once('?').filter(|(_, query)| method == "GET" && is_polled(query));
        let (path, text) = match query {
            Some((path, query)) => {
                self.needs.insert("callback-polling".to_owned());
                self.transports.insert("callback-polling");
                body_of_query(path, query)?
            }
            None => (raw.target.to_owned(), raw.body.to_owned()),
        };
        let body = match Pattern::parse(&text) {
            Ok(pattern) if !has_names(&pattern) => Body::Json(self.client_batch(talk, pattern)),
            _ if text.is_empty() => Body::Empty,
            _ => Body::Text(self.redaction.text(&text)),
        };
        let headers = Some(self.redaction.headers(telling_headers(raw.headers, None)));
        Ok(Request { method: method.to_owned(), path: self.redaction.target(&path), headers, body })
    }

    /// Turns an answer into one of a conversation, and returns what must have caused it.
    pub fn answer(&mut self, talk: &mut Talk, status: u16, headers: &Headers, body: &str) -> (Vec<Directive>, Answer) {
        if (status == 101 || header(headers, "access-control-allow-origin").is_some())
            && let Some(origin) =
                talk.origin.take().filter(|origin| !origin.contains(char::is_whitespace) && !origin.contains(','))
        {
            self.origins.insert(origin);
        }
        let (causes, body) = match status {
            // The container's error page; clients look at the status only.
            400.. => (Vec::new(), Body::Empty),
            _ => self.answer_body(talk, body),
        };
        match (status, &body) {
            (101, _) => _ = self.transports.insert("websocket"),
            (200, Body::Json(_)) => _ = self.transports.insert("long-polling"),
            _ => {}
        }
        let headers = Some(self.redaction.headers(telling_headers(headers, Some(status))));
        (causes, Answer { status, headers, body })
    }

    fn answer_body(&mut self, talk: &mut Talk, text: &str) -> (Vec<Directive>, Body) {
        if text.is_empty() {
            return (Vec::new(), Body::Empty);
        }
        if let Ok(pattern) = Pattern::parse(text)
            && !has_names(&pattern)
        {
            let (causes, batch) = self.server_batch(talk, pattern);
            return (causes, Body::Json(batch));
        }
        if let Some((name, argument)) = call(text)
            && let Ok(pattern) = Pattern::parse(argument)
            && !has_names(&pattern)
        {
            let (causes, batch) = self.server_batch(talk, pattern);
            return (causes, Body::Callback(name.to_owned(), batch));
        }
        (Vec::new(), Body::Text(self.redaction.text(text)))
    }

    /// Turns a text frame of the client into one of a conversation.
    pub fn client_frame(&mut self, talk: &mut Talk, text: &str) -> Frame {
        match Pattern::parse(text) {
            Ok(pattern) if !has_names(&pattern) => Frame::Batch(self.client_batch(talk, pattern)),
            _ => Frame::Text(self.redaction.text(text)),
        }
    }

    /// Turns a text frame of the server into one of a conversation, and returns what must have caused it.
    pub fn server_frame(&mut self, talk: &mut Talk, text: &str) -> (Vec<Directive>, Frame) {
        match Pattern::parse(text) {
            Ok(pattern) if !has_names(&pattern) => {
                let (causes, batch) = self.server_batch(talk, pattern);
                (causes, Frame::Batch(batch))
            }
            _ => (Vec::new(), Frame::Text(self.redaction.text(text))),
        }
    }

    /// Notes what a batch of the client says and puts names in place of what the server chose.
    fn client_batch(&mut self, talk: &mut Talk, mut batch: Pattern) -> Pattern {
        self.redaction.batch(&mut batch);
        if batch.messages().is_empty() {
            self.needs.insert("empty-batch".to_owned());
        }
        for message in batch.messages() {
            self.note_extensions(message, &["binary"]);
            let channel = message.member("channel").and_then(Pattern::as_text).unwrap_or_default();
            if let Some(session) = message.member("clientId").and_then(Pattern::as_text) {
                self.note_stranger(&session);
                talk.session = session;
            }
            if channel.starts_with("/meta/") {
                continue;
            }
            let data = message.member("data").map(canonical).unwrap_or_default();
            let service = channel.strip_prefix("/service/");
            let acts = |service: &&str| {
                ANSWERING_SERVICES.contains(service) || (self.is_complete && ACTING_SERVICES.contains(service))
            };
            if let Some(service) = service.filter(acts) {
                self.known.services.insert(service.to_owned());
            }
            if service == Some("burst") {
                let count = message.member("data").and_then(|data| data.member("count")).and_then(Pattern::as_u64);
                let burst = (0..count.unwrap_or(0).min(BURST_MAX)).map(|i| (channel.clone(), i.to_string()));
                self.explained.extend(burst);
            }
            if service == Some("tick") {
                self.explained.extend((1..=3).map(|i| ("/tick".to_owned(), format!("{{\"i\":{i}}}"))));
            }
            self.explained.insert((channel, data));
        }
        self.put_names(&mut batch);
        batch
    }

    /// Notes what a batch of the server says, finds what must have caused it, and puts names in place of what the server
    /// chose.
    fn server_batch(&mut self, talk: &mut Talk, mut batch: Pattern) -> (Vec<Directive>, Pattern) {
        self.redaction.batch(&mut batch);
        let mut causes = Vec::new();
        for message in batch.messages() {
            self.note_extensions(message, &["ack", "timesync", "binary"]);
            let channel = message.member("channel").and_then(Pattern::as_text).unwrap_or_default();
            if let Some(session) = message.member("clientId").and_then(Pattern::as_text) {
                let next = format!("session{}", self.sessions.len() + 1);
                self.sessions.entry(session).or_insert(next);
                let advice = message.member("advice");
                let timeout = advice.and_then(|advice| advice.member("timeout")).and_then(Pattern::as_u64);
                if let Some(timeout) = timeout {
                    self.known.settings.entry("timeout".to_owned()).or_insert_with(|| length_of_time(timeout));
                }
            }
            let is_goodbye = channel == "/meta/disconnect" && message.member("id").is_none();
            if self.is_complete || is_goodbye && self.disconnected.contains(&talk.session) {
                // What the operator asked for, or a service did.
            } else if is_goodbye {
                causes.extend(self.sessions.get(&talk.session).cloned().map(Directive::Disconnect));
            } else if let (Some(data), None) = (message.member("data"), message.member("successful")) {
                causes.extend(self.explain(&talk.session, channel, data));
            }
            if let Some(number) = message.member("ext").and_then(|ext| ext.member("ack")).and_then(Pattern::as_u64) {
                self.acknowledgements.insert(number);
            }
        }
        self.put_times(&mut batch);
        self.put_names(&mut batch);
        (causes, batch)
    }

    /// Returns a publication by someone who is not in the conversation if nobody who is explains this delivery.
    fn explain(&mut self, session: &str, channel: String, data: &Pattern) -> Option<Directive> {
        let key = (channel.clone(), canonical(data));
        if self.explained.contains(&key) {
            return None;
        }
        let delivered = self.delivered.entry((session.to_owned(), key.0.clone(), key.1.clone())).or_default();
        *delivered += 1;
        let published = self.published.entry(key).or_default();
        // A name with blanks is no channel: nobody can have published to it.
        if *delivered <= *published || channel.is_empty() || channel.contains(char::is_whitespace) {
            return None;
        }
        *published += 1;
        Some(Directive::Publish(channel, data.clone()))
    }

    /// Notes the extensions that a message makes use of. What a client offers is not used before the server answers.
    fn note_extensions(&mut self, message: &Pattern, extensions: &[&str]) {
        for extension in extensions {
            if message.member("ext").is_some_and(|ext| ext.member(extension).is_some()) {
                self.needs.insert((*extension).to_owned());
            }
        }
    }

    /// Remembers an id that the server did not give here and that looks as if one had: it may still be worth something.
    fn note_stranger(&mut self, id: &str) {
        let is_mixed =
            id.bytes().any(|byte| byte.is_ascii_digit()) && id.bytes().any(|byte| byte.is_ascii_alphabetic());
        let is_known = self.sessions.contains_key(id) || self.strangers.iter().any(|known| known == id);
        if id.len() >= ID_MIN && is_mixed && !is_known && self.strangers.len() < STRANGERS_MAX {
            self.strangers.push(id.to_owned());
        }
    }

    /// Puts `…` in place of the time that the server adds to its messages.
    fn put_times(&mut self, batch: &mut Pattern) {
        // A client may have written it into what it published; replies say whether the server does.
        let is_telling = |message: &Pattern| {
            message.member("successful").and(message.member("channel")).and(message.member("timestamp")).is_some()
        };
        if batch.messages().iter().any(is_telling) {
            self.needs.insert("timestamp".to_owned());
        }
        if !self.needs.contains("timestamp") {
            return;
        }
        for time in batch.messages_mut().iter_mut().filter_map(|message| message.member_mut("timestamp")) {
            *time = Pattern::Any;
        }
    }

    fn put_names(&self, pattern: &mut Pattern) {
        match pattern {
            Pattern::Text(_) => {
                let Some(text) = pattern.as_text() else { return };
                if let Some(name) = self.sessions.get(&text) {
                    *pattern = Pattern::Name(name.clone());
                } else if let Some(place) = self.strangers.iter().position(|stranger| *stranger == text) {
                    *pattern = Pattern::Text(format!("\"stranger{}\"", place + 1));
                }
            }
            Pattern::Array(elements) => elements.iter_mut().for_each(|element| self.put_names(element)),
            Pattern::Object(_) => {
                if let Some(ext) = pattern.member_mut("ext") {
                    self.put_extension_names(ext);
                }
                let Pattern::Object(Fields { members, .. }) = pattern else { return };
                members.iter_mut().for_each(|(_, value)| self.put_names(value));
            }
            _ => {}
        }
    }

    fn put_extension_names(&self, ext: &mut Pattern) {
        if let Some(ack) = ext.member_mut("ack")
            && let Some(number) = ack.as_u64().filter(|number| self.acknowledgements.contains(number))
        {
            *ack = Pattern::Name(format!("ack{number}"));
        }
        let Some(timesync) = ext.member_mut("timesync").filter(|timesync| timesync.member("ts").is_some()) else {
            return;
        };
        // The server's clock and what it measured with it.
        for key in ["ts", "p", "a"] {
            if let Some(value) = timesync.member_mut(key) {
                *value = Pattern::Any;
            }
        }
    }
}

/// Returns the name of the connection that was the `index`th to carry anything, from 0.
#[must_use]
pub fn connection_name(index: usize) -> String {
    let letter = char::from(b'A' + u8::try_from(index % 26).unwrap_or(0));
    let round = index / 26;
    if round == 0 { letter.to_string() } else { format!("{letter}{round}") }
}

/// Returns the value of a header line, whatever the case of its name.
#[must_use]
pub fn header<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// Whether a request asks for a WebSocket.
#[must_use]
pub fn is_upgrade(headers: &Headers) -> bool {
    header(headers, "upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// Whether a query carries messages.
#[must_use]
pub fn is_polled(query: &str) -> bool {
    query.split('&').any(|part| part.starts_with("message="))
}

/// Returns the parameters of a query, decoded; those that are not UTF-8 are left out.
#[must_use]
pub fn parameters(query: &str) -> Vec<(String, String)> {
    let decoded = |part: &str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        Some((percent_decoded(name)?, percent_decoded(value)?))
    };
    query.split('&').filter_map(decoded).collect()
}

/// What a pattern takes for a name or for anything is no JSON, whatever came over the wire.
fn has_names(pattern: &Pattern) -> bool {
    let mut found = pattern.is_partial();
    pattern.walk(&mut |inner| found |= matches!(inner, Pattern::Name(_)));
    found
}

/// Splits a JSONP call; the guard against content sniffing in front of it does not matter.
fn call(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start().strip_prefix("/**/").unwrap_or(text).trim().trim_end_matches(';');
    let (name, rest) = text.split_once('(')?;
    let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.$[]-".contains(&byte));
    is_name.then_some(())?;
    Some((name, rest.strip_suffix(')')?))
}

fn length_of_time(millis: u64) -> String {
    if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") }
}

/// Returns data in a form that is equal for equal JSON.
fn canonical(data: &Pattern) -> String {
    serde_json::from_str::<serde_json::Value>(&data.to_string()).map_or_else(|_| data.to_string(), |v| v.to_string())
}

/// Takes the messages out of a query and leaves `$body` in their place.
fn body_of_query(path: &str, query: &str) -> Result<(String, String), String> {
    let mut body = None;
    let mut rest = Vec::new();
    for part in query.split('&') {
        match part.strip_prefix("message=") {
            Some(text) if body.is_none() => {
                body = Some(percent_decoded(text).ok_or("a query is not UTF-8")?);
                rest.push("message=$body");
            }
            _ => rest.push(part),
        }
    }
    Ok((format!("{path}?{}", rest.join("&")), body.unwrap_or_default()))
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                let digits = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
                rest = after;
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).ok()
}

/// Returns the header lines that a server may act on, or a client; the rest differs from run to run or says nothing.
/// `status` is that of an answer.
fn telling_headers(headers: &Headers, status: Option<u16>) -> Headers {
    let is_request = status.is_none();
    let judged_by_origin = header(headers, "origin").is_some() || header(headers, "referer").is_some();
    let telling = |name: &str, value: &str| match name.to_ascii_lowercase().as_str() {
        "content-type" => status.is_none_or(|status| status < 400),
        "transfer-encoding" => is_request,
        "connection" => is_request && value == "close",
        "cookie" => value.is_empty(),
        "host" => judged_by_origin,
        "authorization" | "origin" | "pragma" | "referer" | "sec-fetch-site" | "vary" => true,
        "sec-websocket-extensions" | "sec-websocket-protocol" => true,
        name => name.starts_with("access-control-") || name.starts_with("x-"),
    };
    headers.iter().filter(|(name, value)| telling(name, value)).cloned().collect()
}
