//! Connects: when they are held, what ends them, and what they are told.

use std::time::Duration;

use mirant::bayeux::Transport;
use serde_json::{Value, json};

use super::world::{Answer, World, millis};

const CONNECT: &str = "/meta/connect";

fn retry(interval: u64, timeout: u64) -> Value {
    json!({"reconnect": "retry", "interval": interval, "timeout": timeout})
}

/// [CN-1] [CN-8]
#[test]
fn the_first_connect_is_answered_at_once() {
    let world = World::new();
    for ann in [world.long_polling().shaken(), world.websocket().shaken()] {
        let reply = ann.ask(json!({"channel": CONNECT, "id": "a"}));
        assert_eq!(reply, json!({"channel": CONNECT, "id": "a", "successful": true}), "the handshake gave the advice");
        ann.hold();
    }
    let bob = world.websocket().shaken();
    let reply = bob.ask(json!({"channel": CONNECT, "advice": {}}));
    assert_eq!(reply["advice"], retry(0, 30_000));
}

/// [CN-2] [CN-3] [SS-2]
#[test]
fn a_later_connect_is_held_until_its_time_is_over() {
    let world = World::with(|config| {
        config.long_polling.timeout = millis(20_000);
        config.websocket.timeout = millis(25_000);
    });
    for (ann, hold) in [(world.long_polling(), 20_000), (world.websocket(), 25_000)] {
        let ann = ann.connected();
        let held = ann.hold();
        world.advance(hold - 1);
        assert!(held.is_held());
        world.advance(1);
        assert_eq!(held.reply(), json!({"channel": CONNECT, "id": "3", "successful": true}));
        // The client's own time counts for one connect.
        let own = ann.send(json!({"channel": CONNECT, "advice": {"timeout": 3_000}}));
        world.advance(2_999);
        assert!(own.is_held());
        world.advance(1);
        assert_eq!(own.reply()["advice"], retry(0, hold), "the advice is never the client's own [CN-9]");
    }
}

/// [CN-3] [CN-8] [CN-9]
#[test]
fn a_changed_session_timeout_is_told_when_the_reply_leaves() {
    let world = World::new();
    let ann = world.long_polling().connected();
    let held = ann.hold();
    world.engine().set_session_times(ann.session_id(), Some(millis(5_000)), Some(millis(70)));
    world.advance(30_000);
    assert_eq!(held.reply()["advice"], retry(70, 5_000));
    let held = ann.hold();
    world.advance(5_000);
    assert_eq!(held.reply(), json!({"channel": CONNECT, "id": "4", "successful": true}));
}

/// [CN-3] [CN-8] [SS-1]
#[test]
fn times_of_a_session_can_be_taken_back() {
    let world = World::new();
    let ann = world.long_polling().connected();
    let change = |timeout: Option<Duration>, max_interval: Option<Duration>| {
        let changed = world.engine().change_session_times(ann.session_id(), |times| {
            (times.timeout, times.max_interval) = (timeout, max_interval);
        });
        assert!(changed);
    };
    change(Some(Duration::ZERO), Some(millis(500)));
    assert_eq!(ann.send(json!({"channel": CONNECT})).reply()["advice"], retry(0, 0));
    assert_eq!(ann.send(json!({"channel": CONNECT})).reply()["successful"], true, "it is not held");
    change(None, Some(millis(500)));
    let held = ann.hold();
    world.advance(30_000);
    assert_eq!(held.reply()["advice"], retry(0, 30_000));
    world.advance(500);
    assert!(!ann.is_alive());
    assert!(!world.engine().change_session_times(ann.session_id(), |_| panic!("it is gone")));
}

/// [CN-4] [CN-9]
#[test]
fn times_in_the_clients_advice_are_capped() {
    let world = World::with(|config| {
        config.limits.max_advice_timeout = millis(40_000);
        config.limits.max_advice_interval = millis(50_000);
    });
    let ann = world.websocket().connected();
    for (asked, held_for) in [
        (json!(-1), 30_000),
        (json!(1_234.9), 1_234),
        (json!(40_001), 40_000),
        (json!(1e300), 40_000),
        (json!(u64::MAX), 40_000),
    ] {
        let held = ann.send(json!({"channel": CONNECT, "advice": {"timeout": asked}}));
        world.advance(held_for - 1);
        assert!(held.is_held(), "{asked}");
        world.advance(1);
        assert!(!held.is_held(), "{asked}");
    }
    let told = |interval: Value| ann.ask(json!({"channel": CONNECT, "advice": {"timeout": 0, "interval": interval}}));
    assert_eq!(told(json!(250.5))["advice"], retry(250, 30_000));
    assert_eq!(told(json!(1e12))["advice"], retry(50_000, 30_000));
    assert_eq!(told(json!(-5))["advice"], retry(0, 30_000));
    assert_eq!(ann.send(json!({"channel": CONNECT, "advice": {"timeout": 0.9}})).reply()["successful"], true);

    // The transport's own time is always allowed.
    let world = World::with(|config| config.limits.max_advice_timeout = millis(1_000));
    let ann = world.websocket().connected();
    let held = ann.send(json!({"channel": CONNECT, "advice": {"timeout": 90_000}}));
    world.advance(29_999);
    assert!(held.is_held());
    world.advance(1);
    assert!(!held.is_held());
}

/// [CN-2] [WS-8]
#[test]
fn in_a_batch_a_connect_is_held_on_websocket_only() {
    let world = World::new();
    let batch = json!([
        {"channel": CONNECT, "id": "c"},
        {"channel": "/meta/subscribe", "id": "s", "subscription": "/a"},
        {"channel": "/a", "id": "p", "data": 1},
    ]);
    let event = json!({"channel": "/a", "data": 1});
    let connect = json!({"channel": CONNECT, "id": "c", "successful": true});
    let subscribe = json!({"channel": "/meta/subscribe", "id": "s", "successful": true, "subscription": "/a"});
    let publish = json!({"channel": "/a", "id": "p", "successful": true});
    let ann = world.long_polling().connected();
    assert_eq!(ann.send(batch.clone()).messages(), json!([event, connect, subscribe, publish]));

    let bob = world.websocket().connected();
    bob.send(batch.clone());
    assert_eq!(bob.frames(), [json!([event])], "events do not wait");
    world.advance(30_000);
    assert_eq!(bob.frames(), [json!([subscribe, publish, connect])]);
    // Two in one frame: the first is answered with the second.
    bob.send(json!([{"channel": CONNECT, "id": "1"}, {"channel": "/b", "id": "2"}, {"channel": CONNECT, "id": "3"}]));
    assert_eq!(bob.frames(), [json!(null); 0]);
    world.advance(30_000);
    let ids: Vec<_> = bob.received().into_iter().map(|mut reply| reply["id"].take()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
}

/// [CN-2]
#[test]
fn two_connects_in_one_body_are_both_answered_in_order() {
    let world = World::new();
    let ann = world.long_polling().connected();
    let batch = json!([
        {"channel": CONNECT, "id": "1", "advice": {"timeout": 0}}, {"channel": "/a", "id": "2"},
        {"channel": CONNECT, "id": "3"}, {"channel": "/a", "id": "4"},
    ]);
    let replies = ann.send(batch).messages();
    let ids: Vec<_> = replies.as_array().unwrap().iter().map(|reply| reply["id"].clone()).collect();
    assert_eq!(ids, ["1", "2", "3", "4"]);
    assert_eq!(replies[0]["advice"], retry(0, 30_000));
}

/// [CN-5]
#[test]
fn a_connect_carries_what_waits_in_front_of_its_reply() {
    let world = World::new();
    let ann = world.long_polling().subscribed("/a");
    world.publish("/a", &json!(1));
    world.publish("/a", &json!(2));
    let messages = ann.connect().messages();
    assert_eq!(
        messages,
        json!([
            {"channel": "/a", "data": 1}, {"channel": "/a", "data": 2},
            {"channel": CONNECT, "id": "4", "successful": true},
        ])
    );
}

/// [CN-6]
#[test]
fn a_publication_answers_a_connect_held_on_http_and_leaves_one_on_websocket() {
    let world = World::new();
    let ann = world.long_polling().subscribed("/a");
    let bob = world.websocket().subscribed("/a");
    let (of_ann, of_bob) = (ann.hold(), bob.hold());
    world.publish("/a", &json!(1));
    assert_eq!(
        of_ann.messages(),
        json!([{"channel": "/a", "data": 1}, {"channel": CONNECT, "id": "4", "successful": true}])
    );
    assert!(of_bob.is_held());
    assert_eq!(bob.heard(), [1]);
}

/// [CN-7]
#[test]
fn what_a_client_publishes_to_itself_leaves_its_held_connect_alone() {
    let world = World::new();
    let ann = world.long_polling().subscribed("/a");
    let held = ann.hold();
    ann.publish("/a", 1);
    assert_eq!(ann.heard(), [1]);
    assert!(held.is_held());
    world.publish("/a", &json!(2));
    assert!(!held.is_held());
}

/// [CN-7]
#[test]
fn what_others_publish_meanwhile_travels_with_the_answer_too() {
    let world = World::new();
    let ann = world.long_polling().subscribed("/a");
    let held = ann.hold();
    let messages = ann
        .send_while(json!({"channel": "/b", "id": "p"}), || {
            world.publish("/a", &json!(1));
            assert!(held.is_held(), "it waits for the request that is being answered");
        })
        .messages();
    assert_eq!(messages, json!([{"channel": "/a", "data": 1}, {"channel": "/b", "id": "p", "successful": true}]));
    assert!(held.is_held());
}

/// [CN-10]
#[test]
fn a_connect_of_nobody_is_told_to_shake_hands() {
    let world = World::new();
    let refused = json!({
        "channel": CONNECT, "id": "1", "successful": false, "error": "402::session_unknown",
        "advice": {"reconnect": "handshake", "interval": 0},
    });
    assert_eq!(world.long_polling().ask(json!({"channel": CONNECT})), refused);
    assert_eq!(world.websocket().ask(json!({"channel": CONNECT, "clientId": "0".repeat(32)})), refused);
}

/// [CN-12]
#[test]
fn on_http_a_newer_connect_ends_the_held_one_with_a_status() {
    let world = World::with(|config| config.long_polling.duplicate_meta_connect_http_response_code = 409);
    let ann = world.long_polling().subscribed("/a");
    let first = ann.hold();
    let second = ann.hold();
    assert_eq!(first.answer(), Answer::Status(409));
    ann.connect_at_once();
    assert_eq!(second.answer(), Answer::Status(409));

    let third = ann.hold();
    assert_eq!(ann.refused(json!({"channel": CONNECT, "id": "a-b"})), "405::message_id_invalid");
    assert_eq!(third.answer(), Answer::Status(409), "an invalid one does it too");
    world.publish("/a", &json!(1));
    assert_eq!(ann.connect().messages()[0]["data"], 1, "nothing is lost");
}

/// [CN-12] [SS-1]
#[test]
fn a_session_whose_held_connect_was_ended_by_an_invalid_one_expires() {
    let world = World::new();
    let ann = world.long_polling().connected();
    ann.hold();
    assert_eq!(ann.refused(json!({"channel": CONNECT, "id": "a-b"})), "405::message_id_invalid");
    world.advance(9_999);
    assert!(ann.is_alive());
    world.advance(1);
    assert!(!ann.is_alive());
}

/// [CN-12]
#[test]
fn of_two_connects_at_the_same_time_one_is_held() {
    for (first, second) in [
        (Transport::LongPolling, Transport::LongPolling),
        (Transport::LongPolling, Transport::WebSocket),
        (Transport::WebSocket, Transport::LongPolling),
        (Transport::WebSocket, Transport::WebSocket),
    ] {
        let world = World::new();
        let ann = world.client(first).subscribed("/a");
        let other = ann.moved_to(second);
        let mut inner = None;
        let outer = ann.send_while(json!({"channel": CONNECT, "id": "outer"}), || {
            inner = Some(other.send(json!({"channel": CONNECT, "id": "inner"})));
        });
        let inner = inner.unwrap();
        assert!(outer.is_held(), "{first} {second}: whoever is finished last stays");
        match (first, second) {
            (Transport::LongPolling, Transport::LongPolling) => assert_eq!(inner.answer(), Answer::Status(500)),
            // [CN-13]: forgotten.
            (Transport::WebSocket, Transport::WebSocket) => assert!(inner.is_held()),
            _ => assert_eq!(inner.reply()["successful"], true),
        }
        world.publish("/a", &json!(1));
        assert_eq!(ann.heard(), [1], "{first} {second}");
    }
}

/// [SS-2]
#[test]
fn a_connect_that_is_answered_late_does_not_end_the_session_of_a_held_one() {
    let world = World::new();
    let ann = world.long_polling().connected();
    let other = ann.moved_to(Transport::LongPolling);
    let held = ann.send_while(json!({"channel": CONNECT}), || {
        other.connect_at_once();
    });
    world.advance(29_999);
    assert!(held.is_held() && ann.is_alive());
    world.advance(1);
    assert!(!held.is_held() && ann.is_alive());
}

/// [CN-12]
#[test]
fn a_newer_connect_meets_one_whose_time_has_just_come() {
    let world = World::new();
    let ann = world.long_polling().connected();
    let first = ann.hold();
    // Time passes while the new connect is on its way, so that the old one is due but not yet written.
    let second = ann.send_while(json!({"channel": "/a"}), || {
        world.advance(30_000);
        assert!(first.is_held());
    });
    assert!(!second.is_held());
    assert!(!first.is_held(), "it was due when the other request was answered");

    let third = ann.hold();
    let fourth = ann.send_while(json!({"channel": CONNECT}), || world.advance(30_000));
    assert_eq!(third.answer(), Answer::Status(500));
    assert!(!fourth.is_held() || third.answer() != Answer::Held, "one of them is answered");
}

/// [CN-12]
#[test]
fn a_connect_that_is_due_but_not_written_is_ended_by_a_newer_one() {
    let world = World::new();
    let ann = world.long_polling().connected();
    let first = ann.hold();
    let late = ann.moved_to(Transport::LongPolling);
    let mut second = None;
    ann.send_while(json!({"channel": "/a"}), || {
        world.advance(30_000);
        second = Some(late.send(json!({"channel": CONNECT})));
    });
    assert!(!first.is_held(), "nobody waits for ever");
    let second = second.unwrap();
    world.advance(30_000);
    assert!(!second.is_held());
}

/// [CN-12]
#[test]
fn a_connect_of_nobody_in_a_request_of_the_session_ends_the_held_one_too() {
    let world = World::new();
    let ann = world.long_polling().connected();
    let first = ann.hold();
    ann.send(json!([{"channel": "/a", "clientId": ann.id()}, {"channel": CONNECT, "clientId": "nobody"}]));
    assert_eq!(first.answer(), Answer::Status(500));
    let second = ann.hold();
    ann.send(json!([{"channel": CONNECT, "clientId": "nobody"}, {"channel": "/a", "clientId": ann.id()}]));
    assert!(second.is_held(), "the first message decides whose request it is [EN-12]");
}

/// [CN-9]
#[test]
fn who_replaces_a_held_connect_does_not_get_its_advice() {
    for transport in [Transport::LongPolling, Transport::WebSocket] {
        let world = World::new();
        let ann = world.client(transport).connected();
        ann.send(json!({"channel": CONNECT, "advice": {"timeout": 5_000}}));
        let second = ann.hold();
        world.advance(30_000);
        assert_eq!(second.reply().get("advice"), None, "{transport:?}");
    }
    // Nor does one that is answered meanwhile take it away.
    let world = World::new();
    let ann = world.websocket().connected();
    let held = ann.send(json!({"channel": CONNECT, "id": "held", "advice": {"timeout": 5_000}}));
    assert_eq!(ann.connect_at_once()["advice"], retry(0, 30_000));
    world.advance(5_000);
    assert_eq!(held.reply()["advice"], retry(0, 30_000));
}

/// [CN-13]
#[test]
fn a_held_connect_superseded_from_another_transport_succeeds() {
    let world = World::new();
    let ordinary = |id: &str| json!({"channel": CONNECT, "id": id, "successful": true});

    // From HTTP to WebSocket: any message is enough.
    let ann = world.long_polling().subscribed("/a");
    let held = ann.hold();
    let socket = ann.moved_to(Transport::WebSocket);
    socket.publish("/b", 1);
    assert_eq!(held.messages(), json!([ordinary("4")]));
    world.publish("/a", &json!(1));
    assert_eq!(socket.heard(), [1]);
    assert_eq!(socket.connect_at_once()["advice"], retry(0, 30_000));

    // From WebSocket to HTTP: a connect takes over.
    let bob = world.websocket().subscribed("/a");
    let held = bob.hold();
    let polling = bob.moved_to(Transport::LongPolling);
    polling.publish("/b", 1);
    assert!(held.is_held());
    let over = polling.connect();
    assert_eq!(bob.received(), [ordinary("4")]);
    assert!(!held.is_held());
    assert!(over.is_held());
    world.publish("/a", &json!(2));
    assert_eq!(over.messages()[0]["data"], 2);
    assert_eq!(over.messages()[1]["advice"], retry(0, 30_000));
    assert_eq!(bob.received(), [json!(null); 0]);
}

/// [CN-13] [WS-7]
#[test]
fn a_connect_held_on_another_websocket_is_forgotten() {
    let world = World::new();
    let ann = world.websocket().subscribed("/a");
    let held = ann.hold();
    let new = ann.moved_to(Transport::WebSocket);
    new.connect_at_once();
    world.publish("/a", &json!(1));
    world.advance(5_000);
    assert_eq!((ann.received(), new.heard()), (vec![], vec![json!(1)]));
    assert!(held.is_held());
    assert!(new.is_alive());
}

/// [CN-14]
#[test]
fn on_websocket_a_newer_held_connect_replaces_the_held_one() {
    let world = World::new();
    let ann = world.websocket().connected();
    let first = ann.hold();
    world.advance(10_000);
    let second = ann.hold();
    world.advance(30_000);
    assert!(first.is_held(), "it is never answered");
    assert!(!second.is_held());
    assert_eq!(ann.received().len(), 1);
}

/// [CN-14] [SS-2]
#[test]
fn on_websocket_a_connect_answered_at_once_leaves_the_held_one_to_its_time() {
    let world = World::new();
    let ann = world.websocket().connected();
    let held = ann.hold();
    world.advance(1_000);
    ann.connect_at_once();
    world.advance(28_999);
    assert!(held.is_held(), "the session lives as long as a connect is held");
    world.advance(1);
    assert!(!held.is_held());
    world.advance(9_999);
    assert!(ann.is_alive());
    world.advance(1);
    assert!(!ann.is_alive());
}

/// [CN-15]
#[test]
fn connection_type_is_not_examined() {
    let world = World::new();
    let ann = world.long_polling().connected();
    for kind in [json!("iframe"), json!(5), json!(null)] {
        let reply = ann.ask(json!({"channel": CONNECT, "connectionType": kind, "advice": {"timeout": 0}}));
        assert_eq!(reply["successful"], true);
        assert!(reply.get("connectionType").is_none());
    }
}

/// [CN-16]
#[test]
fn only_handshake_and_connect_replies_tell_to_shake_hands() {
    let world = World::new();
    let ann = world.long_polling().connected();
    ann.disconnect();
    for message in [
        json!({"channel": "/a", "data": 1}),
        json!({"channel": "/meta/subscribe", "subscription": "/a"}),
        json!({"channel": "/meta/unsubscribe", "subscription": "/a"}),
        json!({"channel": "/meta/disconnect"}),
        json!({"channel": "/service/a"}),
    ] {
        assert_eq!(ann.refused(message), "402::session_unknown");
    }
}

/// [CN-17]
#[test]
fn a_server_that_stops_answers_held_connects_with_what_is_queued() {
    let world = World::new();
    let ann = world.long_polling().subscribed("/lazy");
    let bob = world.websocket().connected();
    world.set_options("/lazy", |options| options.lazy = true);
    let (of_ann, of_bob) = (ann.hold(), bob.hold());
    world.publish("/lazy", &json!(1));
    world.act(|engine, _, dirty| engine.release_all(dirty));
    assert_eq!(
        of_ann.messages(),
        json!([{"channel": "/lazy", "data": 1}, {"channel": CONNECT, "id": "4", "successful": true}])
    );
    assert_eq!(of_bob.reply(), json!({"channel": CONNECT, "id": "3", "successful": true}));
}

/// [CN-8] [SS-6]
#[test]
fn a_connect_on_another_transport_than_the_one_advised_gets_advice() {
    let world = World::with(|config| config.websocket.timeout = millis(9_000));
    let ann = world.long_polling().shaken();
    let socket = ann.moved_to(Transport::WebSocket);
    assert_eq!(socket.ask(json!({"channel": CONNECT}))["advice"], retry(0, 9_000));
    let held = socket.hold();
    world.advance(9_000);
    assert!(held.reply().get("advice").is_none());
    assert_eq!(ann.connect_at_once()["advice"], retry(0, 30_000));
}
