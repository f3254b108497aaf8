//! More connects than one: of one session over HTTP, and of several sessions of one browser.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{LongPolling, Pending, WebSocket};
use crate::support::http::PATIENCE;
use crate::support::server::Server;

const CONNECT: &str = "/meta/connect";

/// A ready client with the cookie of another: a second tab of its browser.
fn handshaken_tab(server: &Server, first: &LongPolling) -> LongPolling {
    let mut tab = LongPolling::new(server);
    tab.cookie.clone_from(&first.cookie);
    tab.handshake();
    tab
}

/// Waits until something has arrived on `held`.
#[track_caller]
fn answered(held: &Pending) {
    let deadline = Instant::now() + PATIENCE;
    while held.is_silent() {
        assert!(Instant::now() < deadline, "the connect is still held");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[track_caller]
fn superseded_with(settings: &[&str], status: u16) {
    let server = Server::start(settings);
    let ann = LongPolling::subscribed(&server, "/a");
    let mut first = ann.hold(&server);
    let mut second = ann.start(json!([{"channel": CONNECT, "id": "second"}]));
    let response = first.response().expect("a response");
    assert_eq!(response.status, status);
    assert!(serde_json::from_slice::<Value>(&response.body).is_err(), "no Bayeux reply: {response:?}");
    LongPolling::ready(&server).publish("/a", json!(1));
    assert_eq!(
        second.messages(),
        json!([{"channel": "/a", "data": 1}, {"channel": CONNECT, "id": "second", "successful": true}])
    );
}

#[test]
fn case_63_a_second_connect_ends_the_held_one_with_an_error_status() {
    superseded_with(&[], 500);
}

#[test]
fn case_64_the_status_of_a_superseded_connect_is_configurable() {
    superseded_with(&["bayeux.duplicate_meta_connect_http_response_code=409"], 409);
}

#[test]
fn case_65_an_invalid_second_connect_ends_the_held_one_too() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let mut held = ann.hold(&server);
    let replies = ann.batch(json!([{"channel": CONNECT, "id": "a-b"}]));
    assert_eq!(
        replies,
        json!([{"channel": CONNECT, "id": "a-b", "successful": false, "error": "405::message_id_invalid"}])
    );
    assert_eq!(held.response().expect("a response").status, 500);
}

/// [CN-13]
#[test]
fn a_connect_superseded_from_another_transport_is_answered_as_usual() {
    let server = Server::start(&[]);
    let ann = LongPolling::ready(&server);
    let mut held = ann.hold(&server);
    let mut socket = WebSocket::resumed(&server, &ann.id);
    socket.connect();
    assert_eq!(held.messages()[0]["successful"], true);
}

#[test]
fn cases_75_to_77_a_second_tab_polls_until_the_first_is_gone() {
    let server = Server::start(&["bayeux.max_sessions_per_browser=1", "bayeux.timeout=20s"]);
    let mut first = LongPolling::subscribed(&server, "/a");
    let mut held = first.hold(&server);
    let mut second = handshaken_tab(&server, &first);

    let replies = second.batch(json!([{"channel": CONNECT, "id": "1", "advice": {"timeout": 0}}]));
    let advice = json!({"multiple-clients": true, "reconnect": "retry", "interval": 2000, "timeout": 20_000});
    assert_eq!(replies, json!([{"channel": CONNECT, "id": "1", "successful": true, "advice": advice}]));
    let replies = second.batch(json!([{"channel": CONNECT, "id": "2"}]));
    let advice = json!({"multiple-clients": true, "reconnect": "retry", "interval": 2000});
    assert_eq!(replies, json!([{"channel": CONNECT, "id": "2", "successful": true, "advice": advice}]));

    LongPolling::ready(&server).publish("/a", json!(1));
    assert_eq!(held.messages()[0], json!({"channel": "/a", "data": 1}));
    second.subscribe("/b");
    let mut held = second.hold(&server);
    first.publish("/b", json!(2));
    assert_eq!(
        held.messages(),
        json!([{"channel": "/b", "data": 2}, {"channel": CONNECT, "id": "c", "successful": true}])
    );
}

#[test]
fn case_78_without_an_interval_a_second_tab_is_refused() {
    let server = Server::start(&["bayeux.max_sessions_per_browser=1", "bayeux.multi_session_interval=0s"]);
    let first = LongPolling::ready(&server);
    let held = first.hold(&server);
    let mut second = handshaken_tab(&server, &first);
    let replies = second.batch(json!([{"channel": CONNECT, "id": "1"}]));
    let advice = json!({"multiple-clients": true, "reconnect": "none"});
    assert_eq!(replies, json!([{"channel": CONNECT, "id": "1", "successful": false, "advice": advice}]));
    // Advice that is due goes with it, and is told.
    let replies = second.batch(json!([{"channel": CONNECT, "id": "2", "advice": {}}]));
    let advice = json!({"multiple-clients": true, "reconnect": "none", "interval": 0, "timeout": 30_000});
    assert_eq!(replies, json!([{"channel": CONNECT, "id": "2", "successful": false, "advice": advice}]));
    assert!(held.is_silent());
}

#[test]
fn case_79_as_many_tabs_are_held_as_allowed() {
    let server = Server::start(&["bayeux.max_sessions_per_browser=2"]);
    let first = LongPolling::ready(&server);
    let (second, third) = (handshaken_tab(&server, &first), handshaken_tab(&server, &first));
    let [mut second, mut third] = [second, third];
    for tab in [&mut second, &mut third] {
        assert_eq!(tab.events(), json!([]));
    }
    let held = [first.hold(&server), second.hold(&server)];
    let replies = third.batch(json!([{"channel": CONNECT, "id": "1"}]));
    let advice = json!({"multiple-clients": true, "reconnect": "retry", "interval": 2000});
    assert_eq!(replies, json!([{"channel": CONNECT, "id": "1", "successful": true, "advice": advice}]));
    assert!(held.iter().all(Pending::is_silent));
}

#[test]
fn case_79_three_tabs_are_held_by_default() {
    let server = Server::start(&[]);
    let first = LongPolling::ready(&server);
    let mut tabs: Vec<LongPolling> = (0..3).map(|_| handshaken_tab(&server, &first)).collect();
    for tab in &mut tabs {
        assert_eq!(tab.events(), json!([]));
    }
    let mut fourth = tabs.pop().expect("a tab");
    let held: Vec<Pending> = std::iter::once(&first).chain(&tabs).map(|tab| tab.hold(&server)).collect();
    let replies = fourth.batch(json!([{"channel": CONNECT, "id": "1"}]));
    assert_eq!(replies[0]["advice"]["multiple-clients"], true);
    assert!(held.iter().all(Pending::is_silent));
}

#[test]
fn case_80_without_a_limit_every_tab_is_held() {
    let server = Server::start(&["bayeux.max_sessions_per_browser=-1"]);
    let first = LongPolling::ready(&server);
    let mut tabs: Vec<LongPolling> = (0..5).map(|_| handshaken_tab(&server, &first)).collect();
    for tab in &mut tabs {
        assert_eq!(tab.events(), json!([]));
    }
    let held: Vec<Pending> = std::iter::once(&first).chain(&tabs).map(|tab| tab.hold(&server)).collect();
    assert!(held.iter().all(Pending::is_silent));
}

#[test]
fn a_place_is_free_again_when_its_tab_vanishes() {
    let server = Server::start(&["bayeux.max_sessions_per_browser=1"]);
    let first = LongPolling::ready(&server);
    let held = first.hold(&server);
    let mut second = handshaken_tab(&server, &first);
    assert_eq!(second.events(), json!([]));
    drop(held);
    server.await_not_held(&first.id);
    let held = second.hold(&server);
    second.publish("/a", json!(1));
    assert!(held.is_silent());
    server.disconnect(&second.id);
    answered(&held);
}
