//! [`Connection`]: what one named connection of a script has sent and received, and the threads that read.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufReader, ErrorKind};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde_json::Value;

use super::wire::{CLOSE, Frame, PONG, Response, read_frame, read_response};

/// What comes within this time after a line of the script was caused by it; later, a timer of the server did it.
const AT_ONCE: Duration = Duration::from_millis(800);
/// How much earlier than its full second a timer may end and still count as that second.
const EARLY: Duration = Duration::from_millis(200);

/// Whole seconds after which something came; 0 if a line of the script caused it.
pub(crate) type Seconds = u64;

/// Something that a connection received, or that became of it.
#[derive(Clone, Debug)]
pub(crate) enum Received {
    /// The answer to a request, with the number of the request on this connection.
    Response { request: usize, response: Response, after: Seconds },
    /// The answer to the opening of a WebSocket.
    Opening(Response),
    /// A WebSocket text message, as messages with the time that each took.
    Messages(Vec<(Value, Seconds)>),
    /// A WebSocket message that is no JSON array.
    Other(String),
    /// A close frame.
    Close(Option<u16>),
    /// The server ended the connection without announcing it.
    End,
    /// The script cut the connection.
    Cut,
    /// The script waited for something that did not come.
    InVain(String),
    /// A request without an answer at the end of the script.
    NoAnswer(usize),
}

/// What all connections of one play share.
pub(crate) struct Shared {
    /// The state.
    pub(crate) state: Mutex<State>,
    /// Notified of every change.
    pub(crate) changed: Condvar,
}

/// The state of a play.
pub(crate) struct State {
    /// In the order of their first use.
    pub(crate) connections: Vec<Connection>,
    /// Client ids by the names of the script.
    pub(crate) sessions: BTreeMap<String, String>,
    /// Acknowledgement numbers seen, by name of the session.
    pub(crate) acks: BTreeMap<String, Vec<u64>>,
    /// The name of the session that sent the message with this id.
    pub(crate) senders: BTreeMap<String, String>,
    /// Cookies by browser, the letter of the connection.
    pub(crate) cookies: BTreeMap<char, Vec<(String, String)>>,
    /// When the script did something last.
    pub(crate) acted: Instant,
    /// When the play began.
    pub(crate) began: Instant,
    /// What happened, for people.
    pub(crate) log: Vec<String>,
}

/// One named connection.
pub(crate) struct Connection {
    /// Its name.
    pub(crate) name: String,
    /// Whether it is a WebSocket.
    pub(crate) is_socket: bool,
    /// How often it was opened; a reader of an earlier opening is no longer listened to.
    pub(crate) opened: usize,
    /// The socket to write to, if it is open.
    pub(crate) stream: Option<TcpStream>,
    /// What was received.
    pub(crate) received: Vec<Received>,
    /// HTTP requests so far.
    pub(crate) requests: usize,
    /// When the request in flight was sent.
    pub(crate) in_flight: Option<Instant>,
    /// Whether its answer has a body.
    pub(crate) has_body: bool,
    /// WebSocket: ids that wait for their reply, with the time when they were sent.
    pub(crate) outstanding: Vec<(String, Instant)>,
    /// WebSocket: ids of replies that came.
    pub(crate) replied: Vec<String>,
    /// Names that the next handshake replies bind.
    pub(crate) begins: VecDeque<String>,
    /// Messages that were no replies.
    pub(crate) events: usize,
    /// How many of those the script has waited for.
    pub(crate) awaited: usize,
    /// Whether the server has closed.
    pub(crate) is_over: bool,
}

impl State {
    /// The connection of that name, new if there is none.
    pub(crate) fn connection(&mut self, name: &str) -> &mut Connection {
        let index = self.connections.iter().position(|connection| connection.name == name).unwrap_or_else(|| {
            self.connections.push(Connection::new(name));
            self.connections.len() - 1
        });
        &mut self.connections[index]
    }

    /// Notes what happened.
    pub(crate) fn note(&mut self, text: &str) {
        let at = self.began.elapsed().as_millis();
        self.log.push(format!("@{at:<6} {text}"));
    }

    fn seconds(&self, asked: Option<Instant>) -> Seconds {
        let acted = self.acted.elapsed();
        if acted < AT_ONCE { 0 } else { (asked.map_or(acted, |at| at.elapsed()) + EARLY).as_secs() }
    }

    /// Learns client ids and acknowledgement numbers from a message to `name`.
    fn learn(&mut self, name: &str, message: &Value) {
        if message["channel"] == "/meta/handshake" {
            let session = self.connection(name).begins.pop_front();
            if let (Some(session), Some(id)) = (session, message["clientId"].as_str()) {
                self.sessions.insert(session, id.to_owned());
            }
        }
        let ack = &message["ext"]["ack"];
        let sender = message["id"].as_str().and_then(|id| self.senders.get(id));
        if let (Some(number), Some(sender)) = (ack.as_u64().or_else(|| ack["batch"].as_u64()), sender) {
            self.acks.entry(sender.clone()).or_default().push(number);
        }
    }

    fn take_response(&mut self, name: &str, response: Response) {
        let browser = name.chars().next().unwrap_or_default();
        for cookie in response.all("Set-Cookie") {
            let pair = cookie.split(';').next().unwrap_or_default();
            if let Some((key, value)) = pair.split_once('=') {
                let jar = self.cookies.entry(browser).or_default();
                jar.retain(|(other, _)| other != key);
                jar.push((key.to_owned(), value.to_owned()));
            }
        }
        for message in messages_of(&response.body) {
            self.learn(name, &message);
        }
        let sent = self.connection(name).in_flight;
        let after = self.seconds(sent);
        let connection = self.connection(name);
        connection.in_flight = None;
        if response.is_last() {
            connection.stream = None;
        }
        let request = connection.requests;
        let text = format!("< {name}.{request} {} {}", response.status, String::from_utf8_lossy(&response.body));
        connection.received.push(Received::Response { request, response, after });
        self.note(&text);
    }

    fn take_text(&mut self, name: &str, payload: &[u8]) {
        let text = String::from_utf8_lossy(payload).into_owned();
        self.note(&format!("< {name} {text}"));
        let Ok(Value::Array(messages)) = serde_json::from_str(&text) else {
            self.connection(name).received.push(Received::Other(text));
            return;
        };
        let mut taken = Vec::new();
        for message in messages {
            self.learn(name, &message);
            let asked = self.connection(name).take_reply(&message);
            taken.push((message, self.seconds(asked)));
        }
        self.connection(name).received.push(Received::Messages(taken));
    }
}

impl Connection {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            is_socket: false,
            opened: 0,
            stream: None,
            received: Vec::new(),
            requests: 0,
            in_flight: None,
            has_body: true,
            outstanding: Vec::new(),
            replied: Vec::new(),
            begins: VecDeque::new(),
            events: 0,
            awaited: 0,
            is_over: false,
        }
    }

    /// Counts a message; when its request was sent, if it is a reply.
    fn take_reply(&mut self, message: &Value) -> Option<Instant> {
        let id =
            message["id"].as_str().filter(|_| message.get("successful").is_some() && message.get("data").is_none());
        let Some(id) = id else {
            self.events += 1;
            return None;
        };
        self.replied.push(id.to_owned());
        let index = self.outstanding.iter().position(|(other, _)| other == id)?;
        Some(self.outstanding.remove(index).1)
    }

    /// Ends the TCP connection from this side.
    pub(crate) fn shut(&mut self) {
        self.opened += 1;
        if let Some(stream) = self.stream.take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// The messages of a body, of a JSONP body as well; none if it is not an array.
pub(crate) fn messages_of(body: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(body);
    let json = unwrapped(&text).map_or(&*text, |(_, json)| json);
    match serde_json::from_str(json) {
        Ok(Value::Array(messages)) => messages,
        _ => Vec::new(),
    }
}

/// Name and JSON of `name(JSON)`, with or without a comment before and a semicolon behind.
pub(crate) fn unwrapped(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix("/**/").unwrap_or(text).trim_end().trim_end_matches(';');
    let (name, rest) = text.split_once('(')?;
    let is_name = !name.is_empty() && !name.contains(['[', '{', '"', '<', ' ']);
    Some((name, rest.strip_suffix(')')?)).filter(|_| is_name)
}

/// Reads HTTP responses until the connection ends.
pub(crate) fn read_http(shared: Arc<Shared>, name: String, opened: usize, stream: TcpStream) {
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        loop {
            let has_body = || shared.state.lock().connection(&name).has_body;
            let response = read_response(&mut Waiting(&mut reader), has_body);
            let mut state = shared.state.lock();
            if state.connection(&name).opened != opened {
                return;
            }
            let is_end = response.is_err();
            match response {
                Ok(response) => state.take_response(&name, response),
                Err(_) => {
                    let connection = state.connection(&name);
                    connection.stream = None;
                    connection.is_over = true;
                    if connection.in_flight.take().is_some() {
                        connection.received.push(Received::End);
                        state.note(&format!("< {name} end of stream"));
                    }
                }
            }
            shared.changed.notify_all();
            if is_end {
                return;
            }
        }
    });
}

/// Reads WebSocket frames until the connection ends; answers pings and closes.
pub(crate) fn read_socket(shared: Arc<Shared>, name: String, opened: usize, mut reader: BufReader<TcpStream>) {
    thread::spawn(move || {
        let mut text = Vec::new();
        let mut has_closed = false;
        loop {
            let frame = read_frame(&mut reader);
            let mut state = shared.state.lock();
            if state.connection(&name).opened != opened {
                return;
            }
            match frame {
                Ok(frame) if frame.opcode() == 8 => {
                    has_closed = true;
                    let code = frame.payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]));
                    state.note(&format!("< {name} close {code:?} {}", String::from_utf8_lossy(&frame.payload)));
                    state.connection(&name).received.push(Received::Close(code));
                    reply(&mut state, &name, CLOSE, frame.payload);
                }
                Ok(frame) if frame.opcode() == 9 => reply(&mut state, &name, PONG, frame.payload),
                Ok(frame) if frame.opcode() == 10 => {
                    let text = format!("pong {}", String::from_utf8_lossy(&frame.payload));
                    state.connection(&name).received.push(Received::Other(text));
                }
                Ok(frame) if frame.is_compressed() || frame.opcode() == 2 => {
                    let kind = if frame.is_compressed() { "a compressed frame" } else { "a binary frame" };
                    state.connection(&name).received.push(Received::Other(kind.to_owned()));
                }
                Ok(frame) => {
                    text.extend(&frame.payload);
                    if frame.is_final() {
                        state.take_text(&name, &text);
                        text.clear();
                    }
                }
                Err(_) => {
                    let connection = state.connection(&name);
                    connection.is_over = true;
                    connection.stream = None;
                    if !has_closed {
                        connection.received.push(Received::End);
                        state.note(&format!("< {name} end of stream"));
                    }
                    shared.changed.notify_all();
                    return;
                }
            }
            shared.changed.notify_all();
        }
    });
}

fn reply(state: &mut State, name: &str, first: u8, payload: Vec<u8>) {
    use std::io::Write as _;
    if let Some(stream) = &mut state.connection(name).stream {
        // The server may be gone already.
        let _ = stream.write_all(&Frame { first, payload }.to_bytes());
    }
}

/// A reader that reports the end of the stream between two responses as an error.
struct Waiting<'a>(&'a mut BufReader<TcpStream>);

impl std::io::Read for Waiting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl std::io::BufRead for Waiting<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        match self.0.fill_buf() {
            Ok([]) => Err(ErrorKind::UnexpectedEof.into()),
            other => other,
        }
    }

    fn consume(&mut self, amount: usize) {
        self.0.consume(amount);
    }
}
