//! [`Recorder`]: writes a conversation while it happens.
//!
//! Every event becomes a line of the file at once, so that the file is complete whenever the process ends; the head is
//! written anew when something new has been learned for it, which happens a few times. What is kept in memory comes from
//! what is in the file, so the limit of the file bounds both.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use parking_lot::{Mutex, MutexGuard};

use super::browsers::Browsers;
use super::frames::Message;
use super::http::MessageHead;
use super::normalise::{Normaliser, RawRequest, Talk, connection_name, is_polled, is_upgrade, parameters};
use super::pattern::Pattern;
use super::redaction::Redaction;
use super::sink::{Sink, SinkError};
use super::transcript::{Answer, Body, Directive, Event, Exchange, Frame, Head, Headers, Line, Request, is_method};

/// Path of the mount in files, whatever it is in reality.
pub const MOUNT: &str = "/cometd";

/// Control endpoints of the reference server; the first two have lines of their own.
const CONTROL: [&str; 9] = [
    "/publish",
    "/disconnect",
    "/deliver",
    "/session",
    "/lazy",
    "/persistent",
    "/broadcastToPublisher",
    "/authorizer",
    "/veto",
];

/// What is to be recorded, and where to.
#[derive(Clone, Debug)]
pub struct Options {
    /// The file.
    pub out: PathBuf,
    /// Whether a file that is there is replaced.
    pub overwrite: bool,
    /// What the head says from the beginning.
    pub head: Head,
    /// Name of the server; its `Server` header line if none is given.
    pub server: Option<String>,
    /// Name of the client; its `User-Agent` if none is given.
    pub client: Option<String>,
    /// Fields of messages that are taken out, as paths like `ext.auth`.
    pub redact: Vec<String>,
    /// The only path that is recorded, written as [`MOUNT`]; without it all that is no page load is.
    pub mount: Option<String>,
    /// Whether requests to control endpoints are written as what they do.
    pub control: bool,
    /// Whether cookies are written: those that the server gives without their values, those that clients bring as they are.
    pub cookies: bool,
    /// Most bytes of the file.
    pub file_max: u64,
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// What a recording came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Lines of events.
    pub lines: usize,
    /// Connections with any of them.
    pub connections: usize,
    /// Things that could not be written down; the file says what, where it happened.
    pub left_out: usize,
    /// Why the recording ended before its time, if it did.
    pub ended: Option<String>,
}

/// Writes what it is told about connections, which have numbers of the caller's choice.
#[derive(Debug)]
pub struct Recorder(Mutex<State>);

struct State {
    normaliser: Normaliser,
    sink: Sink,
    options: Options,
    started: Option<Instant>,
    connections: BTreeMap<u64, Connection>,
    /// How many connections have got a name.
    named: usize,
    browsers: Browsers,
    /// Header lines of the first request of each method and the first answer of each status.
    standard: BTreeMap<String, Headers>,
    lines: usize,
    left_out: usize,
    ended: Option<String>,
}

#[derive(Default)]
struct Connection {
    /// Empty until there is something to write down.
    name: String,
    talk: Talk,
    /// Requests without an answer yet, by number; `false` if they are not recorded.
    open: BTreeMap<u32, bool>,
    /// Answers that came before their request was complete.
    hasty: BTreeSet<u32>,
    is_socket: bool,
    /// Whether its end follows from what was said on it.
    end_announced: bool,
    ended: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("State").field("lines", &self.lines).finish_non_exhaustive()
    }
}

impl Recorder {
    /// Creates the file.
    ///
    /// # Errors
    ///
    /// It cannot be created, or is there already.
    pub fn create(options: Options) -> Result<Self, SinkError> {
        let sink = Sink::create(&options.out, options.overwrite, options.file_max)?;
        let head = Head { origin: origin(&options), ..options.head.clone() };
        let standard = head.headers.clone();
        let mut normaliser = Normaliser::new(head, Redaction::of_secrets(&options.redact));
        normaliser.is_complete = options.control;
        let mut state = State {
            normaliser,
            sink,
            options,
            started: None,
            connections: BTreeMap::new(),
            named: 0,
            browsers: Browsers::default(),
            standard,
            lines: 0,
            left_out: 0,
            ended: None,
        };
        state.write("");
        Ok(Self(Mutex::new(state)))
    }

    /// Writes down a whole request, and returns a complaint if it cannot be.
    pub fn request(&self, connection: u64, number: u32, head: &MessageHead, body: Content) -> Option<String> {
        self.state()?.request(connection, number, head, body)
    }

    /// Writes down a whole answer, and returns a complaint if it cannot be.
    pub fn answer(&self, connection: u64, number: u32, head: &MessageHead, body: Content) -> Option<String> {
        self.state()?.answer(connection, number, head, body)
    }

    /// Writes down that an answer is a stream of events, which the format has no lines for, and returns the complaint.
    pub fn stream(&self, connection: u64, number: u32, head: &MessageHead) -> Option<String> {
        let mut state = self.state()?;
        let body = Content::Whole(Vec::new());
        let complaint = state.answer(connection, number, head, body);
        let name = state.connection(connection).name.clone();
        let is_recorded = !name.is_empty() && complaint.is_none();
        is_recorded.then(|| state.leave_out(&format!("the events of {name}.{number}"))).or(complaint)
    }

    /// Writes down what travelled on a WebSocket, and returns a complaint if it cannot be.
    pub fn message(&self, connection: u64, from: Side, message: &Message) -> Option<String> {
        self.state()?.message(connection, from, message)
    }

    /// Writes down that a connection has ended. May be called for both sides.
    pub fn end(&self, connection: u64, by: Side) {
        if let Some(mut state) = self.state() {
            state.end(connection, by);
        }
    }

    /// Writes down that no more of a connection is understood, and returns the complaint.
    pub fn unreadable(&self, connection: u64, from: Side, why: &str) -> String {
        self.0.lock().unreadable(connection, from, why)
    }

    /// Returns what is written to; nothing once the recording has ended, so that nothing is learned for it any more.
    fn state(&self) -> Option<MutexGuard<'_, State>> {
        Some(self.0.lock()).filter(|state| state.ended.is_none())
    }

    /// Forgets a connection of which nothing comes any more.
    pub fn forget(&self, connection: u64) {
        let mut state = self.0.lock();
        state.connections.remove(&connection);
        state.browsers.forget(connection);
    }

    /// Ends the recording: what is open is cut. Nothing is written after that.
    pub fn finish(&self) -> Summary {
        self.0.lock().finish()
    }
}

/// The body of a message as far as it was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// All of it.
    Whole(Vec<u8>),
    /// It is longer than is kept.
    TooLong,
}

/// Returns the value of a parameter as it stands in a query; `$` is for names.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/*,:".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn origin(options: &Options) -> Vec<String> {
    let name = |name: &Option<String>, what: &str| {
        let name = name.as_ref().map_or_else(|| format!("unknown {what}"), |name| name.replace('|', "/"));
        name.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    vec!["recorded".to_owned(), name(&options.server, "server"), name(&options.client, "client")]
}

impl State {
    fn now(&mut self) -> u64 {
        let started = *self.started.get_or_insert_with(Instant::now);
        u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Writes text behind the lines so far, and the head again if it has changed.
    fn write(&mut self, text: &str) {
        if self.ended.is_some() {
            return;
        }
        let head = self.normaliser.head().to_string();
        if let Err(error) = self.sink.write(&head, text) {
            self.ended = Some(error.to_string());
        }
    }

    fn push(&mut self, event: Event) {
        let at = self.now();
        self.lines += usize::from(self.ended.is_none());
        self.write(&Line { number: 0, at, event }.to_string());
    }

    fn push_all(&mut self, causes: Vec<Directive>) {
        causes.into_iter().for_each(|cause| self.push(Event::Directive(cause)));
    }

    /// Writes a comment about something that is missing, and returns it as a complaint.
    fn leave_out(&mut self, what: &str) -> String {
        let what: String = what.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.left_out += 1;
        let at = self.now();
        self.write(&format!("# @{at} left out: {what}\n"));
        what
    }

    fn connection(&mut self, id: u64) -> &mut Connection {
        self.connections.entry(id).or_default()
    }

    /// Gives a connection its name on first use.
    fn name(&mut self, id: u64) -> String {
        let named = &mut self.named;
        let connection = self.connections.entry(id).or_default();
        if connection.name.is_empty() {
            connection.name = connection_name(*named);
            *named += 1;
        }
        connection.name.clone()
    }

    /// Replaces the path of the mount by that of files; `None` if a request is not recorded.
    fn target(&self, head: &MessageHead) -> Option<String> {
        let target = head.target();
        let Some(mount) = &self.options.mount else {
            let polls = target.split_once('?').is_some_and(|(_, query)| is_polled(query));
            let accepts_events = head.header("accept").is_some_and(|accept| accept.contains("text/event-stream"));
            let is_page = matches!(head.method(), "GET" | "HEAD") && !polls && !accepts_events;
            return (!is_page || is_upgrade(&head.headers)).then(|| target.to_owned());
        };
        let rest = target.strip_prefix(mount.as_str())?;
        (rest.is_empty() || rest.starts_with(['/', '?', ';'])).then(|| format!("{MOUNT}{rest}"))
    }

    fn request(&mut self, id: u64, number: u32, head: &MessageHead, body: Content) -> Option<String> {
        let outcome = self.read_request(id, number, head, body);
        let recorded = matches!(outcome, Ok(true));
        self.connection(id).open.insert(number, recorded);
        let Err(what) = outcome else { return None };
        let name = self.name(id);
        Some(self.leave_out(&format!("request {name}.{number}: {what}")))
    }

    /// Whether the request has been written down.
    fn read_request(&mut self, id: u64, number: u32, head: &MessageHead, body: Content) -> Result<bool, String> {
        if self.connection(id).ended || (self.options.control && self.control(head, &body)?) {
            return Ok(false);
        }
        let Some(target) = self.target(head) else { return Ok(false) };
        let Content::Whole(body) = body else { return Err("its body is too long".to_owned()) };
        let body = String::from_utf8(body).map_err(|_| "its body is not UTF-8".to_owned())?;
        if head.header("content-encoding").is_some_and(|coding| coding != "identity") {
            return Err("its body is compressed".to_owned());
        }
        if self.connection(id).hasty.remove(&number) {
            return Err("it was answered before it ended".to_owned());
        }
        if !is_method(head.method()) || !target.starts_with('/') {
            return Err("the format has no such requests".to_owned());
        }
        if self.options.client.is_none()
            && let Some(agent) = head.header("user-agent")
        {
            self.options.client = Some(agent.to_owned());
            self.normaliser.known.origin = origin(&self.options);
        }
        let raw = RawRequest { method: head.method(), target: &target, headers: &head.headers, body: &body };
        let talk = &mut self.connections.entry(id).or_default().talk;
        let mut request = self.normaliser.request(talk, raw)?;
        let name = self.name(id);
        let connection = self.connection(id);
        connection.end_announced |= head.lists("connection", "close");
        self.put_browser(id, &name, head, &mut request);
        request.headers = self.factored(&request.method, request.headers);
        self.push(Event::Request(Exchange { connection: name, number }, request));
        Ok(true)
    }

    /// Says which browser a connection belongs to, and where the cookie that it has was not sent.
    fn put_browser(&mut self, id: u64, name: &str, head: &MessageHead, request: &mut Request) {
        if self.normaliser.known.without_cookies || request.method == "OPTIONS" {
            return;
        }
        let (browser, is_new) = self.browsers.of_request(id, head);
        if is_new && browser > 1 {
            self.push(Event::Directive(Directive::Browser(name.to_owned(), browser)));
        }
        let shown = |cookies: &&str| self.options.cookies && self.browsers.are_foreign(cookies);
        let foreign = head.header("cookie").filter(shown).map(str::to_owned);
        let kept_back = self.browsers.keeps_back(browser, head).then(String::new);
        let headers = request.headers.get_or_insert_default();
        if let Some(cookies) = foreign.or(kept_back)
            && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("cookie"))
        {
            headers.push(("Cookie".to_owned(), cookies));
        }
    }

    /// Returns header lines unless they are the standard ones of their kind, which the head says.
    fn factored(&mut self, kind: &str, headers: Option<Headers>) -> Option<Headers> {
        let headers = headers.unwrap_or_default();
        let standard = self.standard.entry(kind.to_owned()).or_insert_with(|| {
            let fits = !headers.iter().any(|(name, value)| value.contains('|') || name.contains('|'));
            if fits && !headers.is_empty() {
                self.normaliser.known.headers.insert(kind.to_owned(), headers.clone());
            }
            if fits { headers.clone() } else { Headers::new() }
        });
        (*standard != headers).then_some(headers)
    }

    /// Writes down what a request to a control endpoint does; `false` if it is none.
    fn control(&mut self, head: &MessageHead, body: &Content) -> Result<bool, String> {
        let target = head.target();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if head.method() != "POST" || !CONTROL.contains(&path) {
            return Ok(path == "/stats");
        }
        let body = match body {
            Content::Whole(body) => String::from_utf8_lossy(body),
            Content::TooLong => return Err("its body is too long".to_owned()),
        };
        let json = || Pattern::parse(&body).ok().filter(|json| !json.is_partial());
        let parameters = parameters(query);
        let parameter = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        let directive = match (path, parameter("channel"), parameter("clientId")) {
            ("/publish", Some(channel), _) if !channel.contains(char::is_whitespace) && channel.starts_with('/') => {
                let data = json().ok_or("its body is no JSON")?;
                self.normaliser.note_publish(channel, &data);
                Directive::Publish(channel.to_owned(), self.normaliser.named(data))
            }
            ("/disconnect", _, Some(id)) => {
                self.normaliser.note_disconnect(id);
                let name = self.normaliser.session(id).ok_or("no session has this id")?;
                Directive::Disconnect(name.to_owned())
            }
            _ => {
                let named = parameters.iter().map(|(name, value)| match self.normaliser.session(value) {
                    Some(session) => format!("{}=${session}", encoded(name)),
                    None => format!("{}={}", encoded(name), encoded(value)),
                });
                let target = format!("{path}?{}", named.collect::<Vec<_>>().join("&"));
                if let ("/deliver", Some(channel), Some(data)) = (path, parameter("channel"), json()) {
                    self.normaliser.note_publish(channel, &data);
                }
                self.normaliser.note_need("control");
                let body = json().map_or(Body::Empty, |json| Body::Json(self.normaliser.named(json)));
                Directive::Control(target, body)
            }
        };
        self.push(Event::Directive(directive));
        Ok(true)
    }

    fn answer(&mut self, id: u64, number: u32, head: &MessageHead, body: Content) -> Option<String> {
        let connection = self.connection(id);
        connection.end_announced |= head.lists("connection", "close");
        let ended = connection.ended;
        match connection.open.remove(&number) {
            Some(true) if !ended => {}
            Some(_) => return None,
            None => {
                // Its request will be left out too, and that will be said.
                connection.hasty.insert(number);
                return None;
            }
        }
        let name = self.name(id);
        let exchange = Exchange { connection: name, number };
        let outcome = self.read_answer(id, head, body);
        match outcome {
            Ok((causes, answer)) => {
                self.push_all(causes);
                self.push(Event::Answer(exchange, answer));
                None
            }
            Err(what) => Some(self.leave_out(&format!("answer {exchange}: {what}"))),
        }
    }

    fn read_answer(&mut self, id: u64, head: &MessageHead, body: Content) -> Result<(Vec<Directive>, Answer), String> {
        let status = head.status().ok_or("it has no status")?;
        self.browsers.note_answer(id, head);
        if self.options.server.is_none() {
            let server = head.header("server").unwrap_or("a server without a name");
            self.options.server = Some(server.to_owned());
            self.normaliser.known.origin = origin(&self.options);
        }
        let is_compressed = head.header("content-encoding").is_some_and(|coding| coding != "identity");
        let text = match body {
            // The body of an error is not written down.
            _ if status >= 400 => String::new(),
            Content::TooLong => return Err("its body is too long".to_owned()),
            Content::Whole(body) if body.is_empty() => String::new(),
            Content::Whole(_) if is_compressed => return Err("its body is compressed".to_owned()),
            Content::Whole(body) => String::from_utf8(body).map_err(|_| "its body is not UTF-8".to_owned())?,
        };
        let connection = self.connections.entry(id).or_default();
        connection.is_socket |= status == 101;
        let (causes, mut answer) = self.normaliser.answer(&mut connection.talk, status, &head.headers, &text);
        if self.options.cookies {
            let given = head.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
            let lines = given.map(|(name, cookie)| (name.clone(), without_value(cookie)));
            answer.headers.get_or_insert_default().extend(lines);
        }
        answer.headers = self.factored(&status.to_string(), answer.headers);
        Ok((causes, answer))
    }

    fn message(&mut self, id: u64, from: Side, message: &Message) -> Option<String> {
        if self.connection(id).ended || !self.connection(id).is_socket {
            return None;
        }
        let name = self.name(id);
        let talk = &mut self.connections.entry(id).or_default().talk;
        let (causes, frame) = match message {
            Message::Text(text) if from == Side::Client => (Vec::new(), self.normaliser.client_frame(talk, text)),
            Message::Text(text) => self.normaliser.server_frame(talk, text),
            Message::Close(code, reason) => {
                self.connection(id).end_announced = true;
                let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
                (Vec::new(), Frame::Close(*code, reason))
            }
            Message::Ping(_) | Message::Pong => return None,
            Message::Binary(_) => return Some(self.leave_out(&format!("a binary message on {name}"))),
            Message::TooLong => return Some(self.leave_out(&format!("a message on {name}: it is too long"))),
        };
        self.push_all(causes);
        self.push(match from {
            Side::Client => Event::Sent(name, frame),
            Side::Server => Event::Received(name, frame),
        });
        None
    }

    fn end(&mut self, id: u64, by: Side) {
        let connection = self.connection(id);
        let is_silent = connection.ended || (by == Side::Server && connection.end_announced);
        connection.ended = true;
        // Connections that carried nothing, like a browser's page loads, are left out.
        if is_silent || connection.name.is_empty() {
            return;
        }
        let name = connection.name.clone();
        self.push(match by {
            Side::Client => Event::Directive(Directive::Cut(name)),
            Side::Server => Event::Received(name, Frame::Cut),
        });
    }

    fn unreadable(&mut self, id: u64, from: Side, why: &str) -> String {
        let name = self.name(id);
        self.connection(id).ended = true;
        let side = if from == Side::Client { "client" } else { "server" };
        self.leave_out(&format!("what follows on {name}: the {side}'s part is {why}"))
    }

    fn finish(&mut self) -> Summary {
        let is_in_use = |connection: &&Connection| {
            let waits = connection.open.values().any(|recorded| *recorded);
            let is_alive = !connection.ended && !connection.end_announced && !connection.name.is_empty();
            is_alive && (connection.is_socket || waits)
        };
        let open: Vec<String> = self.connections.values().filter(is_in_use).map(|open| open.name.clone()).collect();
        for name in open {
            self.push(Event::Directive(Directive::Cut(name)));
        }
        let (lines, connections, left_out, ended) = (self.lines, self.named, self.left_out, self.ended.clone());
        self.ended.get_or_insert_with(|| "it is finished".to_owned());
        Summary { lines, connections, left_out, ended }
    }
}

/// Puts `…` in place of the value of a cookie.
fn without_value(cookie: &str) -> String {
    let (pair, attributes) = cookie.split_once(';').map_or((cookie, ""), |(pair, rest)| (pair, rest));
    let name = pair.split('=').next().unwrap_or_default();
    if attributes.is_empty() { format!("{name}=…") } else { format!("{name}=…;{attributes}") }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = format!("{} lines on {} connections", self.lines, self.connections);
        if self.left_out > 0 {
            let _ = write!(text, ", {} things left out (the file says which)", self.left_out);
        }
        formatter.write_str(&text)
    }
}
