//! Handshakes.

use std::collections::BTreeSet;
use std::sync::Arc;

use mirant::bayeux::{Context, Denial, Extension, Flow, Listener, Message, SessionView, Transport, Verdict};
use serde_json::json;

use super::world::{Answer, Token, World, millis};

/// [HS-1] [HS-2] [HS-4]
#[test]
fn a_successful_reply_has_an_id_the_versions_the_transports_and_advice() {
    let world = World::with(|config| {
        config.allowed_transports = vec![Transport::LongPolling, Transport::WebSocket];
        config.websocket.timeout = millis(7_000);
        config.websocket.interval = millis(20);
    });
    let ann = world.long_polling();
    let reply = ann.ask(json!({
        "channel": "/meta/handshake", "version": "99", "minimumVersion": 3, "supportedConnectionTypes": "iframe",
        "clientId": 5, "advice": "none", "ext": [1],
    }));
    let id = reply["clientId"].clone();
    assert_eq!(
        reply,
        json!({
            "channel": "/meta/handshake", "id": "1", "successful": true, "clientId": id, "version": "1.0",
            "minimumVersion": "1.0", "supportedConnectionTypes": ["long-polling", "websocket"],
            "advice": {"reconnect": "retry", "interval": 0, "timeout": 30_000},
        })
    );
    let bob = world.websocket();
    assert_eq!(bob.handshake()["advice"], json!({"reconnect": "retry", "interval": 20, "timeout": 7_000}));
}

/// [HS-3]
#[test]
fn client_ids_are_32_hex_digits_and_differ() {
    let world = World::new();
    let ids: BTreeSet<_> = (0..50).map(|_| world.websocket().shaken().id()).collect();
    assert_eq!(ids.len(), 50);
    for id in &ids {
        assert_eq!(id.len(), 32);
        assert!(id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{id}");
        assert_eq!(&id[12..13], "4", "six bits say that the rest is random");
    }
}

/// [HS-5]
#[test]
fn advice_says_max_interval_with_handshake_reconnect() {
    let world = World::with(|config| config.long_polling.handshake_reconnect = true);
    let ann = world.long_polling();
    let advice = json!({"reconnect": "retry", "interval": 0, "timeout": 30_000, "maxInterval": 10_000});
    assert_eq!(ann.handshake()["advice"], advice);
    assert_eq!(ann.connect_at_once()["advice"], advice);
}

/// [HS-6] [SC-2]
#[test]
fn a_handshake_that_the_policy_denies_makes_no_session() {
    let world = World::new();
    let refuse = |world: &World, denial: Denial| {
        world.set_policy(move |_, _| Verdict::handshake_denied(denial.clone()));
        world.long_polling().ask(json!({"channel": "/meta/handshake"}))
    };
    let plain = json!({
        "channel": "/meta/handshake", "id": "1", "successful": false, "error": "403::handshake_denied",
        "advice": {"reconnect": "none"},
    });
    assert_eq!(refuse(&world, Denial::default()), plain);
    let advice = Some(r#"{"reconnect":"handshake"}"#.to_owned());
    let ext = Some(r#"{"com.acme.auth":{"failed":true}}"#.to_owned());
    let reply = refuse(&world, Denial { advice, ext, ..Denial::default() });
    assert_eq!(reply["advice"], json!({"reconnect": "handshake"}));
    assert_eq!(reply["ext"], json!({"com.acme.auth": {"failed": true}}));
    assert_eq!(world.engine().session_count(), 0);
}

/// [HS-7] [EN-13]
#[test]
fn a_handshake_with_company_fails_the_request() {
    let world = World::new();
    let bob = world.websocket().subscribed("/a");
    let ann = world.long_polling().connected();
    let handshake = json!({"channel": "/meta/handshake"});
    let publish = json!({"channel": "/a", "data": 1});
    assert_eq!(ann.send(json!([publish, handshake])).answer(), Answer::Status(500));
    assert_eq!(bob.heard(), [1], "what came before the handshake is done");
    assert_eq!(ann.send(json!([handshake, publish])).answer(), Answer::Status(500));
    assert_eq!(ann.send(json!([handshake, handshake])).answer(), Answer::Status(500));
    assert_eq!(bob.heard(), [0; 0]);
    assert_eq!(world.engine().session_count(), 2);
    let carl = world.websocket();
    carl.send(json!([handshake, handshake]));
    assert_eq!(carl.closed(), Some(1011));
    // The session of the failed requests goes on.
    ann.connect_at_once();
}

/// Greets each new session with messages.
pub(super) struct Greeter(pub(super) usize);

impl Listener<Token> for Greeter {
    fn session_added(&self, context: &mut Context<'_, Token>, session: &SessionView) {
        for number in 0..self.0 {
            let data = number.to_string();
            context.deliver(session.id, Message { data: Some(data.into()), ..Message::to("/hello") });
        }
    }
}

/// [HS-8]
#[test]
fn what_is_queued_during_the_handshake_waits_for_the_first_connect() {
    let world = World::new();
    world.engine().add_listener(Arc::new(Greeter(2)));
    for ann in [world.long_polling(), world.websocket()] {
        assert!(ann.handshake().get("x-messages").is_none());
        assert_eq!(ann.received(), [json!(null); 0]);
        ann.connect_at_once();
        assert_eq!(ann.heard(), [0, 1]);
    }
}

/// [HS-8]
#[test]
fn messages_of_the_handshake_are_counted_where_they_follow_it() {
    let world = World::with(|config| {
        for transport in [&mut config.long_polling, &mut config.websocket] {
            transport.allow_message_delivery_during_handshake = true;
        }
    });
    let early = world.long_polling();
    assert!(early.handshake().get("x-messages").is_none(), "none are queued");
    world.engine().add_listener(Arc::new(Greeter(2)));

    let ann = world.long_polling();
    let messages = ann.send(json!({"channel": "/meta/handshake"})).messages();
    assert_eq!(messages[0]["x-messages"], 2);
    assert_eq!((&messages[1]["data"], &messages[2]["data"]), (&json!(0), &json!(1)));
    assert!(messages[3].is_null());

    let bob = world.websocket();
    bob.send(json!({"channel": "/meta/handshake"}));
    let frames = bob.frames();
    assert_eq!(frames.len(), 3, "{frames:?}");
    assert_eq!(frames[0][0]["x-messages"], 2);
    assert_eq!(frames[2], json!([{"channel": "/hello", "data": 1}]));
}

/// [HS-8] [WS-9]
#[test]
fn messages_of_the_handshake_follow_it_even_if_others_wait_for_connects() {
    let world = World::with(|config| {
        config.websocket.allow_message_delivery_during_handshake = true;
        config.websocket.meta_connect_deliver_only = true;
    });
    world.engine().add_listener(Arc::new(Greeter(1)));
    let bob = world.websocket();
    bob.send(json!({"channel": "/meta/handshake"}));
    let frames = bob.frames();
    assert_eq!(frames.len(), 2, "{frames:?}");
    assert_eq!((&frames[0][0]["x-messages"], &frames[1]), (&json!(1), &json!([{"channel": "/hello", "data": 0}])));
}

/// Drops messages to one channel.
struct Veto(&'static str);

impl Extension for Veto {
    fn incoming(&self, _: Option<&SessionView>, message: &mut Message<'_>) -> Flow {
        if message.channel.as_deref() == Some(self.0) { Flow::Drop } else { Flow::Continue }
    }
}

/// [HS-9]
#[test]
fn a_vetoed_handshake_is_answered_without_advice() {
    let world = World::new();
    world.engine().add_extension(Arc::new(Veto("/meta/handshake")));
    let reply = world.long_polling().ask(json!({"channel": "/meta/handshake"}));
    let expected = json!({
        "channel": "/meta/handshake", "id": "1", "successful": false, "error": "404::message_deleted",
    });
    assert_eq!(reply, expected);
    assert_eq!(world.engine().session_count(), 0);
}

/// [HS-9] [SC-6]
#[test]
fn a_listener_on_the_meta_channel_vetoes_too() {
    let world = World::new();
    world.listen("/meta/handshake", |_, _, _| Flow::Drop);
    assert_eq!(world.websocket().refused(json!({"channel": "/meta/handshake"})), "404::message_deleted");
    assert_eq!(world.engine().session_count(), 0);
}

/// [HS-10] [WS-3] [WS-4]
#[test]
fn a_second_handshake_ends_no_session() {
    let world = World::new();
    let ann = world.long_polling().subscribed("/a");
    let first = world.long_polling().with_session_of(&ann);
    ann.handshake();
    first.connect_at_once();

    let bob = world.websocket().subscribed("/a");
    let before = world.websocket().with_session_of(&bob);
    bob.handshake();
    assert_eq!(bob.refused(json!({"channel": "/a", "clientId": before.id()})), "402::session_unknown");
    world.publish("/a", &json!("for the first session"));
    assert_eq!(bob.heard(), ["for the first session"]);
    bob.connect_at_once();
    bob.subscribe("/a");
    world.publish("/a", &json!("for both"));
    assert_eq!(bob.heard(), ["for both", "for both"]);
}

/// [LM-3]
#[test]
fn a_full_server_refuses_handshakes_and_says_when_to_come_back() {
    let world = World::with(|config| config.limits.max_sessions = 2);
    let ann = world.websocket().connected();
    world.websocket().connected();
    let reply = world.long_polling().ask(json!({"channel": "/meta/handshake"}));
    assert_eq!(reply["error"], "403::handshake_denied");
    assert_eq!(reply["advice"], json!({"reconnect": "handshake", "interval": 10_000}));
    ann.disconnect();
    world.long_polling().shaken();
}
