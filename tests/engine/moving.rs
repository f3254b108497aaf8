//! Sessions on several connections: sockets that come and go, other transports, who is bound to what.

use mirant::bayeux::{Batch, Took, Transport};
use serde_json::{Value, json};

use super::world::{Token, World};

/// [WS-3]
#[test]
fn the_first_message_binds_a_socket_to_its_session() {
    let world = World::new();
    let ann = world.websocket().connected();
    let bob = world.long_polling().connected();
    let unknown = "402::session_unknown";
    assert_eq!(ann.refused(json!({"channel": "/a", "clientId": bob.id()})), unknown);
    assert_eq!(ann.refused(json!({"channel": "/a", "clientId": null})), unknown);
    ann.publish("/a", 1);
    assert_eq!(ann.closed(), None);

    // A socket that has only sent strange ids is still free.
    let socket = world.websocket().with_session_of(&bob);
    assert_eq!(socket.refused(json!({"channel": "/a", "clientId": "0".repeat(32)})), unknown);
    socket.publish("/a", 1);
    assert_eq!(socket.refused(json!({"channel": "/a", "clientId": ann.id()})), unknown);
}

/// [WS-4] [WS-6]
#[test]
fn events_of_the_earlier_session_still_arrive_after_a_rebinding() {
    let world = World::new();
    let ann = world.websocket().subscribed("/a");
    let held = ann.hold();
    ann.handshake();
    ann.subscribe("/b");
    world.publish("/a", &json!(1));
    world.publish("/b", &json!(2));
    assert_eq!(ann.heard(), [1, 2]);
    world.advance(9_000);
    ann.connect_at_once();
    ann.hold();
    world.advance(21_000);
    assert!(!held.is_held(), "its connect is answered there too");
    ann.stop_reading();
    world.publish("/a", &json!(3));
    world.publish("/b", &json!(4));
    ann.read_again();
    assert_eq!(ann.heard(), [3, 4]);
}

/// [WS-6]
#[test]
fn publications_are_pushed_before_and_between_connects() {
    let world = World::new();
    let ann = world.websocket().shaken();
    ann.subscribe("/a");
    world.publish("/a", &json!(1));
    assert_eq!(ann.heard(), [1]);
    ann.connect_at_once();
    world.publish("/a", &json!(2));
    assert_eq!(ann.heard(), [2]);
}

/// [WS-7] [SS-8]
#[test]
fn a_message_on_a_new_socket_takes_the_session_over() {
    let world = World::new();
    let ann = world.websocket().subscribed("/a");
    let new = ann.moved_to(Transport::WebSocket);
    world.publish("/a", &json!(1));
    new.publish("/b", 0);
    world.publish("/a", &json!(2));
    assert_eq!((ann.heard(), new.heard()), (vec![json!(1)], vec![json!(2)]));
    ann.publish("/b", 0);
    world.publish("/a", &json!(3));
    assert_eq!((ann.heard(), new.heard()), (vec![json!(3)], vec![]), "a message on the old one takes it back");
    new.cut();
    world.publish("/a", &json!(4));
    assert_eq!(ann.heard(), [4]);
    ann.cut();
    world.publish("/a", &json!(5));
    let last = ann.moved_to(Transport::WebSocket);
    assert_eq!(last.connect_at_once()["advice"]["reconnect"], "retry");
    assert_eq!(last.heard(), [5]);
}

/// [WS-7]
#[test]
fn with_a_handshake_for_each_socket_known_sessions_are_refused() {
    let world = World::with(|config| config.websocket.require_handshake_per_connection = true);
    let ann = world.websocket().connected();
    let new = ann.moved_to(Transport::WebSocket);
    assert_eq!(new.refused(json!({"channel": "/a"})), "402::session_unknown");
    assert_eq!(new.ask(json!({"channel": "/meta/connect"}))["advice"]["reconnect"], "handshake");
    ann.publish("/a", 1);
    let polling = ann.moved_to(Transport::LongPolling);
    polling.publish("/a", 1);
}

/// [WS-14]
#[test]
fn a_lost_socket_does_not_end_the_session() {
    let world = World::new();
    let ann = world.websocket().subscribed("/a");
    ann.hold();
    world.advance(20_000);
    ann.cut();
    world.publish("/a", &json!(1));
    let new = ann.moved_to(Transport::WebSocket);
    new.connect_at_once();
    assert_eq!(new.heard(), [1]);
    new.hold();
    new.cut();
    // The time starts when the hold would have ended.
    world.advance(39_999);
    assert!(ann.is_alive());
    world.advance(1);
    assert!(!ann.is_alive());
}

/// [WS-12] [WS-3]
#[test]
fn a_socket_whose_session_has_ended_may_go_on_with_another() {
    let world = World::new();
    let ann = world.websocket().connected();
    let bob = world.long_polling().subscribed("/a");
    world.disconnect(&ann);
    let socket = ann.with_session_of(&bob);
    socket.publish("/a", 1);
    assert_eq!(socket.heard(), [1]);
}

/// [SS-6]
#[test]
fn a_session_is_used_from_both_transports() {
    let world = World::new();
    let ann = world.websocket().subscribed("/a");
    let polling = ann.moved_to(Transport::LongPolling);
    polling.publish("/a", 1);
    assert_eq!((ann.heard(), polling.heard()), (vec![], vec![json!(1)]), "it came with the response");
    world.publish("/a", &json!(2));
    assert_eq!(ann.heard(), [2]);
    let held = polling.hold();
    world.publish("/a", &json!(3));
    assert_eq!((ann.heard(), held.messages()[0]["data"].clone()), (vec![], json!(3)));
    world.publish("/a", &json!(4));
    ann.cut();
    polling.connect_at_once();
    assert_eq!(polling.heard().last(), Some(&json!(4)));
}

/// [CN-18]
#[test]
fn a_connect_that_is_answered_at_once_takes_the_session_over_too() {
    let world = World::new();
    let ann = world.websocket().subscribed("/a");
    let polling = ann.moved_to(Transport::LongPolling);
    polling.connect_at_once();
    world.publish("/a", &json!(1));
    assert_eq!(ann.heard(), Vec::<Value>::new(), "the socket may have been dead for long");
    polling.connect_at_once();
    assert_eq!(polling.heard(), [1]);
    ann.publish("/b", 0);
    world.publish("/a", &json!(2));
    assert_eq!(ann.heard(), [2], "a message on the socket takes it back");
}

#[test]
fn a_flush_that_finds_the_session_moved_starts_again() {
    let world = World::new();
    let ann = world.websocket().subscribed("/a");
    let slot = world.slot(&ann);
    ann.stop_reading();
    world.publish("/a", &json!(1));
    let old = world.engine().outlet(&slot).unwrap();
    assert_eq!(old, ann.stream());
    let new = ann.moved_to(Transport::WebSocket);
    new.connect_at_once();
    world.publish("/a", &json!(2));
    let mut batch = Batch::default();
    assert_eq!(world.engine().take(world.time(), &slot, &old, &mut batch), Took::Moved);
    assert_eq!(world.engine().take(world.time(), &slot, &new.stream(), &mut batch), Took::Nothing);
    assert!(batch.is_empty());
    assert_eq!(new.heard(), [1, 2]);
}

#[test]
fn detaching_an_outlet_that_is_no_more_changes_nothing() {
    let world = World::new();
    let ann = world.long_polling().subscribed("/a");
    let slot = world.slot(&ann);
    let first = ann.hold();
    let second = ann.hold();
    world.engine().detach(world.time(), &slot, &first.token());
    world.engine().detach(world.time(), &slot, &Token::Stream(77));
    assert!(second.is_held());
    world.publish("/a", &json!(1));
    assert!(!second.is_held());
    assert_eq!(ann.heard(), [1]);
}

/// [EN-10] [SS-6]
#[test]
fn two_requests_of_one_session_at_the_same_time_lose_nothing() {
    let world = World::new();
    let ann = world.long_polling().subscribed("/a");
    let other = ann.moved_to(Transport::LongPolling);
    ann.send_while(json!({"channel": "/b"}), || {
        let connect = other.connect();
        world.publish("/a", &json!(1));
        assert!(connect.is_held(), "the other request is still to be answered");
    });
    let mut heard = ann.heard();
    heard.extend(other.heard());
    assert_eq!(heard, [1]);
    let held = other.connect();
    world.publish("/a", &json!(2));
    assert!(!held.is_held());
    assert_eq!(other.heard(), [2]);
}

/// [WS-15] [PB-10]
#[test]
fn what_did_not_fit_into_a_stream_follows_the_session_to_its_new_one() {
    let world = World::new();
    let ann = world.websocket().subscribed("/a");
    let slot = world.slot(&ann);
    ann.stop_reading();
    world.publish("/a", &json!(1));
    let mut batch = Batch::default();
    assert_eq!(world.engine().take(world.time(), &slot, &ann.stream(), &mut batch), Took::Batch);
    // The session moves between the attempt to write and giving back.
    let new = ann.moved_to(Transport::WebSocket);
    new.connect_at_once();
    assert_eq!(new.heard(), [0; 0]);
    world.act(|engine, _, dirty| engine.give_back(&slot, &ann.stream(), batch.events, dirty));
    world.publish("/a", &json!(2));
    assert_eq!(new.heard(), [1, 2]);
}

/// [EN-13] [WS-14]
#[test]
fn a_socket_that_fails_at_its_first_request_is_no_outlet() {
    let world = World::new();
    let ann = world.long_polling().subscribed("/a");
    let socket = ann.moved_to(Transport::WebSocket);
    socket.send(json!({"channel": "/meta/connect", "advice": 5}));
    assert!(socket.closed().is_some());
    world.publish("/a", &json!(1));
    assert_eq!(world.engine().outlet(&world.slot(&ann)), None);
    assert_eq!(ann.connect().messages()[0]["data"], 1);
}
