//! Random operations on clients that acknowledge and lose what they were sent, with both transports at will.
//!
//! Whatever happens, a client that follows the rules hears everything, once and in order; one that does not is bounded by
//! the limits of its queue. `MODEL_SEED` repeats a run.

use mirant::bayeux::Transport;
use mirant::bayeux::config::QueueOverflow;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::client::Client;
use super::random::play_random;
use super::world::{World, millis};

const LISTS: u32 = 300;
const OPERATIONS_MAX: usize = 200;

const CLIENTS: usize = 3;
/// What a client may have waiting that acknowledges nothing.
const MAX_QUEUE: usize = 60;
const MAX_QUEUE_BYTES: usize = 4_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Via {
    Polling,
    Socket,
}

#[derive(Clone, Debug)]
enum Act {
    /// The server publishes so many messages of so many characters, lazy or not.
    Publish(usize, usize, bool),
    /// A client publishes and so hears itself.
    PublishOwn(usize, Via),
    /// A client goes on where it was.
    Connect(usize, Via),
    /// The same, to be answered at once.
    ConnectAtOnce(usize, Via),
    /// A connect that is invalid; whatever comes with it is ignored.
    BadConnect(usize, Via),
    Subscribe(usize, Via),
    CutSocket(usize),
    CutPolling(usize),
    Wait(u64),
}

/// What is done, and which clients lose everything that comes meanwhile; the server may notice that or not.
#[derive(Clone, Debug)]
struct Operation {
    act: Act,
    lose: [bool; CLIENTS],
    is_noticed: bool,
}

fn operation() -> impl Strategy<Value = Operation> {
    let who = 0..CLIENTS;
    let via = prop_oneof![Just(Via::Polling), Just(Via::Socket)];
    let at = (who.clone(), via.clone());
    let act = prop_oneof![
        8 => (1..6_usize, 0..120_usize, any::<bool>()).prop_map(|(count, size, lazy)| Act::Publish(count, size, lazy)),
        3 => at.clone().prop_map(|(who, via)| Act::PublishOwn(who, via)),
        20 => at.clone().prop_map(|(who, via)| Act::Connect(who, via)),
        3 => at.clone().prop_map(|(who, via)| Act::ConnectAtOnce(who, via)),
        1 => at.clone().prop_map(|(who, via)| Act::BadConnect(who, via)),
        2 => at.prop_map(|(who, via)| Act::Subscribe(who, via)),
        2 => who.clone().prop_map(Act::CutSocket),
        2 => who.prop_map(Act::CutPolling),
        3 => (1..4_u64).prop_map(Act::Wait),
    ];
    let lose = prop::array::uniform3(prop::bool::weighted(0.15));
    (act, lose, any::<bool>()).prop_map(|(act, lose, is_noticed)| Operation { act, lose, is_noticed })
}

/// A client with both transports.
struct Lossy {
    polling: Client,
    socket: Client,
    ack: u64,
    heard: Vec<u64>,
    /// Whether its connect on the socket has no reply yet.
    waits: bool,
}

impl Lossy {
    fn new(world: &World) -> Self {
        let (polling, socket) = (world.long_polling(), world.websocket());
        let reply = polling.ask(json!({"channel": "/meta/handshake", "ext": {"ack": true}}));
        for client in [&polling, &socket] {
            client.set_id(reply["clientId"].as_str().unwrap());
        }
        let mut this = Self { polling, socket, ack: 0, heard: Vec::new(), waits: false };
        this.polling.ask(json!({"channel": "/meta/subscribe", "subscription": "/*"}));
        this.read();
        this
    }

    fn via(&self, via: Via) -> &Client {
        match via {
            Via::Polling => &self.polling,
            Via::Socket => &self.socket,
        }
    }

    /// Takes in what came, as a client does: message by message, and a number only from a connect that succeeded.
    fn read(&mut self) {
        let from_socket = self.socket.received();
        self.waits &= !from_socket.iter().any(|message| message["channel"] == "/meta/connect");
        for message in from_socket.into_iter().chain(self.polling.received()) {
            if message["channel"] == "/meta/connect" && message["successful"] == true {
                let number = message["ext"]["ack"].as_u64().unwrap_or(self.ack);
                assert!(number >= self.ack, "{number} after {}", self.ack);
                self.ack = number;
            } else if let Some(number) = message["data"][0].as_u64() {
                self.heard.push(number);
            }
        }
    }

    /// Everything that came and was not read is lost; on a socket only together with it.
    fn lose(&mut self, is_noticed: bool) {
        if !self.socket.received().is_empty() {
            self.cut_socket();
        }
        let came = self.polling.received();
        if is_noticed && came.iter().any(|message| message.get("data").is_some()) {
            self.polling.lose_last_response();
        }
    }

    fn cut_socket(&mut self) {
        self.socket.cut();
        self.socket = self.polling.moved_to(Transport::WebSocket);
        self.waits = false;
    }

    fn connect(&mut self, via: Via, extra: &Value) {
        if via == Via::Socket && std::mem::replace(&mut self.waits, true) {
            // It has one under way already.
            return;
        }
        let mut connect = json!({"channel": "/meta/connect", "ext": {"ack": self.ack}});
        connect.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        self.via(via).send(connect);
    }
}

struct Run {
    world: World,
    clients: Vec<Lossy>,
    /// One that confirms nothing.
    stubborn: Client,
    published: u64,
}

impl Run {
    fn new() -> Self {
        let world = World::with(|config| {
            for transport in [&mut config.long_polling, &mut config.websocket] {
                transport.max_interval = millis(20_000_000);
                transport.max_lazy_timeout = millis(1_500);
            }
            config.long_polling.max_batch_bytes = 400;
            config.websocket.max_batch_bytes = 150;
            (config.websocket.max_queue, config.websocket.max_queue_bytes) = (MAX_QUEUE, MAX_QUEUE_BYTES);
            config.websocket.queue_overflow = QueueOverflow::Disconnect;
        });
        for name in ["/a", "/lazy"] {
            world.keep(name);
        }
        world.set_options("/lazy", |options| options.lazy = true);
        let clients = (0..CLIENTS).map(|_| Lossy::new(&world)).collect();
        let mut this = Self { stubborn: world.websocket(), world, clients, published: 0 };
        this.handshake_of_stubborn();
        this
    }

    fn handshake_of_stubborn(&mut self) {
        let reply = self.stubborn.ask(json!({"channel": "/meta/handshake", "ext": {"ack": true}}));
        self.stubborn.set_id(reply["clientId"].as_str().unwrap());
        self.stubborn.ask(json!({"channel": "/meta/subscribe", "subscription": "/*"}));
    }

    fn message(&mut self, size: usize) -> Value {
        self.published += 1;
        json!([self.published, "x".repeat(size)])
    }

    fn apply(&mut self, operation: &Operation) {
        match operation.act {
            Act::Publish(count, size, lazy) => {
                for _ in 0..count {
                    let message = self.message(size);
                    self.world.publish(if lazy { "/lazy" } else { "/a" }, &message);
                }
            }
            Act::PublishOwn(who, via) => {
                let message = self.message(5);
                self.clients[who].via(via).send(json!({"channel": "/a", "data": message}));
            }
            Act::Connect(who, via) => self.clients[who].connect(via, &json!({})),
            Act::ConnectAtOnce(who, via) => self.clients[who].connect(via, &json!({"advice": {"timeout": 0}})),
            Act::BadConnect(who, via) => {
                let client = &mut self.clients[who];
                client.read();
                client.connect(via, &json!({"id": "a-b"}));
                client.lose(operation.is_noticed);
            }
            Act::Subscribe(who, via) => {
                let subscribe = json!({"channel": "/meta/subscribe", "subscription": "/other"});
                self.clients[who].via(via).send(subscribe);
            }
            Act::CutSocket(who) => self.clients[who].cut_socket(),
            Act::CutPolling(who) => self.clients[who].polling.cut(),
            Act::Wait(ticks) => self.world.advance(ticks * 500),
        }
        for (client, lose) in self.clients.iter_mut().zip(operation.lose) {
            if lose {
                client.lose(operation.is_noticed);
            }
            client.read();
        }
        self.bother();
        self.check();
    }

    /// The client that confirms nothing asks again and again, and starts anew when it was ended.
    fn bother(&mut self) {
        if self.stubborn.is_alive() {
            self.stubborn.send(json!({"channel": "/meta/connect", "ext": {"ack": 0}}));
        } else {
            self.handshake_of_stubborn();
        }
        self.stubborn.received();
    }

    fn check(&self) {
        for (who, client) in self.clients.iter().enumerate() {
            let count = client.heard.len() as u64;
            let in_order = client.heard.iter().copied().eq(1..=count);
            assert!(in_order && count <= self.published, "client {who} heard {:?}", client.heard);
        }
        if let Some(report) = self.stubborn.report() {
            assert!(report.queued_messages <= MAX_QUEUE && report.queued_bytes <= MAX_QUEUE_BYTES, "{report:?}");
        }
    }

    /// Nothing is lost any more: everybody hears the rest, and then nothing is kept.
    fn finish(&mut self) {
        for client in &mut self.clients {
            client.cut_socket();
            for round in 0.. {
                assert!(round < 1_000, "this never ends");
                client.connect(Via::Polling, &json!({"advice": {"timeout": 0}}));
                client.read();
                if client.heard.len() as u64 == self.published {
                    break;
                }
            }
            client.connect(Via::Polling, &json!({}));
            client.read();
            assert_eq!(client.polling.queued(), 0);
        }
        self.check();
        for client in &self.clients {
            client.polling.disconnect();
        }
        if self.stubborn.is_alive() {
            self.stubborn.disconnect();
        }
    }
}

/// [AK-5] [AK-6] [AK-8] [AK-11]
#[test]
fn who_follows_the_rules_hears_everything_once_and_in_order() {
    play_random(LISTS, proptest::collection::vec(operation(), 1..OPERATIONS_MAX), |operations| {
        let mut run = Run::new();
        operations.iter().for_each(|operation| run.apply(operation));
        run.finish();
    });
}
