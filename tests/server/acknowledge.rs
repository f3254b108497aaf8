//! The `ack` extension over sockets.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{LongPolling, WebSocket, assert_lasted};
use crate::support::server::Server;

const CONNECT: &str = "/meta/connect";

/// A client on either transport; under acknowledgement both get what belongs together in one piece.
trait Client {
    /// Sends messages and returns what comes for them.
    fn ask(&mut self, messages: Value) -> Value;
    /// Sends a connect that is held, has something published meanwhile, and returns what comes.
    fn ask_held(&mut self, server: &Server, connect: Value, publish: &dyn Fn()) -> Value;
    fn id(&mut self) -> &mut String;
}

impl Client for LongPolling {
    fn ask(&mut self, messages: Value) -> Value {
        self.batch(messages)
    }

    fn ask_held(&mut self, server: &Server, connect: Value, publish: &dyn Fn()) -> Value {
        let mut pending = self.start(connect);
        server.await_held(&self.id);
        publish();
        pending.messages()
    }

    fn id(&mut self) -> &mut String {
        &mut self.id
    }
}

impl Client for WebSocket {
    fn ask(&mut self, messages: Value) -> Value {
        self.batch(messages)
    }

    fn ask_held(&mut self, server: &Server, connect: Value, publish: &dyn Fn()) -> Value {
        self.send(connect);
        server.await_held(&self.id);
        publish();
        self.receive()
    }

    fn id(&mut self) -> &mut String {
        &mut self.id
    }
}

/// A client of each transport without a session.
fn both(server: &Server) -> [Box<dyn Client>; 2] {
    [Box::new(LongPolling::new(server)), Box::new(WebSocket::open(server))]
}

/// Shakes hands with an `ext`; the reply.
fn shake(client: &mut dyn Client, ext: &Value) -> Value {
    let reply = client.ask(json!([{"channel": "/meta/handshake", "ext": ext}]))[0].clone();
    *client.id() = reply["clientId"].as_str().expect("a clientId").to_owned();
    reply
}

/// A client of each transport, one after the other, that acknowledges, has connected once, and is subscribed to `/a`.
fn subscribed(server: &Server) -> impl Iterator<Item = Box<dyn Client>> {
    both(server).into_iter().map(|mut client| {
        subscribe(&mut *client);
        client
    })
}

fn subscribe(client: &mut dyn Client) {
    shake(client, &json!({"ack": true}));
    let first = client.ask(json!([{"channel": CONNECT, "advice": {"timeout": 0}, "ext": {"ack": 0}}]));
    assert_eq!(first[0]["ext"], json!({"ack": 1}));
    client.ask(json!([{"channel": "/meta/subscribe", "subscription": "/a"}]));
}

/// A connect that acknowledges a number.
fn connect(ack: impl Into<Value>) -> Value {
    json!([{"channel": CONNECT, "id": "c", "ext": {"ack": ack.into()}}])
}

/// Data of publications, and the reply, which is last.
fn split(messages: &Value) -> (Vec<Value>, Value) {
    let (reply, events) = messages.as_array().and_then(|messages| messages.split_last()).expect("a reply");
    (events.iter().map(|event| event["data"].clone()).collect(), reply.clone())
}

/// The reply to [`connect`] with this number.
fn numbered(ack: u64) -> Value {
    json!({"channel": CONNECT, "id": "c", "successful": true, "ext": {"ack": ack}})
}

/// The same as an immediate answer to a client that repeats an old number.
fn advised(ack: u64, timeout: u64) -> Value {
    let mut reply = numbered(ack);
    reply["advice"] = json!({"reconnect": "retry", "interval": 0, "timeout": timeout});
    reply
}

#[test]
fn case_171_only_true_asks_for_acknowledgement() {
    let server = Server::start(&[]);
    for mut ann in both(&server) {
        assert_eq!(shake(&mut *ann, &json!({"ack": true}))["ext"], json!({"ack": true}));
        for ext in [json!({"ack": false}), json!({"ack": "true"})] {
            assert!(shake(&mut *ann, &ext).get("ext").is_none());
        }
    }
    let server = Server::start(&["bayeux.extensions=[]"]);
    for mut ann in both(&server) {
        assert!(shake(&mut *ann, &json!({"ack": true})).get("ext").is_none(), "switched off");
    }
}

#[test]
fn case_172_replies_on_meta_channels_have_ext() {
    let server = Server::start(&[]);
    for mut ann in subscribed(&server) {
        for (channel, subscription) in [("/meta/subscribe", "/b"), ("/meta/unsubscribe", "/b")] {
            let replies = ann.ask(json!([{"channel": channel, "subscription": subscription}]));
            let expected = json!([{"channel": channel, "subscription": subscription, "successful": true, "ext": {}}]);
            assert_eq!(replies, expected);
        }
        let replies = ann.ask(json!([{"channel": "/meta/disconnect"}]));
        assert_eq!(replies, json!([{"channel": "/meta/disconnect", "successful": true, "ext": {}}]));
    }
}

#[test]
fn case_173_an_own_event_comes_with_the_next_connect() {
    let server = Server::start(&[]);
    for mut ann in subscribed(&server) {
        let replies = ann.ask(json!([{"channel": "/a", "data": 7}]));
        assert_eq!(replies, json!([{"channel": "/a", "successful": true}]), "no event, and no ext");
        assert_eq!(ann.ask(connect(1)), json!([{"channel": "/a", "data": 7}, numbered(2)]));
        ann.ask(json!([{"channel": "/meta/disconnect"}]));
    }
}

#[test]
fn cases_174_and_175_whoever_repeats_a_number_gets_everything_since_then_again() {
    let server = Server::start(&[]);
    for mut ann in subscribed(&server) {
        server.publish("/a", json!(1));
        assert_eq!(split(&ann.ask(connect(1))), (vec![json!(1)], numbered(2)));
        assert_eq!(split(&ann.ask(connect(1))), (vec![json!(1)], advised(3, 30_000)));
        server.publish("/a", json!(2));
        assert_eq!(split(&ann.ask(connect(1))), (vec![json!(1), json!(2)], numbered(4)));
        ann.ask(json!([{"channel": "/meta/disconnect"}]));
    }
}

#[test]
fn case_176_a_connect_that_acknowledges_everything_is_held() {
    let server = Server::start(&["bayeux.timeout=300ms"]);
    for mut ann in subscribed(&server) {
        server.publish("/a", json!(1));
        assert_eq!(split(&ann.ask(connect(1))), (vec![json!(1)], numbered(2)));
        let started = Instant::now();
        assert_eq!(ann.ask(connect(2)), json!([numbered(3)]), "the number does not decrease");
        assert_lasted(started.elapsed(), Duration::from_millis(300));
        ann.ask(json!([{"channel": "/meta/disconnect"}]));
    }
}

#[test]
fn case_177_what_is_no_number_acknowledges_nothing() {
    let server = Server::start(&["bayeux.timeout=300ms"]);
    for mut ann in subscribed(&server) {
        server.publish("/a", json!(1));
        assert_eq!(split(&ann.ask(connect(1))), (vec![json!(1)], numbered(2)));
        for (number, no_number) in [(3, json!([{"channel": CONNECT, "id": "c"}])), (4, connect("2"))] {
            let started = Instant::now();
            assert_eq!(split(&ann.ask(no_number)), (vec![json!(1)], numbered(number)));
            assert_lasted(started.elapsed(), Duration::from_millis(300));
        }
        let at_once = json!([{"channel": CONNECT, "id": "c", "ext": {"ack": "2"}, "advice": {"timeout": 0}}]);
        assert_eq!(split(&ann.ask(at_once)), (vec![json!(1)], advised(5, 300)));
        ann.ask(json!([{"channel": "/meta/disconnect"}]));
    }
}

#[test]
fn case_178_a_number_that_was_never_given_empties_the_queue() {
    let server = Server::start(&["bayeux.timeout=300ms"]);
    for mut ann in subscribed(&server) {
        server.publish("/a", json!(1));
        assert_eq!(ann.ask(connect(99)), json!([numbered(2)]));
        let started = Instant::now();
        assert_eq!(ann.ask(connect(1)), json!([numbered(3)]));
        assert_lasted(started.elapsed(), Duration::from_millis(300));
        ann.ask(json!([{"channel": "/meta/disconnect"}]));
    }
}

#[test]
fn case_179_on_websocket_an_event_waits_and_shares_the_frame_of_the_reply() {
    let server = Server::start(&[]);
    let mut ann = WebSocket::open(&server);
    subscribe(&mut ann);
    server.publish("/a", json!(1));
    ann.expect_silence();
    ann.send(connect(1));
    assert_eq!(ann.receive(), json!([{"channel": "/a", "data": 1}, numbered(2)]));
    ann.expect_silence();
    let publish = || server.publish("/a", json!(2));
    assert_eq!(ann.ask_held(&server, connect(2), &publish), json!([{"channel": "/a", "data": 2}, numbered(3)]));
}

#[test]
fn case_180_an_event_that_was_lost_with_its_connection_comes_again_at_once() {
    let server = Server::start(&[]);
    let mut ann = WebSocket::open(&server);
    subscribe(&mut ann);
    ann.send(connect(1));
    server.await_held(&ann.id);
    let id = std::mem::take(&mut ann.id);
    server.publish("/a", json!(1));
    server.await_not_held(&id);
    drop(ann);
    let mut ann = WebSocket::resumed(&server, &id);
    assert_eq!(split(&ann.ask(connect(1))), (vec![json!(1)], advised(3, 30_000)));
    // The same between a cut and the next connection, and over HTTP.
    ann.send(connect(3));
    server.await_held(&id);
    drop(ann);
    server.publish("/a", json!(2));
    let mut ann = LongPolling::new(&server);
    ann.id = id;
    let (events, reply) = split(&ann.ask(connect(3)));
    assert_eq!((events, &reply["successful"]), (vec![json!(2)], &json!(true)));
    let number = reply["ext"]["ack"].as_u64().expect("a number");
    let pending = ann.start(connect(number));
    server.await_held(&ann.id);
    server.publish("/a", json!(3));
    server.await_not_held(&ann.id);
    drop(pending);
    assert_eq!(split(&ann.ask(connect(number))), (vec![json!(3)], advised(number + 2, 30_000)));
}

#[test]
fn case_181_lazy_messages_alone_do_not_answer_a_connect() {
    let server = Server::start(&[]);
    server.lazy("/lazy", Duration::from_millis(300));
    for mut ann in subscribed(&server) {
        ann.ask(json!([{"channel": "/meta/subscribe", "subscription": "/lazy"}]));
        let started = Instant::now();
        server.publish("/lazy", json!(1));
        assert_eq!(split(&ann.ask(connect(1))), (vec![json!(1)], numbered(2)));
        assert_lasted(started.elapsed(), Duration::from_millis(300));
        ann.ask(json!([{"channel": "/meta/disconnect"}]));
    }
}

#[test]
fn case_182_a_client_that_never_acknowledges_is_ended() {
    let server = Server::start(&["bayeux.max_queue=50"]);
    for mut ann in subscribed(&server) {
        let mut most = 0;
        for count in 0.. {
            assert!(count <= 60, "the limit is 50");
            server.publish("/a", json!(count));
            let (events, reply) = split(&ann.ask(connect(0)));
            if reply["successful"] == false {
                assert_eq!((reply["error"].as_str(), events.len()), (Some("402::session_unknown"), 0));
                assert_eq!(reply["advice"]["reconnect"], "handshake");
                break;
            }
            most = events.len();
        }
        assert_eq!(most, 50);
        assert!(!server.has_session(ann.id()));
    }
}

/// [AK-8]
#[test]
fn a_queue_of_many_batches_ends_on_both_transports() {
    let server = Server::start(&[]);
    let text = "x".repeat(1_000);
    for (mut ann, most) in subscribed(&server).zip([512 * 1024, 32 * 1024]) {
        for number in 0..2_000 {
            server.publish("/a", json!([number, text]));
        }
        let (mut ack, mut heard) = (1, Vec::new());
        while heard.len() < 2_000 {
            let answer = ann.ask(connect(ack));
            assert!(answer.to_string().len() <= most + 1_000, "the batch is too large");
            let (events, reply) = split(&answer);
            assert!(!events.is_empty(), "{reply}");
            heard.extend(events.into_iter().map(|data| data[0].clone()));
            ack = reply["ext"]["ack"].as_u64().expect("a number");
        }
        assert!(heard.iter().enumerate().all(|(number, data)| *data == json!(number)));
        let publish = || server.publish("/a", json!("last"));
        let (events, _) = split(&ann.ask_held(&server, connect(ack), &publish));
        assert_eq!(events, [json!("last")]);
        ann.ask(json!([{"channel": "/meta/disconnect"}]));
    }
}

/// [AK-13]
#[test]
fn messages_of_the_handshake_are_a_batch() {
    let server = Server::start(&["bayeux.allow_message_delivery_during_handshake=true"]);
    server.greet("/hello", json!([1, 2]));
    for mut ann in both(&server) {
        let frame = ann.ask(json!([{"channel": "/meta/handshake", "ext": {"ack": true}}]));
        assert_eq!(
            (frame[0]["x-messages"].clone(), frame[0]["ext"].clone()),
            (json!(2), json!({"ack": {"enabled": true, "batch": 1}}))
        );
        assert_eq!((&frame[1]["data"], &frame[2]["data"]), (&json!(1), &json!(2)), "{frame}");
        *ann.id() = frame[0]["clientId"].as_str().expect("a clientId").to_owned();
        assert_eq!(split(&ann.ask(connect(1))), (vec![], numbered(2)));
    }
}
