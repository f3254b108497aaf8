//! Converts captures of Bayeux traffic into conversations: `convert_captures FOLDER OUT [SERVER]`.
//!
//! FOLDER holds one folder per client, with a file `SCENARIO.SERVER.jsonl` per recording; OUT gets
//! `CLIENT/SCENARIO.txt` for each one of SERVER (`java-server` if none is named) in which nobody meddled.
//! `docs/fixtures.md` describes both formats and what is left out on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use mirant::client::normalise::{Normaliser, RawRequest, Talk, connection_name};
use mirant::client::redaction::Redaction;
use mirant::client::transcript::{Body, Conversation, Directive, Event, Exchange, Frame, Head, Headers, Line, Millis};

/// What is known of the servers behind the recordings and is not in the traffic: the short name in file names, the
/// full name, and `max_interval`.
const SERVERS: [(&str, &str, &str); 2] =
    [("java-server", "CometD 5.0.17 server", "3s"), ("nodejs-server", "cometd-nodejs-server 1.2.1", "3s")];

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
    talk: Talk,
    ended: bool,
    /// Whether the end of the TCP connection follows from what was said on it.
    end_announced: bool,
}

struct Converter {
    normaliser: Normaliser,
    lines: Vec<Line>,
    connections: BTreeMap<Option<u32>, Connection>,
    cookie_given: bool,
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
        let normaliser = Normaliser::new(head, Redaction::default());
        Self { normaliser, lines: Vec::new(), connections: BTreeMap::new(), cookie_given: false }
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
        let mut head = self.normaliser.head();
        if !head.settings.contains_key("timeout") {
            return Err("no handshake was answered, so the timeout is unknown".to_owned());
        }
        factor_out_headers(&mut head, &mut self.lines);
        Ok(Conversation { head, lines: self.lines })
    }

    fn push(&mut self, at: Millis, event: Event) {
        self.lines.push(Line { number: 0, at, event });
    }

    fn push_all(&mut self, at: Millis, causes: Vec<Directive>) {
        causes.into_iter().for_each(|cause| self.push(at, Event::Directive(cause)));
    }

    fn request(&mut self, at: Millis, record: &Record) -> Result<(), String> {
        let connection = connection(&mut self.connections, record);
        connection.requests += 1;
        connection.end_announced |= record.header("connection").is_some_and(|value| value == "close");
        let exchange = Exchange { connection: connection.name.clone(), number: connection.requests };
        let (method, headers) = (record.method.as_str(), &record.headers);
        let raw = RawRequest { method, target: &record.path, headers, body: &record.body };
        let request = self.normaliser.request(&mut connection.talk, raw)?;
        if matches!(request.method.as_str(), "POST" | "GET") {
            let returned = record.header("cookie").is_some_and(|cookie| cookie.contains("BAYEUX_BROWSER"));
            self.normaliser.known.without_cookies |= self.cookie_given && !returned;
        }
        self.push(at, Event::Request(exchange, request));
        Ok(())
    }

    fn answer(&mut self, at: Millis, record: &Record) -> Result<(), String> {
        self.cookie_given |= record.header("set-cookie").is_some();
        let connection = connection(&mut self.connections, record);
        let exchange = Exchange { connection: connection.name.clone(), number: connection.requests };
        let talk = &mut connection.talk;
        let (causes, answer) = self.normaliser.answer(talk, record.status, &record.headers, &record.body);
        if matches!(answer.body, Body::Text(_)) {
            return Err("an answer is neither JSON nor a call".to_owned());
        }
        self.push_all(at, causes);
        self.push(at, Event::Answer(exchange, answer));
        Ok(())
    }

    fn frame(&mut self, at: Millis, record: &Record) -> Result<(), String> {
        let connection = connection(&mut self.connections, record);
        let talk = &mut connection.talk;
        let (causes, frame) = match record.opcode {
            1 if record.is_from_client() => (Vec::new(), self.normaliser.client_frame(talk, &record.body)),
            1 => self.normaliser.server_frame(talk, &record.body),
            8 => (Vec::new(), Frame::Close(record.code, record.reason.clone())),
            9 | 10 => return Ok(()),
            _ => return Err("binary frames are not converted".to_owned()),
        };
        connection.end_announced |= matches!(frame, Frame::Close(..));
        let name = connection.name.clone();
        let event = if record.is_from_client() { Event::Sent(name, frame) } else { Event::Received(name, frame) };
        self.push_all(at, causes);
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
}

fn connection<'a>(connections: &'a mut BTreeMap<Option<u32>, Connection>, record: &Record) -> &'a mut Connection {
    let count = connections.len();
    connections.entry(record.conn).or_insert_with(|| Connection {
        name: connection_name(count),
        requests: 0,
        talk: Talk::default(),
        ended: false,
        end_announced: false,
    })
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
