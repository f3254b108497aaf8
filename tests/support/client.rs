//! Bayeux clients for tests: they add the `clientId` to what a test sends and hand back what the server answers, as
//! JSON arrays to be compared whole. They know nothing of advice, retries or ids: those are the test's business.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::{Connection, Request, Response};
use super::server::Server;
use super::websocket::{Frame, Socket, opcode, opening};

/// Whatever clients can connect to.
pub(crate) trait Host {
    /// Where it listens.
    fn address(&self) -> SocketAddr;
}

impl Host for Server {
    fn address(&self) -> SocketAddr {
        self.address()
    }
}

/// Where the server is mounted.
pub(crate) const MOUNT: &str = "/cometd";

/// Adds a `clientId` to every message that has none and is no handshake.
fn signed(messages: &Value, client_id: &str) -> Value {
    let sign = |message: &Value| {
        let mut message = message.clone();
        if let Some(object) = message.as_object_mut()
            && object.get("channel") != Some(&json!("/meta/handshake"))
            && !object.contains_key("clientId")
        {
            object.insert("clientId".to_owned(), json!(client_id));
        }
        message
    };
    messages.as_array().map_or_else(|| sign(messages), |list| list.iter().map(sign).collect())
}

#[track_caller]
fn array(text: &[u8]) -> Value {
    let value: Value = serde_json::from_slice(text).unwrap_or_else(|error| {
        panic!("{error} in an answer: {}", String::from_utf8_lossy(text));
    });
    assert!(value.is_array(), "answers are arrays: {value}");
    value
}

/// Asserts that something took at least this long; clocks that count whole milliseconds may be one ahead.
#[track_caller]
pub(crate) fn assert_lasted(took: Duration, at_least: Duration) {
    assert!(took + Duration::from_millis(2) >= at_least, "{took:?} instead of {at_least:?}");
}

#[track_caller]
fn client_id(reply: &Value) -> String {
    assert_eq!(reply["successful"], true, "handshake: {reply}");
    reply["clientId"].as_str().expect("a clientId").to_owned()
}

/// A long-polling client: one keep-alive connection for ordinary requests, one more for each that is left pending.
#[derive(Debug)]
pub(crate) struct LongPolling {
    /// Its session, empty before the handshake.
    pub(crate) id: String,
    /// The `Cookie` header of its requests.
    pub(crate) cookie: Option<String>,
    server: SocketAddr,
    connection: Connection,
}

impl LongPolling {
    /// A client without a session.
    #[track_caller]
    pub(crate) fn new(server: &impl Host) -> Self {
        Self::at(server.address())
    }

    /// A client of the server at an address, without a session.
    #[track_caller]
    pub(crate) fn at(server: SocketAddr) -> Self {
        Self { id: String::new(), cookie: None, server, connection: Connection::open(server) }
    }

    /// A client after its handshake.
    #[track_caller]
    pub(crate) fn handshaken(server: &impl Host) -> Self {
        let mut client = Self::new(server);
        client.handshake();
        client
    }

    /// A client after its handshake and its first connect, which is never held.
    #[track_caller]
    pub(crate) fn ready(server: &impl Host) -> Self {
        let mut client = Self::handshaken(server);
        assert_eq!(client.events(), json!([]));
        client
    }

    /// A ready client that is subscribed to `channel`.
    #[track_caller]
    pub(crate) fn subscribed(server: &impl Host, channel: &str) -> Self {
        let mut client = Self::ready(server);
        client.subscribe(channel);
        client
    }

    /// Opens a session, keeps the cookie it comes with, and returns the reply.
    #[track_caller]
    pub(crate) fn handshake(&mut self) -> Value {
        let response = self.exchange(json!([{"channel": "/meta/handshake"}]).to_string());
        assert_eq!(response.status, 200, "{response:?}");
        let reply = array(&response.body)[0].clone();
        self.id = client_id(&reply);
        if let Some(cookie) = response.header("Set-Cookie") {
            self.cookie = Some(cookie.split(';').next().expect("a cookie").to_owned());
        }
        reply
    }

    /// A POST to the mount with the client's cookie.
    pub(crate) fn request(&self, body: impl Into<Vec<u8>>) -> Request {
        self.with_cookie(Request::post(MOUNT, body))
    }

    /// Adds the client's cookie to a request.
    pub(crate) fn with_cookie(&self, request: Request) -> Request {
        match &self.cookie {
            Some(cookie) => request.header("Cookie", cookie),
            None => request,
        }
    }

    /// Posts a body as it is and waits for the response, whatever its status.
    #[track_caller]
    pub(crate) fn exchange(&mut self, body: impl Into<Vec<u8>>) -> Response {
        self.exchange_request(&self.request(body))
    }

    /// Sends a request as it is and waits for the response; opens a new connection where the server closed the last.
    #[track_caller]
    pub(crate) fn exchange_request(&mut self, request: &Request) -> Response {
        if !self.connection.is_reusable() {
            self.connection = Connection::open(self.server);
        }
        self.connection.exchange(request).expect("a response")
    }

    /// Sends messages in one request and returns the answer's messages.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "callers pass json! literals")]
    pub(crate) fn batch(&mut self, messages: Value) -> Value {
        let response = self.exchange(signed(&messages, &self.id).to_string());
        assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
        array(&response.body)
    }

    /// Sends messages on a connection of their own and does not wait.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "callers pass json! literals")]
    pub(crate) fn start(&self, messages: Value) -> Pending {
        self.start_request(&self.request(signed(&messages, &self.id).to_string()))
    }

    /// Sends a request on a connection of its own and does not wait.
    #[track_caller]
    pub(crate) fn start_request(&self, request: &Request) -> Pending {
        let mut connection = Connection::open(self.server);
        let started = Instant::now();
        connection.send(request).expect("the request is written");
        Pending { connection, started }
    }

    /// Sends a connect with the id `c` on a connection of its own and waits until the server holds it.
    #[track_caller]
    pub(crate) fn hold(&self, server: &Server) -> Pending {
        let held = self.start(json!([{"channel": "/meta/connect", "id": "c", "connectionType": "long-polling"}]));
        server.await_held(&self.id);
        held
    }

    /// Sends a connect that is not held and returns the messages that came with its reply.
    #[track_caller]
    pub(crate) fn events(&mut self) -> Value {
        let connect = json!([{"channel": "/meta/connect", "id": "e", "connectionType": "long-polling", "advice": {"timeout": 0}}]);
        let mut messages = self.batch(connect);
        let reply = messages.as_array_mut().and_then(Vec::pop).expect("a connect reply");
        assert_eq!((&reply["channel"], &reply["successful"]), (&json!("/meta/connect"), &json!(true)), "{reply}");
        messages
    }

    /// Subscribes.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, channel: &str) {
        let replies = self.batch(json!([{"channel": "/meta/subscribe", "subscription": channel}]));
        assert_eq!(replies, json!([{"channel": "/meta/subscribe", "subscription": channel, "successful": true}]));
    }

    /// Publishes to a channel to which this client is not subscribed.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "callers pass json! literals")]
    pub(crate) fn publish(&mut self, channel: &str, data: Value) {
        let replies = self.batch(json!([{"channel": channel, "data": data}]));
        assert_eq!(replies, json!([{"channel": channel, "successful": true}]));
    }
}

/// A request that is under way on a connection of its own.
#[derive(Debug)]
pub(crate) struct Pending {
    connection: Connection,
    started: Instant,
}

impl Pending {
    /// Whether nothing has arrived so far.
    pub(crate) fn is_silent(&self) -> bool {
        self.connection.is_silent()
    }

    /// Waits for the response.
    pub(crate) fn response(&mut self) -> io::Result<Response> {
        self.connection.response()
    }

    /// Waits for the response and returns its messages.
    #[track_caller]
    pub(crate) fn messages(&mut self) -> Value {
        let response = self.response().expect("a response");
        assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
        array(&response.body)
    }

    /// Waits for the response; its messages, and the time since the request was sent.
    #[track_caller]
    pub(crate) fn timed(&mut self) -> (Value, Duration) {
        let messages = self.messages();
        (messages, self.started.elapsed())
    }

    /// Waits until the server closes the connection.
    pub(crate) fn closed(&mut self) -> io::Result<()> {
        self.connection.closed()
    }
}

/// A WebSocket client: one socket.
#[derive(Debug)]
pub(crate) struct WebSocket {
    /// Its session, empty before the handshake.
    pub(crate) id: String,
    /// The socket, for tests that look at frames.
    pub(crate) socket: Socket,
}

impl WebSocket {
    /// A socket without a session.
    #[track_caller]
    pub(crate) fn open(server: &impl Host) -> Self {
        let (socket, _) = Socket::open(server.address(), &opening(MOUNT)).expect("101");
        Self { id: String::new(), socket }
    }

    /// A socket on which nothing was sent yet, for the session of another.
    #[track_caller]
    pub(crate) fn resumed(server: &impl Host, id: &str) -> Self {
        Self { id: id.to_owned(), ..Self::open(server) }
    }

    /// A client after its handshake.
    #[track_caller]
    pub(crate) fn handshaken(server: &impl Host) -> Self {
        let mut client = Self::open(server);
        client.handshake();
        client
    }

    /// A client after its handshake and its first connect, which is never held.
    #[track_caller]
    pub(crate) fn ready(server: &impl Host) -> Self {
        let mut client = Self::handshaken(server);
        assert_eq!(
            client.batch(json!([{"channel": "/meta/connect"}])),
            json!([{"channel": "/meta/connect", "successful": true}])
        );
        client
    }

    /// A ready client that is subscribed to `channel`.
    #[track_caller]
    pub(crate) fn subscribed(server: &impl Host, channel: &str) -> Self {
        let mut client = Self::ready(server);
        client.subscribe(channel);
        client
    }

    /// Opens a session and returns the reply.
    #[track_caller]
    pub(crate) fn handshake(&mut self) -> Value {
        let reply = self.batch(json!([{"channel": "/meta/handshake"}]))[0].clone();
        self.id = client_id(&reply);
        reply
    }

    /// Sends messages in one frame and does not wait.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "callers pass json! literals")]
    pub(crate) fn send(&mut self, messages: Value) {
        self.send_text(&signed(&messages, &self.id).to_string());
    }

    /// Sends a text frame as it is.
    #[track_caller]
    pub(crate) fn send_text(&mut self, text: &str) {
        self.socket.send(&Frame::new(opcode::TEXT, text)).expect("the frame is written");
    }

    /// Waits for the next frame and returns its messages.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> Value {
        let frame = self.socket.receive().expect("a frame");
        assert_eq!(frame.first, 0x80 | opcode::TEXT, "{frame:?}");
        array(&frame.payload)
    }

    /// Sends messages in one frame and returns those of the next frame.
    #[track_caller]
    pub(crate) fn batch(&mut self, messages: Value) -> Value {
        self.send(messages);
        self.receive()
    }

    /// Sends a connect with the id `c` and does not wait.
    #[track_caller]
    pub(crate) fn connect(&mut self) {
        self.send(json!([{"channel": "/meta/connect", "id": "c", "connectionType": "websocket"}]));
    }

    /// Asserts that nothing is under way to this client: the next frame answers the publish sent here.
    #[track_caller]
    pub(crate) fn expect_silence(&mut self) {
        let replies = self.batch(json!([{"channel": "/nobody/listens", "id": "silence"}]));
        assert_eq!(replies, json!([{"channel": "/nobody/listens", "id": "silence", "successful": true}]));
    }

    /// Subscribes.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, channel: &str) {
        let replies = self.batch(json!([{"channel": "/meta/subscribe", "subscription": channel}]));
        assert_eq!(replies, json!([{"channel": "/meta/subscribe", "subscription": channel, "successful": true}]));
    }

    /// Publishes to a channel to which this client is not subscribed.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "callers pass json! literals")]
    pub(crate) fn publish(&mut self, channel: &str, data: Value) {
        let replies = self.batch(json!([{"channel": channel, "data": data}]));
        assert_eq!(replies, json!([{"channel": channel, "successful": true}]));
    }

    /// Waits for the server to close; the status code of its close frame.
    #[track_caller]
    pub(crate) fn close_code(&mut self) -> Option<u16> {
        self.socket.close_code().expect("the server closes")
    }
}
