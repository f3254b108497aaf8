//! Sessions on `callback-polling`: publications travel with connect replies only, everything else is long-polling.

use mirant::bayeux::Transport;
use serde_json::json;

use super::world::{Answer, World};

/// [CP-5]
#[test]
fn publications_wait_for_a_connect() {
    let world = World::new();
    let ann = world.callback_polling().subscribed("/a");
    ann.frames();
    ann.publish("/a", 1);
    world.publish("/a", &json!(2));
    ann.subscribe("/b");
    assert_eq!((ann.heard().len(), ann.queued()), (0, 2));
    let reply = json!({"channel": "/meta/connect", "id": "8", "successful": true});
    let sent = ann.send(json!({"channel": "/meta/connect", "id": "8"}));
    assert_eq!(sent.messages(), json!([{"channel": "/a", "data": 1}, {"channel": "/a", "data": 2}, reply]));
    let held = ann.hold();
    ann.publish("/a", 3);
    assert_eq!(held.messages()[0], json!({"channel": "/a", "data": 3}), "a held connect brings it");
}

/// [CP-5]
#[test]
fn what_began_with_callbacks_is_no_different_elsewhere() {
    let world = World::new();
    let caller = world.callback_polling().subscribed("/a");
    for transport in [Transport::LongPolling, Transport::WebSocket] {
        let ann = caller.moved_to(transport);
        ann.publish("/a", 1);
        assert_eq!(ann.heard(), [1], "{transport}");
    }
    // The socket is left, and the session is one of callbacks again.
    let held = caller.connect();
    caller.publish("/a", 2);
    assert_eq!(held.messages()[0]["data"], 2);
}

/// [CP-6] [LP-8]
#[test]
fn a_response_ends_at_its_own_limit() {
    let world = World::with(|config| config.callback_polling.max_batch_bytes = 60);
    let ann = world.callback_polling().subscribed("/a");
    (0..5).for_each(|n| _ = world.publish("/a", &json!(n)));
    let mut heard = Vec::new();
    while ann.queued() > 0 {
        let batch = ann.connect();
        let batch = batch.messages();
        let batch = batch.as_array().unwrap();
        assert!(batch.len() <= 3, "two fit beside the reply: {batch:?}");
        heard.extend(batch.iter().filter_map(|message| message.get("data")).cloned());
    }
    assert_eq!(heard, [0, 1, 2, 3, 4]);
}

/// [CP-6] [CN-13]
#[test]
fn a_connect_is_superseded_from_either_transport() {
    let world = World::with(|config| config.callback_polling.duplicate_meta_connect_http_response_code = 409);
    let caller = world.callback_polling().connected();
    let first = caller.hold();
    let second = caller.hold();
    assert_eq!(first.answer(), Answer::Status(409));
    let polling = caller.moved_to(Transport::LongPolling);
    let third = polling.hold();
    assert_eq!(second.messages()[0]["successful"], true);
    let fourth = caller.hold();
    assert_eq!(third.messages()[0]["successful"], true);
    world.advance(30_000);
    assert!(fourth.reply().get("advice").is_some(), "the other transport took the advice last [CN-9]");
}
