//! The WebSocket transport, frame by frame.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{LongPolling, MOUNT, WebSocket, assert_lasted};
use crate::support::server::Server;
use crate::support::websocket::{Socket, opening};

const CONNECT: &str = "/meta/connect";
const DISCONNECT: &str = "/meta/disconnect";

fn connected(id: &str) -> Value {
    json!({"channel": CONNECT, "id": id, "successful": true})
}

fn handshake_again(id: &str) -> Value {
    json!([{
        "channel": CONNECT, "id": id, "successful": false, "error": "402::session_unknown",
        "advice": {"reconnect": "handshake", "interval": 0},
    }])
}

fn final_reply() -> Value {
    json!([{"channel": CONNECT, "id": "c", "successful": true, "advice": {"reconnect": "none"}}])
}

fn retry() -> Value {
    json!({"reconnect": "retry", "interval": 0, "timeout": 30_000})
}

/// The next two frames, in either order.
#[track_caller]
fn two_frames(ann: &mut WebSocket, one: &Value, other: &Value) {
    let frames = [ann.receive(), ann.receive()];
    assert!(frames.contains(one) && frames.contains(other), "{frames:?}");
}

#[test]
fn case_137_a_handshake_is_answered_by_one_frame_with_one_reply() {
    let server = Server::start(&[]);
    let mut ann = WebSocket::open(&server);
    let replies = ann.batch(json!([{"channel": "/meta/handshake", "id": "1"}]));
    assert_eq!(
        replies,
        json!([{
            "channel": "/meta/handshake", "id": "1", "successful": true, "clientId": replies[0]["clientId"],
            "version": "1.0", "minimumVersion": "1.0", "supportedConnectionTypes": ["websocket", "long-polling", "callback-polling"],
            "advice": retry(),
        }])
    );
}

#[test]
fn case_138_an_own_publish_comes_back_in_a_frame_before_its_reply_and_the_connect_stays_held() {
    let server = Server::start(&["bayeux.timeout=700ms"]);
    let mut ann = WebSocket::subscribed(&server, "/a");
    let started = Instant::now();
    ann.connect();
    assert_eq!(ann.batch(json!([{"channel": "/a", "id": "1", "data": 1}])), json!([{"channel": "/a", "data": 1}]));
    assert_eq!(ann.receive(), json!([{"channel": "/a", "id": "1", "successful": true}]));
    assert_eq!(ann.receive(), json!([connected("c")]));
    assert_lasted(started.elapsed(), Duration::from_millis(700));
}

#[test]
fn case_139_an_event_is_pushed_whether_a_connect_is_held_or_not() {
    let server = Server::start(&[]);
    let mut ann = WebSocket::handshaken(&server);
    let mut bob = WebSocket::ready(&server);
    ann.subscribe("/a");
    bob.publish("/a", json!("before the first connect"));
    assert_eq!(ann.receive(), json!([{"channel": "/a", "data": "before the first connect"}]));
    ann.connect();
    assert_eq!(ann.receive(), json!([connected("c")]));
    bob.publish("/a", json!("between connects"));
    assert_eq!(ann.receive(), json!([{"channel": "/a", "data": "between connects"}]));
    ann.connect();
    server.await_held(&ann.id);
    bob.publish("/a", json!("while one is held"));
    assert_eq!(ann.receive(), json!([{"channel": "/a", "data": "while one is held"}]));
    ann.expect_silence();
}

#[test]
fn case_140_each_event_has_its_frame_and_all_replies_share_one() {
    let server = Server::start(&[]);
    let mut ann = WebSocket::subscribed(&server, "/a");
    ann.send(json!([
        {"channel": "/a", "id": "1", "data": 1},
        {"channel": "/a", "id": "2", "data": 2},
        {"channel": "/meta/subscribe", "id": "3", "subscription": "/b"},
    ]));
    assert_eq!(ann.receive(), json!([{"channel": "/a", "data": 1}]));
    assert_eq!(ann.receive(), json!([{"channel": "/a", "data": 2}]));
    assert_eq!(ann.receive(), three_replies());
}

#[test]
fn case_141_events_share_frames_when_allowed() {
    let server = Server::start(&["bayeux.websocket.messages_per_frame=10"]);
    let mut ann = WebSocket::subscribed(&server, "/a");
    ann.send(json!([
        {"channel": "/a", "id": "1", "data": 1},
        {"channel": "/a", "id": "2", "data": 2},
        {"channel": "/meta/subscribe", "id": "3", "subscription": "/b"},
    ]));
    assert_eq!(ann.receive(), json!([{"channel": "/a", "data": 1}, {"channel": "/a", "data": 2}]));
    assert_eq!(ann.receive(), three_replies());
}

fn three_replies() -> Value {
    json!([
        {"channel": "/a", "id": "1", "successful": true},
        {"channel": "/a", "id": "2", "successful": true},
        {"channel": "/meta/subscribe", "id": "3", "subscription": "/b", "successful": true},
    ])
}

#[test]
fn case_142_of_two_held_connects_only_the_second_is_answered() {
    let server = Server::start(&["bayeux.timeout=400ms"]);
    let mut ann = WebSocket::ready(&server);
    ann.send(json!([{"channel": CONNECT, "id": "1"}]));
    ann.send(json!([{"channel": CONNECT, "id": "2"}]));
    assert_eq!(ann.receive(), json!([connected("2")]));
    ann.expect_silence();
}

#[test]
fn case_143_a_connect_that_is_answered_at_once_leaves_the_held_one_alone() {
    let server = Server::start(&["bayeux.timeout=500ms"]);
    let mut ann = WebSocket::ready(&server);
    let started = Instant::now();
    ann.send(json!([{"channel": CONNECT, "id": "1"}]));
    ann.send(json!([{"channel": CONNECT, "id": "2", "advice": {"timeout": 0}}]));
    assert_eq!(ann.receive()[0]["id"], "2");
    assert_eq!(ann.receive(), json!([connected("1")]));
    assert_lasted(started.elapsed(), Duration::from_millis(500));
}

#[test]
fn case_144_a_connect_held_in_a_batch_keeps_the_replies_of_its_frame() {
    let server = Server::start(&["bayeux.timeout=500ms"]);
    let mut ann = WebSocket::ready(&server);
    let started = Instant::now();
    ann.send(json!([{"channel": CONNECT, "id": "c"}, {"channel": "/meta/subscribe", "id": "1", "subscription": "/a"}]));
    assert_eq!(
        ann.receive(),
        json!([{"channel": "/meta/subscribe", "id": "1", "subscription": "/a", "successful": true}, connected("c")])
    );
    assert_lasted(started.elapsed(), Duration::from_millis(500));
}

#[test]
fn case_145_an_empty_array_is_answered_and_what_is_no_batch_closes_the_socket() {
    let server = Server::start(&[]);
    let mut ann = WebSocket::ready(&server);
    assert_eq!(ann.batch(json!([])), json!([]));
    ann.expect_silence();
    for text in ["", " ", "null", "1", "[1]", "[{", "[{}] x", "[{}]//", "[{\"data\":01}]", "[{\"channel\":\"/a\",}]"] {
        let mut bob = WebSocket::ready(&server);
        bob.send_text(text);
        assert_eq!(bob.close_code(), Some(1011), "{text}");
    }
    ann.expect_silence();
}

#[test]
fn case_146_a_bound_socket_answers_no_other_session() {
    let server = Server::start(&[]);
    let mut ann = WebSocket::ready(&server);
    let bob = WebSocket::ready(&server);
    for other in ["nobody", &bob.id] {
        let replies = ann.batch(json!([{"channel": "/a", "id": "1", "clientId": other}]));
        assert_eq!(
            replies,
            json!([{"channel": "/a", "id": "1", "successful": false, "error": "402::session_unknown"}])
        );
    }
    ann.publish("/a", json!(1));
}

#[test]
fn case_147_an_unknown_session_is_refused_on_a_fresh_socket() {
    let server = Server::start(&[]);
    let mut ann = WebSocket::resumed(&server, "nobody");
    let replies = ann.batch(json!([{"channel": "/a", "id": "1"}]));
    assert_eq!(replies, json!([{"channel": "/a", "id": "1", "successful": false, "error": "402::session_unknown"}]));
    assert_eq!(ann.batch(json!([{"channel": CONNECT, "id": "2"}])), handshake_again("2"));
    ann.handshake();
    ann.publish("/a", json!(1));
}

#[test]
fn case_148_a_session_moves_to_the_socket_it_last_spoke_on() {
    let server = Server::start(&[]);
    let mut old = WebSocket::subscribed(&server, "/a");
    let mut new = WebSocket::resumed(&server, &old.id);
    let replies = new.batch(json!([{"channel": CONNECT, "id": "c", "advice": {"timeout": 0}}]));
    let mut expected = connected("c");
    expected["advice"] = retry();
    assert_eq!(replies, json!([expected]));
    let mut bob = WebSocket::ready(&server);
    bob.publish("/a", json!(1));
    assert_eq!(new.receive(), json!([{"channel": "/a", "data": 1}]));
    old.expect_silence();
    bob.publish("/a", json!(2));
    assert_eq!(old.receive(), json!([{"channel": "/a", "data": 2}]), "and back");
    new.expect_silence();
}

#[test]
fn case_149_a_session_stays_on_its_socket_when_so_configured() {
    let server = Server::start(&["bayeux.websocket.require_handshake_per_connection=true"]);
    let mut old = WebSocket::ready(&server);
    let mut new = WebSocket::resumed(&server, &old.id);
    let replies = new.batch(json!([{"channel": CONNECT, "id": "c", "advice": {"timeout": 0}}]));
    assert_eq!(replies, handshake_again("c"));
    old.publish("/a", json!(1));
}

#[test]
fn case_150_a_disconnect_ends_the_held_connect_and_leaves_the_socket_open() {
    let server = Server::start(&[]);
    let mut ann = WebSocket::ready(&server);
    ann.connect();
    ann.send(json!([{"channel": DISCONNECT, "id": "d"}]));
    two_frames(&mut ann, &json!([{"channel": DISCONNECT, "id": "d", "successful": true}]), &final_reply());
    let replies = ann.batch(json!([{"channel": "/a", "id": "1"}]));
    assert_eq!(replies, json!([{"channel": "/a", "id": "1", "successful": false, "error": "402::session_unknown"}]));
}

#[test]
fn case_151_a_disconnect_by_the_server_is_told_only_when_a_connect_is_held() {
    let server = Server::start(&[]);
    let mut ann = WebSocket::ready(&server);
    ann.connect();
    server.await_held(&ann.id);
    server.disconnect(&ann.id);
    two_frames(&mut ann, &json!([{"channel": DISCONNECT, "successful": true}]), &final_reply());

    let mut bob = WebSocket::ready(&server);
    server.disconnect(&bob.id);
    assert_eq!(bob.batch(json!([{"channel": CONNECT, "id": "1"}])), handshake_again("1"));
}

#[test]
fn case_152_the_socket_of_an_expired_session_stays_open() {
    let server = Server::start(&["bayeux.max_interval=300ms"]);
    let mut ann = WebSocket::ready(&server);
    server.await_end_of(&ann.id);
    let replies = ann.batch(json!([{"channel": "/a", "id": "1"}]));
    assert_eq!(replies, json!([{"channel": "/a", "id": "1", "successful": false, "error": "402::session_unknown"}]));
    assert_eq!(ann.batch(json!([{"channel": CONNECT, "id": "2"}])), handshake_again("2"));
}

#[test]
fn case_153_a_message_above_the_limit_closes_the_socket() {
    let server = Server::start(&["bayeux.websocket.max_message_size=2KiB"]);
    let mut ann = WebSocket::ready(&server);
    ann.publish("/a", json!("x".repeat(1500)));
    ann.send(json!([{"channel": "/a", "data": "x".repeat(2048)}]));
    assert_eq!(ann.close_code(), Some(1009));
}

#[test]
fn case_154_an_idle_socket_is_closed() {
    let server = Server::start(&["bayeux.websocket.idle_timeout=400ms", "bayeux.websocket.timeout=100ms"]);
    let started = Instant::now();
    let mut ann = WebSocket::handshaken(&server);
    assert_eq!(ann.close_code(), Some(1001));
    assert_lasted(started.elapsed(), Duration::from_millis(400));
}

#[test]
fn case_155_a_socket_opens_on_any_path_under_the_mount() {
    let server = Server::start(&[]);
    for suffix in ["", "/", "/handshake", "/62.0", "?token=x"] {
        let (socket, _) = Socket::open(server.address(), &opening(&format!("{MOUNT}{suffix}"))).expect("101");
        WebSocket { id: String::new(), socket }.handshake();
    }
}

#[test]
fn case_156_an_offered_subprotocol_is_not_chosen_unless_configured() {
    let server = Server::start(&[]);
    let offer = opening(MOUNT).header("Sec-WebSocket-Protocol", "cometd");
    let (_, response) = Socket::open(server.address(), &offer).expect("101");
    assert_eq!(response.header("Sec-WebSocket-Protocol"), None);
}

#[test]
fn case_157_a_configured_subprotocol_has_to_be_offered() {
    let server = Server::start(&["bayeux.websocket.protocol=p"]);
    for offer in ["p", "q, p"] {
        let request = opening(MOUNT).header("Sec-WebSocket-Protocol", offer);
        let (_, response) = Socket::open(server.address(), &request).expect("101");
        assert_eq!(response.header("Sec-WebSocket-Protocol"), Some("p"));
    }
    for request in [opening(MOUNT), opening(MOUNT).header("Sec-WebSocket-Protocol", "q")] {
        let response = Socket::open(server.address(), &request).expect_err("refused");
        assert!(response.status >= 400, "{response:?}");
    }
}

#[test]
fn case_158_a_foreign_origin_is_refused_unless_it_is_allowed() {
    let foreign = opening(MOUNT).header("Origin", "http://app.example.com");
    let server = Server::start(&[]);
    assert_eq!(Socket::open(server.address(), &foreign).expect_err("refused").status, 403);
    Socket::open(server.address(), &opening(MOUNT).header("Origin", "http://localhost")).expect("its own origin");
    Socket::open(server.address(), &opening(MOUNT)).expect("a native client");
    let server = Server::start(&["server.allowed_origins=http://app.example.com"]);
    Socket::open(server.address(), &foreign).expect("allowed");
    let other = opening(MOUNT).header("Origin", "http://app.example.com.evil.example");
    assert_eq!(Socket::open(server.address(), &other).expect_err("refused").status, 403);
    let server = Server::start(&["server.allowed_origins=*"]);
    Socket::open(server.address(), &other).expect("any");
}

#[test]
fn case_159_under_meta_connect_delivery_an_event_waits_and_shares_the_frame_of_the_reply() {
    let server = Server::start(&["bayeux.meta_connect_deliver_only=true"]);
    let mut ann = WebSocket::subscribed(&server, "/a");
    WebSocket::ready(&server).publish("/a", json!(1));
    ann.expect_silence();
    ann.connect();
    assert_eq!(ann.receive(), json!([{"channel": "/a", "data": 1}, connected("c")]));
}

#[test]
fn case_160_under_meta_connect_delivery_an_event_ends_the_hold() {
    let server = Server::start(&["bayeux.meta_connect_deliver_only=true"]);
    let mut ann = WebSocket::subscribed(&server, "/a");
    ann.connect();
    server.await_held(&ann.id);
    WebSocket::ready(&server).publish("/a", json!(1));
    assert_eq!(ann.receive(), json!([{"channel": "/a", "data": 1}, connected("c")]));
    ann.expect_silence();
}

#[test]
fn case_161_a_session_outlives_its_socket() {
    let server = Server::start(&[]);
    let mut ann = WebSocket::subscribed(&server, "/a");
    ann.connect();
    server.await_held(&ann.id);
    let id = ann.id.clone();
    drop(ann);
    let mut bob = LongPolling::ready(&server);
    bob.publish("/a", json!(1));
    bob.publish("/a", json!(2));
    let mut ann = WebSocket::resumed(&server, &id);
    ann.send(json!([{"channel": CONNECT, "id": "d", "advice": {"timeout": 0}}]));
    // What was written to the dead socket before its end showed is lost without acknowledgement; what came later is not.
    let mut events = Vec::new();
    loop {
        let message = ann.receive()[0].clone();
        if message["channel"] == CONNECT {
            assert_eq!(message["successful"], true);
            break;
        }
        events.push(message["data"].clone());
    }
    bob.publish("/a", json!(3));
    assert_eq!(ann.receive(), json!([{"channel": "/a", "data": 3}]));
    assert!(events.is_empty() || events == [json!(2)] || events == [json!(1), json!(2)], "{events:?}");
}
