//! Messages that are kept until the client has acknowledged them.

use std::sync::Arc;

use mirant::bayeux::config::{EngineConfig, QueueOverflow, TransportConfig};
use mirant::bayeux::{Context, Extension, Flow, Listener, Message, Reply, SessionView, Transport};
use serde_json::{Value, json};

use super::client::{Client, Sent};
use super::world::{Token, World, millis};

const CONNECT: &str = "/meta/connect";

/// Shakes hands with an `ext`; returns the reply.
fn shake(client: &Client, ext: &Value) -> Value {
    let reply = client.ask(json!({"channel": "/meta/handshake", "ext": ext}));
    client.set_id(reply["clientId"].as_str().unwrap());
    reply
}

/// A client that acknowledges, connected once and subscribed to `/a`.
fn acknowledging(client: Client) -> Client {
    shake(&client, &json!({"ack": true}));
    let reply = client.ask(json!({"channel": CONNECT, "advice": {"timeout": 0}, "ext": {"ack": 0}}));
    assert_eq!(reply["ext"], json!({"ack": 1}), "{reply}");
    client.ask(json!({"channel": "/meta/subscribe", "subscription": "/a"}));
    client
}

/// A world with such a client, on each transport.
fn on_each(change: impl Fn(&mut EngineConfig)) -> [(World, Client); 3] {
    [Transport::LongPolling, Transport::CallbackPolling, Transport::WebSocket].map(|transport| {
        let world = World::with(&change);
        let client = acknowledging(world.client(transport));
        (world, client)
    })
}

/// Changes the options of all of them.
fn on_all(config: &mut EngineConfig, change: impl Fn(&mut TransportConfig)) {
    change(&mut config.long_polling);
    change(&mut config.callback_polling);
    change(&mut config.websocket);
}

/// Sends a connect that acknowledges a number.
fn connect(client: &Client, ack: impl Into<Value>) -> Sent {
    client.send(json!({"channel": CONNECT, "ext": {"ack": ack.into()}}))
}

/// What came with the last connect: data of publications, the number, and whether there was advice.
fn came(client: &Client) -> (Vec<Value>, Option<u64>, bool) {
    let received = client.received();
    let reply = received.iter().rfind(|message| message["channel"] == CONNECT).expect("a connect reply");
    let heard = received.iter().filter(|message| message.get("data").is_some());
    (
        heard.map(|message| message["data"].clone()).collect(),
        reply["ext"]["ack"].as_u64(),
        reply.get("advice").is_some(),
    )
}

/// What a connect brings that is answered at once.
fn answer(client: &Client, ack: impl Into<Value>) -> (Vec<Value>, Option<u64>, bool) {
    assert!(!connect(client, ack).is_held());
    came(client)
}

fn data(numbers: impl IntoIterator<Item = u64>) -> Vec<Value> {
    numbers.into_iter().map(Value::from).collect()
}

fn unacknowledged(client: &Client) -> usize {
    client.report().unwrap().unacknowledged_messages
}

/// [AK-1] [AK-3]
#[test]
fn only_true_in_the_handshake_asks_for_acknowledgement() {
    let world = World::new();
    for ann in [world.long_polling(), world.websocket()] {
        for ext in
            [json!({"ack": false}), json!({"ack": "true"}), json!({"ack": 1}), json!({}), json!([true]), json!(5)]
        {
            assert!(shake(&ann, &ext).get("ext").is_none(), "{ext}");
            assert!(ann.connect_at_once().get("ext").is_none(), "{ext}");
        }
        assert_eq!(shake(&ann, &json!({"x": 1, "ack": true}))["ext"], json!({"ack": true}));
    }
    let without = World::with(|config| config.extensions.ack = false);
    assert!(shake(&without.long_polling(), &json!({"ack": true})).get("ext").is_none());
}

/// [AK-3]
#[test]
fn replies_on_meta_channels_have_ext_and_replies_to_publishes_have_none() {
    for (_world, ann) in on_each(|_| {}) {
        let ext_of = |message: Value| ann.ask(message).get("ext").cloned();
        for message in [
            json!({"channel": "/meta/subscribe", "subscription": "/b"}),
            json!({"channel": "/meta/subscribe", "subscription": 5}),
            json!({"channel": "/meta/subscribe", "subscription": "/b", "id": "a-b"}),
            json!({"channel": "/meta/unsubscribe", "subscription": "/b"}),
            json!({"channel": "/meta/foo"}),
        ] {
            assert_eq!(ext_of(message.clone()), Some(json!({})), "{message}");
        }
        for message in [
            json!({"channel": "/b", "data": 1}),
            json!({"channel": "/b", "id": "a-b"}),
            json!({"channel": "/service/none"}),
            json!({"id": "7"}),
        ] {
            assert_eq!(ext_of(message.clone()), None, "{message}");
        }
        assert_eq!(ext_of(json!({"channel": "/meta/disconnect"})), Some(json!({})));
        assert_eq!(ext_of(json!({"channel": CONNECT})), None, "it is not known any more");
    }
}

/// Writes its own `ext` on all replies.
struct Stamp;

impl Extension for Stamp {
    fn reply(&self, _: Option<&SessionView>, reply: &mut Reply<'_>) -> Flow {
        reply.ext = Some("{\"stamp\":1}".to_owned());
        Flow::Continue
    }
}

/// [AK-3]
#[test]
fn what_others_put_into_ext_stays() {
    let world = World::new();
    let ann = world.long_polling();
    world.engine().add_extension(Arc::new(Stamp));
    assert_eq!(shake(&ann, &json!({"ack": true}))["ext"], json!({"stamp": 1, "ack": true}));
    assert_eq!(ann.connect_at_once()["ext"], json!({"stamp": 1, "ack": 1}));
    let subscribed = ann.ask(json!({"channel": "/meta/subscribe", "subscription": "/b"}));
    assert_eq!(subscribed["ext"], json!({"stamp": 1}));
}

/// [AK-2] [AK-4] [AK-5]
#[test]
fn publications_come_with_connects_and_stay_until_their_number_comes_back() {
    for (world, ann) in on_each(|_| {}) {
        ann.publish("/a", 1);
        world.publish("/a", &json!(2));
        assert_eq!(ann.heard(), [0; 0], "not with other replies");
        assert_eq!(answer(&ann, 1), (data([1, 2]), Some(2), false));
        assert_eq!((ann.queued(), unacknowledged(&ann)), (2, 2));
        let held = connect(&ann, 2);
        assert!(held.is_held());
        assert_eq!(ann.queued(), 0);
        world.publish("/a", &json!(3));
        assert!(!held.is_held());
        assert_eq!(came(&ann), (data([3]), Some(3), false));
        // A reply that brings nothing has a number of its own, like any other.
        connect(&ann, 3);
        world.advance(30_000);
        assert_eq!(came(&ann), (vec![], Some(4), false));
    }
}

/// [AK-10]
#[test]
fn a_batch_and_its_connect_reply_are_one_frame() {
    let world = World::new();
    let ann = acknowledging(world.websocket());
    ann.frames();
    world.publish("/a", &json!(1));
    world.publish("/a", &json!(2));
    ann.send(json!([{"channel": CONNECT, "ext": {"ack": 1}, "id": "c"}, {"channel": "/meta/subscribe", "subscription": "/b", "id": "s"}]));
    let expected = json!([
        {"channel": "/a", "data": 1}, {"channel": "/a", "data": 2},
        {"channel": CONNECT, "id": "c", "successful": true, "ext": {"ack": 2}},
        {"channel": "/meta/subscribe", "id": "s", "subscription": "/b", "successful": true, "ext": {}},
    ]);
    assert_eq!(ann.frames(), [expected]);
    ann.send(json!([{"channel": CONNECT, "ext": {"ack": 2}, "id": "d"}, {"channel": "/meta/subscribe", "subscription": "/c", "id": "t"}]));
    assert_eq!(ann.frames(), [json!(null); 0], "the connect is held, and so are the replies of its frame");
    world.publish("/a", &json!(3));
    let expected = json!([
        {"channel": "/a", "data": 3},
        {"channel": "/meta/subscribe", "id": "t", "subscription": "/c", "successful": true, "ext": {}},
        {"channel": CONNECT, "id": "d", "successful": true, "ext": {"ack": 3}},
    ]);
    assert_eq!(ann.frames(), [expected]);
}

/// [AK-6] [AK-7]
#[test]
fn a_client_that_repeats_a_number_gets_everything_since_then_again() {
    for (world, ann) in on_each(|_| {}) {
        world.publish("/a", &json!(1));
        assert_eq!(answer(&ann, 1), (data([1]), Some(2), false));
        assert_eq!(answer(&ann, 1), (data([1]), Some(3), true), "at once and with advice: there is nothing new");
        world.publish("/a", &json!(2));
        assert_eq!(answer(&ann, 1), (data([1, 2]), Some(4), false), "at once, as there is something new");
        // A number from between: the first message was in that batch, the second was not.
        assert_eq!(answer(&ann, 3), (data([2]), Some(5), true));
        assert_eq!(answer(&ann, 1), (data([2]), Some(6), true), "what is acknowledged stays so");
        assert!(connect(&ann, 6).is_held());
    }
}

/// [AK-7]
#[test]
fn a_client_that_asks_for_a_timeout_is_held_that_long_and_then_gets_it_again() {
    for (world, ann) in on_each(|_| {}) {
        world.publish("/a", &json!(1));
        assert_eq!(answer(&ann, 1), (data([1]), Some(2), false));
        let held = ann.send(json!({"channel": CONNECT, "ext": {"ack": 1}, "advice": {"timeout": 700}}));
        world.advance(699);
        assert!(held.is_held());
        world.advance(1);
        assert_eq!(came(&ann), (data([1]), Some(3), true));
        let sent = ann.send(json!({"channel": CONNECT, "ext": {"ack": 1}, "advice": {"interval": 0}}));
        assert!(!sent.is_held(), "other advice asks for no timeout");
    }
}

/// [AK-5]
#[test]
fn what_is_no_number_acknowledges_nothing_and_asks_for_nothing() {
    for (world, ann) in on_each(|_| {}) {
        world.publish("/a", &json!(1));
        let mut last = 2;
        assert_eq!(answer(&ann, 1), (data([1]), Some(last), false));
        for no_number in [json!("2"), json!(null), json!(true), json!({})] {
            assert!(connect(&ann, no_number).is_held());
            world.advance(30_000);
            last += 1;
            assert_eq!(came(&ann), (data([1]), Some(last), false));
        }
        assert!(ann.connect().is_held());
        world.publish("/a", &json!(2));
        assert_eq!(came(&ann), (data([1, 2]), Some(last + 1), false), "the old with the new");
        assert_eq!(answer(&ann, -1), (data([1, 2]), Some(last + 2), true));
        assert_eq!(answer(&ann, 2.9), (data([2]), Some(last + 3), true));
    }
}

/// [AK-9]
#[test]
fn a_number_that_was_never_given_empties_the_queue() {
    for (world, ann) in on_each(|_| {}) {
        world.publish("/a", &json!(1));
        assert_eq!(answer(&ann, 1), (data([1]), Some(2), false));
        assert!(connect(&ann, 99).is_held());
        assert_eq!(ann.queued(), 0);
        world.publish("/a", &json!(2));
        assert_eq!(came(&ann), (data([2]), Some(3), false));
        world.publish("/a", &json!(3));
        assert_eq!(answer(&ann, 99), (vec![], Some(4), false), "what would have been the answer is gone");
    }
}

/// [AK-8]
#[test]
fn a_queue_longer_than_a_batch_is_drained_in_batches() {
    for (world, ann) in on_each(|config| on_all(config, |transport| transport.max_batch_bytes = 100)) {
        for number in 0..100 {
            world.publish("/a", &json!(number));
        }
        let (mut heard, mut ack, mut rounds) = (vec![], 1, 0);
        while !connect(&ann, ack).is_held() {
            let (batch, number, advised) = came(&ann);
            assert!(!advised && (1..=4).contains(&batch.len()), "{batch:?}");
            heard.extend(batch);
            assert_eq!(number, Some(ack + 1));
            ack += 1;
            rounds += 1;
        }
        assert_eq!(heard, data(0..100));
        assert_eq!((rounds, ann.queued()), (34, 0));
    }
}

/// [AK-8]
#[test]
fn a_message_larger_than_a_batch_goes_alone() {
    let world = World::with(|config| config.websocket.max_batch_bytes = 100);
    let ann = acknowledging(world.websocket());
    let large = json!("x".repeat(500));
    for value in [json!(1), large.clone(), json!(2)] {
        world.publish("/a", &value);
    }
    assert_eq!(answer(&ann, 1).0, [json!(1)]);
    assert_eq!(answer(&ann, 2).0, [large]);
    assert_eq!(answer(&ann, 3).0, [json!(2)]);
    assert!(connect(&ann, 4).is_held());
}

/// [AK-8] [LP-8]
#[test]
fn batches_are_as_large_as_the_transport_takes_that_carries_them() {
    let world = World::new();
    let ann = acknowledging(world.long_polling());
    let kilobyte = "x".repeat(1_000);
    for _ in 0..600 {
        world.publish("/a", &json!(kilobyte));
    }
    let count = answer(&ann, 1).0.len();
    assert!((480..=512).contains(&count), "512 KiB on HTTP, not {count} KB");
    let ann = ann.moved_to(Transport::WebSocket);
    let count = answer(&ann, 2).0.len();
    assert!((28..=32).contains(&count), "32 KiB on WebSocket, not {count} KB");
}

/// [AK-8]
#[test]
fn what_a_smaller_batch_leaves_out_is_not_acknowledged_by_its_number() {
    let world = World::with(|config| config.websocket.max_batch_bytes = 70);
    let ann = acknowledging(world.long_polling());
    for number in 1..=5 {
        world.publish("/a", &json!(number));
    }
    assert_eq!(answer(&ann, 1), (data(1..=5), Some(2), false));
    // The response was lost, and the client goes on over WebSocket.
    let ann = ann.moved_to(Transport::WebSocket);
    assert_eq!(answer(&ann, 1), (data([1, 2]), Some(3), true));
    assert_eq!(unacknowledged(&ann), 2);
    assert_eq!(answer(&ann, 3), (data([3, 4]), Some(4), false));
    assert_eq!(answer(&ann, 4), (data([5]), Some(5), false));
    assert!(connect(&ann, 5).is_held());
}

/// [AK-6] [LP-10]
#[test]
fn a_lost_response_doubles_nothing_on_the_server() {
    let world = World::new();
    let ann = acknowledging(world.long_polling());
    let held = connect(&ann, 1);
    world.publish("/a", &json!(1));
    assert!(!held.is_held());
    world.publish("/a", &json!(2));
    ann.lose_last_response();
    assert_eq!(ann.queued(), 2);
    assert_eq!(answer(&ann, 1), (data([1, 2]), Some(3), false));

    // The loss is noticed when the messages have arrived with another response.
    world.publish("/a", &json!(3));
    connect(&ann, 3);
    let held = connect(&ann, 4);
    assert_eq!(came(&ann), (data([3]), Some(4), false));
    ann.lose_last_response();
    assert!(held.is_held());
    assert_eq!(ann.queued(), 0);
}

/// [AK-6]
#[test]
fn a_client_whose_connection_was_cut_gets_what_it_missed_on_the_next() {
    let world = World::new();
    let ann = acknowledging(world.websocket());
    connect(&ann, 1);
    world.publish("/a", &json!(1));
    ann.cut();
    world.publish("/a", &json!(2));
    let ann = ann.moved_to(Transport::WebSocket);
    assert_eq!(answer(&ann, 1), (data([1, 2]), Some(3), false));
    // Cut while the connect is held, nothing is written to nobody.
    connect(&ann, 3);
    ann.cut();
    world.publish("/a", &json!(3));
    assert_eq!(unacknowledged(&ann), 0);
    let ann = ann.moved_to(Transport::LongPolling);
    assert_eq!(answer(&ann, 3).0, data([3]));
}

/// [AK-15] [CN-13]
#[test]
fn a_connect_left_behind_on_another_transport_has_no_number() {
    let world = World::new();
    let ann = acknowledging(world.long_polling());
    world.publish("/a", &json!(1));
    answer(&ann, 1);
    let held = ann.connect();
    assert!(held.is_held());
    let bob = ann.moved_to(Transport::WebSocket);
    assert_eq!(answer(&bob, 1), (data([1]), Some(3), true));
    assert_eq!(held.messages()[0]["ext"], json!({}), "or its client would take the batch for received");
    assert_eq!(unacknowledged(&bob), 1);
}

/// [CN-12] [CN-14] [AK-6]
#[test]
fn a_replaced_connect_takes_no_number() {
    for (world, ann) in on_each(|_| {}) {
        connect(&ann, 1);
        connect(&ann, 1);
        world.publish("/a", &json!(1));
        assert_eq!(came(&ann), (data([1]), Some(2), false));
    }
    let world = World::new();
    // On WebSocket one that is answered at once leaves the held one alone, which then brings everything again.
    let ann = acknowledging(world.websocket());
    world.publish("/a", &json!(1));
    answer(&ann, 1);
    let held = ann.connect();
    assert_eq!(answer(&ann, 1), (data([1]), Some(3), true));
    assert!(held.is_held());
    world.advance(30_000);
    assert_eq!(came(&ann), (data([1]), Some(4), false));
}

/// [AK-3]
#[test]
fn a_refused_connect_of_a_known_session_has_a_number_and_publications() {
    for (world, ann) in on_each(|_| {}) {
        world.publish("/a", &json!(1));
        let refused = ann.ask(json!({"channel": CONNECT, "id": "a-b", "ext": {"ack": 1}}));
        let expected = json!({
            "channel": CONNECT, "id": "a-b", "successful": false, "error": "405::message_id_invalid", "ext": {"ack": 2},
        });
        assert_eq!((refused, ann.heard()), (expected, data([1])));
        assert_eq!(answer(&ann, 1), (data([1]), Some(3), true), "its client has not taken the number");
        let held = connect(&ann, 3);
        let refused = ann.ask(json!({"channel": CONNECT, "id": "a-b", "ext": {"ack": 3}}));
        assert_eq!(refused["ext"], json!({"ack": 4}));
        let is_stream = ann.report().unwrap().view.transport == Transport::WebSocket;
        assert_eq!(held.is_held(), is_stream, "on HTTP even an invalid one replaces it");
    }
}

/// [AK-14] [DC-1]
#[test]
fn a_disconnect_leaves_with_nothing_that_waits_for_a_connect() {
    for (world, ann) in on_each(|_| {}) {
        world.publish("/a", &json!(1));
        ann.disconnect();
        assert_eq!(ann.heard(), [0; 0]);
    }
    for (world, ann) in on_each(|_| {}) {
        world.publish("/a", &json!(1));
        ann.send(
            json!([{"channel": "/meta/disconnect", "id": "1"}, {"channel": CONNECT, "id": "2", "ext": {"ack": 1}}]),
        );
        let expected = json!([
            {"channel": "/a", "data": 1},
            {"channel": "/meta/disconnect", "id": "1", "successful": true, "ext": {}},
            {
                "channel": CONNECT, "id": "2", "successful": false, "error": "402::session_unknown",
                "advice": {"reconnect": "none", "interval": 0}, "ext": {"ack": 2},
            },
        ]);
        assert_eq!(ann.frames().last(), Some(&expected));
    }
}

/// [AK-3] [DC-2] [DC-4]
#[test]
fn the_end_of_a_session_answers_its_held_connect_with_a_number() {
    let none = |id: &str, number: u64| {
        json!({
            "channel": CONNECT, "id": id, "successful": true, "advice": {"reconnect": "none"}, "ext": {"ack": number},
        })
    };
    for (_world, ann) in on_each(|_| {}) {
        ann.send(json!({"channel": CONNECT, "id": "c", "ext": {"ack": 1}}));
        ann.received();
        ann.send(json!({"channel": "/meta/disconnect", "id": "d"}));
        let mut received = ann.received();
        received.sort_by_key(|message| message["id"].to_string());
        let gone = json!({"channel": "/meta/disconnect", "id": "d", "successful": true, "ext": {}});
        assert_eq!(received, [none("c", 2), gone]);
    }
    for (world, ann) in on_each(|_| {}) {
        ann.send(json!({"channel": CONNECT, "id": "c", "ext": {"ack": 1}}));
        ann.received();
        world.disconnect(&ann);
        let goodbye = json!({"channel": "/meta/disconnect", "successful": true, "ext": {}});
        assert_eq!(ann.received(), [goodbye, none("c", 2)]);
    }
}

/// Delivers so many messages to each new session.
struct Greeter(u64);

impl Listener<Token> for Greeter {
    fn session_added(&self, context: &mut Context<'_, Token>, session: &SessionView) {
        for number in 0..self.0 {
            let data = serde_json::value::to_raw_value(&number).unwrap();
            context.deliver(session.id, Message::to("/hello").with_data(&data));
        }
    }
}

/// [AK-13] [HS-8]
#[test]
fn messages_that_follow_the_handshake_are_a_batch() {
    let world = World::with(|config| {
        on_all(config, |transport| {
            transport.allow_message_delivery_during_handshake = true;
            transport.max_batch_bytes = 80;
        });
    });
    let first = world.long_polling();
    assert_eq!(shake(&first, &json!({"ack": true}))["ext"], json!({"ack": {"enabled": true, "batch": 1}}));
    assert_eq!(answer(&first, 1), (vec![], Some(2), false));
    world.engine().add_listener(Arc::new(Greeter(3)));
    for ann in [world.long_polling(), world.websocket()] {
        ann.send(json!({"channel": "/meta/handshake", "ext": {"ack": true}}));
        let frames = ann.frames();
        assert_eq!(frames.len(), 1, "one cut takes all or nothing: {frames:?}");
        let reply = &frames[0][0];
        assert_eq!((&reply["ext"]["ack"]["batch"], &reply["x-messages"]), (&json!(1), &json!(2)));
        assert_eq!((&frames[0][1]["data"], &frames[0][2]["data"]), (&json!(0), &json!(1)));
        ann.set_id(reply["clientId"].as_str().unwrap());
        assert_eq!(answer(&ann, 1), (data([2]), Some(2), false));
        ann.disconnect();
    }
    let ann = world.websocket();
    shake(&ann, &json!({"ack": true}));
    ann.frames();
    assert_eq!(answer(&ann, 0).0, data([0, 1]), "a client that does not know the number gets them again");
}

/// [AK-13] [HS-8]
#[test]
fn without_that_option_they_wait_for_the_first_connect() {
    let world = World::new();
    world.engine().add_listener(Arc::new(Greeter(1)));
    for ann in [world.long_polling(), world.websocket()] {
        assert_eq!(shake(&ann, &json!({"ack": true}))["ext"], json!({"ack": true}));
        assert_eq!(answer(&ann, 0), (data([0]), Some(1), false));
    }
}

/// [AK-12]
#[test]
fn lazy_messages_that_were_not_sent_do_not_answer_a_connect_and_sent_ones_do() {
    for (world, ann) in on_each(|_| {}) {
        world.set_options("/lazy", |options| options.lazy_timeout = Some(millis(2_000)));
        world.set_options("/lazy", |options| options.lazy = true);
        ann.ask(json!({"channel": "/meta/subscribe", "subscription": "/lazy"}));
        world.publish("/lazy", &json!(1));
        let held = connect(&ann, 1);
        world.advance(1_999);
        assert!(held.is_held());
        world.advance(1);
        assert_eq!(came(&ann), (data([1]), Some(2), false));
        assert_eq!(answer(&ann, 1), (data([1]), Some(3), true), "a lazy message that was lost");
        world.publish("/lazy", &json!(2));
        assert_eq!(answer(&ann, 1), (data([1, 2]), Some(4), true), "which takes another along");
        world.publish("/lazy", &json!(3));
        let held = connect(&ann, 4);
        world.publish("/a", &json!(4));
        assert!(!held.is_held());
        assert_eq!(came(&ann), (data([3, 4]), Some(5), false));
        connect(&ann, 5);
        world.advance(29_999);
        assert!(ann.received().is_empty(), "the timer of what was acknowledged is no timer");
    }
}

/// [AK-11] [LM-4]
#[test]
fn a_client_that_never_acknowledges_is_ended_by_the_limits_of_its_queue() {
    for (messages, bytes) in [(10, usize::MAX), (usize::MAX, 400)] {
        let limits = |transport: &mut TransportConfig| {
            (transport.max_queue, transport.max_queue_bytes) = (messages, bytes);
        };
        for (world, ann) in on_each(|config| on_all(config, limits)) {
            let mut published = 0;
            while ann.is_alive() {
                let report = ann.report().unwrap();
                assert!(report.queued_messages <= messages && report.queued_bytes <= bytes, "{report:?}");
                assert_eq!(report.unacknowledged_messages, report.queued_messages);
                world.publish("/a", &json!(published));
                published += 1;
                connect(&ann, 0);
            }
            assert!((10..=20).contains(&published), "{published}");
            let refused = ann.ask(json!({"channel": CONNECT, "ext": {"ack": 0}}));
            assert_eq!(
                (&refused["error"], &refused["advice"]["reconnect"]),
                (&json!("402::session_unknown"), &json!("handshake"))
            );
        }
    }
}

/// [AK-11] [LM-4]
#[test]
fn one_that_does_acknowledge_may_receive_any_number() {
    let world = World::with(|config| config.long_polling.max_queue = 3);
    let ann = acknowledging(world.long_polling());
    for number in 0..100_u64 {
        world.publish("/a", &json!(number));
        assert_eq!(answer(&ann, number + 1), (data([number]), Some(number + 2), false));
    }
}

/// [AK-11] [LM-4]
#[test]
fn a_queue_that_drops_the_oldest_drops_those_that_are_not_acknowledged_too() {
    let world = World::with(|config| {
        config.websocket.max_queue = 3;
        config.websocket.queue_overflow = QueueOverflow::DropOldest;
    });
    let ann = acknowledging(world.websocket());
    for number in 1..=2 {
        world.publish("/a", &json!(number));
    }
    assert_eq!(answer(&ann, 1), (data([1, 2]), Some(2), false));
    for number in 3..=4 {
        world.publish("/a", &json!(number));
    }
    assert_eq!(answer(&ann, 1), (data([2, 3, 4]), Some(3), false));
    assert_eq!(answer(&ann, 2), (data([3, 4]), Some(4), true));
    assert_eq!(ann.report().unwrap().dropped_messages, 1);
}

/// [AK-11]
#[test]
fn a_client_that_stops_reading_is_ended_by_the_same_limits() {
    let world = World::with(|config| config.websocket.max_queue = 5);
    let ann = acknowledging(world.websocket());
    for number in 0..5 {
        world.publish("/a", &json!(number));
    }
    assert_eq!(ann.queued(), 5);
    world.publish("/a", &json!(5));
    assert!(!ann.is_alive());
}

/// [AK-4]
#[test]
fn two_connects_in_one_request_have_two_numbers_and_one_batch() {
    for (world, ann) in on_each(|_| {}) {
        world.publish("/a", &json!(1));
        let connect = |id: &str| json!({"channel": CONNECT, "id": id, "ext": {"ack": 1}, "advice": {"timeout": 0}});
        ann.frames();
        ann.send(json!([connect("c"), connect("d")]));
        let frames = ann.frames();
        assert_eq!(frames.len(), 1);
        assert_eq!(
            (&frames[0][0]["data"], &frames[0][1]["ext"]["ack"], &frames[0][2]["ext"]["ack"]),
            (&json!(1), &json!(2), &json!(3))
        );
        assert_eq!(answer(&ann, 2), (data([1]), Some(4), true), "the batch was that of the second");
    }
}

/// [AK-14]
#[test]
fn a_new_handshake_starts_from_the_beginning() {
    let world = World::new();
    let ann = acknowledging(world.long_polling());
    world.publish("/a", &json!(1));
    answer(&ann, 1);
    let ann = acknowledging(ann);
    assert!(connect(&ann, 1).is_held());
    assert_eq!(ann.queued(), 0);
}

/// [AK-3] [WS-9]
#[test]
fn a_socket_refuses_in_the_name_of_its_session() {
    let world = World::new();
    let ann = acknowledging(world.websocket());
    let subscribe = json!({"channel": "/meta/subscribe", "subscription": "/b", "clientId": "nobody"});
    assert_eq!(ann.ask(subscribe.clone())["ext"], json!({}));
    world.publish("/a", &json!(1));
    ann.send(json!({"channel": CONNECT, "clientId": "nobody", "advice": {"timeout": 0}}));
    assert_eq!(came(&ann), (vec![json!(1)], Some(2), true));

    // A socket that the session has left brings nothing of it.
    let new = ann.moved_to(Transport::WebSocket);
    new.ask(json!({"channel": CONNECT, "advice": {"timeout": 0}, "ext": {"ack": 2}}));
    assert_eq!(ann.ask(subscribe).get("ext"), None);
    assert_eq!(world.slot(&new).id(), new.session_id());
}
