//! How long sessions live, and messages that may wait.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{LongPolling, WebSocket, assert_lasted};
use crate::support::http::Request;
use crate::support::server::Server;

const CONNECT: &str = "/meta/connect";

fn handshake_again() -> Value {
    json!([{
        "channel": CONNECT, "id": "c", "successful": false, "error": "402::session_unknown",
        "advice": {"reconnect": "handshake", "interval": 0},
    }])
}

fn connected() -> Value {
    json!({"channel": CONNECT, "id": "c", "successful": true})
}

#[test]
fn cases_162_and_163_a_session_that_stops_connecting_expires() {
    let server = Server::start(&["bayeux.max_interval=400ms"]);
    let clients: [fn(&Server) -> LongPolling; 2] = [LongPolling::ready, LongPolling::handshaken];
    for client in clients {
        let started = Instant::now();
        let mut ann = client(&server);
        server.await_end_of(&ann.id);
        assert_lasted(started.elapsed(), Duration::from_millis(400));
        assert_eq!(ann.batch(json!([{"channel": CONNECT, "id": "c"}])), handshake_again());
    }
}

#[test]
fn case_164_an_announced_pause_is_added_to_the_life_of_a_session() {
    let server = Server::start(&["bayeux.max_interval=400ms"]);
    let mut ann = LongPolling::handshaken(&server);
    ann.batch(json!([{"channel": CONNECT, "advice": {"timeout": 0, "interval": 30_000}}]));
    let bob = LongPolling::ready(&server);
    server.await_end_of(&bob.id);
    assert_eq!(ann.batch(json!([{"channel": CONNECT, "id": "c", "advice": {"timeout": 0}}]))[0]["successful"], true);
}

#[test]
fn case_165_publishing_keeps_a_session_alive_that_does_not_connect() {
    let server = Server::start(&["bayeux.max_interval=1s"]);
    let mut ann = LongPolling::ready(&server);
    let bob = LongPolling::ready(&server);
    let started = Instant::now();
    while server.has_session(&bob.id) || started.elapsed() < Duration::from_millis(1500) {
        ann.publish("/a", json!(1));
        std::thread::sleep(Duration::from_millis(50));
    }
    ann.publish("/a", json!(1));
    server.await_end_of(&ann.id);
    assert_eq!(ann.batch(json!([{"channel": CONNECT, "id": "c"}])), handshake_again());
}

#[test]
fn a_held_connect_keeps_a_session_alive() {
    let server = Server::start(&["bayeux.max_interval=300ms"]);
    let ann = LongPolling::subscribed(&server, "/a");
    let mut held = ann.hold(&server);
    let bob = LongPolling::ready(&server);
    server.await_end_of(&bob.id);
    LongPolling::ready(&server).publish("/a", json!(1));
    assert_eq!(held.messages(), json!([{"channel": "/a", "data": 1}, connected()]));
}

#[test]
fn case_166_a_held_connect_that_is_processed_for_too_long_ends_its_session() {
    let server = Server::start(&["bayeux.max_processing=400ms"]);
    let mut ann = LongPolling::ready(&server);
    let mut held = ann.hold(&server);
    assert_eq!(held.response().expect("a response").status, 500);
    assert_eq!(ann.batch(json!([{"channel": CONNECT, "id": "c"}])), handshake_again());

    let mut bob = WebSocket::ready(&server);
    bob.connect();
    assert_eq!(bob.close_code(), Some(1000));
    let mut bob = WebSocket::resumed(&server, &bob.id);
    assert_eq!(bob.batch(json!([{"channel": CONNECT, "id": "c"}])), handshake_again());
}

#[test]
fn case_167_a_lazy_message_waits_before_it_wakes_a_held_connect() {
    let server = Server::start(&[]);
    server.lazy("/lazy", Duration::from_millis(400));
    let ann = LongPolling::subscribed(&server, "/lazy");
    let mut held = ann.hold(&server);
    let mut bob = LongPolling::ready(&server);
    let published = Instant::now();
    bob.publish("/lazy", json!(1));
    assert_eq!(held.messages(), json!([{"channel": "/lazy", "data": 1}, connected()]));
    assert_lasted(published.elapsed(), Duration::from_millis(400));
}

#[test]
fn case_168_a_queue_of_lazy_messages_does_not_keep_a_connect_from_being_held() {
    let server = Server::start(&[]);
    server.lazy("/lazy", Duration::from_millis(600));
    let ann = LongPolling::subscribed(&server, "/lazy");
    let mut bob = LongPolling::ready(&server);
    let published = Instant::now();
    bob.publish("/lazy", json!(1));
    let mut held = ann.start(json!([{"channel": CONNECT, "id": "c"}]));
    assert_eq!(held.messages(), json!([{"channel": "/lazy", "data": 1}, connected()]));
    assert_lasted(published.elapsed(), Duration::from_millis(600));
}

#[test]
fn case_169_a_lazy_message_rides_with_any_reply() {
    let server = Server::start(&[]);
    server.lazy("/lazy", Duration::from_secs(20));
    let mut ann = LongPolling::subscribed(&server, "/lazy");
    LongPolling::ready(&server).publish("/lazy", json!(1));
    let replies = ann.batch(json!([{"channel": "/meta/subscribe", "id": "s", "subscription": "/b"}]));
    assert_eq!(
        replies,
        json!([
            {"channel": "/lazy", "data": 1},
            {"channel": "/meta/subscribe", "id": "s", "subscription": "/b", "successful": true},
        ])
    );
}

#[test]
fn case_170_a_lazy_channel_makes_no_channel_below_it_lazy() {
    let server = Server::start(&["bayeux.max_lazy_timeout=20s"]);
    server.lazy("/foo", Duration::from_secs(20));
    let ann = LongPolling::subscribed(&server, "/foo/bar");
    let mut held = ann.hold(&server);
    LongPolling::ready(&server).publish("/foo/bar", json!(1));
    assert_eq!(held.messages(), json!([{"channel": "/foo/bar", "data": 1}, connected()]));
}

#[test]
fn case_170_a_lazy_wildcard_makes_what_it_matches_lazy() {
    let server = Server::start(&["bayeux.max_lazy_timeout=400ms"]);
    server.lazy("/foo/*", Duration::from_millis(400));
    let ann = LongPolling::subscribed(&server, "/foo/bar");
    let mut held = ann.hold(&server);
    let mut bob = LongPolling::ready(&server);
    let published = Instant::now();
    bob.publish("/foo/bar", json!(1));
    assert_eq!(held.messages(), json!([{"channel": "/foo/bar", "data": 1}, connected()]));
    assert_lasted(published.elapsed(), Duration::from_millis(400));
}

/// [LZ-5]
#[test]
fn a_shorter_lazy_wait_brings_the_timer_forward() {
    let server = Server::start(&[]);
    server.lazy("/slow", Duration::from_secs(20));
    server.lazy("/fast", Duration::from_millis(300));
    let mut ann = LongPolling::subscribed(&server, "/slow");
    ann.subscribe("/fast");
    let mut held = ann.hold(&server);
    let mut bob = LongPolling::ready(&server);
    bob.batch(
        json!([{"channel": "/slow", "data": 1}, {"channel": "/fast", "data": 2}, {"channel": "/slow", "data": 3}]),
    );
    let events =
        [("/slow", 1), ("/fast", 2), ("/slow", 3)].map(|(channel, data)| json!({"channel": channel, "data": data}));
    assert_eq!(held.messages(), json!([events[0], events[1], events[2], connected()]));
}

/// [SS-9]
#[test]
fn a_session_belongs_to_its_mount() {
    let server = Server::start(&["mount.0.path=/cometd", "mount.1.path=/other"]);
    let mut ann = LongPolling::ready(&server);
    let publish = json!([{"channel": "/a", "id": "1", "clientId": ann.id}]).to_string();
    let response = ann.exchange_request(&Request::post("/other", publish));
    let replies: Value = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!(replies, json!([{"channel": "/a", "id": "1", "successful": false, "error": "402::session_unknown"}]));
    ann.publish("/a", json!(1));
}

#[test]
fn an_ordinary_message_takes_waiting_lazy_ones_along_in_order() {
    let server = Server::start(&[]);
    server.lazy("/lazy", Duration::from_secs(20));
    let mut ann = LongPolling::subscribed(&server, "/lazy");
    ann.subscribe("/a");
    let mut held = ann.hold(&server);
    let mut bob = LongPolling::ready(&server);
    bob.publish("/lazy", json!(1));
    assert!(held.is_silent());
    bob.publish("/a", json!(2));
    assert_eq!(held.messages(), json!([{"channel": "/lazy", "data": 1}, {"channel": "/a", "data": 2}, connected()]));
}
