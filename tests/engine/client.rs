//! [`Client`]: a Bayeux client in a [`World`](super::world::World), as a test speaks it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use mirant::bayeux::{HttpVersion, MountId, NoStream, Peer, SessionId, SessionReport, Transport};
use serde_json::{Value, json};

use super::world::{Answer, Flowing, Inner, Token};

/// A client with one connection. Verbs like [`subscribe`](Self::subscribe) succeed or fail the test, and leave in the
/// inbox what else came.
pub(crate) struct Client {
    world: Rc<Inner>,
    connection: usize,
    id: RefCell<Option<String>>,
    next_id: Cell<u32>,
}

/// Something that was sent and may be answered later.
pub(crate) struct Sent {
    world: Rc<Inner>,
    token: Token,
    /// The `id` of the last message.
    id: String,
}

impl Client {
    pub(super) fn new(world: &Rc<Inner>, peer: Peer) -> Self {
        let connection = world.open(peer);
        Self { world: Rc::clone(world), connection, id: RefCell::default(), next_id: Cell::new(1) }
    }

    /// Changes what is known of the sender.
    pub(crate) fn with_peer(self, change: impl FnOnce(&mut Peer)) -> Self {
        change(&mut self.world.connections.borrow_mut()[self.connection].peer);
        self
    }

    /// Sends the cookie of a browser.
    pub(crate) fn in_browser(self, browser: &str) -> Self {
        self.with_peer(|peer| peer.browser = Some(Arc::from(browser)))
    }

    /// Speaks HTTP/2.
    pub(crate) fn on_http2(self) -> Self {
        self.with_peer(|peer| peer.http = HttpVersion::Two)
    }

    /// Speaks to another mount.
    pub(crate) fn on_mount(self, mount: u16) -> Self {
        self.with_peer(|peer| peer.mount = MountId(mount))
    }

    /// Shakes hands.
    pub(crate) fn shaken(self) -> Self {
        self.handshake();
        self
    }

    /// Shakes hands and sends the first connect.
    pub(crate) fn connected(self) -> Self {
        self.handshake();
        self.connect_at_once();
        self
    }

    /// Shakes hands, connects and subscribes.
    pub(crate) fn subscribed(self, channel: &str) -> Self {
        let this = self.connected();
        this.subscribe(channel);
        this
    }

    /// The same session on a new connection of some transport.
    pub(crate) fn moved_to(&self, transport: Transport) -> Self {
        let new = Self::new(&self.world, Peer::on(transport));
        new.id.borrow_mut().clone_from(&self.id.borrow());
        new.next_id.set(self.next_id.get() + 1_000);
        new
    }

    /// An event stream of the session, which then is written to through it.
    pub(crate) fn stream_of_events(&self) -> Self {
        self.try_stream(Peer::on(Transport::EventSource)).expect("a stream")
    }

    /// The same for a sender of whom something is known.
    pub(crate) fn try_stream(&self, peer: Peer) -> Result<Self, NoStream> {
        let stream = Self::new(&self.world, peer).with_session_of(self);
        self.world.open_stream(stream.connection, self.session_id()).map(|()| stream)
    }

    /// Sends a connect as clients with an event stream do.
    pub(crate) fn connect_beside_stream(&self) -> Sent {
        self.send(json!({"channel": "/meta/connect", "connectionType": "eventsource"}))
    }

    /// Uses the session of somebody else.
    pub(crate) fn with_session_of(self, other: &Self) -> Self {
        self.id.borrow_mut().clone_from(&other.id.borrow());
        self
    }

    /// Uses the session of this `clientId`.
    pub(crate) fn set_id(&self, id: &str) {
        *self.id.borrow_mut() = Some(id.to_owned());
    }

    /// The `clientId`.
    pub(crate) fn id(&self) -> String {
        self.id.borrow().clone().expect("the client has shaken hands")
    }

    pub(crate) fn session_id(&self) -> SessionId {
        Inner::session_id(&self.id())
    }

    /// What a session is written through on this connection.
    pub(crate) const fn stream(&self) -> Token {
        Token::Stream(self.connection)
    }

    fn is_http(&self) -> bool {
        self.world.connections.borrow()[self.connection].peer.transport.is_http()
    }

    /// Sends text as it is.
    pub(crate) fn send_text(&self, text: &str) -> Sent {
        let token = self.world.receive(self.connection, text, || {});
        Sent { world: Rc::clone(&self.world), token, id: String::new() }
    }

    /// Sends messages, each completed with `clientId` and `id` where it has none.
    pub(crate) fn send(&self, messages: Value) -> Sent {
        self.send_while(messages, || {})
    }

    /// Sends messages, and does something when they have been handled and are not yet answered.
    pub(crate) fn send_while(&self, messages: Value, meanwhile: impl FnOnce()) -> Sent {
        let mut messages = match messages {
            Value::Array(messages) => messages,
            one => vec![one],
        };
        let mut id = String::new();
        for message in &mut messages {
            let message = message.as_object_mut().expect("a message is an object");
            if message.get("channel").is_some_and(|channel| channel != "/meta/handshake")
                && let Some(client) = &*self.id.borrow()
            {
                message.entry("clientId").or_insert_with(|| json!(client));
            }
            id = match message.entry("id").or_insert_with(|| json!(self.next_id().to_string())) {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
        }
        let token = self.world.receive(self.connection, &Value::Array(messages).to_string(), meanwhile);
        Sent { world: Rc::clone(&self.world), token, id }
    }

    fn next_id(&self) -> u32 {
        self.next_id.replace(self.next_id.get() + 1)
    }

    /// Sends one message and returns its reply; other messages that came stay in the inbox.
    pub(crate) fn ask(&self, message: Value) -> Value {
        let sent = self.send(message);
        self.pick(&sent.id).unwrap_or_else(|| panic!("no reply: {:?}", self.frames()))
    }

    /// Takes the last message with this `id` out of the inbox: an answer of a service comes before the reply.
    fn pick(&self, id: &str) -> Option<Value> {
        let inbox = &mut self.world.connections.borrow_mut()[self.connection].inbox;
        for frame in inbox.iter_mut().rev() {
            if let Some(place) = frame.iter().rposition(|message| message["id"] == id) {
                return Some(frame.remove(place));
            }
        }
        None
    }

    fn succeed(&self, message: Value) -> Value {
        let reply = self.ask(message);
        assert_eq!(reply["successful"], true, "{reply}");
        reply
    }

    /// Shakes hands and returns the reply.
    pub(crate) fn handshake(&self) -> Value {
        let reply = self.succeed(json!({"channel": "/meta/handshake", "version": "1.0"}));
        *self.id.borrow_mut() = Some(reply["clientId"].as_str().expect("a client id").to_owned());
        reply
    }

    /// Sends a connect that is answered at once, and returns the reply.
    pub(crate) fn connect_at_once(&self) -> Value {
        self.succeed(json!({"channel": "/meta/connect", "advice": {"timeout": 0}}))
    }

    /// Sends a connect that may be held.
    pub(crate) fn connect(&self) -> Sent {
        self.send(json!({"channel": "/meta/connect"}))
    }

    /// Sends a connect that is held.
    pub(crate) fn hold(&self) -> Sent {
        let connect = self.connect();
        assert!(connect.is_held(), "the connect was answered: {:?}", self.frames());
        connect
    }

    /// Subscribes.
    pub(crate) fn subscribe(&self, channel: &str) {
        self.succeed(json!({"channel": "/meta/subscribe", "subscription": channel}));
    }

    /// Unsubscribes.
    pub(crate) fn unsubscribe(&self, channel: &str) {
        self.succeed(json!({"channel": "/meta/unsubscribe", "subscription": channel}));
    }

    /// Publishes.
    pub(crate) fn publish(&self, channel: &str, data: impl Into<Value>) {
        self.succeed(json!({"channel": channel, "data": data.into()}));
    }

    /// Says goodbye.
    pub(crate) fn disconnect(&self) {
        self.succeed(json!({"channel": "/meta/disconnect"}));
    }

    /// The error that a message is answered with; it has no advice unless this fails.
    pub(crate) fn refused(&self, message: Value) -> String {
        let reply = self.ask(message);
        assert_eq!(reply["successful"], false, "{reply}");
        assert!(reply.get("advice").is_none(), "{reply}");
        reply["error"].as_str().expect("an error").to_owned()
    }

    /// Whether a session of this id is there.
    pub(crate) fn is_alive(&self) -> bool {
        self.report().is_some()
    }

    /// What the engine says of the session; `None` if there is none.
    pub(crate) fn report(&self) -> Option<SessionReport> {
        let id = self.id.borrow().as_deref().map(Inner::session_id)?;
        self.world.engine.session(id)
    }

    /// How many publications wait for the session.
    pub(crate) fn queued(&self) -> usize {
        self.report().expect("the session lives").queued_messages
    }

    /// Empties the inbox: frames, or the arrays of responses, without what was looked at before.
    pub(crate) fn frames(&self) -> Vec<Value> {
        let inbox = std::mem::take(&mut self.world.connections.borrow_mut()[self.connection].inbox);
        inbox.into_iter().filter(|frame| !frame.is_empty()).map(Value::Array).collect()
    }

    /// Empties the inbox: all messages.
    pub(crate) fn received(&self) -> Vec<Value> {
        let inbox = std::mem::take(&mut self.world.connections.borrow_mut()[self.connection].inbox);
        inbox.into_iter().flatten().collect()
    }

    /// Empties the inbox: what is no reply.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.received().into_iter().filter(|message| message.get("successful").is_none()).collect()
    }

    /// Empties the inbox: `data` of what is no reply.
    pub(crate) fn heard(&self) -> Vec<Value> {
        self.events().into_iter().map(|mut message| message["data"].take()).collect()
    }

    /// The code with which the server closed the stream.
    pub(crate) fn closed(&self) -> Option<u16> {
        match self.world.connections.borrow()[self.connection].flowing {
            Flowing::Closed(code) => Some(code),
            _ => None,
        }
    }

    /// The connection is gone; so are held requests.
    pub(crate) fn cut(&self) {
        self.world.cut(self.connection);
    }

    /// The response that came last never reached the client.
    pub(crate) fn lose_last_response(&self) {
        assert!(self.is_http(), "a stream loses what was written");
        self.world.connections.borrow_mut()[self.connection].inbox.clear();
        self.world.lose_last_response(self.connection);
    }

    /// From now on the stream's buffers are full.
    pub(crate) fn stop_reading(&self) {
        self.world.connections.borrow_mut()[self.connection].flowing = Flowing::FullAtNext;
    }

    /// The stream's buffers are empty again.
    pub(crate) fn read_again(&self) {
        self.world.drain(self.connection);
    }
}

impl Sent {
    /// What became of the HTTP request.
    pub(crate) fn answer(&self) -> Answer {
        let Token::Request(connection, number) = self.token else { panic!("a frame has no answer of its own") };
        self.world.connections.borrow()[connection].requests[number].clone()
    }

    /// The messages of the HTTP response.
    pub(crate) fn messages(&self) -> Value {
        match self.answer() {
            Answer::Answered(messages) => messages,
            other => panic!("the request is {other:?}"),
        }
    }

    /// Whether the last message that was sent has no reply yet.
    pub(crate) fn is_held(&self) -> bool {
        match self.token {
            Token::Request(..) => self.answer() == Answer::Held,
            Token::Stream(_) => self.find().is_none(),
        }
    }

    /// The reply to the last message that was sent.
    pub(crate) fn reply(&self) -> Value {
        self.find().expect("there is no reply")
    }

    fn find(&self) -> Option<Value> {
        let (Token::Request(connection, _) | Token::Stream(connection)) = self.token;
        let connections = self.world.connections.borrow();
        connections[connection].history.iter().rfind(|message| message["id"] == *self.id).cloned()
    }

    /// What the session is written through while this request is held.
    pub(crate) const fn token(&self) -> Token {
        self.token
    }
}
