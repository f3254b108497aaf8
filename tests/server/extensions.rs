//! The protocol's own extensions over sockets: clocks, timestamps, binary data, activity.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::client::{LongPolling, WebSocket};
use crate::support::server::Server;

const CONNECT: &str = "/meta/connect";

/// Milliseconds since the Unix epoch.
fn clock() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(now.as_millis()).expect("a clock before the year 292278994")
}

/// Sends a connect that is answered at once with this `ext.timesync`; returns that of the reply.
fn ask(client: &mut LongPolling, timesync: &Value) -> Option<Value> {
    let connect = json!([{"channel": CONNECT, "advice": {"timeout": 0}, "ext": {"timesync": timesync}}]);
    let reply = client.batch(connect)[0].clone();
    assert_eq!(reply["successful"], true, "{reply}");
    reply.get("ext").map(|ext| ext["timesync"].clone())
}

#[test]
fn case_183_a_client_that_knows_no_lag_is_told_the_servers_clock() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let before = clock();
    let told = ask(&mut ann, &json!({"tc": before, "l": 0, "o": 5})).expect("an answer");
    let shown = told["ts"].as_i64().expect("the server's clock");
    // The server looks at the system's clock some times a second and counts on between.
    assert!((before - 1_000..=clock() + 1_000).contains(&shown), "{told}");
    assert!(told["p"].as_u64().is_some(), "{told}");
    let expected = json!({"tc": before, "ts": shown, "p": told["p"], "a": before + 5 - shown});
    assert_eq!(told, expected);
}

#[test]
fn case_183_the_time_of_a_hold_is_the_servers() {
    let server = Server::start(&["bayeux.timeout=300ms"]);
    let mut ann = LongPolling::ready(&server);
    let replies = ann.batch(json!([{"channel": CONNECT, "ext": {"timesync": {"tc": 1, "l": 0, "o": 0}}}]));
    let spent = replies[0]["ext"]["timesync"]["p"].as_u64().expect("a time");
    assert!(spent >= 300, "{replies}");
}

#[test]
fn case_184_a_client_that_knows_the_time_is_told_nothing() {
    // So that a slow machine is as good as a quick one.
    let server = Server::start(&["bayeux.timesync_accuracy_target=1h"]);
    let mut ann = LongPolling::ready(&server);
    assert_eq!(ask(&mut ann, &json!({"tc": clock(), "l": 1, "o": 0})), None);
    let off = ask(&mut ann, &json!({"tc": clock() - 4_000_000, "l": 1, "o": 0})).expect("an answer");
    assert!(off["a"].as_i64().is_some_and(|off| off <= -3_600_000), "{off}");
}

#[test]
fn case_185_a_client_that_says_nothing_of_lag_is_told_no_accuracy() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let told = ask(&mut ann, &json!({"tc": 7})).expect("an answer");
    assert_eq!(told, json!({"tc": 7, "ts": told["ts"], "p": told["p"]}));
    assert!(told["ts"].is_i64() && told["p"].is_u64(), "{told}");
}

#[test]
fn case_186_every_outgoing_message_has_a_timestamp() {
    let server = Server::start(&["bayeux.extensions=timestamp", "bayeux.timestamp_zone=UTC"]);
    let mut ann = LongPolling::new(&server);
    assert_stamped(&ann.batch(json!([{"channel": "/meta/handshake", "version": "1.0"}])), 1);
    ann.handshake();
    assert_stamped(&ann.batch(json!([{"channel": CONNECT}, {"channel": "/meta/subscribe", "subscription": "/a"}])), 2);
    assert_stamped(&ann.batch(json!([{"channel": "/a", "data": 1, "timestamp": "mine"}])), 2);
    assert_stamped(&ann.batch(json!([{"channel": "/service/echo", "data": 1}, {"channel": "/a%"}])), 3);
    let mut held = ann.hold(&server);
    server.disconnect(&ann.id);
    assert_stamped(&held.messages(), 2);

    let mut bob = WebSocket::handshaken(&server);
    assert_stamped(&bob.batch(json!([{"channel": "/meta/subscribe", "subscription": "/b"}])), 1);
    server.publish("/b", json!(1));
    assert_stamped(&bob.receive(), 1);
    server.deliver(&bob.id, "/private", json!(1));
    assert_stamped(&bob.receive(), 1);
}

/// Whether there are so many messages that all say when they left, like `Sat Nov 21 00:25:38 UTC 2026`.
#[track_caller]
fn assert_stamped(messages: &Value, count: usize) {
    let messages = messages.as_array().expect("messages");
    assert_eq!(messages.len(), count, "{messages:?}");
    for message in messages {
        let words: Vec<&str> = message["timestamp"].as_str().unwrap_or_default().split(' ').collect();
        assert!(words.len() == 6 && words[3].len() == 8 && words[4] == "UTC", "{message}");
    }
}

#[test]
fn case_187_binary_data_passes_unchanged() {
    let server = Server::start(&[]);
    let mut ann = WebSocket::subscribed(&server, "/bin");
    let mut bob = LongPolling::ready(&server);
    for text in ["", "HelloWorld", "3jvm", "3&*!G4H@", "nm=QNzV", "%nSc0", "@@", "00"] {
        let data = json!({"data": text, "last": true, "meta": {"name": "f.bin"}});
        let replies = bob.batch(json!([{"channel": "/bin", "data": data, "ext": {"binary": {}}}]));
        assert_eq!(replies[0]["successful"], true);
        assert_eq!(ann.receive(), json!([{"channel": "/bin", "data": data, "ext": {"binary": {}}}]));
    }
}

#[test]
fn case_188_who_only_connects_for_too_long_is_sent_away() {
    let server = Server::start(&["bayeux.extensions=activity", "bayeux.activity_max_inactivity_period=300ms"]);
    let mut ann = LongPolling::handshaken(&server);
    let mut bob = WebSocket::handshaken(&server);
    // What is tested is that time has passed; however much more does no harm.
    std::thread::sleep(Duration::from_millis(310));
    let goodbye = json!({"channel": "/meta/disconnect", "successful": true});
    let refused = |advice: Value| json!({"channel": CONNECT, "id": "c", "successful": false, "error": "402::session_unknown", "advice": advice});
    let none = refused(json!({"reconnect": "none", "interval": 0}));
    assert_eq!(ann.batch(json!([{"channel": CONNECT, "id": "c"}])), json!([goodbye, none]));
    let again = refused(json!({"reconnect": "handshake", "interval": 0}));
    assert_eq!(ann.batch(json!([{"channel": CONNECT, "id": "c"}])), json!([again]));

    assert_eq!(bob.batch(json!([{"channel": CONNECT, "id": "c"}])), json!([goodbye]));
    assert_eq!(bob.receive(), json!([none]));
}
