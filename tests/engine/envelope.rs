//! Framing, fields and the order of steps.

use mirant::bayeux::config::Limits;
use serde_json::json;

use super::world::{Answer, World};

/// [EN-1] [EN-14]
#[test]
fn a_request_is_an_array_or_one_object_and_the_answer_an_array() {
    let world = World::new();
    let ann = world.long_polling();
    let handshake = json!({"channel": "/meta/handshake", "id": "1"});
    assert_eq!(ann.send_text(&handshake.to_string()).messages()[0]["successful"], true);
    assert_eq!(ann.send_text(&format!(" [{handshake}]\n")).messages()[0]["successful"], true);
    assert_eq!(ann.send_text("[]").messages(), json!([]));
}

/// [EN-15] [WS-10]
#[test]
fn what_is_no_message_fails_the_request() {
    let world = World::new();
    for (text, status) in [("", 400), ("1", 400), ("\"x\"", 400), ("[{}", 400), ("null", 500), ("[1]", 500)] {
        assert_eq!(world.long_polling().send_text(text).answer(), Answer::Status(status), "{text:?}");
        let bob = world.websocket();
        bob.send_text(text);
        assert_eq!(bob.closed(), Some(1011), "{text:?}");
    }
    assert_eq!(world.long_polling().send_text(r#"{"channel":7}"#).answer(), Answer::Status(500));
}

/// [EN-3] [EN-11]
#[test]
fn channel_is_checked_before_id_and_both_before_the_session() {
    let world = World::new();
    let stranger = world.long_polling();
    for (message, error) in [
        (json!({"id": "a-b"}), "400::channel_missing"),
        (json!({"channel": null, "id": "1"}), "400::channel_missing"),
        (json!({"channel": "/a//b", "id": "a-b"}), "405::channel_invalid"),
        (json!({"channel": "a", "id": "1"}), "405::channel_invalid"),
        (json!({"channel": "/a", "id": "a-b"}), "405::message_id_invalid"),
        (json!({"channel": "/a", "id": ""}), "405::message_id_invalid"),
        (json!({"channel": "/a", "id": 1.5}), "405::message_id_invalid"),
        (json!({"channel": "/meta/handshake", "id": "<x>"}), "405::message_id_invalid"),
        (json!({"channel": "/a", "id": "1"}), "402::session_unknown"),
    ] {
        let reply = &stranger.send(message.clone()).messages()[0];
        assert_eq!((&reply["successful"], &reply["error"]), (&json!(false), &json!(error)), "{message}");
        assert!(reply.get("advice").is_none(), "{reply}");
        assert_eq!(reply.get("channel"), message.get("channel").filter(|channel| !channel.is_null()));
    }
}

/// [EN-3] [LM-2]
#[test]
fn any_id_passes_where_fields_are_not_validated() {
    let world = World::with(|config| config.validate_message_fields = false);
    let ann = world.long_polling().connected();
    assert_eq!(ann.ask(json!({"channel": "/a", "id": "a-b c"}))["successful"], true);
    assert_eq!(ann.ask(json!({"channel": "/a//b"}))["error"], "405::channel_invalid");
}

/// [EN-5] [EN-6] [EN-7] [EN-8]
#[test]
fn a_reply_echoes_id_as_text_and_subscription_as_sent() {
    let world = World::new();
    let ann = world.long_polling().connected();
    let sent = |message| ann.send(message).messages()[0].clone();
    let reply = |id| json!({"channel": "/a", "id": id, "successful": true});
    assert_eq!(sent(json!({"channel": "/a", "id": 8, "data": 1})), reply("8"));
    assert_eq!(sent(json!({"channel": "/a", "id": true, "data": 1})), reply("true"));
    assert_eq!(
        sent(json!({"channel": "/a", "id": null, "data": 1, "connectionType": "x"})),
        json!({"channel": "/a", "successful": true})
    );
    assert_eq!(
        sent(json!({"channel": "/a", "id": "1", "subscription": {"x": [1]}})),
        json!({"channel": "/a", "id": "1", "successful": true, "subscription": {"x": [1]}})
    );
}

/// [EN-4] [EN-9]
#[test]
fn the_text_of_data_and_ext_is_forwarded_as_it_was_sent() {
    let world = World::new();
    let ann = world.websocket().connected();
    let bob = world.websocket().subscribed("/a");
    bob.stop_reading();
    let data = r#"{"z":1E5, "a":1e400,"big":123456789012345678901234567890,"u":"\u00e9\/\ud800","z":-0.0,"d":[[]]}"#;
    let ext = r#"{"b":1.50,"a":[ ]}"#;
    ann.send_text(&format!(
        r#"[{{"channel":"/x","ext":{ext},"clientId":"{}","x":1,"data":{data},"channel":"/a","id":"1","x":"last"}}]"#,
        ann.id()
    ));
    let event = format!(r#"{{"channel":"/a","data":{data},"ext":{ext},"x":"last"}}"#);
    assert_eq!(str::from_utf8(world.take_one(&bob).json()), Ok(&*event));
}

/// [EN-10] [EN-18]
#[test]
fn replies_keep_the_order_of_the_messages_behind_the_events() {
    let world = World::new();
    let ann = world.long_polling().subscribed("/a");
    let messages = ann
        .send(json!([
            {"channel": "/a", "id": "1", "data": 1},
            {"channel": "/meta/subscribe", "id": "2", "subscription": "/b"},
            {"channel": "/a//", "id": "3"},
            {"channel": "/b", "id": "4", "data": 2},
        ]))
        .messages();
    assert_eq!(
        messages,
        json!([
            {"channel": "/a", "data": 1},
            {"channel": "/b", "data": 2},
            {"channel": "/a", "id": "1", "successful": true},
            {"channel": "/meta/subscribe", "id": "2", "successful": true, "subscription": "/b"},
            {"channel": "/a//", "id": "3", "successful": false, "error": "405::channel_invalid"},
            {"channel": "/b", "id": "4", "successful": true},
        ])
    );
}

/// [EN-12]
#[test]
fn a_request_belongs_to_the_session_of_its_first_message() {
    let world = World::new();
    let ann = world.long_polling().connected();
    let bob = world.long_polling().subscribed("/a");
    let messages = ann
        .send(json!([
            {"channel": "/a", "id": "1", "data": 1},
            {"channel": "/a", "id": "2", "data": 2, "clientId": bob.id()},
            {"channel": "/a", "id": "3", "data": 3, "clientId": null},
            {"channel": "/meta/connect", "id": "4", "clientId": bob.id()},
            {"channel": "/a", "id": "5", "data": 5},
        ]))
        .messages();
    let results: Vec<_> = messages.as_array().unwrap().iter().map(|reply| reply["successful"].clone()).collect();
    assert_eq!(results, [true, false, false, false, true]);
    assert_eq!(messages[3]["advice"], json!({"reconnect": "handshake", "interval": 0}));

    // A first message that names nobody leaves the others without a session.
    let messages = ann.send(json!([{"channel": "/a", "clientId": null}, {"channel": "/a", "data": 6}])).messages();
    assert_eq!(messages[1]["error"], "402::session_unknown");
    bob.connect_at_once();
    assert_eq!(bob.heard(), [1, 5]);
}

/// [EN-13] [EN-16]
#[test]
fn what_earlier_messages_did_remains_done_when_a_request_fails() {
    let world = World::new();
    let ann = world.long_polling().connected();
    let bob = world.websocket().subscribed("/a");
    for advice in [json!("x"), json!([]), json!([5]), json!({"timeout": "5"}), json!({"interval": {}}), json!(1)] {
        let batch = json!([{"channel": "/a", "data": 1}, {"channel": "/meta/connect", "advice": advice}]);
        assert_eq!(ann.send(batch).answer(), Answer::Status(500), "{advice}");
        assert_eq!(bob.heard(), [1]);
    }
    for advice in [json!(null), json!({}), json!({"timeout": 0, "x": {"y": []}}), json!({"timeout": null})] {
        let batch = json!([{"channel": "/meta/connect", "advice": advice}, {"channel": "/a", "data": 2}]);
        assert_eq!(ann.send(batch).messages()[0]["successful"], true, "{advice}");
    }
    let twice =
        format!(r#"{{"channel":"/meta/connect","clientId":"{}","advice":{{"timeout":"x","timeout":0}}}}"#, ann.id());
    assert_eq!(ann.send_text(&twice).messages()[0]["successful"], true, "the last of two equal keys counts [EN-4]");
}

/// [EN-17]
#[test]
fn a_client_id_that_is_no_string_names_no_session() {
    let world = World::new();
    let ann = world.long_polling().connected();
    for id in [json!(5), json!({"a": 1}), json!([ann.id()]), json!(true), json!(""), json!(ann.id().to_uppercase())] {
        let reply = ann.ask(json!({"channel": "/a", "clientId": id}));
        assert_eq!(reply["error"], "402::session_unknown", "{id}");
    }
}

/// [LM-1] [LM-2]
#[test]
fn batches_depth_names_and_ids_have_limits() {
    let limits =
        Limits { max_batch_messages: 2, max_depth: 5, max_channel_length: 20, max_id_length: 3, ..Limits::default() };
    let world = World::with(|config| config.limits = limits);
    let ann = world.long_polling().connected();
    let publish = |data: &str| {
        let text = format!(r#"[{{"channel":"/a","clientId":"{}","data":{data},"pad":"0123456789"}}]"#, ann.id());
        ann.send_text(&text).answer()
    };
    assert!(matches!(publish("[[[1]]]"), Answer::Answered(_)));
    assert_eq!(publish("[[[[1]]]]"), Answer::Status(400));
    assert!(matches!(publish(r#""[[[[[[[[""#), Answer::Answered(_)));

    let two = json!([{"channel": "/a"}, {"channel": "/a"}]);
    let three = json!([{"channel": "/a"}, {"channel": "/a"}, {"channel": "/a"}]);
    assert_eq!(ann.send(two).messages()[1]["successful"], true);
    assert_eq!(ann.send(three).answer(), Answer::Status(413));

    assert_eq!(ann.ask(json!({"channel": format!("/{}", "a".repeat(19))}))["successful"], true);
    assert_eq!(ann.ask(json!({"channel": format!("/{}", "a".repeat(20))}))["error"], "405::channel_invalid");
    assert_eq!(ann.ask(json!({"channel": "/a", "id": "123"}))["successful"], true);
    assert_eq!(ann.ask(json!({"channel": "/a", "id": "1234"}))["error"], "405::message_id_invalid");
    let subscribe = |channel: &str| ann.ask(json!({"channel": "/meta/subscribe", "subscription": channel, "id": "1"}));
    assert_eq!(subscribe(&format!("/{}", "a".repeat(19)))["successful"], true);
    assert_eq!(subscribe(&format!("/{}", "a".repeat(20)))["error"], "403::subscription_invalid");
}
