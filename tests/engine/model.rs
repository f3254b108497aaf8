//! Random operations, compared after each step with naive code: sets, vectors, and times that are multiples of one tick.
//!
//! `MODEL_SEED` repeats a run; a failure prints the seed and the shortest list of operations that fails.

use std::collections::BTreeSet;

use mirant::bayeux::Transport;
use mirant::bayeux::config::QueueOverflow;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::client::Client;
use super::random::play_random;
use super::world::{World, millis};

/// Lists of operations that are tried, and the most operations in one: half as many on average, 112,000 in all.
const LISTS: u32 = 560;
const OPERATIONS_MAX: usize = 400;

/// All times are multiples of this.
const TICK: u64 = 500;
const HOLD: u64 = 8 * TICK;
const GRACE: u64 = 6 * TICK;
const LAZY: u64 = 4 * TICK;
const SHORT_LAZY: u64 = 2 * TICK;
const MAX_QUEUE: usize = 4;

const CLIENTS: usize = 4;
const NAMES: [&str; 5] = ["/a", "/a/b", "/a/c", "/b", "/b/x/y"];
const PATTERNS: [&str; 9] = ["/a", "/a/b", "/b", "/*", "/**", "/a/*", "/a/**", "/b/**", "/b/x/*"];

/// The lazy time of a channel.
fn lazy_time(name: &str) -> Option<u64> {
    match name {
        "/b" => Some(SHORT_LAZY),
        "/a/c" => Some(LAZY),
        _ => None,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Via {
    Polling,
    Socket,
}

#[derive(Clone, Debug)]
enum Operation {
    Handshake(usize, Via),
    Subscribe(usize, Via, usize),
    Unsubscribe(usize, Via, usize),
    /// So many messages in one request.
    Publish(usize, Via, usize, usize),
    ServerPublish(usize),
    Connect(usize, Via),
    ConnectAtOnce(usize, Via),
    /// A connect over HTTP whose response never arrives.
    LostConnect(usize),
    Disconnect(usize, Via),
    Kick(usize),
    CutSocket(usize),
    CutPolling(usize),
    Wait(u64),
}

fn operation() -> impl Strategy<Value = Operation> {
    let who = 0..CLIENTS;
    let via = prop_oneof![Just(Via::Polling), Just(Via::Socket)];
    let (pattern, name) = (0..PATTERNS.len(), 0..NAMES.len());
    prop_oneof![
        4 => (who.clone(), via.clone()).prop_map(|(who, via)| Operation::Handshake(who, via)),
        6 => (who.clone(), via.clone(), pattern.clone()).prop_map(|(who, via, at)| Operation::Subscribe(who, via, at)),
        2 => (who.clone(), via.clone(), pattern).prop_map(|(who, via, at)| Operation::Unsubscribe(who, via, at)),
        8 => (who.clone(), via.clone(), name.clone(), 1..4_usize)
            .prop_map(|(who, via, at, count)| Operation::Publish(who, via, at, count)),
        4 => name.prop_map(Operation::ServerPublish),
        10 => (who.clone(), via.clone()).prop_map(|(who, via)| Operation::Connect(who, via)),
        3 => (who.clone(), via.clone()).prop_map(|(who, via)| Operation::ConnectAtOnce(who, via)),
        1 => who.clone().prop_map(Operation::LostConnect),
        1 => (who.clone(), via).prop_map(|(who, via)| Operation::Disconnect(who, via)),
        1 => who.clone().prop_map(Operation::Kick),
        1 => who.clone().prop_map(Operation::CutSocket),
        1 => who.prop_map(Operation::CutPolling),
        6 => (1..4_u64).prop_map(Operation::Wait),
    ]
}

/// What a session can be written through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Outlet {
    #[default]
    Nothing,
    Socket,
    HeldRequest,
}

/// One session as naive code sees it.
#[derive(Debug, Default)]
struct Naive {
    alive: bool,
    connected: bool,
    spoken: bool,
    drops_oldest: bool,
    patterns: BTreeSet<&'static str>,
    queue: Vec<(u64, bool)>,
    lazy_at: Option<u64>,
    lazy_due: bool,
    outlet: Outlet,
    held: Option<u64>,
    expires: Option<u64>,
    got: Vec<u64>,
}

fn matches(pattern: &str, name: &str) -> bool {
    let below = |wildcard| pattern.strip_suffix(wildcard).and_then(|folder| name.strip_prefix(folder));
    pattern == name || below("**").is_some() || below("*").is_some_and(|rest| !rest.contains('/'))
}

impl Naive {
    fn new(now: u64, via: Via) -> Self {
        let outlet = if via == Via::Socket { Outlet::Socket } else { Outlet::Nothing };
        Self { alive: true, outlet, drops_oldest: via == Via::Socket, expires: Some(now + GRACE), ..Self::default() }
    }

    fn end(&mut self) {
        *self = Self { got: std::mem::take(&mut self.got), ..Self::default() };
    }

    fn is_prompt(&self) -> bool {
        self.queue.iter().any(|(_, lazy)| !lazy) || (self.lazy_due && !self.queue.is_empty())
    }

    fn get_all(&mut self) {
        self.got.extend(self.queue.drain(..).map(|(message, _)| message));
        (self.lazy_at, self.lazy_due) = (None, false);
    }

    fn enqueue(&mut self, now: u64, message: u64, lazy: Option<u64>) {
        if self.queue.len() == MAX_QUEUE {
            if !self.drops_oldest {
                return self.end();
            }
            self.queue.remove(0);
        }
        self.queue.push((message, lazy.is_some()));
        if let Some(time) = lazy {
            self.lazy_at = Some(self.lazy_at.map_or(now + time, |at| at.min(now + time)));
        }
    }

    /// Writes what may be written; `resumed` if the time of the held connect is over.
    fn flush(&mut self, now: u64, resumed: bool) {
        if self.outlet == Outlet::Nothing && resumed {
            (self.held, self.expires) = (None, Some(now + GRACE));
        }
        if self.outlet == Outlet::Nothing || !(resumed || self.is_prompt()) {
            return;
        }
        self.get_all();
        if resumed || self.outlet == Outlet::HeldRequest {
            (self.held, self.expires) = (None, Some(now + GRACE));
        }
        if self.outlet == Outlet::HeldRequest {
            self.outlet = Outlet::Nothing;
        }
    }

    /// A message arrives.
    fn arrive(&mut self, now: u64, via: Via) {
        self.spoken |= via == Via::Socket;
        if via == Via::Socket && self.outlet != Outlet::Socket {
            self.outlet = Outlet::Socket;
            if self.held.take().is_some() {
                self.expires = Some(now + GRACE);
            }
        }
        self.expires = self.expires.map(|at| at.max(now + GRACE));
    }

    fn connect(&mut self, now: u64, via: Via, at_once: bool) {
        if via == Via::Polling {
            (self.held, self.outlet) = (None, Outlet::Nothing);
        }
        let hold = self.connected && !at_once && !(via == Via::Polling && self.is_prompt());
        (self.connected, self.expires) = (true, None);
        if hold {
            self.held = Some(now + HOLD);
            if via == Via::Polling {
                self.outlet = Outlet::HeldRequest;
                return;
            }
            // A held connect sends nothing, and lazy messages wait for something that is sent.
            if !self.is_prompt() {
                return;
            }
        } else if self.held.is_none() {
            self.expires = Some(now + GRACE);
        }
        self.get_all();
    }

    fn tick(&mut self, now: u64) {
        if self.lazy_at == Some(now) {
            (self.lazy_at, self.lazy_due) = (None, true);
        }
        if self.expires == Some(now) {
            return self.end();
        }
        self.flush(now, self.held == Some(now));
    }
}

/// A client with both transports.
struct Both {
    polling: Client,
    socket: Client,
    heard: Vec<u64>,
}

/// The engine and the naive code side by side.
struct Pair {
    world: World,
    now: u64,
    clients: Vec<Both>,
    naive: Vec<Naive>,
    next_message: u64,
}

impl Pair {
    fn new() -> Self {
        let world = World::with(|config| {
            for transport in [&mut config.long_polling, &mut config.websocket] {
                transport.timeout = millis(HOLD);
                transport.max_interval = millis(GRACE);
                transport.max_lazy_timeout = millis(LAZY);
                transport.max_queue = MAX_QUEUE;
            }
            config.websocket.queue_overflow = QueueOverflow::DropOldest;
        });
        for name in NAMES.into_iter().chain(PATTERNS) {
            world.keep(name);
            world.set_options(name, |options| {
                options.lazy = lazy_time(name).is_some();
                options.lazy_timeout = lazy_time(name).filter(|time| *time != LAZY).map(millis);
            });
        }
        let both = || Both { polling: world.long_polling(), socket: world.websocket(), heard: Vec::new() };
        let clients = (0..CLIENTS).map(|_| both()).collect();
        let naive = (0..CLIENTS).map(|_| Naive::default()).collect();
        Self { world, now: 0, clients, naive, next_message: 0 }
    }

    fn client(&self, who: usize, via: Via) -> &Client {
        match via {
            Via::Polling => &self.clients[who].polling,
            Via::Socket => &self.clients[who].socket,
        }
    }

    fn ask(&self, who: usize, via: Via, message: Value) {
        let reply = self.client(who, via).ask(message);
        assert_eq!(reply["successful"], true, "{reply}");
    }

    fn handshake(&mut self, who: usize, via: Via) {
        self.client(who, via).handshake();
        let id = self.client(who, via).id();
        self.clients[who].polling.set_id(&id);
        self.clients[who].socket.set_id(&id);
        self.naive[who] = Naive { got: std::mem::take(&mut self.naive[who].got), ..Naive::new(self.now, via) };
    }

    fn publish(&mut self, name: &'static str) -> u64 {
        self.next_message += 1;
        for naive in self.naive.iter_mut().filter(|naive| naive.alive) {
            if naive.patterns.iter().any(|pattern| matches(pattern, name)) {
                naive.enqueue(self.now, self.next_message, lazy_time(name));
            }
        }
        self.next_message
    }

    fn apply(&mut self, operation: &Operation) {
        use Operation as Op;
        match *operation {
            Op::Wait(ticks) => (0..ticks).for_each(|_| self.tick()),
            Op::ServerPublish(at) => {
                let message = self.publish(NAMES[at]);
                self.world.publish(NAMES[at], &json!(message));
            }
            Op::Handshake(who, via) if !self.naive[who].alive => self.handshake(who, via),
            Op::Handshake(..) => {}
            Op::Subscribe(who, via, _)
            | Op::Unsubscribe(who, via, _)
            | Op::Publish(who, via, ..)
            | Op::Connect(who, via)
            | Op::ConnectAtOnce(who, via)
            | Op::Disconnect(who, via)
                if self.naive[who].alive =>
            {
                self.naive[who].arrive(self.now, via);
                self.request(operation);
            }
            Op::LostConnect(who) | Op::Kick(who) | Op::CutSocket(who) | Op::CutPolling(who)
                if self.naive[who].alive =>
            {
                self.lose(operation);
            }
            _ => {}
        }
        // Own messages ride with the answer to their request, so everybody is flushed behind it.
        (0..CLIENTS).for_each(|who| self.naive[who].flush(self.now, false));
    }

    /// What a living session sends.
    fn request(&mut self, operation: &Operation) {
        use Operation as Op;
        let now = self.now;
        match *operation {
            Op::Subscribe(who, via, at) => {
                self.naive[who].get_all();
                self.naive[who].patterns.insert(PATTERNS[at]);
                self.ask(who, via, json!({"channel": "/meta/subscribe", "subscription": PATTERNS[at]}));
            }
            Op::Unsubscribe(who, via, at) => {
                self.naive[who].get_all();
                self.naive[who].patterns.remove(PATTERNS[at]);
                self.ask(who, via, json!({"channel": "/meta/unsubscribe", "subscription": PATTERNS[at]}));
            }
            Op::Publish(who, via, at, count) => {
                let mut batch = Vec::new();
                for _ in 0..count {
                    // A session whose queue overflows by its own message is refused the rest.
                    let data = if self.naive[who].alive { json!(self.publish(NAMES[at])) } else { json!("refused") };
                    batch.push(json!({"channel": NAMES[at], "data": data}));
                }
                self.naive[who].get_all();
                self.client(who, via).send(batch.into());
            }
            Op::Connect(who, via) => {
                self.naive[who].connect(now, via, false);
                self.client(who, via).connect();
            }
            Op::ConnectAtOnce(who, via) => {
                self.naive[who].connect(now, via, true);
                self.client(who, via).connect_at_once();
            }
            Op::Disconnect(who, via) => {
                self.naive[who].get_all();
                self.naive[who].end();
                self.client(who, via).disconnect();
            }
            _ => unreachable!("not a request"),
        }
    }

    /// What goes wrong for a living session.
    fn lose(&mut self, operation: &Operation) {
        use Operation as Op;
        match *operation {
            Op::LostConnect(who) => {
                self.listen(who);
                let naive = &mut self.naive[who];
                let (queue, got) = (naive.queue.clone(), naive.got.len());
                naive.connect(self.now, Via::Polling, true);
                naive.got.truncate(got);
                (naive.lazy_due, naive.queue) = (!queue.is_empty(), queue);
                self.clients[who].polling.connect_at_once();
                self.clients[who].polling.lose_last_response();
            }
            Op::Kick(who) => {
                self.world.disconnect(&self.clients[who].polling);
                let naive = &mut self.naive[who];
                let speaks = naive.spoken && !naive.connected && naive.outlet == Outlet::Socket;
                if speaks || (naive.held.is_some() && naive.outlet != Outlet::Nothing) {
                    naive.get_all();
                }
                naive.end();
            }
            Op::CutSocket(who) => {
                self.listen(who);
                self.clients[who].socket.cut();
                self.clients[who].socket = self.clients[who].polling.moved_to(Transport::WebSocket);
                if self.naive[who].outlet == Outlet::Socket {
                    self.naive[who].outlet = Outlet::Nothing;
                }
            }
            Op::CutPolling(who) => {
                self.clients[who].polling.cut();
                let naive = &mut self.naive[who];
                if naive.outlet == Outlet::HeldRequest {
                    (naive.outlet, naive.held, naive.expires) = (Outlet::Nothing, None, Some(self.now + GRACE));
                }
            }
            _ => unreachable!("nothing is lost"),
        }
    }

    fn tick(&mut self) {
        self.now += TICK;
        self.world.advance(TICK);
        (0..CLIENTS).for_each(|who| self.naive[who].tick(self.now));
        self.compare();
    }

    /// Collects what a client has heard.
    fn listen(&mut self, who: usize) {
        let client = &mut self.clients[who];
        let heard = client.socket.heard().into_iter().chain(client.polling.heard());
        client.heard.extend(heard.filter_map(|data| data.as_u64()));
    }

    fn compare(&mut self) {
        for who in 0..CLIENTS {
            self.listen(who);
            let (client, naive) = (&self.clients[who], &self.naive[who]);
            assert_eq!(client.heard, naive.got, "what client {who} got: {naive:?}");
            let report = client.polling.report();
            assert_eq!(report.is_some(), naive.alive, "whether client {who} lives: {naive:?}");
            let Some(report) = report else { continue };
            assert_eq!(report.queued_messages, naive.queue.len(), "what waits for client {who}: {naive:?}");
            assert_eq!(report.is_held, naive.held.is_some(), "whether a connect of client {who} is held: {naive:?}");
            let subscriptions: Vec<_> = report.subscriptions.iter().map(|name| name.as_str()).collect();
            assert!(subscriptions.iter().copied().eq(naive.patterns.iter().copied()), "{subscriptions:?}: {naive:?}");
        }
    }

    /// Compares what the channels hold.
    fn compare_channels(&self) {
        let wanted: usize = self.naive.iter().map(|naive| naive.patterns.len()).sum();
        let listed: usize = self.world.engine().channel_reports().iter().map(|(_, count)| count).sum();
        assert_eq!(listed, wanted, "subscribers in channels");
    }
}

/// [PB-7] [PB-10] [SS-1] [SS-3] [LZ-3] [LM-4]
#[test]
fn clients_get_what_naive_code_says() {
    play_random(LISTS, proptest::collection::vec(operation(), 1..OPERATIONS_MAX), |operations| {
        let mut pair = Pair::new();
        for operation in &operations {
            pair.apply(operation);
            pair.compare();
        }
        pair.compare_channels();
    });
}
