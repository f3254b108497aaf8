//! `/meta/handshake`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::client::{LongPolling, MOUNT, WebSocket};
use crate::support::http::{Request, Response};
use crate::support::server::{Denial, Question, Server};

const HANDSHAKE: &str = r#"[{"channel":"/meta/handshake","id":"1"}]"#;

/// Handshakes by long-polling, without a cookie.
#[track_caller]
fn handshake(server: &Server) -> (Response, Value) {
    let response = LongPolling::new(server).exchange(HANDSHAKE);
    assert_eq!(response.status, 200, "{response:?}");
    let messages = serde_json::from_slice(&response.body).expect("JSON");
    (response, messages)
}

/// The reply to a successful handshake with these `clientId` and `id`.
fn success(client_id: &Value) -> Value {
    json!({
        "channel": "/meta/handshake", "successful": true, "clientId": client_id, "version": "1.0", "minimumVersion": "1.0",
        "supportedConnectionTypes": ["websocket", "long-polling", "callback-polling"],
        "advice": {"reconnect": "retry", "interval": 0, "timeout": 30_000},
    })
}

#[test]
fn case_31_a_minimal_handshake_is_answered_in_full() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::new(&server);
    let reply = ann.batch(json!({"channel": "/meta/handshake"}))[0].clone();
    assert_eq!(reply, success(&reply["clientId"]));
    assert!(reply["clientId"].as_str().is_some_and(|id| id.len() >= 20));
}

#[test]
fn case_32_version_and_connection_types_of_the_client_are_not_examined() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::new(&server);
    let reply = ann.batch(json!([
        {"channel": "/meta/handshake", "version": "99", "minimumVersion": "98", "supportedConnectionTypes": ["iframe"]},
    ]))[0]
        .clone();
    assert_eq!(reply, success(&reply["clientId"]));
}

#[test]
fn case_33_a_client_id_advice_and_unknown_ext_in_a_handshake_are_ignored() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::new(&server);
    let reply = ann.batch(json!([
        {"channel": "/meta/handshake", "clientId": "mine", "advice": {"timeout": 1, "interval": 2}, "ext": {"com.example": true}},
    ]))[0]
        .clone();
    assert_eq!(reply, success(&reply["clientId"]));
    assert_ne!(reply["clientId"], "mine");
}

#[test]
fn case_34_a_handshake_without_the_cookie_sets_it() {
    let server = Server::start(&[]);
    let (response, _) = handshake(&server);
    let cookie = response.header("Set-Cookie").expect("a cookie");
    let value = cookie.strip_prefix("BAYEUX_BROWSER=").and_then(|rest| rest.strip_suffix("; Path=/; HttpOnly"));
    let value = value.unwrap_or_else(|| panic!("{cookie}"));
    assert_eq!(value.len(), 16, "{cookie}");
    assert!(value.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()), "{cookie}");
}

#[test]
fn case_35_a_handshake_with_the_cookie_keeps_it() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::new(&server);
    ann.cookie = Some("BAYEUX_BROWSER=whatever1".to_owned());
    let response = ann.exchange(HANDSHAKE);
    assert_eq!(response.header("Set-Cookie"), None);
    ann.id = serde_json::from_slice::<Value>(&response.body).expect("JSON")[0]["clientId"]
        .as_str()
        .expect("an id")
        .to_owned();
    let replies = ann.batch(json!([{"channel": "/meta/connect", "id": "2"}]));
    assert_eq!(replies, json!([{"channel": "/meta/connect", "id": "2", "successful": true}]));
}

#[test]
fn case_36_a_denied_handshake_says_not_to_come_back() {
    let server = Server::start(&[]);
    server.deny(Question::Handshake, Denial::default());
    let (response, messages) = handshake(&server);
    assert_eq!(
        messages,
        json!([{
            "channel": "/meta/handshake", "id": "1", "successful": false, "error": "403::handshake_denied",
            "advice": {"reconnect": "none"},
        }])
    );
    assert_eq!(response.header("Set-Cookie"), None);
}

#[test]
fn case_37_advice_and_ext_of_the_policy_are_kept_in_a_denied_handshake() {
    let server = Server::start(&[]);
    let ext = json!({"com.example.auth": {"failed": true}});
    server.deny(Question::Handshake, Denial { reconnect: Some("handshake"), ext: Some(ext.clone()) });
    let (_, messages) = handshake(&server);
    assert_eq!(
        messages,
        json!([{
            "channel": "/meta/handshake", "id": "1", "successful": false, "error": "403::handshake_denied",
            "advice": {"reconnect": "handshake"}, "ext": ext,
        }])
    );
}

#[test]
fn case_38_a_handshake_in_a_batch_fails_the_request_after_what_came_before_it() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/a");
    let publish = |data| json!({"channel": "/a", "clientId": ann.id, "data": data});
    let handshake = json!({"channel": "/meta/handshake"});
    let (last, first) = (json!([publish(1), handshake]), json!([handshake, publish(2)]));
    let mut bob = LongPolling::ready(&server);
    assert_eq!(bob.exchange(first.to_string()).status, 500);
    assert_eq!(bob.exchange(last.to_string()).status, 500);
    assert_eq!(ann.events(), json!([{"channel": "/a", "data": 1}]));
}

#[test]
fn case_39_a_handshake_in_a_batch_closes_a_websocket() {
    let server = Server::start(&[]);
    let mut ann = WebSocket::ready(&server);
    ann.send(json!([{"channel": "/meta/handshake"}, {"channel": "/a"}]));
    assert_eq!(ann.close_code(), Some(1011));
}

#[test]
fn case_40_two_handshakes_with_one_cookie_open_two_sessions() {
    let server = Server::start(&[]);
    let mut first = LongPolling::ready(&server);
    let mut second = LongPolling::new(&server);
    second.cookie.clone_from(&first.cookie);
    second.handshake();
    assert_ne!(first.id, second.id);
    first.publish("/a", json!(1));
    second.publish("/a", json!(1));
}

/// Events of the first session still arrive on the socket ([WS-4]).
#[test]
fn case_41_a_second_handshake_rebinds_a_websocket() {
    let server = Server::start(&[]);
    let mut ann = WebSocket::subscribed(&server, "/first");
    let first = ann.id.clone();
    ann.handshake();
    let replies = ann.batch(json!([{"channel": "/a", "id": "1", "clientId": first}]));
    assert_eq!(replies, json!([{"channel": "/a", "id": "1", "successful": false, "error": "402::session_unknown"}]));
    assert_eq!(
        ann.batch(json!([{"channel": "/a", "id": "2"}])),
        json!([{"channel": "/a", "id": "2", "successful": true}])
    );
    LongPolling::ready(&server).publish("/first", json!("still arrives"));
    assert_eq!(ann.receive(), json!([{"channel": "/first", "data": "still arrives"}]));
}

#[test]
fn case_42_the_cookie_is_built_as_configured() {
    let server = Server::start(&[
        "bayeux.browser_cookie_name=TAB",
        "bayeux.browser_cookie_domain=example.com",
        "bayeux.browser_cookie_path=/cometd",
        "bayeux.browser_cookie_max_age=3600s",
        "bayeux.browser_cookie_same_site=Strict",
        "bayeux.browser_cookie_partitioned=true",
        "bayeux.browser_cookie_secure=true",
    ]);
    let (response, _) = handshake(&server);
    let cookie = response.header("Set-Cookie").expect("a cookie");
    let (pair, attributes) = cookie.split_once("; ").expect("attributes");
    assert!(pair.starts_with("TAB="), "{cookie}");
    // Secure only over TLS.
    assert_eq!(attributes, "Domain=example.com; Path=/cometd; Max-Age=3600; HttpOnly; SameSite=Strict; Partitioned");
}

#[test]
fn case_42_the_cookie_may_be_readable_by_scripts() {
    let server = Server::start(&["bayeux.browser_cookie_http_only=false"]);
    let (response, _) = handshake(&server);
    let cookie = response.header("Set-Cookie").expect("a cookie");
    assert_eq!(cookie.split_once("; ").expect("attributes").1, "Path=/");
}

#[test]
fn case_43_handshake_reconnect_adds_max_interval_to_advice() {
    let server = Server::start(&["bayeux.handshake_reconnect=true", "bayeux.timeout=2s", "bayeux.max_interval=1500ms"]);
    let mut ann = LongPolling::new(&server);
    let advice = json!({"reconnect": "retry", "interval": 0, "timeout": 2000, "maxInterval": 1500});
    assert_eq!(ann.handshake()["advice"], advice);
    let replies = ann.batch(json!([{"channel": "/meta/connect", "advice": {"timeout": 0}}]));
    assert_eq!(replies, json!([{"channel": "/meta/connect", "successful": true, "advice": advice}]));
}

#[test]
fn case_44_only_the_allowed_transports_are_advertised_in_their_order() {
    let server = Server::start(&["bayeux.allowed_transports=long-polling,websocket"]);
    let mut ann = LongPolling::new(&server);
    assert_eq!(ann.handshake()["supportedConnectionTypes"], json!(["long-polling", "websocket"]));
    let polling = format!("{MOUNT}?jsonp=cb&message=%5B%7B%22channel%22%3A%22%2Fmeta%2Fhandshake%22%7D%5D");
    assert_eq!(ann.exchange_request(&Request::new("GET", &polling)).status, 400);
}

#[test]
fn case_45_messages_queued_during_a_handshake_follow_its_reply_when_allowed() {
    let server = Server::start(&["bayeux.allow_message_delivery_during_handshake=true"]);
    server.greet("/welcome", json!([1, 2]));
    let (_, messages) = handshake(&server);
    let mut reply = success(&messages[0]["clientId"]);
    reply["id"] = json!("1");
    reply["x-messages"] = json!(2);
    assert_eq!(messages, json!([reply, {"channel": "/welcome", "data": 1}, {"channel": "/welcome", "data": 2}]));

    let mut bob = WebSocket::open(&server);
    assert_eq!(bob.handshake()["x-messages"], 2);
    assert_eq!(bob.receive(), json!([{"channel": "/welcome", "data": 1}]));
    assert_eq!(bob.receive(), json!([{"channel": "/welcome", "data": 2}]));
    bob.expect_silence();
}

#[test]
fn case_46_without_queued_messages_they_are_not_counted() {
    let server = Server::start(&["bayeux.allow_message_delivery_during_handshake=true"]);
    let (_, messages) = handshake(&server);
    let mut reply = success(&messages[0]["clientId"]);
    reply["id"] = json!("1");
    assert_eq!(messages, json!([reply]));
}

#[test]
fn case_47_messages_queued_during_a_handshake_wait_for_the_first_connect() {
    let server = Server::start(&[]);
    server.greet("/welcome", json!([1, 2]));
    let mut ann = LongPolling::new(&server);
    let reply = ann.handshake();
    assert_eq!(reply, success(&reply["clientId"]));
    let messages = ann.batch(json!([{"channel": "/meta/connect", "id": "2"}]));
    assert_eq!(
        messages,
        json!([
            {"channel": "/welcome", "data": 1},
            {"channel": "/welcome", "data": 2},
            {"channel": "/meta/connect", "id": "2", "successful": true},
        ])
    );
}

/// [HS-3]
#[test]
fn client_ids_are_32_hexadecimal_digits_and_differ() {
    let server = Server::start(&[]);
    let ids: BTreeSet<String> = (0..100).map(|_| LongPolling::handshaken(&server).id).collect();
    assert_eq!(ids.len(), 100);
    let is_hex = |id: &String| id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    assert!(ids.iter().all(is_hex), "{ids:?}");
}

/// [BR-6]
#[test]
fn a_browser_cookie_is_known_in_any_spelling() {
    let server = Server::start(&["bayeux.max_sessions_per_browser=1", "bayeux.multi_session_interval=0s"]);
    let mut first = LongPolling::new(&server);
    first.cookie = Some("BAYEUX_BROWSER=tab123".to_owned());
    first.handshake();
    assert_eq!(first.events(), json!([]));
    let _held = first.hold(&server);
    for cookie in
        ["BAYEUX_BROWSER=tab123", "BAYEUX_BROWSER=\"tab123\"", "other=1; BAYEUX_BROWSER=tab123; BAYEUX_BROWSER=tab456"]
    {
        let mut second = LongPolling::new(&server);
        second.cookie = Some(cookie.to_owned());
        second.handshake();
        assert_eq!(second.cookie.as_deref(), Some(cookie), "no other is set");
        let replies = second.batch(json!([{"channel": "/meta/connect"}]));
        assert_eq!(replies[0]["advice"]["multiple-clients"], true, "{cookie}");
    }
}

#[test]
fn case_48_a_vetoed_handshake_is_a_deleted_message_without_advice() {
    let server = Server::start(&[]);
    server.veto("/meta/handshake");
    let (_, messages) = handshake(&server);
    assert_eq!(
        messages,
        json!([{"channel": "/meta/handshake", "id": "1", "successful": false, "error": "404::message_deleted"}])
    );
}
