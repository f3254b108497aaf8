//! `mirant record` and `mirant replay`: what is recorded plays again, differences are found, nobody can make the proxy
//! stumble, and no secret gets into a file.

mod attacks;
mod commands;
mod round_trip;
mod secrets;

#[allow(dead_code)] // Shared with the other tests over sockets.
#[path = "../support/sockets.rs"]
mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mirant::client::player::Player;
use mirant::client::recorder::{self, Recorder, Summary};
use mirant::client::relay::{self, Relay};
use mirant::client::remote::{Operator, Remote};
use mirant::client::replay::{Failure, replay};
use mirant::client::transcript::{Conversation, Head};
use mirant::client::upstream::ServerUrl;
use parking_lot::Mutex;
use serde_json::{Value, json};

use support::http::{Connection, Request};

/// A file of a test, removed when the test ends.
struct TestFile(PathBuf);

impl TestFile {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("mirant-record-{}-{number}.txt", std::process::id())))
    }

    fn path(&self) -> &Path {
        &self.0
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.0).expect("the file is there")
    }

    /// Reads it, which must be possible at any time.
    #[track_caller]
    fn conversation(&self) -> Conversation {
        let text = self.text();
        Conversation::parse(&text).unwrap_or_else(|error| panic!("{error} in\n{text}"))
    }
}

impl Drop for TestFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A relay in front of a server, in this process.
struct Recording {
    relay: Relay,
    file: TestFile,
    complaints: Arc<Mutex<Vec<String>>>,
}

impl Recording {
    fn of(upstream: SocketAddr) -> Self {
        Self::with(upstream, |_, _| {})
    }

    /// Starts a relay with options that the caller changes.
    fn with(upstream: SocketAddr, change: impl FnOnce(&mut recorder::Options, &mut relay::Options)) -> Self {
        let file = TestFile::new();
        let mut recording = recorder::Options {
            out: file.path().to_owned(),
            overwrite: false,
            head: Head::default(),
            server: Some("test server".to_owned()),
            client: Some("test client".to_owned()),
            redact: Vec::new(),
            mount: Some("/cometd".to_owned()),
            control: false,
            cookies: false,
            file_max: 1 << 24,
        };
        let mut options = relay::Options {
            upstream: format!("http://{upstream}/cometd").parse().expect("an address"),
            rewrite_host: false,
            connections_max: 100,
            body_max: 1 << 20,
        };
        change(&mut recording, &mut options);
        let recorder = Arc::new(Recorder::create(recording).expect("a new file"));
        let complaints = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&complaints);
        let complain: relay::Complain = Arc::new(move |what| heard.lock().push(what.to_owned()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let relay = Relay::start(listener, options, recorder, complain).expect("the relay starts");
        Self { relay, file, complaints }
    }

    fn address(&self) -> SocketAddr {
        self.relay.address()
    }

    fn complaints(&self) -> Vec<String> {
        self.complaints.lock().clone()
    }

    fn stop(self) -> (TestFile, Summary) {
        let Self { relay, file, .. } = self;
        (file, relay.stop())
    }
}

/// Plays a file to a server that is somewhere else.
fn play(conversation: &Conversation, server: SocketAddr) -> Result<(), Failure> {
    let url: ServerUrl = format!("http://{server}/cometd").parse().expect("an address");
    let stage = Remote { url, operator: Operator::Nobody };
    replay(conversation, &mut Player::new(conversation, stage)).map(|_| ())
}

/// A client that keeps to one connection and returns its cookie.
struct Client {
    connection: Connection,
    id: String,
    cookie: Option<String>,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        Self { connection: Connection::open(address), id: String::new(), cookie: None }
    }

    fn handshaken(address: SocketAddr) -> Self {
        let mut client = Self::new(address);
        let reply = client.ask(json!([{"channel": "/meta/handshake", "id": "1", "version": "1.0",
            "supportedConnectionTypes": ["long-polling"]}]));
        client.id = reply[0]["clientId"].as_str().expect("a clientId").to_owned();
        client
    }

    /// Another connection of the same browser.
    fn beside(&self, address: SocketAddr) -> Self {
        Self { connection: Connection::open(address), id: self.id.clone(), cookie: self.cookie.clone() }
    }

    fn request(&self, messages: &Value) -> Request {
        let request = Request::post("/cometd", messages.to_string());
        match &self.cookie {
            Some(cookie) => request.header("Cookie", cookie),
            None => request,
        }
    }

    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "callers pass json! literals")]
    fn ask(&mut self, messages: Value) -> Value {
        let response = self.connection.exchange(&self.request(&messages)).expect("an answer");
        if let Some(cookie) = response.header("Set-Cookie") {
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        assert_eq!(response.status, 200, "{response:?}");
        serde_json::from_slice(&response.body).expect("JSON")
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers pass json! literals")]
    fn send(&mut self, messages: Value) {
        let request = self.request(&messages);
        self.connection.send(&request).expect("sent");
    }

    #[track_caller]
    fn answer(&mut self) -> Value {
        serde_json::from_slice(&self.connection.response().expect("an answer").body).expect("JSON")
    }

    fn connect(&self, id: &str) -> Value {
        json!([{"channel": "/meta/connect", "id": id, "clientId": self.id, "connectionType": "long-polling"}])
    }

    fn subscribe(&mut self, channel: &str) {
        let id = self.id.clone();
        self.ask(json!([{"channel": "/meta/subscribe", "id": "s", "clientId": id, "subscription": channel}]));
    }
}
