//! `/meta/connect`: when it is held, what ends the hold, and when advice is owed.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{LongPolling, MOUNT, WebSocket, assert_lasted};
use crate::support::http::Request;
use crate::support::server::Server;

const CONNECTED: &str = "/meta/connect";

/// The reply to a connect with the id `c`.
fn reply() -> Value {
    json!({"channel": CONNECTED, "id": "c", "successful": true})
}

/// The same with advice.
fn reply_with(advice: Value) -> Value {
    let mut reply = reply();
    reply["advice"] = advice;
    reply
}

/// Advice of a server whose timeout is `timeout` milliseconds.
fn retry(timeout: u64) -> Value {
    json!({"reconnect": "retry", "interval": 0, "timeout": timeout})
}

/// What is said about a session that does not exist.
fn unknown() -> Value {
    json!({
        "channel": CONNECTED, "id": "c", "successful": false, "error": "402::session_unknown",
        "advice": {"reconnect": "handshake", "interval": 0},
    })
}

#[test]
fn case_49_the_first_connect_is_answered_at_once_and_without_advice() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::handshaken(&server);
    assert_eq!(ann.batch(json!([{"channel": CONNECTED, "id": "c"}])), json!([reply()]));
}

#[test]
fn case_50_a_connect_with_advice_timeout_zero_is_answered_at_once_and_with_advice() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::handshaken(&server);
    for _ in 0..3 {
        let replies = ann.batch(json!([{"channel": CONNECTED, "id": "c", "advice": {"timeout": 0}}]));
        assert_eq!(replies, json!([reply_with(retry(30_000))]));
    }
}

#[test]
fn case_51_the_second_connect_is_held_for_the_timeout() {
    let server = Server::start(&["bayeux.timeout=400ms"]);
    let ann = LongPolling::ready(&server);
    let (replies, waited) = ann.hold(&server).timed();
    assert_eq!(replies, json!([reply()]));
    assert_lasted(waited, Duration::from_millis(400));
}

#[test]
fn cases_52_and_53_a_client_shortens_one_hold_and_announces_one_pause() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let advice = json!({"timeout": 300, "interval": 1234});
    let (replies, waited) = ann.start(json!([{"channel": CONNECTED, "id": "c", "advice": advice}])).timed();
    assert_eq!(replies, json!([reply_with(json!({"reconnect": "retry", "interval": 1234, "timeout": 30_000}))]));
    assert_lasted(waited, Duration::from_millis(300));
    let replies = ann.batch(json!([{"channel": CONNECTED, "id": "c", "advice": {"timeout": 0}}]));
    assert_eq!(replies, json!([reply_with(retry(30_000))]));
}

#[test]
fn case_54_advice_without_a_timeout_is_held_as_usual_and_answered_with_advice() {
    let server = Server::start(&["bayeux.timeout=300ms"]);
    let ann = LongPolling::ready(&server);
    for advice in [json!({"timeout": -5}), json!({})] {
        let (replies, waited) = ann.start(json!([{"channel": CONNECTED, "id": "c", "advice": advice}])).timed();
        assert_eq!(replies, json!([reply_with(retry(300))]));
        assert_lasted(waited, Duration::from_millis(300));
    }
}

#[test]
fn case_55_a_client_may_ask_for_a_longer_hold() {
    let server = Server::start(&["bayeux.timeout=100ms"]);
    let ann = LongPolling::ready(&server);
    let (replies, waited) = ann.start(json!([{"channel": CONNECTED, "id": "c", "advice": {"timeout": 700}}])).timed();
    assert_eq!(replies, json!([reply_with(retry(100))]));
    assert_lasted(waited, Duration::from_millis(700));
}

#[test]
fn case_55_but_not_for_a_longer_one_than_the_limit() {
    let server = Server::start(&["bayeux.timeout=100ms", "bayeux.max_advice_timeout=400ms"]);
    let ann = LongPolling::ready(&server);
    let (replies, waited) =
        ann.start(json!([{"channel": CONNECTED, "id": "c", "advice": {"timeout": 600_000}}])).timed();
    assert_eq!(replies, json!([reply_with(retry(100))]));
    assert_lasted(waited, Duration::from_millis(400));
}

#[test]
fn case_56_advice_of_a_wrong_type_fails_the_request() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    for advice in [json!({"timeout": "0"}), json!({"interval": true}), json!(5), json!("x")] {
        let body = json!([{"channel": CONNECTED, "clientId": ann.id, "advice": advice}]).to_string();
        assert_eq!(ann.exchange(body).status, 500, "{advice}");
    }
    assert_eq!(ann.events(), json!([]), "the session is none the worse for it");
    let mut bob = WebSocket::ready(&server);
    bob.send(json!([{"channel": CONNECTED, "advice": 5}]));
    assert_eq!(bob.close_code(), Some(1011));
}

#[test]
fn case_57_the_connection_type_is_not_examined() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::handshaken(&server);
    for connection_type in [json!("websocket"), json!("nonsense"), json!(null), json!(7)] {
        let connect =
            json!([{"channel": CONNECTED, "id": "c", "connectionType": connection_type, "advice": {"timeout": 0}}]);
        assert_eq!(ann.batch(connect), json!([reply_with(retry(30_000))]));
    }
}

#[test]
fn case_58_a_publish_wakes_a_held_connect_event_first() {
    let server = Server::start(&[]);
    let ann = LongPolling::subscribed(&server, "/a");
    let mut held = ann.hold(&server);
    assert!(held.is_silent());
    LongPolling::ready(&server).publish("/a", json!({"n": 1}));
    assert_eq!(held.messages(), json!([{"channel": "/a", "data": {"n": 1}}, reply()]));
}

#[test]
fn case_59_an_own_publish_comes_back_with_its_reply_and_leaves_the_connect_held() {
    let server = Server::start(&["bayeux.timeout=1s"]);
    let mut ann = LongPolling::subscribed(&server, "/a");
    let mut held = ann.hold(&server);
    let replies = ann.batch(json!([{"channel": "/a", "id": "1", "data": 1}]));
    assert_eq!(replies, json!([{"channel": "/a", "data": 1}, {"channel": "/a", "id": "1", "successful": true}]));
    let (replies, waited) = held.timed();
    assert_eq!(replies, json!([reply()]));
    assert_lasted(waited, Duration::from_secs(1));
}

#[test]
fn case_60_a_queued_event_is_handed_to_the_next_connect_at_once() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/a");
    LongPolling::ready(&server).publish("/a", json!(1));
    let replies = ann.batch(json!([{"channel": CONNECTED, "id": "c"}]));
    assert_eq!(replies, json!([{"channel": "/a", "data": 1}, reply()]));
}

#[test]
fn case_61_a_queued_event_rides_with_the_reply_to_any_message() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/a");
    LongPolling::ready(&server).publish("/a", json!(1));
    let replies = ann.batch(json!([{"channel": "/meta/subscribe", "id": "s", "subscription": "/b"}]));
    assert_eq!(
        replies,
        json!([
            {"channel": "/a", "data": 1},
            {"channel": "/meta/subscribe", "id": "s", "subscription": "/b", "successful": true},
        ])
    );
    assert_eq!(ann.events(), json!([]), "and only once");
}

#[test]
fn case_62_two_publishes_of_one_batch_answer_a_held_connect_together() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/a");
    let mut held = ann.hold(&server);
    LongPolling::ready(&server).batch(json!([{"channel": "/a", "data": 1}, {"channel": "/a", "data": 2}]));
    assert_eq!(held.messages(), json!([{"channel": "/a", "data": 1}, {"channel": "/a", "data": 2}, reply()]));
    assert_eq!(ann.events(), json!([]));
}

#[test]
fn case_66_a_handshake_with_the_same_cookie_leaves_a_held_connect_alone() {
    let server = Server::start(&[]);
    let ann = LongPolling::subscribed(&server, "/a");
    let mut held = ann.hold(&server);
    let mut tab = LongPolling::new(&server);
    tab.cookie.clone_from(&ann.cookie);
    tab.handshake();
    assert!(held.is_silent());
    tab.publish("/a", json!(1));
    assert_eq!(held.messages(), json!([{"channel": "/a", "data": 1}, reply()]));
}

#[test]
fn case_67_a_connect_in_a_batch_is_not_held() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let replies = ann.batch(
        json!([{"channel": CONNECTED, "id": "c"}, {"channel": "/meta/subscribe", "id": "s", "subscription": "/b"}]),
    );
    assert_eq!(
        replies,
        json!([reply(), {"channel": "/meta/subscribe", "id": "s", "subscription": "/b", "successful": true}])
    );
}

#[test]
fn case_68_a_connect_of_an_unknown_session_is_told_to_handshake() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    assert_eq!(ann.batch(json!([{"channel": CONNECTED, "id": "c", "clientId": "nobody"}])), json!([unknown()]));
    let response = ann.exchange(json!([{"channel": CONNECTED, "id": "c"}]).to_string());
    let replies: Value = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!(replies, json!([unknown()]), "without a clientId as well");
}

#[test]
fn cases_69_and_70_a_session_is_found_by_its_client_id_without_the_cookie() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/a");
    ann.cookie = None;
    let mut held = ann.hold(&server);
    LongPolling::ready(&server).publish("/a", json!(1));
    assert_eq!(held.messages(), json!([{"channel": "/a", "data": 1}, reply()]));
}

#[test]
fn case_71_the_cookie_of_another_browser_does_not_matter() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    ann.cookie = LongPolling::ready(&server).cookie;
    ann.publish("/a", json!(1));
}

#[test]
fn case_73_a_session_of_long_polling_that_connects_by_websocket_is_advised_anew() {
    let server = Server::start(&["bayeux.websocket.timeout=20s"]);
    let ann = LongPolling::ready(&server);
    let mut socket = WebSocket::resumed(&server, &ann.id);
    socket.connect();
    // It has connected before, so this one is held; what ends the hold is told with advice of the new transport.
    server.await_held(&ann.id);
    socket.send(json!([{"channel": CONNECTED, "id": "d", "advice": {"timeout": 0}}]));
    assert_eq!(
        socket.receive(),
        json!([{"channel": CONNECTED, "id": "d", "successful": true, "advice": retry(20_000)}])
    );
}

#[test]
fn case_73_advice_of_the_new_transport_comes_unasked() {
    let server = Server::start(&["bayeux.websocket.timeout=20s"]);
    let ann = LongPolling::handshaken(&server);
    let mut socket = WebSocket::resumed(&server, &ann.id);
    socket.connect();
    assert_eq!(socket.receive(), json!([reply_with(retry(20_000))]));
}

#[test]
fn case_74_a_session_of_websocket_may_connect_by_long_polling() {
    let server = Server::start(&[]);
    let socket = WebSocket::ready(&server);
    let mut ann = LongPolling::new(&server);
    ann.id.clone_from(&socket.id);
    let replies = ann.batch(json!([{"channel": CONNECTED, "id": "c", "advice": {"timeout": 0}}]));
    assert_eq!(replies, json!([reply_with(retry(30_000))]));
    ann.publish("/a", json!(1));
}

#[test]
fn case_81_a_timeout_set_by_the_server_is_announced_and_kept() {
    let server = Server::start(&["bayeux.timeout=700ms"]);
    let ann = LongPolling::ready(&server);
    let mut held = ann.hold(&server);
    server.session_timeout(&ann.id, Duration::from_millis(300));
    assert_eq!(held.messages(), json!([reply_with(retry(300))]));
    let (replies, waited) = ann.hold(&server).timed();
    assert_eq!(replies, json!([reply()]), "advice is given once");
    assert_lasted(waited, Duration::from_millis(300));
}

#[test]
fn case_82_each_transport_has_its_own_timeout() {
    let server =
        Server::start(&["bayeux.timeout=30s", "bayeux.long_polling.timeout=300ms", "bayeux.websocket.timeout=500ms"]);
    let mut ann = LongPolling::new(&server);
    assert_eq!(ann.handshake()["advice"], retry(300));
    assert_eq!(ann.events(), json!([]));
    let (replies, waited) = ann.hold(&server).timed();
    assert_eq!(replies, json!([reply()]));
    assert_lasted(waited, Duration::from_millis(300));

    let mut bob = WebSocket::open(&server);
    assert_eq!(bob.handshake()["advice"], retry(500));
    assert_eq!(bob.batch(json!([{"channel": CONNECTED, "id": "c"}])), json!([reply()]));
    let started = std::time::Instant::now();
    bob.connect();
    assert_eq!(bob.receive(), json!([reply()]));
    assert_lasted(started.elapsed(), Duration::from_millis(500));
}

#[test]
fn case_83_a_server_that_stops_answers_what_it_holds() {
    let server = Server::start(&[]);
    let ann = LongPolling::ready(&server);
    let mut held = ann.hold(&server);
    let address = server.address();
    server.stop();
    assert_eq!(held.messages(), json!([reply()]));
    held.closed().expect("the connection ends");
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens any more");
}

/// [LP-10]
#[test]
fn a_vanished_client_finds_what_was_published_meanwhile() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/a");
    drop(ann.hold(&server));
    server.await_not_held(&ann.id);
    LongPolling::ready(&server).publish("/a", json!(1));
    assert_eq!(ann.events(), json!([{"channel": "/a", "data": 1}]));
}

#[test]
fn the_path_below_the_mount_has_no_meaning_for_a_held_connect() {
    let server = Server::start(&[]);
    let ann = LongPolling::subscribed(&server, "/a");
    let body = json!([{"channel": CONNECTED, "id": "c", "clientId": ann.id}]).to_string();
    let mut held = ann.start_request(&ann.with_cookie(Request::post(&format!("{MOUNT}/connect"), body)));
    server.await_held(&ann.id);
    LongPolling::ready(&server).publish("/a", json!(1));
    assert_eq!(held.messages(), json!([{"channel": "/a", "data": 1}, reply()]));
}
