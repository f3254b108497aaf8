//! How long sessions live, and sessions of the process itself.

use mirant::bayeux::{Denial, Operation, Transport, Verdict};
use serde_json::json;

use super::world::{Answer, World, millis};

const CONNECT: &str = "/meta/connect";

/// [SS-1] [SS-4] [CN-10]
#[test]
fn a_session_without_a_connect_expires_after_interval_and_max_interval() {
    let world = World::with(|config| {
        for transport in [&mut config.long_polling, &mut config.websocket] {
            transport.interval = millis(500);
            transport.max_interval = millis(3_000);
        }
    });
    for ann in [world.long_polling(), world.websocket()] {
        let ann = ann.shaken();
        world.advance(3_499);
        ann.connect_at_once();
        world.advance(3_499);
        assert!(ann.is_alive());
        let held = ann.hold();
        world.advance(30_000 + 3_499);
        assert!(!held.is_held());
        assert!(ann.is_alive());
        world.advance(1);
        assert!(!ann.is_alive());
        let reply = ann.ask(json!({"channel": CONNECT}));
        assert_eq!(reply["advice"], json!({"reconnect": "handshake", "interval": 0}));
        assert_eq!(ann.refused(json!({"channel": "/a"})), "402::session_unknown");
        assert_eq!(ann.closed(), None, "[WS-12]");
    }
    assert_eq!(world.engine().totals().sessions_expired, 2);
}

/// [SS-1]
#[test]
fn the_clients_announced_interval_takes_the_place_of_the_servers() {
    let world = World::new();
    let ann = world.long_polling().shaken();
    ann.ask(json!({"channel": CONNECT, "advice": {"timeout": 0, "interval": 3_000}}));
    world.advance(12_999);
    assert!(ann.is_alive());
    ann.hold();
    world.advance(39_999);
    assert!(ann.is_alive(), "the next connect did not announce one");
    world.advance(1);
    assert!(!ann.is_alive());
}

/// [SS-3]
#[test]
fn other_messages_put_the_end_off() {
    let world = World::new();
    let ann = world.long_polling().connected();
    for _ in 0..5 {
        world.advance(9_999);
        ann.publish("/a", 1);
    }
    world.advance(9_999);
    ann.refused(json!({"channel": "/meta/unsubscribe", "subscription": "/never"}));
    world.advance(9_999);
    assert!(ann.is_alive());
    world.advance(1);
    assert!(!ann.is_alive());

    // They put it off, and never forward.
    let bob = world.long_polling().shaken();
    bob.ask(json!({"channel": CONNECT, "advice": {"timeout": 0, "interval": 20_000}}));
    bob.publish("/a", 1);
    world.advance(29_999);
    assert!(bob.is_alive());
}

/// [SS-2]
#[test]
fn a_session_does_not_expire_while_a_connect_is_in_progress() {
    let world = World::new();
    let ann = world.long_polling().connected();
    let connect = ann.send_while(json!({"channel": CONNECT}), || world.advance(25_000));
    assert!(connect.is_held());
    world.advance(4_999);
    assert!(connect.is_held());
    world.advance(1);
    assert!(!connect.is_held());

    // Nor while another request of it is being answered.
    ann.send_while(json!({"channel": "/a"}), || world.advance(60_000));
    assert!(ann.is_alive());
    world.advance(10_000);
    assert!(!ann.is_alive());
}

/// [SS-1]
#[test]
fn the_time_starts_when_the_reply_has_been_written() {
    let world = World::new();
    let ann = world.long_polling().connected();
    let slot = world.slot(&ann);
    world.advance(9_000);
    world.engine().written(world.time(), &slot);
    world.advance(9_999);
    assert!(ann.is_alive());
    world.advance(1);
    assert!(!ann.is_alive());
}

/// [SS-5]
#[test]
fn a_session_that_is_silent_while_its_connect_is_held_is_ended() {
    let world = World::with(|config| {
        for transport in [&mut config.long_polling, &mut config.websocket] {
            transport.max_processing = Some(millis(5_000));
        }
    });
    let ann = world.long_polling().subscribed("/a");
    let bob = world.websocket().connected();
    let held = ann.hold();
    bob.hold();
    world.advance(3_000);
    ann.publish("/b", 1);
    world.advance(2_000);
    assert_eq!(bob.closed(), Some(1000));
    assert!(held.is_held(), "another message was heard of");
    world.advance(3_000);
    assert_eq!(held.answer(), Answer::Status(500));
    assert!(!ann.is_alive() && !bob.is_alive());
    assert_eq!(ann.ask(json!({"channel": CONNECT}))["advice"]["reconnect"], "handshake");
}

/// [SS-8] [LP-10]
#[test]
fn a_client_that_was_reloaded_goes_on_with_its_id() {
    let world = World::new();
    let ann = world.long_polling().subscribed("/a");
    let held = ann.hold();
    ann.cut();
    assert_eq!(held.answer(), Answer::Lost);
    world.publish("/a", &json!(1));
    world.advance(5_000);
    let again = ann.moved_to(Transport::LongPolling);
    let messages = again.send(json!({"channel": CONNECT, "id": "1", "advice": {"timeout": 0}})).messages();
    assert_eq!((&messages[0]["data"], &messages[1]["id"]), (&json!(1), &json!("1")));
    world.publish("/a", &json!(2));
    assert_eq!(again.connect().messages()[0]["data"], 2);

    // The time starts when the request is gone.
    let held = again.hold();
    world.advance(5_000);
    again.cut();
    assert_eq!(held.answer(), Answer::Lost);
    world.advance(9_999);
    assert!(ann.is_alive());
    world.advance(1);
    assert!(!ann.is_alive());
}

/// [SS-9]
#[test]
fn a_session_belongs_to_the_mount_of_its_handshake() {
    let world = World::new();
    let ann = world.long_polling().on_mount(1).subscribed("/a");
    for elsewhere in [world.long_polling(), world.websocket(), world.websocket().on_mount(2)] {
        let elsewhere = elsewhere.with_session_of(&ann);
        assert_eq!(elsewhere.refused(json!({"channel": "/a", "data": 1})), "402::session_unknown");
    }
    let home = world.websocket().on_mount(1).with_session_of(&ann);
    home.publish("/a", 2);
    assert_eq!(home.heard(), [2]);
}

/// [SS-7]
#[test]
fn a_session_of_the_process_never_expires_and_passes_the_same_rules() {
    let world = World::with(|config| config.long_polling.max_processing = Some(millis(100)));
    let service = world.client(Transport::Local).shaken();
    service.subscribe("/a");
    world.advance(24 * 3_600_000);
    let ann = world.websocket().connected();
    ann.publish("/a", 1);
    service.publish("/a", 2);
    assert_eq!(service.heard(), [1, 2]);
    world.set_policy(|_, _| {
        let mut verdict = Verdict::granted();
        verdict.deny(Operation::Publish, 0, Denial::default());
        verdict
    });
    let refused = service.refused(json!({"channel": "/a", "data": 3}));
    assert_eq!(refused, "403:denied_by_security_policy:publish_denied");
    // Its id opens nothing from outside, and no outside id anything inside.
    let thief = world.websocket().with_session_of(&service);
    assert_eq!(thief.refused(json!({"channel": "/a"})), "402::session_unknown");
    let inside = world.client(Transport::Local).with_session_of(&ann);
    assert_eq!(inside.refused(json!({"channel": "/a"})), "402::session_unknown");
    service.disconnect();
    assert!(!service.is_alive());
}

/// [SS-7] [HS-8]
#[test]
fn a_session_of_the_process_needs_no_connect_to_hear_what_it_was_sent_first() {
    let world = World::new();
    world.engine().add_listener(std::sync::Arc::new(super::handshake::Greeter(2)));
    let service = world.client(Transport::Local).shaken();
    assert_eq!(service.heard(), [0, 1]);
}

#[test]
fn a_request_that_is_given_up_leaves_the_session_as_if_it_had_been_answered() {
    let world = World::new();
    let ann = world.long_polling().connected();
    let message = format!(r#"{{"channel":"/meta/connect","clientId":"{}"}}"#, ann.id());
    let peer = mirant::bayeux::Peer::on(Transport::LongPolling);
    world.act(|engine, now, dirty| {
        let token = super::world::Token::Request(99, 0);
        let mut exchange = engine.begin(now, peer, token, mirant::bayeux::Binding::Open, 1);
        let messages = mirant::bayeux::decode(&message, &engine.config().limits).unwrap();
        for message in messages {
            engine.handle(now, &mut exchange, message, &Verdict::granted(), dirty);
        }
        engine.abandon(now, exchange, dirty);
    });
    world.advance(9_999);
    assert!(ann.is_alive());
    world.advance(1);
    assert!(!ann.is_alive());
}
