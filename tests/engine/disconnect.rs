//! The ends that sessions come to by somebody's decision.

use mirant::bayeux::Flow;
use serde_json::{Value, json};

use super::world::World;

fn goodbye() -> Value {
    json!({"channel": "/meta/disconnect", "successful": true})
}

fn last_connect(id: &str) -> Value {
    json!({"channel": "/meta/connect", "id": id, "successful": true, "advice": {"reconnect": "none"}})
}

/// [DC-1] [DC-3] [LP-7]
#[test]
fn a_disconnect_ends_the_session_and_brings_what_is_queued() {
    let world = World::new();
    let ann = world.long_polling().subscribed("/a");
    let bob = world.websocket().connected();
    world.publish("/a", &json!(1));
    let messages = ann.send(json!({"channel": "/meta/disconnect", "id": "d"})).messages();
    let reply = json!({"channel": "/meta/disconnect", "id": "d", "successful": true});
    assert_eq!(messages, json!([{"channel": "/a", "data": 1}, reply]));
    assert!(!ann.is_alive());
    assert_eq!(world.publish("/a", &json!(2)), Some(0));
    assert_eq!(ann.refused(json!({"channel": "/meta/disconnect"})), "402::session_unknown");
    bob.disconnect();
    assert_eq!(world.engine().session_count(), 0);
}

/// [DC-2]
#[test]
fn a_held_connect_is_let_go_with_advice_not_to_come_back() {
    let world = World::new();
    let ann = world.long_polling().connected();
    let held = ann.hold();
    ann.disconnect();
    assert_eq!(held.messages(), json!([last_connect("3")]));

    let bob = world.websocket().connected();
    bob.hold();
    bob.send(json!({"channel": "/meta/disconnect", "id": "d"}));
    let reply = json!({"channel": "/meta/disconnect", "id": "d", "successful": true});
    assert_eq!(bob.frames(), [json!([reply]), json!([last_connect("3")])]);
    assert_eq!(bob.closed(), None, "[DC-8]");
}

/// [DC-1] [DC-2] [WS-8]
#[test]
fn publications_and_withheld_replies_of_the_same_session_come_too() {
    let world = World::new();
    let ann = world.websocket().subscribed("/a");
    ann.send(json!([{"channel": "/meta/connect", "id": "c"}, {"channel": "/b", "id": "p"}]));
    assert_eq!(ann.received(), [json!(null); 0]);
    ann.send(json!([{"channel": "/a", "id": "1", "data": 1}, {"channel": "/meta/disconnect", "id": "2"}]));
    let frames = ann.frames();
    assert_eq!(frames[0], json!([{"channel": "/a", "data": 1}]));
    let ids: Vec<_> =
        frames[1..].iter().flat_map(|frame| frame.as_array().unwrap()).map(|reply| &reply["id"]).collect();
    assert_eq!(ids, ["1", "2", "p", "c"]);
}

/// [DC-4]
#[test]
fn the_server_ends_a_session_whose_connect_is_held() {
    let world = World::new();
    let ann = world.long_polling().connected();
    let held = ann.hold();
    assert!(world.disconnect(&ann));
    assert_eq!(held.messages(), json!([goodbye(), last_connect("3")]));
    assert!(!world.disconnect(&ann), "it is gone already");

    let bob = world.websocket().connected();
    bob.hold();
    world.disconnect(&bob);
    assert_eq!(bob.frames(), [json!([goodbye()]), json!([last_connect("3")])]);
}

/// [DC-5] [CN-10]
#[test]
fn the_server_ends_a_session_without_a_held_connect_in_silence() {
    let world = World::new();
    let refused = json!({
        "channel": "/meta/connect", "id": "c", "successful": false, "error": "402::session_unknown",
        "advice": {"reconnect": "handshake", "interval": 0},
    });
    for ann in [world.long_polling().connected(), world.websocket().connected()] {
        world.disconnect(&ann);
        assert_eq!(ann.received(), [json!(null); 0]);
        assert_eq!(ann.ask(json!({"channel": "/meta/connect", "id": "c"})), refused);
        assert_eq!(ann.refused(json!({"channel": "/a"})), "402::session_unknown");
        ann.handshake();
        ann.connect_at_once();
    }
}

/// [DC-6] [DC-7]
#[test]
fn a_session_ended_while_it_is_served_hears_of_it_before_the_reply() {
    let world = World::new();
    world.listen("/service/kick", |context, _, _| {
        let sender = context.sender().unwrap().id;
        assert!(context.disconnect(sender));
        Flow::Continue
    });
    let batch = json!([
        {"channel": "/service/kick", "id": "1"}, {"channel": "/a", "id": "2"}, {"channel": "/meta/connect", "id": "3"},
    ]);
    let kicked = json!({"channel": "/service/kick", "id": "1", "successful": true});
    let rest = [
        json!({"channel": "/a", "id": "2", "successful": false, "error": "402::session_unknown"}),
        json!({
            "channel": "/meta/connect", "id": "3", "successful": false, "error": "402::session_unknown",
            "advice": {"reconnect": "none", "interval": 0},
        }),
    ];
    let ann = world.long_polling().connected();
    assert_eq!(ann.send(batch.clone()).messages(), json!([goodbye(), kicked, rest[0], rest[1]]));
    let bob = world.websocket().connected();
    bob.send(batch.clone());
    assert_eq!(bob.frames(), [json!([goodbye()]), json!([kicked, rest[0], rest[1]])]);

    let shy = World::with(|config| config.websocket.meta_connect_deliver_only = true);
    shy.listen("/service/kick", |context, _, _| {
        context.disconnect(context.sender().unwrap().id);
        Flow::Continue
    });
    let carl = shy.websocket().connected();
    carl.send(json!({"channel": "/service/kick", "id": "1"}));
    assert_eq!(carl.received(), [kicked], "no connect is there that could carry it");
}

/// [DC-1] [DC-4] [DC-6]
#[test]
fn a_connect_held_over_http_takes_along_what_is_queued_when_its_session_ends() {
    let world = World::new();
    world.listen("/service/kick", |context, _, _| {
        context.disconnect(context.sender().unwrap().id);
        Flow::Continue
    });
    for (last, farewell) in [("/service/kick", Some(goodbye())), ("/meta/disconnect", None)] {
        let ann = world.long_polling().subscribed("/a");
        let held = ann.hold();
        let replies =
            ann.send(json!([{"channel": "/a", "id": "1", "data": 1}, {"channel": last, "id": "2"}])).messages();
        let success = |channel: &str, id: &str| json!({"channel": channel, "id": id, "successful": true});
        assert_eq!(replies, json!([success("/a", "1"), success(last, "2")]));
        let mut expected = vec![json!({"channel": "/a", "data": 1})];
        expected.extend(farewell);
        let messages = held.messages();
        assert_eq!(messages.as_array().unwrap()[..expected.len()], expected);
        assert_eq!(messages[expected.len()]["advice"], json!({"reconnect": "none"}));
    }
}

/// [CN-11] [DC-7]
#[test]
fn later_messages_of_the_request_are_refused() {
    let world = World::new();
    let batch = json!([
        {"channel": "/meta/disconnect", "id": "1"}, {"channel": "/a", "id": "2"}, {"channel": "/meta/connect", "id": "3"},
    ]);
    let replies = json!([
        {"channel": "/meta/disconnect", "id": "1", "successful": true},
        {"channel": "/a", "id": "2", "successful": false, "error": "402::session_unknown"},
        {
            "channel": "/meta/connect", "id": "3", "successful": false, "error": "402::session_unknown",
            "advice": {"reconnect": "none", "interval": 0},
        },
    ]);
    let ann = world.long_polling().connected();
    assert_eq!(ann.send(batch.clone()).messages(), replies);
    let bob = world.websocket().connected();
    bob.send(batch);
    assert_eq!(bob.frames(), [replies]);
}

/// [DC-1]
#[test]
fn a_connect_and_a_disconnect_in_one_request_are_both_answered() {
    let world = World::new();
    let batch = json!([{"channel": "/meta/connect", "id": "1"}, {"channel": "/meta/disconnect", "id": "2"}]);
    for ann in [world.long_polling().connected(), world.websocket().connected()] {
        ann.send(batch.clone());
        let replies = ann.received();
        assert_eq!((&replies[0]["id"], &replies[1]["id"]), (&json!("1"), &json!("2")));
        assert!(!ann.is_alive());
    }
}

#[test]
fn a_batch_scope_holds_deliveries_back_and_ends_with_the_session() {
    let world = World::new();
    let ann = world.websocket().subscribed("/a");
    assert!(world.engine().start_batch(ann.session_id()));
    world.publish("/a", &json!(1));
    world.publish("/a", &json!(2));
    assert_eq!(ann.heard(), [0; 0]);
    world.act(|engine, _, dirty| engine.end_batch(ann.session_id(), dirty));
    assert_eq!(ann.heard(), [1, 2]);

    let bob = world.long_polling().connected();
    let held = bob.hold();
    world.engine().start_batch(bob.session_id());
    world.disconnect(&bob);
    world.act(|engine, _, dirty| engine.end_batch(bob.session_id(), dirty));
    assert!(!held.is_held());
}

/// [DC-5]
#[test]
fn who_speaks_over_a_socket_before_its_first_connect_is_told_of_its_end() {
    let world = World::new();
    let silent = world.websocket().shaken();
    assert!(world.disconnect(&silent));
    assert_eq!(silent.received(), [json!(null); 0]);
    let ann = world.websocket().shaken();
    ann.subscribe("/a");
    ann.received();
    assert!(world.disconnect(&ann));
    assert_eq!(ann.received(), [json!({"channel": "/meta/disconnect", "successful": true})]);
    let polling = world.long_polling().shaken();
    polling.subscribe("/a");
    assert!(world.disconnect(&polling));
    assert_eq!(polling.refused(json!({"channel": "/a"})), "402::session_unknown");
}
