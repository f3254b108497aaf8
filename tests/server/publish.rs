//! Messages to broadcast channels.

use serde_json::{Value, json};

use crate::support::client::{LongPolling, WebSocket};
use crate::support::server::Server;

/// Publishes `message` and returns what a subscriber of its channel receives.
#[track_caller]
fn forwarded(server: &Server, message: &Value) -> Value {
    let mut ann = LongPolling::subscribed(server, "/foo");
    let mut bob = LongPolling::ready(server);
    bob.batch(json!([message]));
    ann.events()
}

#[test]
fn case_104_ext_and_unknown_fields_are_forwarded_but_neither_id_nor_client_id() {
    let server = Server::start(&[]);
    let message =
        json!({"channel": "/foo", "id": "1", "data": {"a": 1}, "ext": {"x": 1}, "extra": "e", "timestamp": "now"});
    assert_eq!(
        forwarded(&server, &message),
        json!([{"channel": "/foo", "data": {"a": 1}, "ext": {"x": 1}, "extra": "e", "timestamp": "now"}])
    );
}

#[test]
fn case_105_fields_that_steer_a_client_are_not_forwarded() {
    let server = Server::start(&[]);
    let message = json!({
        "channel": "/foo", "data": 1, "advice": {"reconnect": "none"}, "successful": false, "error": "402::session_unknown",
        "x-messages": 3, "subscription": "/foo", "connectionType": "websocket", "version": "1.0", "minimumVersion": "1.0",
        "supportedConnectionTypes": [],
    });
    assert_eq!(forwarded(&server, &message), json!([{"channel": "/foo", "data": 1}]));
}

#[test]
fn case_106_data_may_be_null_or_missing() {
    let server = Server::start(&[]);
    assert_eq!(
        forwarded(&server, &json!({"channel": "/foo", "data": null})),
        json!([{"channel": "/foo", "data": null}])
    );
    assert_eq!(forwarded(&server, &json!({"channel": "/foo"})), json!([{"channel": "/foo"}]));
}

/// [EN-9]
#[test]
fn data_is_forwarded_token_by_token() {
    let server = Server::start(&[]);
    let ann = LongPolling::subscribed(&server, "/foo");
    let mut held = ann.hold(&server);
    let mut bob = LongPolling::ready(&server);
    let data = r#"{"z":1E5,"a":123456789012345678901234567890,"m":[1.0,1.50,"\u00e9\/"],"z2":[[[]]]}"#;
    let response = bob.exchange(format!(r#"[{{"channel":"/foo","clientId":"{}","data":{data}}}]"#, bob.id));
    assert_eq!(response.status, 200);
    let response = held.response().expect("a response");
    assert!(response.text().contains(data), "{}", response.text());
}

/// [LP-8]
#[test]
fn a_response_ends_at_the_limit_of_a_batch_and_the_rest_follows() {
    let server = Server::start(&["bayeux.long_polling.max_batch_bytes=4KiB"]);
    let mut ann = LongPolling::subscribed(&server, "/foo");
    let mut bob = LongPolling::ready(&server);
    let sizes = [1000, 1000, 1000, 1000, 1000, 9000, 1000];
    for size in sizes {
        bob.publish("/foo", json!("x".repeat(size)));
    }
    let mut seen = Vec::new();
    let mut responses = 0;
    while seen.len() < sizes.len() {
        let events = ann.events();
        let events = events.as_array().expect("an array");
        assert!(!events.is_empty());
        assert!(events.len() == 1 || serde_json::to_string(events).expect("JSON").len() <= 4096);
        seen.extend(events.iter().map(|event| event["data"].as_str().expect("a text").len()));
        responses += 1;
    }
    assert_eq!(seen, sizes);
    assert!(responses >= 4, "{responses}");
}

/// [SC-9]
#[test]
fn names_below_sys_are_closed_to_clients() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/**");
    server.publish("/sys/internal", json!("hidden"));
    server.publish("/seen", json!(1));
    assert_eq!(ann.events(), json!([{"channel": "/seen", "data": 1}]));
    for subscription in ["/sys/internal", "/sys/*", "/sys/**"] {
        let replies = ann.batch(json!([{"channel": "/meta/subscribe", "subscription": subscription}]));
        assert_eq!(replies[0]["successful"], false, "{subscription}");
    }
    let replies = ann.batch(json!([{"channel": "/sys/internal", "data": 1}]));
    assert_eq!(replies[0]["successful"], false);
}

#[test]
fn the_server_publishes_and_delivers_by_itself() {
    let server = Server::start(&[]);
    let ann = LongPolling::subscribed(&server, "/foo");
    let mut held = ann.hold(&server);
    server.publish("/foo", json!(1));
    assert_eq!(held.messages()[0], json!({"channel": "/foo", "data": 1}));
    let mut bob = WebSocket::ready(&server);
    server.deliver(&bob.id, "/not/subscribed", json!({"a": 2}));
    assert_eq!(bob.receive(), json!([{"channel": "/not/subscribed", "data": {"a": 2}}]));
}

#[test]
fn case_107_without_a_session_nothing_is_published() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/foo");
    let mut bob = LongPolling::ready(&server);
    let refused = json!([{"channel": "/foo", "id": "1", "successful": false, "error": "402::session_unknown"}]);
    assert_eq!(bob.batch(json!([{"channel": "/foo", "id": "1", "clientId": "nobody", "data": 1}])), refused);
    let response = bob.exchange(json!([{"channel": "/foo", "id": "1", "data": 1}]).to_string());
    assert_eq!(serde_json::from_slice::<Value>(&response.body).expect("JSON"), refused);
    assert_eq!(ann.events(), json!([]));
}

#[test]
fn case_108_meta_channels_cannot_be_published_to() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    for channel in ["/meta/foo", "/meta/connect/", "/meta/subscribe/x"] {
        let replies = ann.batch(json!([{"channel": channel, "id": "1", "data": 1}]));
        let error = "403:denied_by_security_policy:channel_create_denied";
        assert_eq!(replies, json!([{"channel": channel, "id": "1", "successful": false, "error": error}]));
    }
}

#[test]
fn case_109_meta_and_service_alone_are_broadcast_channels() {
    let server = Server::start(&[]);
    let mut bob = LongPolling::ready(&server);
    for channel in ["/meta", "/service"] {
        let mut ann = LongPolling::subscribed(&server, channel);
        bob.publish(channel, json!(1));
        assert_eq!(ann.events(), json!([{"channel": channel, "data": 1}]));
    }
}

#[test]
fn case_110_a_message_to_a_wildcard_is_delivered_to_those_who_subscribed_it_literally() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/bar/*");
    let mut all = LongPolling::subscribed(&server, "/**");
    let mut other = LongPolling::subscribed(&server, "/bar/x");
    LongPolling::ready(&server).publish("/bar/*", json!(1));
    let expected = json!([{"channel": "/bar/*", "data": 1}]);
    assert_eq!((ann.events(), all.events(), other.events()), (expected.clone(), expected, json!([])));
}

#[test]
fn case_111_a_channel_may_withhold_messages_from_their_publisher() {
    let server = Server::start(&[]);
    server.echo_to_publisher("/foo", false);
    let mut ann = LongPolling::subscribed(&server, "/foo");
    ann.subscribe("/other");
    let mut bob = LongPolling::subscribed(&server, "/foo");
    ann.publish("/foo", json!(1));
    assert_eq!(ann.events(), json!([]));
    assert_eq!(bob.events(), json!([{"channel": "/foo", "data": 1}]));
    let replies = ann.batch(json!([{"channel": "/other", "data": 2}]));
    assert_eq!(replies, json!([{"channel": "/other", "data": 2}, {"channel": "/other", "successful": true}]));
}

#[test]
fn case_112_the_server_may_withhold_all_messages_from_their_publishers() {
    let server = Server::start(&["bayeux.broadcast_to_publisher=false"]);
    let mut ann = LongPolling::subscribed(&server, "/foo");
    let mut bob = WebSocket::subscribed(&server, "/foo");
    ann.publish("/foo", json!(1));
    assert_eq!(bob.receive(), json!([{"channel": "/foo", "data": 1}]));
    bob.publish("/foo", json!(2));
    assert_eq!(ann.events(), json!([{"channel": "/foo", "data": 2}]));
}

#[test]
fn case_113_a_vetoed_message_is_deleted() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/foo");
    server.veto("/foo");
    let replies = LongPolling::ready(&server).batch(json!([{"channel": "/foo", "id": "1", "data": 1}]));
    assert_eq!(replies, json!([{"channel": "/foo", "id": "1", "successful": false, "error": "404::message_deleted"}]));
    assert_eq!(ann.events(), json!([]));
}

/// [PB-10]
#[test]
fn messages_of_one_publisher_arrive_in_order() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/foo");
    let mut eve = WebSocket::subscribed(&server, "/foo");
    let mut bob = WebSocket::ready(&server);
    for n in 0..100 {
        bob.publish("/foo", json!(n));
    }
    let expected: Vec<Value> = (0..100).map(|n| json!({"channel": "/foo", "data": n})).collect();
    assert_eq!(ann.events(), json!(expected));
    for event in expected {
        assert_eq!(eve.receive(), json!([event]));
    }
}
