//! [`play`]: does what a script says against a server, and returns what came back.

use std::io::{self, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use serde_json::Value;

use super::connection::{Connection, Received, Shared, State, read_http, read_socket};
use super::script::{Payload, Script, Sent, Step, Until};
use super::wire::{CLOSE, Frame, Response, TEXT, percent_encoded, read_response, request};

/// How long a script waits for anything: longer than any hold and any life of a session in the scripts.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long after the last line something may still come that nobody expects.
const LINGER: Duration = Duration::from_millis(300);
/// How long a server has at least to begin with what was sent to it and is not answered yet.
const SETTLE: Duration = Duration::from_millis(120);

/// What came of a script on one server.
pub(crate) struct Play {
    /// What each connection received; control calls are those of `!`.
    pub(crate) connections: Vec<(String, Vec<Received>)>,
    /// Client ids by name.
    pub(crate) sessions: Vec<(String, String)>,
    /// What stood for `@` in channel names.
    pub(crate) token: String,
    /// Acknowledgement numbers by session, in the order in which they came.
    pub(crate) acks: Vec<(String, Vec<u64>)>,
    /// What happened, for people.
    pub(crate) log: Vec<String>,
}

/// Plays `script` against `address`; `token` takes the place of `@` in channel names such as `/@/x`.
///
/// # Errors
///
/// Says which line cannot be played: the script is at fault, or the server is not there.
pub(crate) fn play(script: &Script, address: SocketAddr, token: &str) -> Result<Play, String> {
    let now = Instant::now();
    let state = State {
        connections: Vec::new(),
        sessions: Default::default(),
        acks: Default::default(),
        senders: Default::default(),
        cookies: Default::default(),
        acted: now,
        began: now,
        log: Vec::new(),
    };
    let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
    let names = declared(script);
    let player = Player { address, token, names, shared };
    for line in &script.lines {
        player.step(&line.step).map_err(|error| format!("{}:{}: {error}", script.name, line.number))?;
    }
    player.settle();
    thread::sleep(LINGER);
    Ok(player.end())
}

/// Names that handshakes of the script bind.
fn declared(script: &Script) -> Vec<String> {
    let begun = script.lines.iter().filter_map(|line| match &line.step {
        Step::Send { what: Sent::Messages { begins, .. }, .. } => Some(begins.clone()),
        _ => None,
    });
    let mut names: Vec<String> = begun.flatten().collect();
    // The longest first, so that `$ab` is not taken for `$a`.
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    names
}

struct Player<'a> {
    address: SocketAddr,
    token: &'a str,
    names: Vec<String>,
    shared: Arc<Shared>,
}

impl Player<'_> {
    fn step(&self, step: &Step) -> Result<(), String> {
        match step {
            Step::Open { connection, target, headers } => self.open(connection, target, headers),
            Step::Send { connection, asks, what } => {
                let before = self.state().connection(connection).received.len();
                let ids = self.send(connection, what)?;
                if *asks {
                    self.await_answer(connection, &ids, before);
                } else {
                    self.settle();
                }
                Ok(())
            }
            Step::Await { connection, until } => {
                self.wait(connection, until);
                Ok(())
            }
            Step::Cut { connection } => {
                let mut state = self.state();
                state.note(&format!("! cut {connection}"));
                state.acted = Instant::now();
                let cut = state.connection(connection);
                cut.shut();
                cut.in_flight = None;
                cut.outstanding.clear();
                cut.received.push(Received::Cut);
                Ok(())
            }
            Step::Control { method, target, body } => self.control(method, target, body),
            Step::Pause(time) => {
                thread::sleep(*time);
                Ok(())
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock()
    }

    /// Waits until `is_met`; false if that does not happen.
    fn until(&self, mut is_met: impl FnMut(&mut State) -> bool) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state();
        while !is_met(&mut state) {
            if self.shared.changed.wait_until(&mut state, deadline).timed_out() {
                return is_met(&mut state);
            }
        }
        true
    }

    fn await_answer(&self, name: &str, ids: &[String], before: usize) {
        let came = self.until(|state| {
            let connection = state.connection(name);
            if !connection.is_socket {
                return connection.in_flight.is_none();
            }
            let is_answered = |id: &String| !connection.outstanding.iter().any(|(other, _)| other == id);
            connection.is_over
                || if ids.is_empty() { connection.received.len() > before } else { ids.iter().all(is_answered) }
        });
        if !came {
            self.state().connection(name).received.push(Received::InVain("an answer".to_owned()));
        }
    }

    fn wait(&self, name: &str, until: &Until) {
        let mut wanted = String::new();
        let came = self.until(|state| {
            let connection = state.connection(name);
            match until {
                Until::Answered => {
                    "an answer".clone_into(&mut wanted);
                    connection.in_flight.is_none() && (connection.outstanding.is_empty() || connection.is_over)
                }
                Until::Reply(id) => {
                    wanted = format!("the reply {id}");
                    connection.is_over || connection.replied.contains(id)
                }
                Until::Events(count) => {
                    wanted = format!("{count} events");
                    connection.is_over || connection.events >= connection.awaited + count
                }
                Until::Closed => {
                    "the end".clone_into(&mut wanted);
                    connection.is_over
                }
            }
        });
        let mut state = self.state();
        let connection = state.connection(name);
        if let Until::Events(count) = until {
            connection.awaited = connection.events.min(connection.awaited + count);
        }
        if !came {
            connection.received.push(Received::InVain(wanted));
        }
    }

    /// Gives the server time to begin with what was sent: as long as it takes it to answer something else, and more.
    fn settle(&self) {
        let began = Instant::now();
        for _ in 0..2 {
            // An answer of any kind tells that the server had its turn.
            let _ = fetch(self.address, "GET", "/stats", "");
        }
        thread::sleep(SETTLE.max(began.elapsed()));
    }

    fn control(&self, method: &str, target: &str, body: &str) -> Result<(), String> {
        let (target, body) = (self.filled(target, Quotes::Without), self.filled(body, Quotes::With));
        let mut state = self.state();
        state.acted = Instant::now();
        state.note(&format!("> ! {method} {target} {body}"));
        drop(state);
        let response = fetch(self.address, method, &target, &body).map_err(|error| format!("{target}: {error}"))?;
        let mut state = self.state();
        state.note(&format!("< ! {} {}", response.status, String::from_utf8_lossy(&response.body)));
        let calls = state.connection("!");
        calls.requests += 1;
        let request = calls.requests;
        calls.received.push(Received::Response { request, response, after: 0 });
        Ok(())
    }

    fn open(&self, name: &str, target: &str, headers: &[(String, String)]) -> Result<(), String> {
        let broken = |error: io::Error| format!("a WebSocket cannot be opened: {error}");
        let mut stream = self.tcp().map_err(broken)?;
        let mut defaults = self.defaults(name);
        defaults.extend([
            ("Connection", "Upgrade".to_owned()),
            ("Upgrade", "websocket".to_owned()),
            ("Sec-WebSocket-Version", "13".to_owned()),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==".to_owned()),
        ]);
        let head = request("GET", target, &defaults, &self.filled_headers(name, headers));
        stream.write_all(&head).map_err(broken)?;
        let mut reader = BufReader::new(stream.try_clone().map_err(broken)?);
        stream.set_read_timeout(Some(PATIENCE)).map_err(broken)?;
        let response = read_response(&mut reader, || true).map_err(broken)?;
        stream.set_read_timeout(None).map_err(broken)?;
        let mut state = self.state();
        state.acted = Instant::now();
        state.note(&format!("> {name} UPGRADE {target} -> {}", response.status));
        let connection = state.connection(name);
        connection.shut();
        connection.is_socket = true;
        connection.is_over = response.status != 101;
        let is_open = response.status == 101;
        connection.received.push(Received::Opening(response));
        if is_open {
            connection.stream = Some(stream);
            let opened = connection.opened;
            drop(state);
            read_socket(Arc::clone(&self.shared), name.to_owned(), opened, reader);
        }
        Ok(())
    }

    /// Sends; the ids of the messages, on a WebSocket.
    fn send(&self, name: &str, what: &Sent) -> Result<Vec<String>, String> {
        let is_socket = self.state().connection(name).is_socket;
        match what {
            Sent::Messages { body, begins, .. } if is_socket => {
                let payload = self.payload(body);
                self.send_frame(name, TEXT, payload, begins)
            }
            Sent::Frame { first, payload } => {
                let payload = self.payload(payload);
                self.send_frame(name, *first, payload, &[])
            }
            Sent::Close { code, reason } => {
                let mut payload = code.map(|code| code.to_be_bytes().to_vec()).unwrap_or_default();
                payload.extend(reason.as_bytes());
                self.send_frame(name, CLOSE, payload, &[])
            }
            Sent::Messages { method, target, body, headers, begins } => {
                self.send_request(name, method.as_deref().unwrap_or("POST"), target, body, headers, begins)?;
                Ok(Vec::new())
            }
        }
    }

    fn send_frame(&self, name: &str, first: u8, payload: Vec<u8>, begins: &[String]) -> Result<Vec<String>, String> {
        let mut state = self.state();
        let sent = String::from_utf8_lossy(&payload).into_owned();
        state.note(&format!(
            "> {name} {}{sent}",
            if first == TEXT { String::new() } else { format!("frame {first:x} ") }
        ));
        let ids = register(&mut state, &payload);
        state.acted = Instant::now();
        let connection = state.connection(name);
        connection.begins.extend(begins.iter().cloned());
        connection.outstanding.extend(ids.iter().map(|id| (id.clone(), Instant::now())));
        let mut stream = connection.stream.as_ref().and_then(|stream| stream.try_clone().ok());
        drop(state);
        // A server that has closed does not read; that shows in what was received.
        let _ = stream.as_mut().map(|stream| stream.write_all(&Frame { first, payload }.to_bytes()));
        Ok(ids)
    }

    fn send_request(
        &self,
        name: &str,
        method: &str,
        target: &str,
        body: &Payload,
        headers: &[(String, String)],
        begins: &[String],
    ) -> Result<(), String> {
        let mut body = self.payload(body);
        let headers = self.filled_headers(name, headers);
        // A session called `b` has no part in `$body`.
        let parts: Vec<String> = target.split("$body").map(|part| self.filled(part, Quotes::Without)).collect();
        let target = parts.join("$body");
        let mut state = self.state();
        if state.connection(name).in_flight.is_some() {
            return Err(format!("{name} still waits for an answer: name another connection"));
        }
        register(&mut state, &body);
        let in_target = target.contains("$body");
        let target = target.replace("$body", &percent_encoded(&body));
        let sent = String::from_utf8_lossy(&body).into_owned();
        if in_target {
            body.clear();
        }
        let mut defaults = self.defaults_in(&state, name);
        if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
            defaults.push(("Content-Type", "application/json;charset=UTF-8".to_owned()));
            defaults.push(("Content-Length", body.len().to_string()));
        }
        let mut bytes = request(method, &target, &defaults, &headers);
        bytes.extend(body);
        if state.connection(name).stream.is_none() {
            self.open_http(&mut state, name)?;
        }
        state.acted = Instant::now();
        let connection = state.connection(name);
        connection.requests += 1;
        connection.in_flight = Some(Instant::now());
        connection.has_body = method != "HEAD";
        connection.begins = begins.iter().cloned().collect();
        let number = connection.requests;
        let mut stream = connection.stream.as_ref().and_then(|stream| stream.try_clone().ok());
        state.note(&format!("> {name}.{number} {method} {target} {sent}"));
        drop(state);
        // A server that has closed does not read; the reader sees the end.
        let _ = stream.as_mut().map(|stream| stream.write_all(&bytes));
        Ok(())
    }

    fn open_http(&self, state: &mut State, name: &str) -> Result<(), String> {
        let broken = |error: io::Error| format!("the server cannot be reached: {error}");
        let stream = self.tcp().map_err(broken)?;
        let reading = stream.try_clone().map_err(broken)?;
        let connection = state.connection(name);
        connection.opened += 1;
        connection.is_over = false;
        connection.stream = Some(stream);
        read_http(Arc::clone(&self.shared), name.to_owned(), connection.opened, reading);
        Ok(())
    }

    fn tcp(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn defaults(&self, name: &str) -> Vec<(&'static str, String)> {
        self.defaults_in(&self.state(), name)
    }

    fn defaults_in(&self, state: &State, name: &str) -> Vec<(&'static str, String)> {
        let mut defaults = vec![("Host", self.address.to_string())];
        let jar = name.chars().next().and_then(|browser| state.cookies.get(&browser));
        let cookies: Vec<String> = jar.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
        if !cookies.is_empty() {
            defaults.push(("Cookie", cookies.join("; ")));
        }
        defaults
    }

    fn filled_headers(&self, name: &str, headers: &[(String, String)]) -> Vec<(String, String)> {
        let state = self.state();
        let jar = name.chars().next().and_then(|browser| state.cookies.get(&browser));
        let cookie = jar.and_then(|jar| jar.first()).map_or("", |(_, value)| value);
        headers.iter().map(|(name, value)| (name.clone(), value.replace("$cookie", cookie))).collect()
    }

    fn payload(&self, payload: &Payload) -> Vec<u8> {
        match payload {
            Payload::Template(text) => self.filled(text, Quotes::With).into_bytes(),
            Payload::Bytes(bytes) => bytes.clone(),
        }
    }

    /// Puts values in the place of names.
    fn filled(&self, text: &str, quotes: Quotes) -> String {
        let state = self.state();
        let mut text = text.replace("/@/", &format!("/{}/", self.token));
        for name in &self.names {
            let acks = state.acks.get(name).map(Vec::as_slice).unwrap_or_default();
            for back in (0..4).rev() {
                let label = if back == 0 { format!("${name}.ack") } else { format!("${name}.ack-{back}") };
                let number = acks.iter().rev().nth(back).copied().unwrap_or(0).to_string();
                text = text.replace(&format!("\"{label}\""), &number).replace(&label, &number);
            }
            let id = state.sessions.get(name).map_or("unbound", String::as_str);
            let label = format!("${name}");
            text = match quotes {
                Quotes::Without => text.replace(&label, id),
                Quotes::With => {
                    let quoted = format!("\"{id}\"");
                    text.replace(&format!("\"{label}\""), &quoted).replace(&label, &quoted)
                }
            };
        }
        text
    }

    fn end(self) -> Play {
        let mut state = self.state();
        let mut connections = Vec::new();
        for connection in &mut state.connections {
            connection.shut();
            if connection.in_flight.is_some() {
                let request = connection.requests;
                connection.received.push(Received::NoAnswer(request));
            }
            let Connection { name, received, .. } = connection;
            connections.push((name.clone(), std::mem::take(received)));
        }
        Play {
            connections,
            sessions: std::mem::take(&mut state.sessions).into_iter().collect(),
            token: self.token.to_owned(),
            acks: std::mem::take(&mut state.acks).into_iter().collect(),
            log: std::mem::take(&mut state.log),
        }
    }
}

/// Remembers who sent which message; returns their ids.
fn register(state: &mut State, body: &[u8]) -> Vec<String> {
    let messages = match serde_json::from_slice(body) {
        Ok(Value::Array(messages)) => messages,
        Ok(message @ Value::Object(_)) => vec![message],
        _ => return Vec::new(),
    };
    let mut ids = Vec::new();
    for message in &messages {
        let id = match &message["id"] {
            Value::String(id) => id.clone(),
            Value::Null | Value::Array(_) | Value::Object(_) => continue,
            other => other.to_string(),
        };
        let sender = state.sessions.iter().find(|(_, client_id)| message["clientId"] == client_id.as_str());
        if let Some(sender) = sender.map(|(name, _)| name.clone()) {
            state.senders.insert(id.clone(), sender);
        }
        ids.push(id);
    }
    ids
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quotes {
    With,
    Without,
}

/// One request on a connection of its own.
pub(crate) fn fetch(address: SocketAddr, method: &str, target: &str, body: &str) -> io::Result<Response> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let defaults = [
        ("Host", address.to_string()),
        ("Connection", "close".to_owned()),
        ("Content-Type", "application/json".to_owned()),
        ("Content-Length", body.len().to_string()),
    ];
    let mut bytes = request(method, target, &defaults, &[]);
    bytes.extend(body.as_bytes());
    stream.write_all(&bytes)?;
    read_response(&mut BufReader::new(stream), || true)
}
