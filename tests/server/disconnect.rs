//! `/meta/disconnect`, and sessions that the server ends.

use serde_json::{Value, json};

use crate::support::client::LongPolling;
use crate::support::server::Server;

const CONNECT: &str = "/meta/connect";
const DISCONNECT: &str = "/meta/disconnect";

/// The answer to a connect of a session that is gone.
fn handshake_again() -> Value {
    json!([{
        "channel": CONNECT, "id": "c", "successful": false, "error": "402::session_unknown",
        "advice": {"reconnect": "handshake", "interval": 0},
    }])
}

/// What a held connect is told when its session ends.
fn final_reply() -> Value {
    json!({"channel": CONNECT, "id": "c", "successful": true, "advice": {"reconnect": "none"}})
}

#[test]
fn case_117_after_a_disconnect_the_session_is_unknown() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let replies = ann.batch(json!([{"channel": DISCONNECT, "id": "1"}]));
    assert_eq!(replies, json!([{"channel": DISCONNECT, "id": "1", "successful": true}]));
    let replies = ann.batch(json!([{"channel": "/a", "id": "2"}]));
    assert_eq!(replies, json!([{"channel": "/a", "id": "2", "successful": false, "error": "402::session_unknown"}]));
    assert_eq!(ann.batch(json!([{"channel": CONNECT, "id": "c"}])), handshake_again());
}

#[test]
fn case_118_a_disconnect_ends_the_held_connect_for_good() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let mut held = ann.hold(&server);
    let replies = ann.batch(json!([{"channel": DISCONNECT, "id": "1"}]));
    assert_eq!(replies, json!([{"channel": DISCONNECT, "id": "1", "successful": true}]));
    assert_eq!(held.messages(), json!([final_reply()]));
}

#[test]
fn case_119_queued_events_come_with_the_reply_to_a_disconnect() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/a");
    LongPolling::ready(&server).publish("/a", json!(1));
    let replies = ann.batch(json!([{"channel": DISCONNECT, "id": "1"}]));
    assert_eq!(replies, json!([{"channel": "/a", "data": 1}, {"channel": DISCONNECT, "id": "1", "successful": true}]));
}

#[test]
fn case_120_a_disconnect_of_an_unknown_session_is_refused_without_advice() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let replies = ann.batch(json!([{"channel": DISCONNECT, "id": "1", "clientId": "nobody"}]));
    assert_eq!(
        replies,
        json!([{"channel": DISCONNECT, "id": "1", "successful": false, "error": "402::session_unknown"}])
    );
}

#[test]
fn case_121_what_follows_a_disconnect_in_its_batch_is_refused_for_good() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let replies = ann.batch(json!([
        {"channel": DISCONNECT, "id": "1"},
        {"channel": "/a", "id": "2"},
        {"channel": CONNECT, "id": "3"},
    ]));
    assert_eq!(
        replies,
        json!([
            {"channel": DISCONNECT, "id": "1", "successful": true},
            {"channel": "/a", "id": "2", "successful": false, "error": "402::session_unknown"},
            {
                "channel": CONNECT, "id": "3", "successful": false, "error": "402::session_unknown",
                "advice": {"reconnect": "none", "interval": 0},
            },
        ])
    );
}

#[test]
fn case_122_a_disconnect_by_the_server_reaches_a_held_connect_as_a_message_without_id() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let mut held = ann.hold(&server);
    server.disconnect(&ann.id);
    assert_eq!(held.messages(), json!([{"channel": DISCONNECT, "successful": true}, final_reply()]));
    assert_eq!(ann.batch(json!([{"channel": CONNECT, "id": "c"}])), handshake_again());
}

#[test]
fn case_123_a_disconnect_by_the_server_between_connects_shows_at_the_next_one() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    server.disconnect(&ann.id);
    assert_eq!(ann.batch(json!([{"channel": CONNECT, "id": "c"}])), handshake_again());
}

#[test]
fn case_124_a_disconnect_inside_a_service_comes_before_the_reply_and_ends_the_batch() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let replies = ann.batch(json!([{"channel": "/service/kick", "id": "1"}, {"channel": "/a", "id": "2"}]));
    assert_eq!(
        replies,
        json!([
            {"channel": DISCONNECT, "successful": true},
            {"channel": "/service/kick", "id": "1", "successful": true},
            {"channel": "/a", "id": "2", "successful": false, "error": "402::session_unknown"},
        ])
    );
}

#[test]
fn a_disconnected_session_hears_nothing_and_disturbs_nobody() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/a");
    let mut eve = LongPolling::subscribed(&server, "/a");
    ann.batch(json!([{"channel": DISCONNECT}]));
    assert!(!server.has_session(&ann.id));
    LongPolling::ready(&server).publish("/a", json!(1));
    assert_eq!(eve.events(), json!([{"channel": "/a", "data": 1}]));
}
