//! Many threads at once: subscriptions end up as their sessions want them, and nothing is lost, twice or out of order.
//!
//! The straightforward way to keep a session's set of subscriptions and a channel's list of subscribers (change the
//! one, then the other) fails the first experiment within seconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mirant::bayeux::config::EngineConfig;
use mirant::bayeux::{
    Batch, Binding, Dirty, Engine, Finished, Handled, Message, Peer, PlainNames, SessionId, Shared, Slot, Time, Took,
    Transport, Verdict, decode,
};
use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};

use super::world::{Counting, channel};

const THREADS: usize = 8;

/// Longest that anything may take before a thread counts as stuck.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a session is written through: a stream, or a request of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Stream(usize),
    Request { client: usize, number: u64 },
}

/// A small generator of numbers, different for each seed.
struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

/// The number of a held request, and the events that it was answered with.
type Answer = (u64, Vec<Shared>);

/// An engine and its outlets, for threads.
struct Shell {
    engine: Engine<Token>,
    now: AtomicU64,
    /// What was written to each stream, under its writer lock.
    streams: Vec<Mutex<Vec<Value>>>,
    /// The answer that each client's held request got.
    answers: Vec<(Mutex<Option<Answer>>, Condvar)>,
}

impl Shell {
    fn new(streams: usize, clients: usize, change: impl FnOnce(&mut EngineConfig)) -> Self {
        let mut config = EngineConfig::default();
        for transport in [&mut config.long_polling, &mut config.websocket] {
            transport.max_interval = Duration::from_secs(1_000_000);
            transport.timeout = Duration::from_secs(1_000_000);
        }
        config.limits.max_advice_timeout = Duration::from_secs(1_000_000);
        change(&mut config);
        Self {
            engine: Engine::new(config, Arc::new(Counting::default()), Arc::new(PlainNames)),
            now: AtomicU64::new(1),
            streams: (0..streams).map(|_| Mutex::default()).collect(),
            answers: (0..clients).map(|_| (Mutex::default(), Condvar::new())).collect(),
        }
    }

    fn now(&self) -> Time {
        Time::from_millis(self.now.load(Ordering::Relaxed))
    }

    /// Handles one request or frame and flushes; returns the batch of its answer.
    fn send(&self, token: Token, binding: &mut Binding<Token>, messages: &Value) -> (Finished, Batch) {
        let transport = if matches!(token, Token::Stream(_)) { Transport::WebSocket } else { Transport::LongPolling };
        let text = messages.to_string();
        let messages = decode(&text, &self.engine.config().limits).unwrap();
        let mut dirty = Dirty::default();
        let mut exchange = self.engine.begin(self.now(), Peer::on(transport), token, binding.clone(), messages.len());
        for message in messages {
            match self.engine.handle(self.now(), &mut exchange, message, &Verdict::granted(), &mut dirty) {
                Handled::Done => {}
                Handled::Accepted(accepted) => {
                    self.engine.commit(self.now(), accepted, None, Some(&mut exchange), &mut dirty);
                }
                Handled::Fault(fault) => panic!("{fault}"),
            }
        }
        let mut batch = Batch::default();
        let finished = if let Token::Stream(number) = token {
            let mut writer = self.streams[number].lock();
            let (finished, bound) = self.engine.finish(self.now(), exchange, &mut batch, &mut dirty);
            writer.extend(batch.events.iter().map(data));
            *binding = bound;
            finished
        } else {
            let (finished, bound) = self.engine.finish(self.now(), exchange, &mut batch, &mut dirty);
            *binding = bound;
            finished
        };
        self.flush(&dirty);
        (finished, batch)
    }

    fn flush(&self, dirty: &Dirty<Token>) {
        assert!(dirty.releases.is_empty(), "no connect is superseded here");
        for slot in &dirty.sessions {
            while let Some(token) = self.engine.outlet(slot) {
                if self.flush_to(slot, token) {
                    break;
                }
            }
        }
    }

    /// Writer lock, then take, then write; false if the session has moved.
    fn flush_to(&self, slot: &Arc<Slot<Token>>, token: Token) -> bool {
        let mut batch = Batch::default();
        match token {
            Token::Stream(number) => {
                let mut writer = self.streams[number].lock();
                loop {
                    batch.clear();
                    match self.engine.take(self.now(), slot, &token, &mut batch) {
                        Took::Batch => writer.extend(batch.events.iter().map(data)),
                        Took::Nothing => return true,
                        Took::Moved => return false,
                    }
                }
            }
            Token::Request { client, number } => {
                let (answer, filled) = &self.answers[client];
                let mut answer = answer.lock();
                match self.engine.take(self.now(), slot, &token, &mut batch) {
                    Took::Batch => {
                        *answer = Some((number, std::mem::take(&mut batch.events)));
                        filled.notify_all();
                        true
                    }
                    Took::Nothing => true,
                    Took::Moved => false,
                }
            }
        }
    }

    fn handshake(&self, token: Token) -> (Binding<Token>, SessionId) {
        let mut binding = Binding::Open;
        self.send(token, &mut binding, &json!([{"channel": "/meta/handshake"}]));
        let Binding::Session(slot) = &binding else { panic!("the handshake made no session") };
        let id = slot.id();
        (binding, id)
    }

    fn publish(&self, name: &str, data: &Value) -> usize {
        let data = data.to_string();
        let mut dirty = Dirty::default();
        let message = Message { data: Some(data.into()), ..Message::default() };
        let accepted = self.engine.publish(self.now(), None, &channel(name), message, &mut dirty).unwrap();
        let delivered = self.engine.commit(self.now(), accepted, None, None, &mut dirty);
        self.flush(&dirty);
        delivered
    }
}

fn data(publication: &Shared) -> Value {
    let mut message: Value = serde_json::from_slice(publication.json()).unwrap();
    message["data"].take()
}

/// One short run: some threads subscribe, unsubscribe, publish, end sessions and sweep channels at random.
fn tangle(seed: u64) {
    const NAMES: [&str; 4] = ["/a", "/a/b", "/a/*", "/**"];
    let shell = Shell::new(0, 0, |config| config.sweep_period = Duration::from_millis(1));
    let nobody = Token::Request { client: 0, number: 0 };
    let sessions: Vec<_> = (0..4).map(|_| shell.handshake(nobody).1).collect();
    // What each thread did last with names that it alone uses.
    let own: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn({
                    let (shell, sessions) = (&shell, &sessions);
                    move || {
                        let mut dice = Dice(seed * 1_000 + thread as u64 + 1);
                        let mut own = BTreeMap::new();
                        let name_of_own = format!("/own/{thread}");
                        for _ in 0..12 {
                            let session = sessions[dice.roll(sessions.len())];
                            let is_own = dice.roll(3) == 0;
                            let name = if is_own { &*name_of_own } else { NAMES[dice.roll(NAMES.len())] };
                            let meta = match dice.roll(40) {
                                0..20 => "/meta/subscribe",
                                20..32 => "/meta/unsubscribe",
                                32..39 => {
                                    shell.publish("/a/b", &json!(1));
                                    shell.now.fetch_add(1, Ordering::Relaxed);
                                    shell.engine.fire(shell.now(), &mut Dirty::default());
                                    continue;
                                }
                                _ => {
                                    shell.engine.disconnect(shell.now(), session, &mut Dirty::default());
                                    continue;
                                }
                            };
                            let message =
                                json!([{"channel": meta, "clientId": session.to_string(), "subscription": name}]);
                            let (_, batch) = shell.send(nobody, &mut Binding::Open, &message);
                            let reply: Value = serde_json::from_slice(&batch.replies).unwrap();
                            if is_own && reply["successful"] == true {
                                own.insert(session, meta == "/meta/subscribe");
                            }
                        }
                        (name_of_own, own)
                    }
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let wanted: Vec<_> = shell.engine.session_reports().into_iter().flat_map(|report| report.subscriptions).collect();
    for (name, count) in shell.engine.channel_reports() {
        let expected = wanted.iter().filter(|wanted| **wanted == name).count();
        assert_eq!(count, expected, "run {seed}: {name} has {count} subscribers, and {expected} sessions want it");
    }
    for report in shell.engine.session_reports() {
        for (name, own) in &own {
            let wants = own.get(&report.view.id).copied().unwrap_or(false);
            assert_eq!(report.subscriptions.contains(&channel(name)), wants, "run {seed}: {name}");
        }
    }
    for name in ["/a", "/a/b", "/b/c", "/own/3"] {
        let reports = shell.engine.session_reports();
        let matching = |report: &&mirant::bayeux::SessionReport| {
            report.subscriptions.iter().any(|pattern| pattern.matches(&channel(name)))
        };
        let expected = reports.iter().filter(matching).count();
        assert_eq!(shell.publish(name, &json!(2)), expected, "run {seed}: a publication to {name}");
    }
    // Everybody leaves, and so do all channels.
    for session in sessions {
        shell.engine.disconnect(shell.now(), session, &mut Dirty::default());
    }
    for _ in 0..3 {
        shell.now.fetch_add(1, Ordering::Relaxed);
        shell.engine.fire(shell.now(), &mut Dirty::default());
    }
    assert_eq!(shell.engine.channel_reports(), [], "run {seed}: dead channels");
    assert_eq!(shell.engine.session_count(), 0);
}

/// [SB-7] [CH-6] [DC-1]
#[test]
fn subscriptions_end_up_as_their_sessions_want_them() {
    (1..=400).for_each(tangle);
}

const PUBLISHERS: usize = 4;
const MESSAGES: u64 = 250;

/// Checks that every publisher's messages are there, each once and in order.
fn complete_and_in_order(who: &str, received: &[Value]) {
    let mut last = [0; PUBLISHERS];
    for message in received {
        let publisher = usize::try_from(message[0].as_u64().unwrap()).unwrap();
        let number = message[1].as_u64().unwrap();
        assert_eq!(number, last[publisher] + 1, "{who}: publisher {publisher}");
        last[publisher] = number;
    }
    assert_eq!(last, [MESSAGES; PUBLISHERS], "{who}");
}

/// Publishes numbered messages, some as a client on this stream and some as the server.
fn publish_all(shell: &Shell, publisher: usize, stream: usize) {
    let token = Token::Stream(stream);
    let (mut binding, id) = shell.handshake(token);
    let mut number = 1;
    while number <= MESSAGES {
        if publisher.is_multiple_of(2) {
            let message =
                |number: u64| json!({"channel": "/p/x", "clientId": id.to_string(), "data": [publisher, number]});
            let batch: Vec<_> = (number..=MESSAGES.min(number + 2)).map(message).collect();
            number += batch.len() as u64;
            shell.send(token, &mut binding, &batch.into());
        } else {
            shell.publish("/p/x", &json!([publisher, number]));
            number += 1;
        }
    }
}

/// Polls until all messages have come; every few responses are lost and come again.
fn poll(shell: &Shell, client: usize) -> Vec<Value> {
    let (mut number, mut received) = (0, Vec::new());
    let (_, id) = shell.handshake(Token::Request { client, number });
    let mut dice = Dice(client as u64 + 7);
    let mut send = |message: Value| {
        number += 1;
        let token = Token::Request { client, number };
        let mut binding = Binding::Open;
        let (finished, batch) = shell.send(token, &mut binding, &json!([message]));
        let Binding::Session(slot) = binding else { panic!("the session is gone") };
        if finished == Finished::Answered {
            return (slot, batch.events);
        }
        let (answer, filled) = &shell.answers[client];
        let mut answer = answer.lock();
        while answer.as_ref().is_none_or(|(to, _)| *to != number) {
            assert!(!filled.wait_for(&mut answer, PATIENCE).timed_out(), "client {client} was forgotten");
        }
        (slot, answer.take().unwrap().1)
    };
    let client_id = id.to_string();
    send(json!({"channel": "/meta/subscribe", "clientId": client_id, "subscription": ["/p/*", "/p/x", "/**"]}));
    send(json!({"channel": "/meta/connect", "clientId": client_id}));
    READY.fetch_add(1, Ordering::SeqCst);
    while received.len() < PUBLISHERS * usize::try_from(MESSAGES).unwrap() {
        let (slot, events) = send(json!({"channel": "/meta/connect", "clientId": client_id}));
        if dice.roll(8) == 0 {
            let mut dirty = Dirty::default();
            shell.engine.put_back(&slot, events, &mut dirty);
            shell.flush(&dirty);
        } else {
            received.extend(events.iter().map(data));
        }
    }
    received
}

/// Connects until all messages have come; every few answers are lost, noticed or not, on either transport.
fn acknowledge(shell: &Shell, client: usize, expected: usize) -> Vec<Value> {
    let mut dice = Dice(client as u64 + 11);
    let (mut number, mut ack, mut received) = (0, 0, Vec::new());
    let mut binding = Binding::Open;
    let shake = json!([{"channel": "/meta/handshake", "ext": {"ack": true}}]);
    shell.send(Token::Request { client, number }, &mut binding, &shake);
    let Binding::Session(slot) = &binding else { panic!("the handshake made no session") };
    let (slot, id) = (Arc::clone(slot), slot.id().to_string());
    let subscribe = json!([{"channel": "/meta/subscribe", "clientId": id, "subscription": "/p/*"}]);
    shell.send(Token::Request { client, number }, &mut Binding::Open, &subscribe);
    ACKNOWLEDGING.fetch_add(1, Ordering::SeqCst);
    while received.len() < expected {
        number += 1;
        let connect =
            json!([{"channel": "/meta/connect", "clientId": id, "ext": {"ack": ack}, "advice": {"timeout": 0}}]);
        // A stream of its own that is gone with this frame, or a request.
        let is_stream = dice.roll(3) == 0;
        let token = if is_stream { Token::Stream(client) } else { Token::Request { client, number } };
        let (finished, batch) = shell.send(token, &mut Binding::Open, &connect);
        assert_eq!(finished, Finished::Answered);
        if is_stream {
            shell.engine.detach(shell.now(), &slot, &token);
        }
        let reply: Value = serde_json::from_slice(&batch.replies).unwrap();
        let lost = dice.roll(4) == 0;
        if lost && dice.roll(2) == 0 {
            let mut dirty = Dirty::default();
            shell.engine.put_back(&slot, batch.events, &mut dirty);
            shell.flush(&dirty);
        } else if !lost {
            ack = reply["ext"]["ack"].as_u64().unwrap();
            received.extend(batch.events.iter().map(data));
        }
    }
    received
}

static ACKNOWLEDGING: AtomicU64 = AtomicU64::new(0);

/// [AK-5] [AK-6] [AK-8] [PB-10]
#[test]
fn clients_that_acknowledge_hear_concurrent_publishers_once_and_in_order() {
    const CLIENTS: usize = 3;
    let shell = Shell::new(CLIENTS + PUBLISHERS, CLIENTS, |config| {
        config.long_polling.max_batch_bytes = 400;
        config.websocket.max_batch_bytes = 200;
    });
    let expected = PUBLISHERS * usize::try_from(MESSAGES).unwrap();
    thread::scope(|scope| {
        let shell = &shell;
        let clients: Vec<_> =
            (0..CLIENTS).map(|client| scope.spawn(move || acknowledge(shell, client, expected))).collect();
        while ACKNOWLEDGING.load(Ordering::SeqCst) < CLIENTS as u64 {
            assert!(!clients.iter().any(|client| client.is_finished()), "a client failed");
            thread::yield_now();
        }
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| scope.spawn(move || publish_all(shell, publisher, CLIENTS + publisher)))
            .collect();
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
        for (client, heard) in clients.into_iter().enumerate() {
            complete_and_in_order(&format!("client {client}"), &heard.join().unwrap());
        }
    });
}

/// Subscribers that have subscribed, so that publishing may begin.
static READY: AtomicU64 = AtomicU64::new(0);

/// [PB-10] [PB-7] [LP-10] [WS-15]
#[test]
fn concurrent_publishers_lose_and_repeat_nothing() {
    const SOCKETS: usize = 3;
    let shell = Shell::new(PUBLISHERS + SOCKETS + 2, 3, |_| {});
    let subscribe = |token, binding: &mut Binding<Token>, id: SessionId| {
        let subscription = json!(["/p/*", "/p/x"]);
        shell.send(
            token,
            binding,
            &json!([{
                "channel": "/meta/subscribe", "clientId": id.to_string(), "subscription": subscription,
            }]),
        );
    };
    for socket in PUBLISHERS..PUBLISHERS + SOCKETS {
        let (mut binding, id) = shell.handshake(Token::Stream(socket));
        subscribe(Token::Stream(socket), &mut binding, id);
    }
    // One session moves between two sockets all the time.
    let nomad = [PUBLISHERS + SOCKETS, PUBLISHERS + SOCKETS + 1];
    let (mut binding, nomad_id) = shell.handshake(Token::Stream(nomad[0]));
    subscribe(Token::Stream(nomad[0]), &mut binding, nomad_id);
    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let pollers: Vec<_> = (0..3)
            .map(|client| {
                scope.spawn({
                    let shell = &shell;
                    move || poll(shell, client)
                })
            })
            .collect();
        while READY.load(Ordering::SeqCst) < 3 {
            assert!(!pollers.iter().any(|poller| poller.is_finished()), "a poller failed");
            thread::yield_now();
        }
        let moving = scope.spawn(|| {
            let mut bindings = [Binding::Open, Binding::Open];
            let message = json!([{
                "channel": "/meta/connect", "clientId": nomad_id.to_string(), "advice": {"timeout": 0},
            }]);
            for at in (0..2).cycle() {
                if has_ended.load(Ordering::Relaxed) {
                    return;
                }
                shell.send(Token::Stream(nomad[at]), &mut bindings[at], &message);
                thread::yield_now();
            }
        });
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                scope.spawn({
                    let shell = &shell;
                    move || publish_all(shell, publisher, publisher)
                })
            })
            .collect();
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
        has_ended.store(true, Ordering::Relaxed);
        moving.join().unwrap();
        for (client, poller) in pollers.into_iter().enumerate() {
            complete_and_in_order(&format!("poller {client}"), &poller.join().unwrap());
        }
    });
    for socket in PUBLISHERS..PUBLISHERS + SOCKETS {
        complete_and_in_order(&format!("socket {socket}"), &shell.streams[socket].lock());
    }
    // Two sockets have no common order; each has its own, and together they have everything once.
    let mut all = Vec::new();
    for socket in nomad {
        let received = std::mem::take(&mut *shell.streams[socket].lock());
        for publisher in 0..PUBLISHERS {
            let numbers: Vec<_> =
                received.iter().filter(|message| message[0] == publisher).map(|message| message[1].as_u64()).collect();
            assert!(numbers.is_sorted(), "socket {socket}: publisher {publisher}");
        }
        all.extend(received);
    }
    all.sort_by_key(|message| (message[0].as_u64(), message[1].as_u64()));
    complete_and_in_order("both sockets", &all);
}
