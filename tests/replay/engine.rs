//! The recordings, replayed through the engine in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mirant::bayeux::extension::ZoneOffset;
use mirant::bayeux::{
    Batch, Binding, DecodeError, Dirty, Engine, Finished, Handled, IdSource, Message, Peer, PlainNames, Release,
    SessionId, Slot, Time, Took, Transport, Verdict, decode,
};

use super::settings::config;
use super::support::controls::{self, Left};
use super::support::deviation::{ANOTHER_TIME, Change, DEVIATIONS};
use super::support::fixtures::{Suite, conversations};
use super::support::normalise::parameters;
use super::support::pattern::Pattern;
use super::support::services::{self, channel};
use super::support::subject::{Output, Scope, Sent, Subject, Written};
use super::support::transcript::{Body, Conversation, Event, Exchange, Frame, Millis, Request};

#[test]
fn the_engine_answers_as_recorded() {
    let report = Suite::load(&conversations())
        .offering(&["ack", "timesync", "binary", "callback-polling", "empty-batch", "control", "timestamp", "activity"])
        .rewritten_for_our_server()
        .replay(EngineAlone::for_conversation);
    report.check();
    if std::env::var_os("REPLAY").is_some() {
        return;
    }
    // The clock can be set here.
    let another_time = ANOTHER_TIME.name;
    assert!(!report.deviations.contains_key(another_time), "{:?}", report.deviations[another_time]);
    // Header lines and upgrades are no business of the engine's.
    let for_sockets = |change: &Change| matches!(change, Change::Header(_));
    let ours = DEVIATIONS.iter().filter(|deviation| !for_sockets(&deviation.change));
    let unused: Vec<&str> = ours
        .map(|deviation| deviation.name)
        .filter(|name| {
            !["upgrade-below-the-mount", another_time].contains(name) && !report.deviations.contains_key(name)
        })
        .collect();
    assert!(unused.is_empty(), "no recording needs {unused:?} any more");
}

/// What a session is written through: one HTTP request, or a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Token {
    Request(Exchange),
    Socket(String),
}

/// The engine with as little around it as it takes to speak.
struct EngineAlone {
    engine: Engine<Token>,
    ids: Arc<Counting>,
    conversation: Conversation,
    now: Millis,
    /// WebSockets, with the session that each is bound to.
    sockets: BTreeMap<String, Binding<Token>>,
    /// Sessions that may have an outlet on a connection.
    sessions: BTreeMap<String, Vec<Arc<Slot<Token>>>>,
    /// Held requests, by connection.
    held: BTreeMap<String, BTreeSet<Token>>,
    /// The functions that answers to requests of callback-polling call.
    callbacks: BTreeMap<Exchange, String>,
    outputs: Vec<Output>,
    /// Channels that stay for ever because a service listens.
    services: usize,
    /// Channels that an operator has changed, which stay as well.
    kept: BTreeSet<String>,
}

/// Ids that are different and always the same.
#[derive(Default)]
struct Counting(AtomicU64);

impl IdSource for Counting {
    fn random(&self) -> u128 {
        u128::from(self.0.fetch_add(1, Ordering::Relaxed) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }
}

impl EngineAlone {
    fn for_conversation(conversation: &Conversation) -> Self {
        Self::started(conversation, Arc::new(Counting::default()))
    }

    fn started(conversation: &Conversation, ids: Arc<Counting>) -> Self {
        let engine = Self::engine(conversation, Arc::clone(&ids));
        let services = engine.channel_count();
        Self {
            engine,
            ids,
            conversation: conversation.clone(),
            now: 0,
            sockets: BTreeMap::new(),
            sessions: BTreeMap::new(),
            held: BTreeMap::new(),
            callbacks: BTreeMap::new(),
            outputs: Vec::new(),
            services,
            kept: BTreeSet::new(),
        }
    }

    fn engine(conversation: &Conversation, ids: Arc<Counting>) -> Engine<Token> {
        let engine = Engine::new(config(&conversation.head).engine, ids, Arc::new(PlainNames));
        services::add(&engine, &conversation.head.services).expect("the services are known");
        let (at, shown) = client_clock(conversation).unwrap_or((0, CLOCK_MIN));
        engine.set_wall_clock(Time::from_millis(at), shown, ZoneOffset::default());
        engine
    }

    fn time(&self) -> Time {
        Time::from_millis(self.now)
    }

    /// Takes the messages of one request or frame.
    fn receive(&mut self, token: &Token, text: &str) {
        let now = self.time();
        let (transport, binding) = match token {
            Token::Request(exchange) if self.callbacks.contains_key(exchange) => {
                (Transport::CallbackPolling, Binding::Open)
            }
            Token::Request(_) => (Transport::LongPolling, Binding::Open),
            Token::Socket(name) => (Transport::WebSocket, self.sockets[name].clone()),
        };
        let messages = match decode(text, &self.engine.config().limits) {
            Ok(messages) => messages,
            Err(DecodeError::NotMessages) => return self.fail(token, 500),
            Err(_) => return self.fail(token, 400),
        };
        if messages.is_empty() {
            // What an empty batch means is the transports' business; all of ours answer it ([EN-14]).
            return match token {
                Token::Request(_) => self.write(token, &Batch::default()),
                Token::Socket(_) => self.output(token, Written::Frame("[]".to_owned())),
            };
        }
        let mut dirty = Dirty::default();
        // The name of a browser is in its cookie; a conversation has one browser unless it says more.
        let connection = connection_of(token);
        let with_cookie = !self.conversation.head.without_cookies;
        let browser = with_cookie.then(|| format!("browser {}", self.conversation.browser(connection)).into());
        let peer = Peer { browser, ..Peer::on(transport) };
        let mut exchange = self.engine.begin(now, peer, token.clone(), binding, messages.len());
        for message in messages {
            match self.engine.handle(now, &mut exchange, message, &Verdict::granted(), &mut dirty) {
                Handled::Done => {}
                Handled::Accepted(accepted) => {
                    self.engine.commit(now, accepted, None, Some(&mut exchange), &mut dirty);
                }
                Handled::Fault(_) => {
                    self.engine.abandon(now, exchange, &mut dirty);
                    self.fail(token, 500);
                    return self.flush(dirty);
                }
            }
        }
        let mut batch = Batch::default();
        let (finished, binding) = self.engine.finish(now, exchange, &mut batch, &mut dirty);
        if let Binding::Session(slot) = &binding {
            self.sessions.entry(connection_of(token).to_owned()).or_default().push(Arc::clone(slot));
        }
        if let Token::Socket(name) = token {
            self.sockets.insert(name.clone(), binding.clone());
        }
        match (token, finished) {
            (Token::Request(exchange), Finished::Held) => {
                self.held.entry(exchange.connection.clone()).or_default().insert(token.clone());
            }
            _ => self.write(token, &batch),
        }
        if let (true, Binding::Session(slot)) = (batch.starts_expiry, &binding) {
            self.engine.written(now, slot);
        }
        self.flush(dirty);
    }

    /// Writes to every session that has something, as a shell does after each call.
    fn flush(&mut self, dirty: Dirty<Token>) {
        for (token, release) in dirty.releases {
            match release {
                Release::Status(status) => self.fail(&token, status),
                Release::Answer(replies) => self.write(&token, &Batch { replies, ..Batch::default() }),
                Release::Destroy => self.output(&token, Written::Close(Some(1000), "Destroy".to_owned())),
            }
        }
        for slot in dirty.sessions {
            while let Some(token) = self.engine.outlet(&slot) {
                let mut batch = Batch::default();
                while self.engine.take(self.time(), &slot, &token, &mut batch) == Took::Batch {
                    self.write(&token, &batch);
                    if batch.starts_expiry {
                        self.engine.written(self.time(), &slot);
                    }
                    batch.clear();
                }
            }
        }
    }

    /// Writes a batch as the body of a response, or as frames in CometD's way.
    fn write(&mut self, token: &Token, batch: &Batch) {
        match token {
            Token::Request(exchange) => {
                let mut body = Vec::new();
                batch.write_array(&mut body);
                let body = text(&body);
                let body = self.callbacks.get(exchange).map_or(body.clone(), |name| format!("{name}({body})"));
                self.output(token, Written::Answer { number: exchange.number, status: 200, headers: Vec::new(), body });
            }
            Token::Socket(_) if batch.together => {
                let mut frame = Vec::new();
                batch.write_array(&mut frame);
                self.output(token, Written::Frame(text(&frame)));
            }
            Token::Socket(_) => {
                let handshake = batch.handshake.iter().map(Vec::as_slice);
                let events = batch.events.iter().map(|event| event.json());
                for part in handshake.chain(events).chain([&*batch.replies, &*batch.connect]) {
                    if !part.is_empty() {
                        self.output(token, Written::Frame(format!("[{}]", text(part))));
                    }
                }
            }
        }
    }

    fn fail(&mut self, token: &Token, status: u16) {
        let written = match token {
            Token::Request(exchange) => {
                Written::Answer { number: exchange.number, status, headers: Vec::new(), body: String::new() }
            }
            Token::Socket(_) => Written::Close(Some(1011), String::new()),
        };
        self.output(token, written);
    }

    fn output(&mut self, token: &Token, written: Written) {
        let connection = connection_of(token).to_owned();
        if let Some(held) = self.held.get_mut(&connection) {
            held.remove(token);
        }
        self.outputs.push(Output { at: self.now, connection, written });
    }
}

impl Subject for EngineAlone {
    fn scope(&self) -> Scope {
        Scope::Messages
    }

    fn request(&mut self, now: Millis, exchange: &Exchange, request: &Sent<'_>) {
        self.now = now;
        if request.method == "UPGRADE" {
            self.sockets.insert(exchange.connection.clone(), Binding::Open);
        } else if let Some((callback, messages)) = called(&request.path).filter(|_| request.method == "GET") {
            self.callbacks.insert(exchange.clone(), callback);
            self.receive(&Token::Request(exchange.clone()), &messages);
        } else {
            self.receive(&Token::Request(exchange.clone()), &request.body);
        }
    }

    fn frame(&mut self, now: Millis, connection: &str, text: &str) {
        self.now = now;
        self.receive(&Token::Socket(connection.to_owned()), text);
    }

    fn close(&mut self, now: Millis, connection: &str, _: Option<u16>, _: &str) {
        self.cut(now, connection);
    }

    fn cut(&mut self, now: Millis, connection: &str) {
        self.now = now;
        let mut tokens = self.held.remove(connection).unwrap_or_default();
        if self.sockets.remove(connection).is_some() {
            tokens.insert(Token::Socket(connection.to_owned()));
        }
        for slot in self.sessions.remove(connection).unwrap_or_default() {
            for token in &tokens {
                self.engine.detach(self.time(), &slot, token);
            }
        }
    }

    fn publish(&mut self, now: Millis, name: &str, data: &str) {
        self.now = now;
        let mut dirty = Dirty::default();
        let message = Message { data: Some(data.into()), ..Message::to(name) };
        let accepted = self.engine.publish(self.time(), None, &channel(name).expect("a channel"), message, &mut dirty);
        if let Some(accepted) = accepted {
            self.engine.commit(self.time(), accepted, None, None, &mut dirty);
        }
        self.flush(dirty);
    }

    fn disconnect(&mut self, now: Millis, client_id: &str) {
        self.now = now;
        let mut dirty = Dirty::default();
        let id = SessionId::parse(client_id).expect("the engine gave this id");
        self.engine.disconnect(self.time(), id, &mut dirty);
        self.flush(dirty);
    }

    fn control(&mut self, now: Millis, target: &str, body: &str) -> Result<(), String> {
        self.now = now;
        let left = controls::apply(&self.engine, target)?;
        let query = target.split_once('?').map_or("", |(_, query)| query);
        self.kept
            .extend(parameters(query).into_iter().filter(|(name, _)| name == "channel").map(|(_, channel)| channel));
        if let Left::Delivery(id, name) = left {
            let mut dirty = Dirty::default();
            let message = Message { data: Some(body.into()), ..Message::to(name.as_str()) };
            self.engine.deliver(self.time(), None, id, message, &mut dirty);
            self.flush(dirty);
        }
        Ok(())
    }

    fn restart(&mut self, now: Millis) {
        *self = Self { now, ..Self::started(&self.conversation, Arc::clone(&self.ids)) };
    }

    fn advance(&mut self, now: Millis, until: Millis) -> Millis {
        self.now = now;
        while self.outputs.is_empty() {
            match self.engine.next_deadline() {
                Some(at) if at.as_millis() <= until => {
                    self.now = self.now.max(at.as_millis());
                    let mut dirty = Dirty::default();
                    self.engine.fire(self.time(), &mut dirty);
                    self.flush(dirty);
                }
                _ => self.now = until,
            }
            if self.now >= until {
                break;
            }
        }
        self.now
    }

    fn collect(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    fn leftovers(&mut self) -> Vec<String> {
        let reports = self.engine.session_reports();
        let mut left: Vec<String> = reports.iter().map(|report| format!("{report:?}")).collect();
        let channels = self.engine.channel_count();
        if channels > self.services + self.kept.len() {
            left.push(format!("{channels} channels instead of {}", self.services));
        }
        left.extend(self.engine.next_deadline().map(|at| format!("a deadline at @{}", at.as_millis())));
        left
    }
}

/// The least that a clock shows which is set, in milliseconds since 1970.
const CLOCK_MIN: u64 = 1_000_000_000_000;

/// Returns what the clock of a client that asks for the server's shows, and when; both ran on one machine. Of all its
/// messages that one counts which was on its way for the shortest time.
fn client_clock(conversation: &Conversation) -> Option<(Millis, u64)> {
    let shown = conversation.lines.iter().filter_map(|line| {
        let (Event::Request(_, Request { body: Body::Json(sent), .. }) | Event::Sent(_, Frame::Batch(sent))) =
            &line.event
        else {
            return None;
        };
        let shown = |message: &Pattern| message.member("ext")?.member("timesync")?.member("tc")?.as_u64();
        let shown = sent.messages().iter().find_map(shown).filter(|shown| *shown >= CLOCK_MIN);
        shown.map(|shown| (line.at, shown))
    });
    shown.max_by_key(|(at, shown)| shown.saturating_sub(*at))
}

/// The function that a query wants to be called, and its messages.
fn called(path: &str) -> Option<(String, String)> {
    let (_, query) = path.split_once('?')?;
    let value = |name: &str| query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    Some((value("jsonp")?.to_owned(), percent_decoded(value("message")?)))
}

fn percent_decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(code, 16).expect("the runner encodes well"));
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).expect("the runner encodes UTF-8")
}

fn connection_of(token: &Token) -> &str {
    match token {
        Token::Request(exchange) => &exchange.connection,
        Token::Socket(name) => name,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the engine writes UTF-8")
}
