//! The protocol's own extensions: clocks, timestamps, activity, binary data; and page reloads, which need none.

use std::sync::Arc;

use mirant::bayeux::config::{ActivityMode, EngineConfig, Extensions};
use mirant::bayeux::extension::{Binary, ZoneOffset, encode};
use mirant::bayeux::{Denial, Extension, Flow, Message, Reply, SessionId, SessionView, Transport, Verdict};
use serde_json::{Value, json};

use super::client::Client;
use super::world::{World, millis};

/// What the system's clock shows when the world begins.
const UNIX: u64 = 1_795_220_738_000;

/// A world with only those extensions that `change` switches on.
fn world(change: impl FnOnce(&mut Extensions)) -> World {
    let world = World::with(|config: &mut EngineConfig| {
        let all = &mut config.extensions;
        (all.ack, all.timesync, all.timestamp, all.activity, all.binary) = (false, false, false, false, false);
        change(all);
    });
    world.engine().set_wall_clock(world.time(), UNIX, ZoneOffset::default());
    world
}

fn timesync() -> World {
    world(|extensions| extensions.timesync = true)
}

fn subscribe(timesync: &Value) -> Value {
    json!({"channel": "/meta/subscribe", "subscription": "/a", "ext": {"timesync": timesync}})
}

/// [TS-1] [TS-2]
#[test]
fn a_client_learns_how_far_its_clock_is_off() {
    let world = timesync();
    world.advance(400);
    let ann = world.long_polling();
    let first = ann.ask(json!({"channel": "/meta/handshake", "ext": {"timesync": {"tc": UNIX, "l": 0, "o": 0}}}));
    let told = json!({"tc": UNIX, "ts": UNIX + 400, "p": 0, "a": -400});
    assert_eq!(first["ext"], json!({"timesync": told}));
    ann.set_id(first["clientId"].as_str().unwrap());
    assert_eq!(ann.ask(subscribe(&json!({"tc": 5})))["ext"], json!({"timesync": {"tc": 5, "ts": UNIX + 400, "p": 0}}));
}

/// [TS-1]
#[test]
fn the_time_that_a_connect_was_held_counts_as_spent_in_the_server() {
    let world = timesync();
    for transport in [Transport::LongPolling, Transport::WebSocket] {
        let ann = world.client(transport).connected();
        let now = UNIX + world.time().as_millis();
        let held = ann.send(json!({"channel": "/meta/connect", "ext": {"timesync": {"tc": now, "l": 0, "o": 0}}}));
        world.advance(30_000);
        assert_eq!(held.reply()["ext"], json!({"timesync": {"tc": now, "ts": now, "p": 30_000, "a": 0}}));
    }
}

/// [TS-1]
#[test]
fn clocks_that_are_set_do_not_change_what_was_spent() {
    let world = timesync();
    let ann = world.long_polling().connected();
    let held = ann.send(json!({"channel": "/meta/connect", "ext": {"timesync": {"tc": 1}}}));
    world.engine().set_wall_clock(world.time(), 77_000, ZoneOffset::default());
    world.advance(30_000);
    assert_eq!(held.reply()["ext"]["timesync"], json!({"tc": 1, "ts": UNIX, "p": 30_000}));
    assert_eq!(ann.ask(subscribe(&json!({"tc": 1})))["ext"]["timesync"]["ts"], 77_000 + 30_000);
}

/// [TS-3]
#[test]
fn a_client_whose_clock_is_near_is_told_nothing() {
    let world = timesync();
    let ann = world.websocket().connected();
    for (off, is_told) in [(0, false), (24, false), (25, true), (-24, false), (-25, true)] {
        let client = i64::try_from(UNIX).unwrap() + off - 10 + 4;
        let reply = ann.ask(subscribe(&json!({"tc": client, "l": 10, "o": -4})));
        assert_eq!(reply["ext"]["timesync"]["a"].as_i64(), is_told.then_some(off), "{reply}");
    }
}

/// [TS-3]
#[test]
fn what_is_near_can_be_set() {
    let world = world(|extensions| {
        extensions.timesync = true;
        extensions.timesync_accuracy_target = millis(200);
    });
    let ann = world.websocket().connected();
    for (off, is_told) in [(199, false), (200, true)] {
        assert_eq!(ann.ask(subscribe(&json!({"tc": UNIX + off, "l": 1, "o": -1}))).get("ext").is_some(), is_told);
    }
}

/// [TS-1]
#[test]
fn every_meta_channel_is_answered_and_no_other_is() {
    let world = timesync();
    let ann = world.long_polling().connected();
    let ask = |message: Value| {
        let mut message = message;
        message["ext"] = json!({"timesync": {"tc": 1}});
        ann.ask(message).get("ext").is_some()
    };
    assert!(ask(json!({"channel": "/meta/connect", "advice": {"timeout": 0}})));
    assert!(ask(json!({"channel": "/meta/subscribe", "subscription": "/b"})));
    assert!(ask(json!({"channel": "/meta/subscribe"})), "refused as it is");
    assert!(ask(json!({"channel": "/meta/unsubscribe", "subscription": "/b"})));
    assert!(!ask(json!({"channel": "/b", "data": 1})));
    assert!(!ask(json!({"channel": "/service/b", "data": 1})));
    assert!(!ask(json!({"channel": "/meta/subscribe/%"})), "a bad field is refused before anything is read");
    assert!(!ask(json!({"channel": "/meta/connect", "id": "-"})));
    assert!(ask(json!({"channel": "/meta/disconnect"})));
    assert!(ask(json!({"channel": "/meta/connect"})), "unknown as the session is now");
}

/// [TS-1] [SC-2]
#[test]
fn the_answer_stands_beside_what_a_policy_says() {
    let world = timesync();
    world.set_policy(|_, _| {
        let ext = Some(r#"{"why":1.50,"timesync":0}"#.into());
        Verdict::handshake_denied(Denial { ext, ..Denial::default() })
    });
    let reply = world.long_polling().ask(json!({"channel": "/meta/handshake", "ext": {"timesync": {"tc": 1}}}));
    assert_eq!(reply["ext"], json!({"why": 1.50, "timesync": {"tc": 1, "ts": UNIX, "p": 0}}));
}

/// [TS-1]
#[test]
fn without_the_extension_nothing_is_answered() {
    let ann = world(|_| {}).long_polling().connected();
    assert_eq!(ann.ask(subscribe(&json!({"tc": 1}))).get("ext"), None);
}

fn timestamp() -> World {
    world(|extensions| extensions.timestamp = true)
}

/// How [`UNIX`] is written.
const WRITTEN: &str = "Sat Nov 21 00:25:38 UTC 2026";

/// [TM-1]
#[test]
fn everything_that_leaves_says_when() {
    let world = timestamp();
    let (ann, bob) = (world.websocket().connected(), world.long_polling().connected());
    ann.subscribe("/a");
    assert_eq!(ann.ask(json!({"channel": "/meta/unsubscribe"}))["timestamp"], WRITTEN, "a refusal");
    assert_eq!(ann.ask(json!({"channel": "/a%"}))["timestamp"], WRITTEN, "a bad field");
    assert_eq!(ann.ask(json!({"channel": "/a", "timestamp": "mine", "data": 1}))["timestamp"], WRITTEN);
    assert_eq!(ann.received(), [json!({"channel": "/a", "data": 1, "timestamp": WRITTEN})]);
    world.advance(1_000);
    world.publish("/a", &json!(2));
    let later = "Sat Nov 21 00:25:39 UTC 2026";
    assert_eq!(ann.received(), [json!({"channel": "/a", "data": 2, "timestamp": later})]);
    bob.received();
    let held = bob.hold();
    world.act(|engine, now, dirty| engine.deliver(now, None, bob.session_id(), Message::to("/private"), dirty));
    assert_eq!(held.messages()[0], json!({"channel": "/private", "timestamp": later}));
    let held = bob.hold();
    world.advance(1_000);
    assert!(world.disconnect(&bob));
    let last = "Sat Nov 21 00:25:40 UTC 2026";
    let goodbye = json!({"channel": "/meta/disconnect", "successful": true, "timestamp": last});
    assert_eq!(held.messages()[0], goodbye);
    assert_eq!(held.messages()[1]["timestamp"], last);
    assert_eq!(bob.ask(json!({"channel": "/meta/connect"}))["timestamp"], last, "unknown as the session is now");
}

/// [TM-1]
#[test]
fn a_held_connect_says_when_it_was_answered() {
    let world = timestamp();
    let ann = world.long_polling().connected();
    let held = ann.hold();
    world.advance(30_000);
    assert_eq!(held.reply()["timestamp"], "Sat Nov 21 00:26:08 UTC 2026");
}

/// [TM-2]
#[test]
fn the_time_is_written_for_a_zone_and_in_a_form() {
    let world = world(|extensions| {
        extensions.timestamp = true;
        extensions.timestamp_format = "yyyy-MM-dd'T'HH:mm:ss.SSSXXX".parse().unwrap();
    });
    world.engine().set_wall_clock(world.time(), UNIX, ZoneOffset { seconds: 3_600, abbreviation: "CET".into() });
    assert_eq!(world.long_polling().handshake()["timestamp"], "2026-11-21T01:25:38.000+01:00");
}

/// [TM-3]
#[test]
fn without_the_extension_a_clients_own_timestamp_stays() {
    let world = world(|_| {});
    let ann = world.websocket().subscribed("/a");
    ann.send(json!({"channel": "/a", "timestamp": "mine", "data": 1}));
    assert_eq!(ann.events(), [json!({"channel": "/a", "timestamp": "mine", "data": 1})]);
}

fn activity(mode: ActivityMode) -> World {
    world(|extensions| {
        extensions.activity = true;
        extensions.activity_mode = mode;
        extensions.activity_max_inactivity_period = millis(1_500);
    })
}

fn connect_now(client: &Client) -> Vec<Value> {
    client.send(json!({"channel": "/meta/connect", "id": "c", "advice": {"timeout": 0}}));
    client.received()
}

fn ended() -> [Value; 2] {
    let advice = json!({"reconnect": "none", "interval": 0});
    [
        json!({"channel": "/meta/disconnect", "successful": true}),
        json!({"channel": "/meta/connect", "id": "c", "successful": false, "error": "402::session_unknown", "advice": advice}),
    ]
}

/// [AC-1]
#[test]
fn who_only_connects_is_ended_when_the_next_connect_comes() {
    for transport in [Transport::LongPolling, Transport::WebSocket] {
        let world = activity(ActivityMode::Client);
        let ann = world.client(transport).connected();
        ann.received();
        world.advance(1_500);
        assert_eq!(connect_now(&ann)[0]["successful"], true, "{transport}: not longer than the limit");
        world.advance(1);
        assert!(ann.is_alive(), "{transport}: it is looked at when a connect comes");
        assert_eq!(connect_now(&ann), ended(), "{transport}");
        let next = connect_now(&ann);
        assert_eq!(next[0]["advice"], json!({"reconnect": "handshake", "interval": 0}), "{transport}");
    }
}

/// [AC-1]
#[test]
fn any_other_message_of_the_client_shows_that_it_is_in_use() {
    let world = activity(ActivityMode::Client);
    let ann = world.long_polling().connected();
    for message in [
        json!({"channel": "/a", "data": 1}),
        json!({"channel": "/service/a", "data": 1}),
        json!({"channel": "/meta/subscribe", "subscription": "/a"}),
        json!({"channel": "/meta/subscribe"}),
    ] {
        world.advance(1_400);
        ann.ask(message);
        world.advance(1_400);
        ann.connect_at_once();
        ann.received();
    }
    world.advance(50);
    ann.ask(json!({"channel": "/a%", "data": 1}));
    world.advance(60);
    assert_eq!(connect_now(&ann), ended(), "one with a bad field shows nothing");
}

/// [AC-1]
#[test]
fn what_waits_leaves_before_the_end() {
    let world = activity(ActivityMode::Client);
    let ann = world.long_polling().subscribed("/a");
    world.advance(1_501);
    world.publish("/a", &json!(1));
    let received = connect_now(&ann);
    assert_eq!(received[0], json!({"channel": "/a", "data": 1}));
    assert_eq!(received[1..], ended());
}

/// [AC-2]
#[test]
fn messages_for_the_client_count_if_the_mode_says_so() {
    for (mode, counts) in [(ActivityMode::Client, false), (ActivityMode::ClientServer, true)] {
        let world = activity(mode);
        let ann = world.websocket().subscribed("/a");
        world.advance(1_000);
        world.publish("/a", &json!(1));
        world.advance(1_000);
        assert_eq!(connect_now(&ann).last().unwrap()["successful"], counts, "{mode:?}");
        world.advance(1_000);
        connect_now(&ann);
        assert!(!ann.is_alive(), "replies to connects never count");
    }
}

/// [AC-1]
#[test]
fn without_the_extension_connects_are_enough() {
    let world = world(|extensions| extensions.activity_max_inactivity_period = millis(1));
    let ann = world.long_polling().connected();
    world.advance(5_000);
    ann.connect_at_once();
}

/// [BI-1]
#[test]
fn binary_data_is_forwarded_as_it_was_sent() {
    let world = world(|extensions| extensions.binary = true);
    let ann = world.websocket().subscribed("/bin");
    let data = r#"{"data":"3&*!G4H@","last":true,"meta":{"size":1.50}}"#;
    for marker in ["{}", "true", r#"{"x":1}"#] {
        ann.send_text(&format!(
            r#"[{{"channel":"/bin","clientId":"{}","data":{data},"ext":{{"binary":{marker}}}}}]"#,
            ann.id()
        ));
        let expected: Value =
            serde_json::from_str(&format!(r#"{{"channel":"/bin","data":{data},"ext":{{"binary":{{}}}}}}"#)).unwrap();
        assert_eq!(ann.events(), [expected], "{marker}");
    }
}

/// [BI-4]
#[test]
fn a_marker_over_anything_else_is_removed() {
    let world = world(|extensions| extensions.binary = true);
    let ann = world.websocket().subscribed("/bin");
    for data in [json!("x"), json!(null), json!({"data": "He o"}), json!({"data": 5})] {
        ann.send(json!({"channel": "/bin", "data": data, "ext": {"binary": {}}}));
        assert_eq!(ann.events(), [json!({"channel": "/bin", "data": data, "ext": {}})]);
    }
    ann.send(json!({"channel": "/bin", "data": 1, "ext": {"binary": {}, "mine": 2}}));
    assert_eq!(ann.events(), [json!({"channel": "/bin", "data": 1, "ext": {"mine": 2}})]);
}

/// [BI-1]
#[test]
fn without_the_extension_markers_are_nothing_special() {
    let world = world(|_| {});
    let ann = world.websocket().subscribed("/bin");
    ann.send(json!({"channel": "/bin", "data": 1, "ext": {"binary": true}}));
    assert_eq!(ann.events(), [json!({"channel": "/bin", "data": 1, "ext": {"binary": true}})]);
}

/// [BI-3] [SV-3]
#[test]
fn a_service_reads_and_answers_with_bytes() {
    let world = world(|extensions| extensions.binary = true);
    world.listen("/service/reverse", |context, _, message| {
        let call = context.call(message).unwrap();
        let result = Binary::of(message).map(|mut binary| {
            binary.data.reverse();
            binary
        });
        match &result {
            Some(binary) => assert!(context.answer_binary(&call, Ok(binary))),
            None => assert!(context.answer_binary(&call, Err(&Binary::whole("no")))),
        }
        Flow::Continue
    });
    let ann = world.long_polling().connected();
    let call = |data: Value| {
        let call = json!({"channel": "/service/reverse", "id": "7", "data": data, "ext": {"binary": {}}});
        ann.send(call).messages()[0].clone()
    };
    let answer = |successful: bool, data: Value| json!({"channel": "/service/reverse", "id": "7", "successful": successful, "data": data, "ext": {"binary": {}}});
    let sent = json!({"data": "3jvm", "last": false, "meta": {"name": "f"}});
    let reversed = json!({"data": encode(&[0x0c, 0x0b, 0x0a]), "last": false, "meta": {"name": "f"}});
    assert_eq!(call(sent), answer(true, reversed));
    let refused = encode(b"no");
    assert_eq!(call(json!("text")), answer(false, json!({"data": refused, "last": true})));
}

/// Looks at what the protocol's own extensions have done so far, and writes over it.
struct Meddler;

impl Extension for Meddler {
    fn incoming(&self, _: Option<&SessionView>, message: &mut Message<'_>) -> Flow {
        if message.channel.as_deref() == Some("/bin") {
            assert_eq!(message.ext.as_deref(), Some("{}"), "a marker has been looked at before");
        }
        Flow::Continue
    }

    fn outgoing(&self, _: Option<SessionId>, to: Option<&SessionView>, message: &mut Message<'_>) -> Flow {
        let has_timestamp = message.extra.iter().any(|(name, _)| name == "timestamp");
        assert_eq!(has_timestamp, to.is_some(), "the time is written behind the program's and before the session's");
        if to.is_none() {
            message.extra.push(("timestamp".into(), "0".into()));
        }
        Flow::Continue
    }

    fn reply(&self, to: Option<&SessionView>, reply: &mut Reply<'_>) -> Flow {
        if reply.ext.is_none() {
            reply.ext = Some(r#"{"mine":1}"#.into());
        }
        let _ = to;
        Flow::Continue
    }
}

/// [SC-7]
#[test]
fn the_protocols_extensions_stand_in_front_of_the_programs() {
    let world = world(|extensions| (extensions.timesync, extensions.timestamp, extensions.binary) = (true, true, true));
    let ann = world.websocket().subscribed("/bin");
    world.engine().add_extension(Arc::new(Meddler));
    assert!(world.engine().add_session_extension(ann.session_id(), Arc::new(Meddler)));
    let reply = ann.ask(subscribe(&json!({"tc": 1})));
    assert_eq!(reply["ext"], json!({"mine": 1, "timesync": {"tc": 1, "ts": UNIX, "p": 0}}));
    ann.received();
    ann.send(json!({"channel": "/bin", "data": 1, "ext": {"binary": {}}}));
    assert_eq!(ann.events(), [json!({"channel": "/bin", "data": 1, "ext": {}, "timestamp": WRITTEN})]);
}

/// [SS-6] [CN-1] [CN-8] [CN-12]
#[test]
fn a_page_that_is_reloaded_goes_on_with_its_session() {
    let world = World::new();
    for transport in [Transport::LongPolling, Transport::WebSocket] {
        let old = world.client(transport).subscribed("/a");
        let held = old.hold();
        let new = old.moved_to(transport);
        let first = new.ask(json!({"channel": "/meta/connect", "advice": {"timeout": 0}}));
        assert_eq!(first["successful"], true);
        assert_eq!(first["advice"]["reconnect"], "retry", "{transport}: answered at once, with advice");
        if transport.is_http() {
            assert_eq!(held.answer(), super::world::Answer::Status(500), "the old page's connect is given up");
        }
        let next = new.hold();
        world.publish("/a", &json!(1));
        assert_eq!(new.events(), [json!({"channel": "/a", "data": 1})], "{transport}: it is still subscribed");
        assert!(!transport.is_http() || !next.is_held());
        assert_eq!(old.events(), [Value::Null; 0], "{transport}: nothing goes to the page that is gone");
    }
}

/// [SS-6]
#[test]
fn what_came_while_a_page_reloaded_waits_for_it() {
    let world = World::new();
    let old = world.websocket().subscribed("/a");
    old.hold();
    old.cut();
    world.publish("/a", &json!(1));
    let new = old.moved_to(Transport::WebSocket);
    new.connect_at_once();
    assert_eq!(new.heard(), [json!(1)]);
}
