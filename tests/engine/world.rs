//! [`World`]: an engine in virtual time, and the shell around it that a test needs.
//!
//! The shell does what a server does: it decodes what a client sends, handles message by message, finishes the exchange
//! and flushes every session on the dirty list (outlet, take, write). After each step it checks that no session was
//! forgotten: nothing that could be written may be left. When a world is dropped, all connections are cut and time
//! passes until nothing is due; then no session and no channel may be left.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mirant::bayeux::config::EngineConfig;
use mirant::bayeux::{
    Authorizer, Batch, Binding, ChannelListener, ChannelName, ChannelOptions, Context, DecodeError, Dirty, Engine,
    Exchange, Finished, Flow, Handled, IdSource, Message, Naming, NoStream, Peer, PlainNames, Release, SessionId,
    Shared, Slot, Time, Took, Transport, Verdict, decode,
};
use serde_json::Value;

use super::client::Client;

/// What a session is written through: a stream, or one HTTP request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// A WebSocket, or the handler of a local session.
    Stream(usize),
    /// A request of an HTTP connection, by number.
    Request(usize, usize),
}

impl Token {
    const fn connection(self) -> usize {
        match self {
            Self::Stream(connection) | Self::Request(connection, _) => connection,
        }
    }
}

/// What became of an HTTP request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// It waits.
    Held,
    /// It was answered with this array.
    Answered(Value),
    /// It failed with this status.
    Status(u16),
    /// Its client went away.
    Lost,
}

/// Whether a connection takes what is written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flowing {
    /// It does.
    Freely,
    /// The next write finds it full.
    FullAtNext,
    /// It is full.
    Full,
    /// It is closed, with this code.
    Closed(u16),
    /// It is gone.
    Cut,
}

/// A client's connection; an HTTP client has one for all its requests.
pub(super) struct Connection {
    pub(super) peer: Peer,
    pub(super) flowing: Flowing,
    binding: Binding<Token>,
    sessions: Vec<Arc<Slot<Token>>>,
    pub(super) requests: Vec<Answer>,
    /// What was written and not yet looked at: frames, or the arrays of responses.
    pub(super) inbox: Vec<Vec<Value>>,
    /// Everything with an `id` that was ever written.
    pub(super) history: Vec<Value>,
    /// The batch of the last response, which may still be lost.
    last_batch: Option<(Arc<Slot<Token>>, Vec<Shared>)>,
}

type Policy = Box<dyn Fn(&Peer, &Message<'_>) -> Verdict>;

/// An engine in virtual time.
pub(crate) struct World(pub(super) Rc<Inner>);

/// What the world and its clients share.
pub(crate) struct Inner {
    pub(super) engine: Engine<Token>,
    now: Cell<u64>,
    policy: RefCell<Policy>,
    pub(super) connections: RefCell<Vec<Connection>>,
    slots: RefCell<Vec<Arc<Slot<Token>>>>,
    /// Channels that the test keeps alive.
    kept: RefCell<BTreeSet<ChannelName>>,
}

/// Ids that are different and always the same.
#[derive(Default)]
pub(crate) struct Counting(AtomicU64);

impl IdSource for Counting {
    fn random(&self) -> u128 {
        u128::from(self.0.fetch_add(1, Ordering::Relaxed) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }
}

/// Parses the name of a channel.
pub(crate) fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

/// So many milliseconds.
pub(crate) const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

impl World {
    /// A world with the default settings.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// A world with other settings.
    pub(crate) fn with(change: impl FnOnce(&mut EngineConfig)) -> Self {
        Self::named(change, Arc::new(PlainNames))
    }

    /// A world whose channels have other names outside.
    pub(crate) fn named(change: impl FnOnce(&mut EngineConfig), naming: Arc<dyn Naming>) -> Self {
        let mut config = EngineConfig::default();
        change(&mut config);
        Self(Rc::new(Inner {
            engine: Engine::new(config, Arc::new(Counting::default()), naming),
            now: Cell::new(0),
            policy: RefCell::new(Box::new(|_, _| Verdict::granted())),
            connections: RefCell::default(),
            slots: RefCell::default(),
            kept: RefCell::default(),
        }))
    }

    /// A client on `long-polling`.
    pub(crate) fn long_polling(&self) -> Client {
        self.client(Transport::LongPolling)
    }

    /// A client on `websocket`.
    pub(crate) fn websocket(&self) -> Client {
        self.client(Transport::WebSocket)
    }

    /// A client on `callback-polling`.
    pub(crate) fn callback_polling(&self) -> Client {
        self.client(Transport::CallbackPolling)
    }

    /// A client on a transport.
    pub(crate) fn client(&self, transport: Transport) -> Client {
        Client::new(&self.0, Peer::on(transport))
    }

    pub(crate) fn engine(&self) -> &Engine<Token> {
        &self.0.engine
    }

    /// What the clock says.
    pub(crate) fn time(&self) -> Time {
        self.0.time()
    }

    /// The session of a client as the engine knows it.
    pub(crate) fn slot(&self, client: &Client) -> Arc<Slot<Token>> {
        self.0.slot(client.session_id())
    }

    /// Lets time pass, from deadline to deadline.
    pub(crate) fn advance(&self, milliseconds: u64) {
        self.0.advance(milliseconds);
    }

    /// Sets who may do what.
    pub(crate) fn set_policy(&self, policy: impl Fn(&Peer, &Message<'_>) -> Verdict + 'static) {
        *self.0.policy.borrow_mut() = Box::new(policy);
    }

    /// Adds a listener to a channel, as services are written.
    pub(crate) fn listen(
        &self,
        name: &str,
        listener: impl Fn(&mut Context<'_, Token>, &ChannelName, &Message<'_>) -> Flow + Send + Sync + 'static,
    ) {
        let listener: Arc<dyn ChannelListener<Token>> = Arc::new(listener);
        self.0.kept.borrow_mut().insert(channel(name));
        self.engine().add_channel_listener(&channel(name), &listener);
    }

    /// Adds an authorizer to a channel.
    pub(crate) fn authorize(&self, name: &str, authorizer: impl Authorizer + 'static) {
        let authorizer: Arc<dyn Authorizer> = Arc::new(authorizer);
        self.0.kept.borrow_mut().insert(channel(name));
        self.engine().add_authorizer(&channel(name), &authorizer);
    }

    /// Changes the options of a channel.
    pub(crate) fn set_options(&self, name: &str, change: impl FnMut(&mut ChannelOptions)) {
        self.engine().set_channel_options(&channel(name), change);
    }

    /// Makes a channel that stays.
    pub(crate) fn keep(&self, name: &str) {
        self.0.kept.borrow_mut().insert(channel(name));
        self.set_options(name, |options| options.persistent = true);
    }

    /// Publishes as the server; returns how many sessions it was queued for.
    pub(crate) fn publish(&self, name: &str, data: &Value) -> Option<usize> {
        let data = data.to_string();
        let message = Message { data: Some(data.into()), ..Message::default() };
        self.0.act(|engine, now, dirty| {
            let accepted = engine.publish(now, None, &channel(name), message, dirty)?;
            Some(engine.commit(now, accepted, None, None, dirty))
        })
    }

    /// Ends a session as the server.
    pub(crate) fn disconnect(&self, client: &Client) -> bool {
        self.0.act(|engine, now, dirty| engine.disconnect(now, client.session_id(), dirty))
    }

    /// Calls the engine and flushes what became sendable.
    pub(crate) fn act<R>(&self, work: impl FnOnce(&Engine<Token>, Time, &mut Dirty<Token>) -> R) -> R {
        self.0.act(work)
    }

    /// Takes the next publication of a client's stream out of its queue.
    pub(crate) fn take_one(&self, client: &Client) -> Shared {
        let slot = self.0.slot(client.session_id());
        let mut batch = Batch::default();
        self.engine().take(self.0.time(), &slot, &client.stream(), &mut batch);
        batch.events.remove(0)
    }

    /// The names of the channels that exist.
    pub(crate) fn channels(&self) -> Vec<String> {
        self.engine().channel_reports().into_iter().map(|(name, _)| name.as_str().to_owned()).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.0.end();
        }
    }
}

impl Inner {
    pub(super) fn time(&self) -> Time {
        Time::from_millis(self.now.get())
    }

    pub(super) fn act<R>(&self, work: impl FnOnce(&Engine<Token>, Time, &mut Dirty<Token>) -> R) -> R {
        let mut dirty = Dirty::default();
        let result = work(&self.engine, self.time(), &mut dirty);
        self.flush(dirty);
        result
    }

    pub(super) fn open(&self, peer: Peer) -> usize {
        let mut connections = self.connections.borrow_mut();
        connections.push(Connection {
            peer,
            flowing: Flowing::Freely,
            binding: Binding::Open,
            sessions: Vec::new(),
            requests: Vec::new(),
            inbox: Vec::new(),
            history: Vec::new(),
            last_batch: None,
        });
        connections.len() - 1
    }

    /// Takes one request body or frame; `meanwhile` runs when its messages have been handled and its answer is not yet
    /// made.
    pub(super) fn receive(&self, connection: usize, text: &str, meanwhile: impl FnOnce()) -> Token {
        let (peer, token, binding) = {
            let connections = &mut self.connections.borrow_mut()[connection];
            assert!(matches!(connections.flowing, Flowing::Freely), "the connection cannot be used");
            let peer = connections.peer.clone();
            if peer.transport.is_http() {
                connections.requests.push(Answer::Held);
                (peer, Token::Request(connection, connections.requests.len() - 1), Binding::Open)
            } else {
                (peer, Token::Stream(connection), connections.binding.clone())
            }
        };
        let messages = match decode(text, &self.engine.config().limits) {
            Ok(messages) => messages,
            Err(error) => {
                self.fail(token, status_of(error));
                return token;
            }
        };
        if messages.is_empty() {
            self.write(token, &Batch::default());
            return token;
        }
        let mut dirty = Dirty::default();
        let mut exchange = self.engine.begin(self.time(), peer.clone(), token, binding, messages.len());
        for message in messages {
            let verdict = (self.policy.borrow())(&peer, &message);
            match self.engine.handle(self.time(), &mut exchange, message, &verdict, &mut dirty) {
                Handled::Done => {}
                Handled::Accepted(accepted) => {
                    self.engine.commit(self.time(), accepted, None, Some(&mut exchange), &mut dirty);
                }
                Handled::Fault(_) => {
                    self.engine.abandon(self.time(), exchange, &mut dirty);
                    self.fail(token, 500);
                    self.flush(dirty);
                    return token;
                }
            }
        }
        meanwhile();
        self.finish(token, exchange, dirty);
        token
    }

    fn finish(&self, token: Token, exchange: Exchange<Token>, mut dirty: Dirty<Token>) {
        let mut batch = Batch::default();
        let (finished, binding) = self.engine.finish(self.time(), exchange, &mut batch, &mut dirty);
        let bound = match &binding {
            Binding::Session(slot) => Some(Arc::clone(slot)),
            Binding::Open | Binding::Nobody => None,
        };
        if let Some(slot) = &bound {
            self.know(token.connection(), slot);
        }
        self.connections.borrow_mut()[token.connection()].binding = binding;
        if matches!(token, Token::Stream(_)) || finished == Finished::Answered {
            self.write(token, &batch);
            if let Some(slot) = bound {
                self.wrote(token, &slot, &mut batch);
            }
        } else {
            assert!(batch.is_empty(), "a held request has nothing to write");
        }
        self.flush(dirty);
    }

    /// Opens an event stream of a session on a connection.
    pub(super) fn open_stream(&self, connection: usize, id: SessionId) -> Result<(), NoStream> {
        let peer = self.connections.borrow()[connection].peer.clone();
        let token = Token::Stream(connection);
        self.act(|engine, now, dirty| {
            let streaming = engine.open_stream(now, &peer, id, token, dirty)?;
            // Before it is flushed: the shell has to know whom it writes to.
            self.know(connection, &streaming.session);
            Ok(())
        })
    }

    /// The slot of a session that some connection has used.
    pub(super) fn slot(&self, id: SessionId) -> Arc<Slot<Token>> {
        self.slots.borrow().iter().find(|slot| slot.id() == id).cloned().expect("a session that was used")
    }

    fn know(&self, connection: usize, slot: &Arc<Slot<Token>>) {
        let sessions = &mut self.connections.borrow_mut()[connection].sessions;
        if !sessions.iter().any(|known| Arc::ptr_eq(known, slot)) {
            sessions.push(Arc::clone(slot));
        }
        let mut slots = self.slots.borrow_mut();
        slots.retain(|slot| self.engine.view(slot.id()).is_some());
        if !slots.iter().any(|known| Arc::ptr_eq(known, slot)) {
            slots.push(Arc::clone(slot));
        }
    }

    /// A batch of the session has been written.
    fn wrote(&self, token: Token, slot: &Arc<Slot<Token>>, batch: &mut Batch) {
        if batch.starts_expiry {
            self.engine.written(self.time(), slot);
        }
        let events = std::mem::take(&mut batch.events);
        self.connections.borrow_mut()[token.connection()].last_batch = Some((Arc::clone(slot), events));
    }

    /// The response that the client's connection carried last is lost.
    pub(super) fn lose_last_response(&self, connection: usize) {
        let lost = self.connections.borrow_mut()[connection].last_batch.take();
        let (slot, events) = lost.expect("there was a response");
        self.act(|engine, _, dirty| engine.put_back(&slot, events, dirty));
    }

    /// Writes to every session on the list, as a shell does after each call.
    pub(super) fn flush(&self, dirty: Dirty<Token>) {
        for (token, release) in dirty.releases {
            match release {
                Release::Status(status) => self.fail(token, status),
                Release::Answer(replies) => self.write(token, &Batch { replies, ..Batch::default() }),
                Release::Destroy => self.connections.borrow_mut()[token.connection()].flowing = Flowing::Closed(1000),
            }
        }
        for slot in dirty.sessions {
            self.flush_session(&slot);
        }
        self.nothing_is_forgotten();
    }

    fn flush_session(&self, slot: &Arc<Slot<Token>>) {
        while let Some(token) = self.engine.outlet(slot) {
            if !self.is_free(token) || self.flush_to(slot, token) {
                return;
            }
        }
    }

    /// Takes and writes until nothing is left; false if the session has moved.
    fn flush_to(&self, slot: &Arc<Slot<Token>>, token: Token) -> bool {
        let mut batch = Batch::default();
        loop {
            batch.clear();
            match self.engine.take(self.time(), slot, &token, &mut batch) {
                Took::Moved => return false,
                Took::Nothing => return true,
                Took::Batch => {}
            }
            assert!(!batch.is_empty(), "a batch has something in it");
            let flowing = self.connections.borrow()[token.connection()].flowing;
            if flowing == Flowing::FullAtNext {
                self.connections.borrow_mut()[token.connection()].flowing = Flowing::Full;
                assert!(batch.connect.is_empty(), "a reply that does not fit would have to be kept");
                let mut dirty = Dirty::default();
                self.engine.give_back(slot, &token, std::mem::take(&mut batch.events), &mut dirty);
                assert!(dirty.is_empty(), "the session has not moved meanwhile");
                return true;
            }
            self.write(token, &batch);
            let more = batch.more;
            self.wrote(token, slot, &mut batch);
            if !more {
                return true;
            }
        }
    }

    /// Whether the connection takes something now.
    fn is_free(&self, token: Token) -> bool {
        matches!(self.connections.borrow()[token.connection()].flowing, Flowing::Freely | Flowing::FullAtNext)
    }

    /// A connection that was full takes what is written to it again.
    pub(super) fn drain(&self, connection: usize) {
        let sessions = {
            let connection = &mut self.connections.borrow_mut()[connection];
            connection.flowing = Flowing::Freely;
            connection.sessions.clone()
        };
        for slot in &sessions {
            self.flush_to(slot, Token::Stream(connection));
        }
        self.nothing_is_forgotten();
    }

    /// Every session that could be written to has been.
    fn nothing_is_forgotten(&self) {
        for slot in &*self.slots.borrow() {
            let Some(token) = self.engine.outlet(slot).filter(|token| self.is_free(*token)) else { continue };
            // What was queued during a handshake waits for the first connect ([HS-8]).
            let is_new = self.engine.session(slot.id()).is_some_and(|report| !report.is_connected);
            let waits = is_new && slot.view().transport != Transport::Local;
            assert!(waits, "{slot:?} was forgotten: it has something for {token:?}");
        }
    }

    /// Writes a batch as one response, or as frames in CometD's order ([WS-5]).
    fn write(&self, token: Token, batch: &Batch) {
        let mut whole = Vec::new();
        batch.write_array(&mut whole);
        let connection = &mut self.connections.borrow_mut()[token.connection()];
        if let Token::Request(_, number) = token {
            let messages = connection.put(&whole);
            let waiting = std::mem::replace(&mut connection.requests[number], Answer::Answered(messages));
            assert_eq!(waiting, Answer::Held, "a request is answered once");
            return;
        }
        if batch.together || batch.is_empty() {
            connection.put(&whole);
            return;
        }
        let handshake = batch.handshake.iter().map(Vec::as_slice);
        let events = batch.events.iter().map(|event| {
            let frame = event.frame();
            assert!(frame.ends_with(&[event.json(), b"]"].concat()), "the frame holds the message");
            event.json()
        });
        for part in handshake.chain(events).chain([&*batch.replies, &*batch.connect]) {
            if !part.is_empty() {
                connection.put(&[b"[", part, b"]"].concat());
            }
        }
    }

    /// Fails a request, or closes a stream.
    fn fail(&self, token: Token, status: u16) {
        let connection = &mut self.connections.borrow_mut()[token.connection()];
        match token {
            Token::Request(_, number) => {
                let waiting = std::mem::replace(&mut connection.requests[number], Answer::Status(status));
                assert_eq!(waiting, Answer::Held, "a request is answered once");
            }
            Token::Stream(_) => connection.flowing = Flowing::Closed(1011),
        }
    }

    /// The connection of a client is gone, with its held requests.
    pub(super) fn cut(&self, connection: usize) {
        let (sessions, tokens) = {
            let this = &mut self.connections.borrow_mut()[connection];
            let mut tokens = vec![Token::Stream(connection)];
            if this.peer.transport.is_http() && this.peer.transport != Transport::EventSource {
                tokens.clear();
                for (number, request) in this.requests.iter_mut().enumerate() {
                    if *request == Answer::Held {
                        *request = Answer::Lost;
                        tokens.push(Token::Request(connection, number));
                    }
                }
            } else {
                this.flowing = Flowing::Cut;
            }
            (this.sessions.clone(), tokens)
        };
        for slot in &sessions {
            for token in &tokens {
                self.engine.detach(self.time(), slot, token);
            }
        }
    }

    pub(super) fn advance(&self, milliseconds: u64) {
        let end = self.now.get() + milliseconds;
        let mut steps = 0;
        while let Some(at) = self.engine.next_deadline().map(Time::as_millis).filter(|at| *at <= end) {
            self.now.set(self.now.get().max(at));
            self.act(|engine, now, dirty| engine.fire(now, dirty));
            steps += 1;
            assert!(steps < 100_000, "time stands still at {}", self.now.get());
        }
        self.now.set(end);
    }

    /// Cuts everything and lets time pass until nothing is due: then nothing may be left.
    fn end(&self) {
        let count = self.connections.borrow().len();
        (0..count).for_each(|connection| self.cut(connection));
        for report in self.engine.session_reports() {
            if report.view.transport == Transport::Local {
                self.act(|engine, now, dirty| engine.disconnect(now, report.view.id, dirty));
            }
        }
        // Longer than any hold, pause and grace that a client may ask for.
        self.advance(24 * 3_600_000);
        assert_eq!(self.engine.session_count(), 0, "sessions are left");
        assert_eq!(self.engine.next_deadline(), None, "deadlines are left");
        let left: BTreeSet<_> = self.engine.channel_reports().into_iter().collect();
        let kept = self.kept.borrow().iter().map(|name| (name.clone(), 0)).collect();
        assert_eq!(left, kept, "channels are left");
    }

    pub(super) fn session_id(text: &str) -> SessionId {
        SessionId::parse(text).expect("a client id")
    }
}

impl Connection {
    /// Stores what was written, and returns it.
    fn put(&mut self, json: &[u8]) -> Value {
        let messages: Vec<Value> = serde_json::from_slice(json).expect("what is written is a JSON array");
        self.history.extend(messages.iter().filter(|message| message.get("id").is_some()).cloned());
        self.inbox.push(messages.clone());
        Value::Array(messages)
    }
}

const fn status_of(error: DecodeError) -> u16 {
    match error {
        DecodeError::Syntax | DecodeError::TooDeep => 400,
        DecodeError::NotMessages => 500,
        DecodeError::TooMany => 413,
    }
}
