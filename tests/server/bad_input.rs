//! Bad input over HTTP: too much, too deep, too slow, cut short. Each gets a clear and bounded answer, or a closed
//! connection, and nobody else notices.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{LongPolling, MOUNT, assert_lasted};
use crate::support::http::{Connection, Request};
use crate::support::server::Server;
use crate::support::websocket::opening;
use crate::support::witness::Witness;

/// Sends a request that is going to be refused, and returns its status, or `None` when the server just closed.
#[track_caller]
fn refusal(server: &Server, request: &Request) -> Option<u16> {
    let mut connection = Connection::open(server.address());
    // A server need not read what it refuses.
    let _ = connection.send(request);
    let status = connection.outcome();
    assert!(status.is_none_or(|status| (400..600).contains(&status)), "{status:?}");
    status
}

#[test]
fn a_body_of_ten_megabytes_is_refused() {
    let server = Server::start(&[]);
    let mut witness = Witness::new(&server);
    let mut ann = LongPolling::subscribed(&server, "/a");
    let body = json!([{"channel": "/a", "clientId": ann.id, "data": "x".repeat(10_000_000)}]).to_string();
    refusal(&server, &ann.request(body.clone()));
    witness.is_well();
    refusal(&server, &ann.request(body).chunked(64 * 1024));
    witness.is_well();
    assert_eq!(ann.events(), json!([]));
}

#[test]
fn a_server_that_ends_a_connection_after_a_refusal_says_so() {
    let server = Server::start(&["bayeux.long_polling.max_message_size=2KiB"]);
    let mut ann = LongPolling::ready(&server);
    let body = json!([{"channel": "/a", "clientId": ann.id, "data": "x".repeat(10_000)}]).to_string();
    let (whole, small) = (ann.request(body), ann.request(json!([{"channel": "/a", "clientId": ann.id}]).to_string()));
    let unknown = whole.clone().header("Content-Type", "application/json; charset=foo");
    for request in [whole.clone(), whole.chunked(100), unknown.clone(), unknown.chunked(100)] {
        let mut connection = Connection::open(server.address());
        let response = connection.exchange(&request).expect("a response");
        assert!(response.status >= 400);
        if response.header("Connection").is_none_or(|value| !value.eq_ignore_ascii_case("close")) {
            assert_eq!(connection.exchange(&small).expect("a response").status, 200, "{response:?}");
        }
    }
    ann.publish("/a", json!(1));
}

#[test]
fn a_content_length_beyond_all_bounds_is_refused_before_the_body() {
    let server = Server::start(&[]);
    for length in ["1000000000000", "18446744073709551615", "18446744073709551616", "-1", "1x", ""] {
        let head = format!("POST {MOUNT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n[");
        let mut connection = Connection::open(server.address());
        connection.send_bytes(head.as_bytes()).expect("written");
        assert!(connection.outcome().is_none_or(|status| status >= 400), "{length}");
    }
    Witness::new(&server).is_well();
}

/// [LM-1]
#[test]
fn ten_thousand_messages_are_a_batch_and_one_more_is_not() {
    let server = Server::start(&[]);
    let mut witness = Witness::new(&server);
    let mut ann = LongPolling::subscribed(&server, "/a");
    let message = format!(r#"{{"channel":"/b","clientId":"{}"}}"#, ann.id);
    let batch = |count| format!("[{}]", vec![message.as_str(); count].join(","));
    let response = ann.exchange(batch(10_000));
    assert_eq!(response.status, 200);
    let replies: Vec<Value> = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!(replies.len(), 10_000);
    assert!(replies.iter().all(|reply| *reply == json!({"channel": "/b", "successful": true})));
    assert_eq!(refusal(&server, &ann.request(batch(10_001))), Some(400));
    witness.is_well();
    ann.publish("/b", json!(1));
}

/// [LM-1]
#[test]
fn json_nested_a_hundred_thousand_deep_is_refused() {
    let server = Server::start(&[]);
    let mut witness = Witness::new(&server);
    let mut ann = LongPolling::subscribed(&server, "/a");
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    let id = ann.id.clone();
    let message = |data: &str| format!(r#"[{{"channel":"/a","clientId":"{id}","data":{data}}}]"#);
    let bodies =
        [open.clone(), format!("{open}{close}"), message(&format!("{open}{close}")), message(&objects), message(&open)];
    for body in bodies {
        assert_eq!(refusal(&server, &ann.request(body)), Some(400));
    }
    witness.is_well();
    assert_eq!(ann.events(), json!([]));
    let reasonable = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let response = ann.exchange(message(&reasonable));
    assert_eq!(response.status, 200);
    assert!(response.text().contains(&reasonable), "{}", response.text());
}

/// [LM-2]
#[test]
fn names_of_a_megabyte_are_invalid() {
    let server = Server::start(&[]);
    let mut witness = Witness::new(&server);
    let mut ann = LongPolling::ready(&server);
    let name = format!("/{}", "x".repeat(1_000_000));
    let many = "/x".repeat(500_000);
    for message in [
        json!({"channel": name}),
        json!({"channel": many}),
        json!({"channel": "/meta/subscribe", "subscription": name}),
        json!({"channel": "/meta/subscribe", "subscription": [many]}),
        json!({"channel": "/meta/unsubscribe", "subscription": name}),
        json!({"channel": "/a", "id": "7".repeat(1_000_000)}),
        json!({"channel": "/a", "clientId": "c".repeat(1_000_000)}),
        json!({"channel": "/meta/connect", "clientId": "c".repeat(1_000_000)}),
    ] {
        let mut signed = message.clone();
        if signed.get("clientId").is_none() {
            signed["clientId"] = json!(ann.id);
        }
        let response = ann.exchange(json!([signed]).to_string());
        if response.status == 200 {
            let replies: Value = serde_json::from_slice(&response.body).expect("JSON");
            assert_eq!(replies[0]["successful"], false, "{}", message["channel"].to_string().len());
        } else {
            assert!(response.status >= 400);
        }
    }
    witness.is_well();
    ann.publish("/a", json!(1));
}

/// [LM-3]
#[test]
fn a_session_cannot_subscribe_to_a_hundred_thousand_channels() {
    let server = Server::start(&[]);
    let mut witness = Witness::new(&server);
    let mut ann = LongPolling::ready(&server);
    let mut refused = None;
    for part in 0..100 {
        let names: Vec<String> = (0..1000).map(|n| format!("/many/{part}/{n}")).collect();
        let replies = ann.batch(json!([{"channel": "/meta/subscribe", "subscription": names}]));
        if replies[0]["successful"] == false {
            refused = Some(part);
            break;
        }
    }
    assert_eq!(refused, Some(10), "the limit is ten thousand");
    let names: Vec<String> = (0..100_000).map(|n| format!("/m{n}")).collect();
    let mut bob = LongPolling::ready(&server);
    let replies = bob.batch(json!([{"channel": "/meta/subscribe", "subscription": names}]));
    assert_eq!(replies[0]["successful"], false);
    assert!(
        replies[0]["error"].as_str().is_some_and(|error| error.contains("denied_by_limit")),
        "{}",
        replies[0]["error"]
    );
    witness.is_well();
    bob.publish("/many/0/0", json!(1));
    assert_eq!(ann.events(), json!([{"channel": "/many/0/0", "data": 1}]), "what was granted stays");
}

/// [LM-3]
#[test]
fn sessions_and_channels_beyond_the_limit_are_refused() {
    let server = Server::start(&["bayeux.max_sessions=3", "bayeux.max_channels=40"]);
    let mut clients: Vec<LongPolling> = (0..3).map(|_| LongPolling::handshaken(&server)).collect();
    let mut late = LongPolling::new(&server);
    let replies = late.batch(json!([{"channel": "/meta/handshake"}]));
    assert_eq!((&replies[0]["successful"], &replies[0]["error"]), (&json!(false), &json!("403::handshake_denied")));
    let ann = &mut clients[0];
    let refused = (0..100).find_map(|n| {
        let replies = ann.batch(json!([{"channel": format!("/new/{n}"), "data": 1}]));
        (replies[0]["successful"] == false).then(|| replies[0]["error"].clone())
    });
    assert_eq!(refused, Some(json!("403:denied_by_limit:channel_create_denied")));
    ann.publish("/new/0", json!(1));
    ann.batch(json!([{"channel": "/meta/disconnect"}]));
    late.handshake();
}

#[test]
fn a_head_that_does_not_end_is_cut_off() {
    let server = Server::start(&["server.header_timeout=500ms"]);
    let mut witness = Witness::new(&server);
    let head = format!("POST {MOUNT} HTTP/1.1\r\nHost: localhost\r\nContent-");
    let mut slow: Vec<Connection> = (0..50)
        .map(|_| {
            let mut connection = Connection::open(server.address());
            connection.send_bytes(head.as_bytes()).expect("written");
            connection
        })
        .collect();
    witness.is_well();
    for connection in &mut slow {
        assert!(connection.outcome().is_none_or(|status| status == 408));
    }
    witness.is_well();
}

#[test]
fn a_head_that_trickles_in_is_cut_off_as_well() {
    let server = Server::start(&["server.header_timeout=500ms"]);
    let mut connection = Connection::open(server.address());
    let _ = connection.send_bytes(format!("POST {MOUNT} HTTP/1.1\r\nX-Slow: ").as_bytes());
    let started = Instant::now();
    // The end shows as a failed write, some time after the server has closed.
    while connection.send_bytes(b"z").is_ok() && connection.is_silent() {
        assert!(started.elapsed() < Duration::from_secs(8), "still listening");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_lasted(started.elapsed(), Duration::from_millis(400));
}

#[test]
fn a_body_that_does_not_end_is_cut_off() {
    let server = Server::start(&["server.body_timeout=500ms"]);
    let mut witness = Witness::new(&server);
    let mut ann = LongPolling::subscribed(&server, "/a");
    let whole = ann.request(json!([{"channel": "/a", "clientId": ann.id, "data": 1}]).to_string());
    for request in [whole.clone(), whole.chunked(10)] {
        let bytes = request.to_bytes();
        let mut connection = Connection::open(server.address());
        connection.send_bytes(&bytes[..bytes.len() - 8]).expect("written");
        assert!(connection.outcome().is_none_or(|status| status >= 400));
        witness.is_well();
    }
    assert_eq!(ann.events(), json!([]));
}

#[test]
fn a_request_that_trickles_in_within_its_time_is_served() {
    let server = Server::start(&[]);
    let ann = LongPolling::ready(&server);
    let mut connection = Connection::open(server.address());
    for byte in ann.request(json!([{"channel": "/a", "id": "1", "clientId": ann.id}]).to_string()).to_bytes() {
        connection.send_bytes(&[byte]).expect("written");
        std::thread::yield_now();
    }
    let replies: Value = serde_json::from_slice(&connection.response().expect("a response").body).expect("JSON");
    assert_eq!(replies, json!([{"channel": "/a", "id": "1", "successful": true}]));
}

#[test]
fn a_connection_at_rest_is_closed() {
    let server = Server::start(&["server.idle_timeout=500ms"]);
    let mut fresh = Connection::open(server.address());
    let mut used = Connection::open(server.address());
    let response = used.exchange(&Request::post(MOUNT, r#"[{"channel":"/meta/handshake"}]"#)).expect("a response");
    assert_eq!(response.status, 200);
    used.closed().expect("an end");
    drop(fresh.closed());
}

#[test]
fn a_head_that_begins_behind_a_request_has_no_more_time_than_others() {
    let server = Server::start(&["server.header_timeout=500ms"]);
    let handshake = Request::post(MOUNT, r#"[{"channel":"/meta/handshake"}]"#);
    for request in [handshake.clone(), handshake.chunked(10), Request::new("OPTIONS", MOUNT)] {
        let mut clean = Connection::open(server.address());
        let mut slow = Connection::open(server.address());
        assert_eq!(clean.exchange(&request).expect("a response").status, 200);
        slow.send_bytes(&[&request.to_bytes()[..], b"POST /com"].concat()).expect("written");
        assert_eq!(slow.response().expect("a response").status, 200);
        slow.closed().expect("an end");
        // The time between two requests is another one.
        assert_eq!(clean.exchange(&request).expect("a response").status, 200);
    }
}

#[test]
fn what_is_no_http_is_refused() {
    let server = Server::start(&["server.header_timeout=1s", "server.body_timeout=1s"]);
    let mut witness = Witness::new(&server);
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(1_000_000));
    let wide = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(1_000_000));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(10_000));
    let smuggled = format!(
        "POST {MOUNT} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"
    );
    let chunks = format!("POST {MOUNT} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n0\r\n\r\n");
    let chunk = format!("POST {MOUNT} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n[]");
    let inputs: [&[u8]; 9] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nBad Name: x\r\n\r\n",
        long.as_bytes(),
        wide.as_bytes(),
        many.as_bytes(),
        chunks.as_bytes(),
        chunk.as_bytes(),
    ];
    for input in inputs {
        let mut connection = Connection::open(server.address());
        let _ = connection.send_bytes(input);
        let status = connection.outcome();
        assert!(
            status.is_none_or(|status| status >= 400),
            "{status:?} to {:?}",
            String::from_utf8_lossy(&input[..20.min(input.len())])
        );
        witness.is_well();
    }
    let mut connection = Connection::open(server.address());
    let _ = connection.send_bytes(smuggled.as_bytes());
    connection.outcome();
    witness.is_well();
}

#[test]
fn a_client_that_ends_its_half_loses_nothing() {
    let server = Server::start(&[]);
    let mut witness = Witness::new(&server);
    let mut ann = LongPolling::subscribed(&server, "/a");
    let mut connection = Connection::open(server.address());
    connection.send(&ann.request(json!([{"channel": "/b", "clientId": ann.id}]).to_string())).expect("written");
    connection.shutdown_write();
    assert!(connection.outcome().is_none_or(|status| status == 200));

    let mut held = Connection::open(server.address());
    held.send(&ann.request(json!([{"channel": "/meta/connect", "clientId": ann.id}]).to_string())).expect("written");
    server.await_held(&ann.id);
    held.shutdown_write();
    witness.is_well();
    LongPolling::ready(&server).publish("/a", json!(1));
    // The event went out on the half that is still open, or waits for the next connect.
    if held.outcome().is_none() {
        assert_eq!(ann.events(), json!([{"channel": "/a", "data": 1}]));
    }
}

#[test]
fn a_connection_may_be_cut_at_every_byte_of_a_request() {
    let server = Server::start(&[]);
    let mut witness = Witness::new(&server);
    let mut ann = LongPolling::subscribed(&server, "/a");
    let whole = ann.request(json!([{"channel": "/a", "clientId": ann.id, "data": 1}]).to_string());
    for request in [whole.clone(), whole.chunked(16)] {
        let bytes = request.to_bytes();
        for end in 0..bytes.len() - 2 {
            let mut connection = Connection::open(server.address());
            connection.send_bytes(&bytes[..end]).expect("written");
        }
    }
    witness.is_well();
    assert_eq!(ann.events(), json!([]), "no cut request takes effect");
    let bytes = opening(MOUNT).to_bytes();
    for end in 0..=bytes.len() {
        let mut connection = Connection::open(server.address());
        connection.send_bytes(&bytes[..end]).expect("written");
    }
    witness.is_well();
}

#[test]
fn a_client_that_never_reads_its_answers_is_not_read_from_for_ever() {
    let server = Server::start(&[]);
    let mut witness = Witness::new(&server);
    let ann = LongPolling::ready(&server);
    let messages = json!([{"channel": "/a", "clientId": ann.id, "subscription": "x".repeat(100_000)}]).to_string();
    let mut connection = Connection::open(server.address());
    let limit = 256 * 1024 * 1024;
    let written = connection.flood(&ann.request(messages).to_bytes(), limit);
    assert!(written < limit, "{written}");
    witness.is_well();
}

#[test]
fn many_silent_connections_are_borne() {
    let server = Server::start(&[]);
    let mut witness = Witness::new(&server);
    let silent: Vec<Connection> = (0..300).map(|_| Connection::open(server.address())).collect();
    witness.is_well();
    drop(silent);
    witness.is_well();
}
