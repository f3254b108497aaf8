//! What clients of Faye send, message for message, and the answers that let them go on.

use serde_json::{Value, json};

use crate::support::client::{LongPolling, WebSocket};
use crate::support::server::Server;

const CONNECT: &str = "/meta/connect";

/// The handshake of Faye in Node.
fn handshake() -> Value {
    json!([{
        "channel": "/meta/handshake", "version": "1.0", "id": "1",
        "supportedConnectionTypes": ["in-process", "websocket", "long-polling"],
    }])
}

/// A successful reply.
fn reply(channel: &str, id: &str) -> Value {
    json!({"channel": channel, "id": id, "successful": true})
}

/// [FY-11]
#[test]
fn case_197_faye_over_long_polling_gets_through_its_whole_life() {
    let server = Server::start(&[]);
    let mut faye = LongPolling::new(&server);
    let shaken = faye.batch(handshake());
    assert_eq!(shaken[0]["supportedConnectionTypes"], json!(["websocket", "long-polling", "callback-polling"]));
    assert_eq!(shaken[0]["advice"], json!({"reconnect": "retry", "interval": 0, "timeout": 30_000}));
    faye.id = shaken[0]["clientId"].as_str().expect("a clientId").to_owned();
    // The connect goes with what else there is, and says so in its advice.
    let replies = faye.batch(json!([
        {"channel": CONNECT, "connectionType": "long-polling", "id": "2", "advice": {"timeout": 0}},
        {"channel": "/meta/subscribe", "subscription": "/chat/*", "id": "z"},
    ]));
    assert_eq!(replies[0]["successful"], true);
    assert_eq!(
        replies[1],
        json!({"channel": "/meta/subscribe", "id": "z", "subscription": "/chat/*", "successful": true})
    );
    let mut held = faye.hold(&server);
    let publish = json!([{"channel": "/chat/demo", "data": {"text": "é € 😀"}, "id": "10"}]);
    let event = json!({"channel": "/chat/demo", "data": {"text": "é € 😀"}});
    assert_eq!(faye.batch(publish), json!([event, reply("/chat/demo", "10")]));
    // A large message is preceded by an empty batch, and goes on another connection.
    assert_eq!(faye.batch(json!([])), json!([]));
    faye.publish("/big", json!("x".repeat(4_000)));
    assert_eq!(
        faye.batch(json!([{"channel": "/meta/disconnect", "id": "1z"}])),
        json!([reply("/meta/disconnect", "1z")])
    );
    assert_eq!(held.messages()[0]["advice"]["reconnect"], "none");
}

/// [FY-11]
#[test]
fn case_197_faye_shakes_hands_by_post_and_goes_on_by_socket() {
    let server = Server::start(&[]);
    // The socket is opened first, and idle until the handshake is through.
    let mut socket = WebSocket::open(&server);
    let mut faye = LongPolling::new(&server);
    socket.id = faye.batch(handshake())[0]["clientId"].as_str().expect("a clientId").to_owned();
    socket.send(json!([{"channel": CONNECT, "connectionType": "websocket", "id": "2"}]));
    assert_eq!(socket.receive()[0]["successful"], true);
    socket.send(json!([{"channel": CONNECT, "connectionType": "websocket", "id": "3"}]));
    socket.subscribe("/chat/demo");
    socket.send(json!([{"channel": "/chat/demo", "data": 1, "id": "5"}]));
    assert_eq!(socket.receive(), json!([{"channel": "/chat/demo", "data": 1}]));
    assert_eq!(socket.receive(), json!([reply("/chat/demo", "5")]));
    // What it sends again because it lost its patience is answered again.
    assert_eq!(socket.batch(json!([{"channel": "/b", "data": 1, "id": "5"}])), json!([reply("/b", "5")]));
    socket.send(json!([{"channel": "/meta/disconnect", "id": "6"}]));
    assert_eq!(socket.receive(), json!([reply("/meta/disconnect", "6")]));
    assert_eq!(socket.receive()[0]["advice"]["reconnect"], "none");
}

/// [EN-14] [FY-11]
#[test]
fn case_198_the_keep_alive_of_faye_is_answered_and_closes_nothing() {
    let server = Server::start(&[]);
    let mut socket = WebSocket::open(&server);
    // Up to version 1.2 it comes right after the opening, before any session is known.
    assert_eq!(socket.batch(json!([])), json!([]));
    socket.handshake();
    assert_eq!(socket.batch(json!([])), json!([]));
    socket.publish("/a", json!(1));
}

/// [FY-1]
#[test]
fn case_197_faye_across_origins_posts_forms_for_a_session_that_began_with_a_script() {
    let page = "http://page.example.com";
    let server = Server::start(&["server.allowed_origins=http://page.example.com"]);
    let mut faye = LongPolling::new(&server);
    let message = json!([{
        "channel": "/meta/handshake", "version": "1.0", "id": "1",
        "supportedConnectionTypes":
            ["websocket", "eventsource", "long-polling", "cross-origin-long-polling", "callback-polling"],
    }]);
    let encoded = |value: &Value| value.to_string().bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let path = format!("/cometd?message={}&jsonp=__jsonp1__", encoded(&message));
    let script = crate::support::http::Request::new("GET", &path).header("Referer", &format!("{page}/index.html"));
    let response = faye.exchange_request(&script);
    let called = response.text().strip_prefix("/**/__jsonp1__(").and_then(|rest| rest.strip_suffix(')'));
    let shaken: Value = serde_json::from_str(called.expect("a call")).expect("JSON");
    let offered = ["websocket", "long-polling", "cross-origin-long-polling", "callback-polling", "eventsource"];
    assert_eq!(shaken[0]["supportedConnectionTypes"], json!(offered));
    faye.id = shaken[0]["clientId"].as_str().expect("a clientId").to_owned();
    let subscribe = json!([
        {"channel": CONNECT, "clientId": faye.id, "connectionType": "cross-origin-long-polling", "id": "2", "advice": {"timeout": 0}},
        {"channel": "/meta/subscribe", "clientId": faye.id, "subscription": "/chat", "id": "3"},
        {"channel": "/chat", "clientId": faye.id, "data": "é", "id": "4"},
    ]);
    let request = faye.request(format!("message={}", encoded(&subscribe)));
    let request = request.header("Content-Type", "text/plain;charset=UTF-8").header("Origin", page);
    let response = faye.exchange_request(&request);
    assert_eq!(response.header("Access-Control-Allow-Origin"), Some(page));
    let replies: Value = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!(replies[0], json!({"channel": "/chat", "data": "é"}), "no script, no waiting for a connect: {replies}");
}
