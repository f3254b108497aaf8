//! [`Host`]: a server in the test's own process whose node can be looked into, and [`Client`], a raw subscriber.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mirant::bayeux::{ChannelName, SessionId, SessionReport};
use mirant::config::Config;
use mirant::node::{Node, Policy};
use mirant::policy::DefaultSecurityPolicy;
use mirant::server::{Builder, Server};
use mirant::transport::Traffic;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tokio::runtime::{Handle, Runtime};

use crate::support::deflate;
use crate::support::http::PATIENCE;
use crate::support::websocket::{Frame, Socket, opcode, opening};

/// A running server.
pub(crate) struct Host {
    runtime: Option<Runtime>,
    server: Option<Server>,
}

impl Host {
    /// Starts a server with these settings, written as on the command line.
    #[track_caller]
    pub(crate) fn start(settings: &[&str]) -> Self {
        Self::start_with(settings, Arc::new(DefaultSecurityPolicy))
    }

    /// Starts a server that asks this policy.
    #[track_caller]
    pub(crate) fn start_with(settings: &[&str], policy: Arc<dyn Policy>) -> Self {
        raise_file_limit();
        // Clients here send no connects, unless a test is about them.
        let always = ["server.listen=127.0.0.1:0", "admin.listen=off", "bayeux.max_interval=120s"];
        let sets: Vec<String> = always.iter().chain(settings).map(|&setting| setting.to_owned()).collect();
        let config = Config::load(None, std::iter::empty(), &sets).unwrap_or_else(|errors| panic!("{errors}"));
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
        let server = runtime.block_on(Builder::new(config).policy(policy).start()).unwrap();
        Self { runtime: Some(runtime), server: Some(server) }
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server().address()
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        self.server().node()
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.server().connections().traffic()
    }

    /// How many WebSockets are open.
    pub(crate) fn open_sockets(&self) -> usize {
        self.server().connections().count()
    }

    /// Where tasks of the server run.
    pub(crate) fn handle(&self) -> &Handle {
        self.runtime.as_ref().unwrap().handle()
    }

    /// Publishes from the server itself.
    pub(crate) fn publish(&self, channel: &str, data: &Value) {
        let (channel, data) = (ChannelName::parse(channel).unwrap(), to_raw_value(data).unwrap());
        self.handle().block_on(self.node().publish(&channel, &data)).unwrap();
    }

    /// What is known of a session, if it has not ended.
    pub(crate) fn session(&self, client_id: &str) -> Option<SessionReport> {
        self.node().engine().session(SessionId::parse(client_id).unwrap())
    }

    /// Opens so many subscribers of one channel.
    pub(crate) fn subscribers(&self, count: usize, channel: &str) -> Vec<Client> {
        (0..count).map(|_| Client::subscribed(self, channel)).collect()
    }

    /// Stops the server in an orderly way.
    pub(crate) fn stop(&self) {
        self.handle().block_on(self.server().stop());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A WebSocket with a session.
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) socket: Socket,
    /// Messages of frames that were read and not asked for yet.
    messages: VecDeque<Value>,
}

impl Client {
    /// A socket without a session.
    #[track_caller]
    pub(crate) fn open(host: &Host) -> Self {
        let (socket, _) = Socket::open(host.address(), &opening("/cometd")).unwrap();
        Self { id: String::new(), socket, messages: VecDeque::new() }
    }

    /// A socket with a session.
    #[track_caller]
    pub(crate) fn new(host: &Host) -> Self {
        let mut client = Self::open(host);
        client.handshake();
        client
    }

    /// A socket with a session that subscribes to a channel.
    #[track_caller]
    pub(crate) fn subscribed(host: &Host, channel: &str) -> Self {
        let mut client = Self::new(host);
        client.subscribe(channel);
        client
    }

    /// The same on a socket with permessage-deflate.
    #[track_caller]
    pub(crate) fn compressing(host: &Host, channel: &str) -> Self {
        let (socket, agreed) = deflate::open(host.address(), deflate::OFFER);
        assert_eq!(agreed.as_deref(), Some(deflate::AGREED));
        let mut client = Self { id: String::new(), socket, messages: VecDeque::new() };
        client.handshake();
        client.subscribe(channel);
        client
    }

    #[track_caller]
    pub(crate) fn handshake(&mut self) {
        self.send(&json!([{"channel": "/meta/handshake"}]));
        self.id = self.reply("/meta/handshake")["clientId"].as_str().unwrap().to_owned();
    }

    #[track_caller]
    pub(crate) fn subscribe(&mut self, channel: &str) {
        self.send(&json!([{"channel": "/meta/subscribe", "subscription": channel, "clientId": self.id}]));
        self.reply("/meta/subscribe");
    }

    /// A message that publishes.
    pub(crate) fn publication(&self, channel: &str, data: &Value) -> Value {
        json!({"channel": channel, "data": data, "clientId": self.id})
    }

    /// Sends messages as one frame.
    #[track_caller]
    pub(crate) fn send(&mut self, messages: &Value) {
        self.send_frames(std::slice::from_ref(messages));
    }

    /// Sends frames as one segment.
    #[track_caller]
    pub(crate) fn send_frames(&mut self, frames: &[Value]) {
        let frames = frames.iter().flat_map(|frame| Frame::new(opcode::TEXT, frame.to_string()).to_bytes());
        self.socket.send_bytes(&frames.collect::<Vec<u8>>()).unwrap();
    }

    /// Waits for the next message.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Value {
        loop {
            if let Some(message) = self.messages.pop_front() {
                return message;
            }
            let frame = self.socket.receive().expect("a frame");
            let Value::Array(messages) = serde_json::from_slice(&deflate::payload(&frame)).unwrap() else {
                panic!("no array: {frame:?}");
            };
            self.messages.extend(messages);
        }
    }

    /// Waits for the next message, which is a successful reply on this channel.
    #[track_caller]
    pub(crate) fn reply(&mut self, channel: &str) -> Value {
        let reply = self.next();
        assert_eq!((&reply["channel"], &reply["successful"]), (&json!(channel), &json!(true)), "{reply}");
        reply
    }

    /// Waits for these publications, in this order and with nothing between them.
    #[track_caller]
    pub(crate) fn expect(&mut self, channel: &str, data: impl IntoIterator<Item = impl Into<Value>>) {
        for data in data {
            assert_eq!(self.next(), json!({"channel": channel, "data": data.into()}));
        }
    }
}

/// Lets this process have as many files as the system allows.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Without it the tests may still do.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
