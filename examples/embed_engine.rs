//! The protocol engine in a program of one's own: no socket, no async runtime, only threads.
//!
//! ```text
//! cargo run --example embed_engine --no-default-features
//! ```
//!
//! Two clients, Ann and Bob, talk to one [`Engine`] in memory. Ann subscribes, Bob publishes from a thread of his own,
//! and everything that reaches either of them is printed. What is written here around the engine is its *shell*: the
//! part that a transport plays in the server. Read it from [`main`], then [`Shell::receive`] and [`Shell::flush`].

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mirant::bayeux::config::{EngineConfig, TransportConfig};
use mirant::bayeux::{
    Batch, Binding, Dirty, Engine, Handled, IdSource, Peer, PlainNames, Time, Took, Transport, Verdict, decode,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let shell = Shell::new(&["ann", "bob"]);
    let mut ann = Client::connect(&shell, 0)?;
    let mut bob = Client::connect(&shell, 1)?;

    ann.send(json!({"channel": "/meta/subscribe", "subscription": "/greetings/*"}))?;
    assert_eq!(ann.replies()?, [("/meta/subscribe".to_owned(), true)]);

    // All calls of the engine may come from any thread; Bob's publishing writes to Ann's connection from his.
    let bobs_thread = thread::scope(|scope| {
        let publishing = scope.spawn(|| {
            (1..=3).try_for_each(|number| {
                let channel = format!("/greetings/{number}");
                bob.send(json!({"channel": channel, "data": {"text": "hello", "number": number}}))
                    .map_err(|e| e.to_string())
            })
        });
        publishing.join()
    });
    bobs_thread.map_err(|_| "Bob's thread panicked")??;

    // Publications of one publisher arrive in order, each exactly once.
    let heard: Vec<Value> = ann.take_messages()?;
    let greeting =
        |number: u8| json!({"channel": format!("/greetings/{number}"), "data": {"text": "hello", "number": number}});
    assert_eq!(heard, [greeting(1), greeting(2), greeting(3)]);
    let published = |number: u8| (format!("/greetings/{number}"), true);
    assert_eq!(bob.replies()?, [published(1), published(2), published(3)]);

    // A client that has nothing to say keeps a connect open. The engine *holds* it: the first one is answered at once,
    // the second when its time is over, and time passes for the engine only when it is told so.
    let connect = json!({"channel": "/meta/connect", "connectionType": "websocket"});
    let connected = [("/meta/connect".to_owned(), true)];
    ann.send(connect.clone())?;
    assert_eq!(ann.replies()?, connected);
    ann.send(connect)?;
    assert_eq!(ann.replies()?, []);
    shell.let_time_pass(HOLD);
    assert_eq!(ann.replies()?, connected);

    for client in [&mut ann, &mut bob] {
        client.send(json!({"channel": "/meta/disconnect"}))?;
        assert_eq!(client.replies()?, [("/meta/disconnect".to_owned(), true)]);
    }
    assert_eq!(shell.engine.session_count(), 0);
    println!("done: {:?}", shell.engine.totals());
    Ok(())
}

/// How long a connect is held here; a server would take 30 seconds.
const HOLD: Duration = Duration::from_millis(50);

/// Where the engine's randomness comes from: session ids must not be guessed, so a counter would not do.
struct SystemRandom;

impl IdSource for SystemRandom {
    fn random(&self) -> u128 {
        let mut bytes = [0; 16];
        let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
        read.expect("the system has randomness");
        u128::from_ne_bytes(bytes)
    }
}

/// One connection in memory: what was written to it, each entry one array of messages as on a WebSocket.
///
/// Its lock is the connection's *writer lock*. It is taken before anything is taken out of a session, so that what two
/// threads write to one connection arrives in the order in which the engine gave it out.
struct Connection {
    name: &'static str,
    written: Mutex<Vec<String>>,
}

impl Connection {
    fn write(&self, written: &mut Vec<String>, batch: &Batch) {
        if batch.is_empty() {
            return;
        }
        let mut bytes = Vec::new();
        batch.write_array(&mut bytes);
        let text = String::from_utf8(bytes).expect("the engine writes UTF-8");
        println!("{} <- {text}", self.name);
        written.push(text);
    }
}

/// The engine with what it leaves to its user: a clock and connections.
///
/// The engine is generic over a *token* by which it names a connection. It stores and compares it and hands it back when
/// there is something to write; here it is simply the connection's number.
struct Shell {
    engine: Engine<usize>,
    connections: Vec<Connection>,
    started: Instant,
}

impl Shell {
    fn new(names: &[&'static str]) -> Self {
        let defaults = EngineConfig::default();
        let websocket = TransportConfig { timeout: HOLD, ..defaults.websocket.clone() };
        let config = EngineConfig { websocket, ..defaults };
        let connection = |name: &&'static str| Connection { name, written: Mutex::default() };
        Self {
            engine: Engine::new(config, Arc::new(SystemRandom), Arc::new(PlainNames)),
            connections: names.iter().map(connection).collect(),
            started: Instant::now(),
        }
    }

    /// The engine reads no clock: every call says what time it is.
    fn now(&self) -> Time {
        Time::default() + self.started.elapsed()
    }

    /// Takes what arrived on a connection through the engine.
    ///
    /// `binding` says which session the connection belongs to, and is what the last call has left there.
    fn receive(&self, number: usize, binding: &mut Binding<usize>, text: &str) -> Result<(), Box<dyn Error>> {
        // 1. Bytes become messages, under the engine's limits. `data` stays the text that was sent.
        let messages = decode(text, &self.engine.config().limits)?;

        // 2. All messages that came together are one exchange. A policy would give each its verdict here.
        let mut dirty = Dirty::default();
        let peer = Peer::on(Transport::WebSocket);
        let mut exchange = self.engine.begin(self.now(), peer, number, binding.clone(), messages.len());
        for message in messages {
            match self.engine.handle(self.now(), &mut exchange, message, &Verdict::granted(), &mut dirty) {
                Handled::Done => {}
                // 3. A publish is accepted first and fanned out second; a log on disk could stand in between.
                Handled::Accepted(publication) => {
                    self.engine.commit(self.now(), publication, None, Some(&mut exchange), &mut dirty);
                }
                Handled::Fault(fault) => {
                    self.engine.abandon(self.now(), exchange, &mut dirty);
                    self.flush(dirty);
                    return Err(fault.into());
                }
            }
        }

        // 4. The exchange ends with what this connection gets now.
        let connection = &self.connections[number];
        let mut written = connection.written.lock();
        let mut batch = Batch::default();
        (_, *binding) = self.engine.finish(self.now(), exchange, &mut batch, &mut dirty);
        connection.write(&mut written, &batch);
        if let (true, Binding::Session(session)) = (batch.starts_expiry, &*binding) {
            self.engine.written(self.now(), session);
        }
        drop(written);

        // 5. Whoever else has something to get now gets it.
        self.flush(dirty);
        Ok(())
    }

    /// Writes to every session that a call of the engine has made sendable.
    fn flush(&self, dirty: Dirty<usize>) {
        for session in dirty.sessions {
            // Between two looks the session may have moved to another connection, so the token is asked for each time.
            while let Some(number) = self.engine.outlet(&session) {
                let connection = &self.connections[number];
                let mut written = connection.written.lock();
                let mut batch = Batch::default();
                match self.engine.take(self.now(), &session, &number, &mut batch) {
                    Took::Batch => {
                        connection.write(&mut written, &batch);
                        if batch.starts_expiry {
                            self.engine.written(self.now(), &session);
                        }
                    }
                    Took::Nothing => break,
                    Took::Moved => {}
                }
            }
        }
        for (number, release) in dirty.releases {
            println!("{} is let go: {release:?}", self.connections[number].name);
        }
    }

    /// Sleeps from deadline to deadline until `duration` is over, as a clock thread would do for ever.
    fn let_time_pass(&self, duration: Duration) {
        let end = self.now() + duration;
        while self.now() < end {
            let next = self.engine.next_deadline().map_or(end, |next| next.min(end));
            thread::sleep(next.since(self.now()));
            let mut dirty = Dirty::default();
            self.engine.fire(self.now(), &mut dirty);
            self.flush(dirty);
        }
    }
}

/// The other side: a client that speaks the few words of Bayeux this example needs.
struct Client<'a> {
    shell: &'a Shell,
    number: usize,
    binding: Binding<usize>,
    id: String,
    sent: u32,
}

impl<'a> Client<'a> {
    /// Shakes hands, as every client must before anything else.
    fn connect(shell: &'a Shell, number: usize) -> Result<Self, Box<dyn Error>> {
        let mut client = Self { shell, number, binding: Binding::Open, id: String::new(), sent: 0 };
        client.send(json!({
            "channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["websocket"],
        }))?;
        let answer = client.take_messages()?;
        client.id = answer[0]["clientId"].as_str().ok_or("the handshake was refused")?.to_owned();
        Ok(client)
    }

    /// Sends one message with an id, and the session's own once there is one.
    fn send(&mut self, mut message: Value) -> Result<(), Box<dyn Error>> {
        self.sent += 1;
        message["id"] = self.sent.to_string().into();
        if !self.id.is_empty() {
            message["clientId"] = self.id.as_str().into();
        }
        let text = json!([message]).to_string();
        println!("{} -> {text}", self.shell.connections[self.number].name);
        self.shell.receive(self.number, &mut self.binding, &text)
    }

    /// Everything that has arrived since the last look.
    fn take_messages(&self) -> Result<Vec<Value>, serde_json::Error> {
        let written = std::mem::take(&mut *self.shell.connections[self.number].written.lock());
        let arrays: Result<Vec<Vec<Value>>, _> = written.iter().map(|text| serde_json::from_str(text)).collect();
        Ok(arrays?.concat())
    }

    /// The replies among it: the channel each belongs to, and whether it says yes.
    fn replies(&self) -> Result<Vec<(String, bool)>, serde_json::Error> {
        let reply = |message: &Value| Some((message["channel"].as_str()?.to_owned(), message["successful"].as_bool()?));
        Ok(self.take_messages()?.iter().filter_map(reply).collect())
    }
}
