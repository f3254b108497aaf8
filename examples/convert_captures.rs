//! Converts captures of Bayeux traffic into conversations: `convert_captures FOLDER OUT [SERVER]`.
//!
//! FOLDER holds one folder per client, with a file `SCENARIO.SERVER.jsonl` per recording; OUT gets
//! `CLIENT/SCENARIO.txt` for each one of SERVER (`java-server` if none is named) in which nobody meddled.
//! `docs/fixtures.md` describes both formats and what is left out on the way.

#[path = "../tests/support/pattern.rs"]
#[allow(dead_code)] // Shared with the tests, which use more of it.
mod pattern;
#[path = "../tests/support/transcript.rs"]
#[allow(dead_code)] // Shared with the tests, which use more of it.
mod transcript;

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use pattern::{Fields, Pattern};
use transcript::{Answer, Body, Conversation, Directive, Event, Exchange, Frame, Head, Headers, Line, Millis, Request};

/// What is known of the servers behind the recordings and is not in the traffic: the short name in file names, the
/// full name, and `max_interval`.
const SERVERS: [(&str, &str, &str); 2] =
    [("java-server", "CometD 5.0.17 server", "3s"), ("nodejs-server", "cometd-nodejs-server 1.2.1", "3s")];

/// Service channels whose handler answers while the publish is processed.
const ANSWERING_SERVICES: [&str; 3] = ["echo", "tick", "forget"];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err("usage: convert_captures FOLDER OUT [SERVER]".into());
    };
    let server = arguments.next().unwrap_or_else(|| "java-server".to_owned());
    let mut converted = 0;
    let mut needy = 0;
    for (client, scenario, path) in captures(Path::new(&folder), &server)? {
        let conversation = read(&path)
            .and_then(|records| Converter::new(&client, &scenario, &server).convert(&records))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let target = Path::new(&out).join(&client).join(format!("{scenario}.txt"));
        fs::create_dir_all(target.parent().unwrap_or(Path::new(".")))?;
        fs::write(&target, conversation.to_string())?;
        converted += 1;
        if !conversation.head.needs.is_empty() {
            needy += 1;
            println!("{client}/{scenario} needs {}", conversation.head.needs.join(" "));
        }
    }
    println!("{converted} converted, {needy} of them need something");
    Ok(())
}

/// Returns client, scenario and path of the recordings of one server in which nobody meddled, in order.
fn captures(folder: &Path, server: &str) -> io::Result<Vec<(String, String, PathBuf)>> {
    let mut found = Vec::new();
    for client in fs::read_dir(folder)? {
        let client = client?;
        if !client.file_type()?.is_dir() {
            continue;
        }
        for file in fs::read_dir(client.path())? {
            let path = file?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if let Some(scenario) = name.strip_suffix(&format!(".{server}.jsonl"))
                && !scenario.starts_with("fault.")
            {
                found.push((client.file_name().to_string_lossy().into_owned(), scenario.to_owned(), path));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// One line of a capture.
#[derive(Deserialize)]
struct Record {
    t: f64,
    conn: Option<u32>,
    dir: String,
    kind: String,
    #[serde(default)]
    method: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    headers: Headers,
    #[serde(default)]
    body: String,
    #[serde(default)]
    status: u16,
    #[serde(default)]
    opcode: u8,
    code: Option<u16>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    event: String,
    #[serde(default)]
    injected: bool,
}

impl Record {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    fn is_upgrade(&self) -> bool {
        self.header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
    }

    fn is_from_client(&self) -> bool {
        self.dir == "c2s"
    }
}

fn read(path: &Path) -> Result<Vec<Record>, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    text.lines().map(|line| serde_json::from_str(line).map_err(|error| error.to_string())).collect()
}

/// Finds the requests that are left out, by index, with their answers: those that the relay answered itself, and, in a
/// recording that was cut short, those whose answer was cut off.
fn left_out(records: &[Record]) -> Result<BTreeSet<usize>, String> {
    let trimmed = records.iter().any(|record| record.dir == "env" && record.event == "trimmed");
    let mut skipped = BTreeSet::new();
    let mut open = BTreeMap::new();
    for (index, record) in records.iter().enumerate() {
        match record.kind.as_str() {
            "http-request" => _ = open.insert(record.conn, index),
            "http-response" => {
                let request = open.remove(&record.conn);
                if record.injected {
                    skipped.extend(request);
                    skipped.insert(index);
                }
            }
            _ if record.injected => return Err("the relay injected something that is not an answer".to_owned()),
            _ => {}
        }
    }
    if trimmed {
        skipped.extend(open.into_values());
    }
    Ok(skipped)
}

/// A connection that carried something.
struct Connection {
    name: String,
    requests: u32,
    /// `clientId` of the last message that named one.
    session: String,
    ended: bool,
    /// Whether the end of the TCP connection follows from what was said on it.
    end_announced: bool,
}

struct Converter {
    head: Head,
    lines: Vec<Line>,
    connections: BTreeMap<Option<u32>, Connection>,
    /// Names of the sessions by `clientId`.
    sessions: BTreeMap<String, String>,
    /// Names of the acknowledgement numbers that the server gave.
    acknowledgements: BTreeSet<u64>,
    needs: BTreeSet<&'static str>,
    transports: BTreeSet<&'static str>,
    origins: BTreeSet<String>,
    pending_origin: Option<String>,
    cookie_given: bool,
    /// Channel and data of everything that a recorded client published or that a service answers.
    explained: BTreeSet<(String, String)>,
    /// How often something unexplained was published, and how often each session got it.
    published: BTreeMap<(String, String), usize>,
    delivered: BTreeMap<(String, String, String), usize>,
}

impl Converter {
    fn new(client: &str, scenario: &str, server: &str) -> Self {
        let known = SERVERS.iter().find(|(short, ..)| *short == server);
        let full_name = known.map_or(server, |(_, full, _)| full);
        let mut head = Head {
            origin: ["recorded", full_name, client].map(str::to_owned).to_vec(),
            source: Some(format!("{client}/{scenario}.{server}.jsonl")),
            ..Head::default()
        };
        if let Some((.., max_interval)) = known {
            head.settings.insert("max_interval".to_owned(), (*max_interval).to_owned());
        }
        Self {
            head,
            lines: Vec::new(),
            connections: BTreeMap::new(),
            sessions: BTreeMap::new(),
            acknowledgements: BTreeSet::new(),
            needs: BTreeSet::new(),
            transports: BTreeSet::new(),
            origins: BTreeSet::new(),
            pending_origin: None,
            cookie_given: false,
            explained: BTreeSet::new(),
            published: BTreeMap::new(),
            delivered: BTreeMap::new(),
        }
    }

    fn convert(mut self, records: &[Record]) -> Result<Conversation, String> {
        let skipped = left_out(records)?;
        for (_, record) in records.iter().enumerate().filter(|(index, _)| !skipped.contains(index)) {
            // Rounding down keeps every recorded hold at least as long as the time it was asked for.
            let at = record.t as Millis;
            match (record.kind.as_str(), record.is_from_client()) {
                ("http-request", _) => self.request(at, record)?,
                ("http-response", _) => self.answer(at, record)?,
                ("http-chunk", _) => return Err("event streams are not converted".to_owned()),
                ("ws-frame", _) => self.frame(at, record)?,
                ("tcp-close" | "tcp-reset", from_client) => self.end(at, record, from_client),
                ("event", _) if record.event == "server-killed" => self.push(at, Event::Directive(Directive::Restart)),
                _ => {}
            }
        }
        if !self.head.settings.contains_key("timeout") {
            return Err("no handshake was answered, so the timeout is unknown".to_owned());
        }
        if !self.origins.is_empty() {
            let origins = self.origins.iter().cloned().collect::<Vec<_>>().join(",");
            self.head.settings.insert("allowed_origins".to_owned(), origins);
        }
        self.head.origin.push(self.transports.iter().copied().collect::<Vec<_>>().join(" + "));
        self.head.needs = self.needs.iter().map(|&need| need.to_owned()).collect();
        factor_out_headers(&mut self.head, &mut self.lines);
        Ok(Conversation { head: self.head, lines: self.lines })
    }

    fn push(&mut self, at: Millis, event: Event) {
        self.lines.push(Line { number: 0, at, event });
    }

    fn connection(&mut self, record: &Record) -> &mut Connection {
        let count = self.connections.len();
        self.connections.entry(record.conn).or_insert_with(|| Connection {
            name: connection_name(count),
            requests: 0,
            session: String::new(),
            ended: false,
            end_announced: false,
        })
    }

    fn request(&mut self, at: Millis, record: &Record) -> Result<(), String> {
        let connection = self.connection(record);
        connection.requests += 1;
        connection.end_announced |= record.header("connection").is_some_and(|value| value == "close");
        let exchange = Exchange { connection: connection.name.clone(), number: connection.requests };
        let method = if record.is_upgrade() { "UPGRADE" } else { &record.method };
        if matches!(method, "POST" | "GET") {
            let returned = record.header("cookie").is_some_and(|cookie| cookie.contains("BAYEUX_BROWSER"));
            self.head.without_cookies |= self.cookie_given && !returned;
        }
        let own_origin = format!("http://{}", record.header("host").unwrap_or_default());
        self.pending_origin = record.header("origin").filter(|origin| *origin != own_origin).map(str::to_owned);
        let (path, text) = match record.path.split_once('?').filter(|_| method == "GET") {
            Some((path, query)) => {
                self.needs.insert("callback-polling");
                self.transports.insert("callback-polling");
                body_of_query(path, query)?
            }
            None => (record.path.clone(), record.body.clone()),
        };
        let body = match Pattern::parse(&text) {
            Ok(pattern) => Body::Json(self.client_batch(record, pattern)),
            Err(_) if text.is_empty() => Body::Empty,
            Err(_) => Body::Text(text),
        };
        let headers = Some(telling_headers(record));
        let request = Request { method: method.to_owned(), path, headers, body };
        self.push(at, Event::Request(exchange, request));
        Ok(())
    }

    fn answer(&mut self, at: Millis, record: &Record) -> Result<(), String> {
        self.cookie_given |= record.header("set-cookie").is_some();
        if (record.status == 101 || record.header("access-control-allow-origin").is_some())
            && let Some(origin) = self.pending_origin.take()
        {
            self.origins.insert(origin);
        }
        let body = match record.status {
            // The container's error page; clients look at the status only.
            400.. => Body::Empty,
            _ => self.answer_body(at, record)?,
        };
        match (record.status, &body) {
            (101, _) => _ = self.transports.insert("websocket"),
            (200, Body::Json(_)) => _ = self.transports.insert("long-polling"),
            _ => {}
        }
        let connection = self.connection(record);
        let exchange = Exchange { connection: connection.name.clone(), number: connection.requests };
        let headers = Some(telling_headers(record));
        self.push(at, Event::Answer(exchange, Answer { status: record.status, headers, body }));
        Ok(())
    }

    fn answer_body(&mut self, at: Millis, record: &Record) -> Result<Body, String> {
        let text = &record.body;
        if text.is_empty() {
            return Ok(Body::Empty);
        }
        if let Ok(pattern) = Pattern::parse(text) {
            return Ok(Body::Json(self.server_batch(at, record, pattern)));
        }
        let call = text.split_once('(').and_then(|(name, rest)| Some((name, rest.strip_suffix(')')?)));
        let (name, argument) = call.ok_or("an answer is neither JSON nor a call")?;
        let pattern = Pattern::parse(argument)?;
        Ok(Body::Callback(name.to_owned(), self.server_batch(at, record, pattern)))
    }

    fn frame(&mut self, at: Millis, record: &Record) -> Result<(), String> {
        let frame = match (record.opcode, Pattern::parse(&record.body)) {
            (1, Ok(pattern)) if record.is_from_client() => Frame::Batch(self.client_batch(record, pattern)),
            (1, Ok(pattern)) => Frame::Batch(self.server_batch(at, record, pattern)),
            (1, Err(_)) => Frame::Text(record.body.clone()),
            (8, _) => Frame::Close(record.code, record.reason.clone()),
            (9 | 10, _) => return Ok(()),
            _ => return Err("binary frames are not converted".to_owned()),
        };
        let connection = self.connection(record);
        connection.end_announced |= matches!(frame, Frame::Close(..));
        let name = connection.name.clone();
        let event = if record.is_from_client() { Event::Sent(name, frame) } else { Event::Received(name, frame) };
        self.push(at, event);
        Ok(())
    }

    fn end(&mut self, at: Millis, record: &Record, by_client: bool) {
        // Connections that carried nothing, like a browser's page loads, are left out.
        let Some(connection) = self.connections.get_mut(&record.conn) else { return };
        let name = connection.name.clone();
        let silent = connection.ended || (!by_client && connection.end_announced);
        connection.ended = true;
        match (silent, by_client) {
            (true, _) => {}
            (false, true) => self.push(at, Event::Directive(Directive::Cut(name))),
            (false, false) => self.push(at, Event::Received(name, Frame::Cut)),
        }
    }

    /// Notes what a batch of the client says and puts names in place of what the server chose.
    fn client_batch(&mut self, record: &Record, mut batch: Pattern) -> Pattern {
        if batch.messages().is_empty() {
            self.needs.insert("empty-batch");
        }
        for message in batch.messages() {
            self.note_extensions(message);
            let channel = message.member("channel").and_then(Pattern::as_text).unwrap_or_default();
            if let Some(session) = message.member("clientId").and_then(Pattern::as_text) {
                self.connection(record).session = session;
            }
            if channel.starts_with("/meta/") {
                continue;
            }
            let data = message.member("data").map(canonical).unwrap_or_default();
            let service = channel.strip_prefix("/service/");
            if let Some(service) = service.filter(|service| ANSWERING_SERVICES.contains(service)) {
                self.head.services.insert(service.to_owned());
            }
            if service == Some("tick") {
                self.explained.extend((1..=3).map(|i| ("/tick".to_owned(), format!("{{\"i\":{i}}}"))));
            }
            self.explained.insert((channel, data));
        }
        self.put_names(&mut batch);
        batch
    }

    /// Notes what a batch of the server says, adds what must have caused it, and puts names in place of what the server
    /// chose.
    fn server_batch(&mut self, at: Millis, record: &Record, mut batch: Pattern) -> Pattern {
        for message in batch.messages() {
            self.note_extensions(message);
            let channel = message.member("channel").and_then(Pattern::as_text).unwrap_or_default();
            if let Some(session) = message.member("clientId").and_then(Pattern::as_text) {
                let next = format!("session{}", self.sessions.len() + 1);
                self.sessions.entry(session).or_insert(next);
                let advice = message.member("advice");
                let timeout = advice.and_then(|advice| advice.member("timeout")).and_then(Pattern::as_u64);
                if let Some(timeout) = timeout {
                    self.head.settings.entry("timeout".to_owned()).or_insert_with(|| length_of_time(timeout));
                }
            }
            let session = self.connection(record).session.clone();
            if channel == "/meta/disconnect" && message.member("id").is_none() {
                let name = self.sessions.get(&session).cloned().unwrap_or(session);
                self.push(at, Event::Directive(Directive::Disconnect(name)));
            } else if let (Some(data), None) = (message.member("data"), message.member("successful")) {
                self.explain(at, session, channel, data);
            }
            if let Some(number) = message.member("ext").and_then(|ext| ext.member("ack")).and_then(Pattern::as_u64) {
                self.acknowledgements.insert(number);
            }
        }
        self.put_names(&mut batch);
        batch
    }

    /// Adds a publication by someone who is not recorded if nobody who is explains this delivery.
    fn explain(&mut self, at: Millis, session: String, channel: String, data: &Pattern) {
        let key = (channel.clone(), canonical(data));
        if self.explained.contains(&key) {
            return;
        }
        let delivered = self.delivered.entry((session, key.0.clone(), key.1.clone())).or_default();
        *delivered += 1;
        let published = self.published.entry(key).or_default();
        if *delivered > *published {
            *published += 1;
            self.push(at, Event::Directive(Directive::Publish(channel, data.clone())));
        }
    }

    fn note_extensions(&mut self, message: &Pattern) {
        for (extension, need) in [("ack", "ack"), ("timesync", "timesync"), ("binary", "binary")] {
            if message.member("ext").is_some_and(|ext| ext.member(extension).is_some()) {
                self.needs.insert(need);
            }
        }
    }

    fn put_names(&self, pattern: &mut Pattern) {
        match pattern {
            Pattern::Text(_) => {
                let name = pattern.as_text().and_then(|text| self.sessions.get(&text));
                if let Some(name) = name {
                    *pattern = Pattern::Name(name.clone());
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

fn connection_name(index: usize) -> String {
    let letter = char::from(b'A' + u8::try_from(index % 26).unwrap_or(0));
    let round = index / 26;
    if round == 0 { letter.to_string() } else { format!("{letter}{round}") }
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
fn telling_headers(record: &Record) -> Headers {
    let is_request = record.kind == "http-request";
    let judged_by_origin = record.header("origin").is_some() || record.header("referer").is_some();
    let telling = |name: &str, value: &str| match name.to_ascii_lowercase().as_str() {
        "content-type" => record.status < 400,
        "transfer-encoding" => is_request,
        "connection" => is_request && value == "close",
        "cookie" => value.is_empty(),
        "host" => judged_by_origin,
        "authorization" | "origin" | "pragma" | "referer" | "sec-fetch-site" | "vary" => true,
        "sec-websocket-extensions" | "sec-websocket-protocol" => true,
        name => name.starts_with("access-control-") || name.starts_with("x-"),
    };
    record.headers.iter().filter(|(name, value)| telling(name, value)).cloned().collect()
}

/// Moves the commonest header lines of each method and each status to the head.
fn factor_out_headers(head: &mut Head, lines: &mut [Line]) {
    let mut counts: BTreeMap<(String, Headers), (usize, usize)> = BTreeMap::new();
    for (index, line) in lines.iter_mut().enumerate() {
        if let Some((kind, headers)) = headers_of(&mut line.event) {
            counts.entry((kind, headers.clone().unwrap_or_default())).or_insert((0, usize::MAX - index)).0 += 1;
        }
    }
    let mut best: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for ((kind, headers), rank) in counts {
        let so_far = best.entry(kind.clone()).or_default();
        if rank > *so_far {
            *so_far = rank;
            head.headers.insert(kind, headers);
        }
    }
    head.headers.retain(|_, headers| !headers.is_empty());
    for line in lines {
        if let Some((kind, headers)) = headers_of(&mut line.event)
            && headers.clone().unwrap_or_default() == head.headers.get(&kind).cloned().unwrap_or_default()
        {
            *headers = None;
        }
    }
}

fn headers_of(event: &mut Event) -> Option<(String, &mut Option<Headers>)> {
    match event {
        Event::Request(_, request) => Some((request.method.clone(), &mut request.headers)),
        Event::Answer(_, answer) => Some((answer.status.to_string(), &mut answer.headers)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Converts records that are written as JSON without time and connection: one per millisecond, on connection 1.
    fn converted(records: &[&str]) -> Result<String, String> {
        let read = |(index, text): (usize, &&str)| -> Record {
            let conn = if text.contains("\"conn\"") { "" } else { "\"conn\":1," };
            serde_json::from_str(&format!("{{\"t\":{index}.9,{conn}{}", &text[1..])).unwrap()
        };
        let records: Vec<Record> = records.iter().enumerate().map(read).collect();
        Converter::new("client-1.0", "test", "java-server")
            .convert(&records)
            .map(|conversation| conversation.to_string())
    }

    /// Converts records behind a handshake on connection 1, and returns what follows it.
    fn after_handshake(records: &[&str]) -> String {
        let all: Vec<&str> = [HANDSHAKE, SHAKEN].iter().chain(records).copied().collect();
        let text = converted(&all).unwrap();
        text.split_inclusive('\n').skip_while(|line| !line.starts_with("@1")).skip(1).collect()
    }

    const HANDSHAKE: &str = r#"{"dir":"c2s","kind":"http-request","method":"POST","path":"/cometd/handshake",
        "headers":[["Content-Type","application/json"],["Cookie","BAYEUX_BROWSER=b"],["Host","a:1"]],
        "body":"[{ \"channel\":\"/meta/handshake\" }]\n"}"#;
    const SHAKEN: &str = r#"{"dir":"s2c","kind":"http-response","status":200,"headers":[["Set-Cookie","BAYEUX_BROWSER=b"]],
        "body":"[{\"clientId\":\"xyz\",\"advice\":{\"timeout\":1500}}]"}"#;

    #[test]
    fn a_head_says_what_the_recording_tells() {
        let text = converted(&[HANDSHAKE, SHAKEN]).unwrap();
        let expected = "# origin: recorded | CometD 5.0.17 server | client-1.0 | long-polling\n\
            # source: client-1.0/test.java-server.jsonl\n# settings: max_interval=3s timeout=1500ms\n\
            # headers: POST | Content-Type: application/json\n\n\
            @0      > A.1 POST /cometd/handshake [{\"channel\":\"/meta/handshake\"}]\n\
            @1      < A.1 [{\"clientId\":$session1,\"advice\":{\"timeout\":1500}}]\n";
        assert_eq!(text, expected);
        assert!(converted(&[]).unwrap_err().contains("the timeout is unknown"));
    }

    #[test]
    fn what_no_recorded_publish_explains_was_published_by_somebody_else() {
        let publish = r#"{"dir":"c2s","kind":"http-request","method":"POST","path":"/cometd",
            "body":"[{\"channel\":\"/a\",\"data\":{\"x\":1,\"y\":2},\"clientId\":\"xyz\"}]"}"#;
        let delivery = r#"{"dir":"s2c","kind":"http-response","status":200,
            "body":"[{\"channel\":\"/a\",\"data\":{\"y\":2,\"x\":1}},{\"channel\":\"/a\",\"data\":3}]"}"#;
        let lines = after_handshake(&[publish, delivery]);
        assert!(
            !lines.contains("! publish /a {") && lines.contains("@3      ! publish /a 3\n@3      < A.2 "),
            "{lines}"
        );
    }

    #[test]
    fn a_goodbye_of_the_server_has_a_cause() {
        let connect =
            r#"{"dir":"c2s","kind":"http-request","method":"POST","path":"/","body":"{\"clientId\":\"xyz\"}"}"#;
        let goodbye =
            r#"{"dir":"s2c","kind":"http-response","status":200,"body":"[{\"channel\":\"/meta/disconnect\"}]"}"#;
        assert!(after_handshake(&[connect, goodbye]).contains("@3      ! disconnect $session1\n@3      < A.2 "));
    }

    #[test]
    fn what_the_relay_said_is_left_out_with_what_it_answered() {
        let request = r#"{"dir":"c2s","kind":"http-request","method":"POST","path":"/","body":"[]"}"#;
        let injected = r#"{"dir":"s2c","kind":"http-response","status":503,"injected":true}"#;
        assert_eq!(after_handshake(&[request, injected]), "");
        let frame = r#"{"dir":"s2c","kind":"ws-frame","opcode":1,"body":"[]","injected":true}"#;
        assert!(converted(&[HANDSHAKE, SHAKEN, frame]).is_err());
    }

    #[test]
    fn the_last_request_of_a_recording_cut_short_is_left_out() {
        let request = r#"{"dir":"c2s","kind":"http-request","method":"POST","path":"/","body":"[{}]"}"#;
        let trimmed = r#"{"dir":"env","kind":"event","event":"trimmed"}"#;
        assert_eq!(after_handshake(&[request, trimmed]), "");
        assert!(after_handshake(&[request]).contains("> A.2 POST / [{}]"));
    }

    #[test]
    fn messages_in_a_query_are_readable() {
        let request = r#"{"dir":"c2s","kind":"http-request","method":"GET",
            "path":"/cometd?message=%5B%7B%22a%22%3A%22b+%C3%A9%22%7D%5D&jsonp=cb"}"#;
        let answer = r#"{"dir":"s2c","kind":"http-response","status":200,"body":"cb([{}])"}"#;
        let lines = after_handshake(&[request, answer]);
        assert!(lines.contains("> A.2 GET /cometd?message=$body&jsonp=cb [{\"a\":\"b é\"}]"), "{lines}");
        assert!(lines.contains("< A.2 cb([{}])"), "{lines}");
    }

    #[test]
    fn only_ends_that_nothing_announced_are_written_down() {
        let closed = |dir: &str| format!("{{\"dir\":\"{dir}\",\"kind\":\"tcp-close\"}}");
        assert_eq!(after_handshake(&[&closed("s2c")]), "@2      < A cut\n");
        assert_eq!(after_handshake(&[&closed("c2s"), &closed("s2c")]), "@2      ! cut A\n");
        let close = r#"{"dir":"s2c","kind":"ws-frame","opcode":8,"code":1000,"reason":"Bye"}"#;
        assert_eq!(after_handshake(&[close, &closed("s2c")]), "@2      < A close 1000 Bye\n");
        assert_eq!(after_handshake(&[r#"{"dir":"c2s","kind":"tcp-close","conn":9}"#]), "");
    }
}
