//! `callback-polling`: which requests it takes, the script it answers with, and what it shares with long-polling.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::client::{LongPolling, MOUNT, WebSocket, assert_lasted};
use crate::support::http::{Connection, Request, Response};
use crate::support::server::Server;

const CONNECT: &str = "/meta/connect";
const HANDSHAKE: &str = r#"[{"channel":"/meta/handshake","id":"1"}]"#;

/// Encodes every byte, so that nothing of it means anything to a URL.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A GET of the mount with this query.
fn get(query: &str) -> Request {
    Request::new("GET", &format!("{MOUNT}?{query}"))
}

/// A GET that calls `cb` with the answer to these messages.
fn call(messages: &Value) -> Request {
    get(&format!("jsonp=cb&message={}", encoded(&messages.to_string())))
}

/// What a script that calls `function` calls it with.
#[track_caller]
fn argument(response: &Response, function: &str) -> Value {
    assert_eq!(response.status, 200, "{response:?}");
    let script = response.text().strip_prefix("/**/").expect("an empty comment");
    let array = script.strip_prefix(function).and_then(|rest| rest.strip_prefix('(')?.strip_suffix(')'));
    serde_json::from_str(array.unwrap_or_else(|| panic!("no call of {function}: {script}"))).expect("JSON")
}

/// A client of callback-polling.
struct Caller {
    id: String,
    cookie: Option<String>,
    address: SocketAddr,
}

impl Caller {
    /// After its handshake and its first connect.
    #[track_caller]
    fn ready(server: &Server) -> Self {
        let mut caller = Self { id: String::new(), cookie: None, address: server.address() };
        let response = caller.send(&call(&json!([{"channel": "/meta/handshake"}])));
        caller.id = argument(&response, "cb")[0]["clientId"].as_str().expect("a clientId").to_owned();
        caller.cookie =
            response.header("Set-Cookie").map(|cookie| cookie.split(';').next().unwrap_or_default().to_owned());
        assert_eq!(
            caller.batch(&json!([caller.connect()])),
            json!([{"channel": CONNECT, "id": "c", "successful": true}])
        );
        caller
    }

    fn connect(&self) -> Value {
        json!({"channel": CONNECT, "id": "c", "clientId": self.id, "connectionType": "callback-polling"})
    }

    fn signed(&self, request: Request) -> Request {
        match &self.cookie {
            Some(cookie) => request.header("Cookie", cookie),
            None => request,
        }
    }

    fn send(&self, request: &Request) -> Response {
        Connection::open(self.address).exchange(&self.signed(request.clone())).expect("a response")
    }

    #[track_caller]
    fn batch(&self, messages: &Value) -> Value {
        argument(&self.send(&call(messages)), "cb")
    }

    #[track_caller]
    fn subscribe(&self, channel: &str) {
        let subscribe = json!([{"channel": "/meta/subscribe", "subscription": channel, "clientId": self.id}]);
        assert_eq!(self.batch(&subscribe)[0]["successful"], true);
    }

    /// Sends a connect and waits until it is held.
    fn hold(&self, server: &Server) -> Connection {
        let mut connection = Connection::open(self.address);
        connection.send(&self.signed(call(&json!([self.connect()])))).expect("written");
        server.await_held(&self.id);
        connection
    }
}

#[test]
fn case_128_a_handshake_is_answered_with_a_call_and_a_cookie() {
    let server = Server::start(&[]);
    let mut connection = Connection::open(server.address());
    let response = connection.exchange(&get(&format!("jsonp=cb&message={}", encoded(HANDSHAKE)))).expect("a response");
    let reply = &argument(&response, "cb")[0];
    assert_eq!((&reply["successful"], &reply["id"]), (&json!(true), &json!("1")));
    assert_eq!(reply["supportedConnectionTypes"], json!(["websocket", "long-polling", "callback-polling"]));
    assert_eq!(response.header("Content-Type"), Some("text/javascript;charset=UTF-8"));
    assert!(response.header("Set-Cookie").is_some_and(|cookie| cookie.starts_with("BAYEUX_BROWSER=")));
}

#[test]
fn case_129_a_bad_name_of_a_callback_is_no_transport() {
    let server = Server::start(&[]);
    let too_long = "a".repeat(65);
    for names in [
        "jsonp=a(b",
        "jsonp=",
        "jsonp",
        &format!("jsonp={too_long}"),
        "jsonp=cb&jsonp=cb",
        "jsonp=cb&%6Asonp=other",
        "jsonp=alert(1)//",
        "jsonp=a%0Ab",
        "jsonp=a%2Fb",
        "jsonp=a%00",
        "jsonp=%3Cscript%3E",
        "jsonp=a+b",
        "jsonp=a%5B0%5D",
        "jsonp=c%C3%BC",
        "jsonp=%FF",
        "jsonp=%E2%80%A8",
        "callback=cb",
        "JSONP=cb",
    ] {
        let request = get(&format!("{names}&message={}", encoded(HANDSHAKE)));
        let response = Connection::open(server.address()).exchange(&request).expect("a response");
        assert_eq!(response.status, 400, "{names}");
        assert_eq!(response.header("X-Content-Type-Options"), Some("nosniff"));
        assert!(!response.text().contains("script"), "what was sent is not repeated: {}", response.text());
    }
}

#[test]
fn case_130_a_callback_of_letters_digits_and_three_signs_may_have_64_characters() {
    let server = Server::start(&[]);
    let longest = "a".repeat(64);
    for name in [longest.as_str(), "cb.x_1-a", "jQuery3800123_456"] {
        let request = get(&format!("jsonp={}&message={}", encoded(name), encoded(HANDSHAKE)));
        let response = Connection::open(server.address()).exchange(&request).expect("a response");
        assert_eq!(argument(&response, name)[0]["successful"], true);
    }
}

#[test]
fn case_131_a_query_without_messages_fails() {
    let server = Server::start(&[]);
    for query in ["jsonp=cb", "jsonp=cb&message", "jsonp=cb&message="] {
        assert_eq!(
            Connection::open(server.address()).exchange(&get(query)).expect("a response").status,
            500,
            "{query}"
        );
    }
}

#[test]
fn case_132_a_message_that_is_no_json_is_400() {
    let server = Server::start(&[]);
    for (message, status) in [("[{\"a\"", 400), ("[] x", 400), ("1", 400), ("null", 500), ("[1]", 500)] {
        let request = get(&format!("jsonp=cb&message={}", encoded(message)));
        assert_eq!(
            Connection::open(server.address()).exchange(&request).expect("a response").status,
            status,
            "{message}"
        );
    }
    let response = Connection::open(server.address()).exchange(&get("jsonp=cb&message=%FF")).expect("a response");
    assert_eq!(response.status, 400);
}

#[test]
fn case_133_several_messages_are_one_batch_in_their_order() {
    let server = Server::start(&[]);
    let ann = Caller::ready(&server);
    let publish = |id: &str| json!({"channel": "/a", "id": id, "clientId": ann.id}).to_string();
    let messages = [publish("1"), format!("[{},{}]", publish("2"), publish("3")), "[]".to_owned()];
    let query: String = messages.iter().map(|message| format!("&message={}", encoded(message))).collect();
    // jQuery adds `_`, and anything else is nobody's business either, broken escapes included.
    let response = ann.send(&get(&format!("_=17&x=%{query}&jsonp=cb&%FF=1")));
    let ids: Vec<Value> =
        argument(&response, "cb").as_array().unwrap().iter().map(|reply| reply["id"].clone()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    assert_eq!(argument(&ann.send(&get("jsonp=cb&message=[]")), "cb"), json!([]), "[EN-14]");
}

#[test]
fn case_134_publications_travel_with_connect_replies_only() {
    let server = Server::start(&[]);
    let ann = Caller::ready(&server);
    let replies = ann.batch(&json!([
        {"channel": "/meta/subscribe", "subscription": "/a", "clientId": ann.id, "id": "1"},
        {"channel": "/a", "data": 1, "clientId": ann.id, "id": "2"},
    ]));
    let ids: Vec<&Value> = replies.as_array().unwrap().iter().map(|reply| &reply["id"]).collect();
    assert_eq!(ids, ["1", "2"]);
    let event = json!({"channel": "/a", "data": 1});
    let reply = json!({"channel": CONNECT, "id": "c", "successful": true});
    assert_eq!(ann.batch(&json!([ann.connect()])), json!([event, reply]));
    let mut held = ann.hold(&server);
    ann.batch(&json!([{"channel": "/a", "data": 1, "clientId": ann.id}]));
    assert_eq!(
        argument(&held.response().expect("a response"), "cb"),
        json!([event, reply]),
        "a held connect brings it"
    );
}

#[test]
fn case_72_a_session_of_long_polling_may_go_on_by_callbacks() {
    let server = Server::start(&[]);
    let ann = LongPolling::subscribed(&server, "/a");
    let mut held = ann.hold(&server);
    let caller = Caller { id: ann.id.clone(), cookie: ann.cookie.clone(), address: server.address() };
    let mut moved = caller.hold(&server);
    let left = held.messages();
    assert_eq!(left, json!([{"channel": CONNECT, "id": "c", "successful": true}]), "[CN-13]");
    LongPolling::ready(&server).publish("/a", json!(1));
    let advice = json!({"reconnect": "retry", "interval": 0, "timeout": 30_000});
    assert_eq!(
        argument(&moved.response().expect("a response"), "cb"),
        json!([{"channel": "/a", "data": 1}, {"channel": CONNECT, "id": "c", "successful": true, "advice": advice}])
    );
}

/// [CP-5]
#[test]
fn a_session_that_began_with_callbacks_is_written_to_at_any_time_elsewhere() {
    let server = Server::start(&[]);
    let caller = Caller::ready(&server);
    caller.subscribe("/a");
    let mut posting = LongPolling::new(&server);
    posting.id.clone_from(&caller.id);
    let event = json!({"channel": "/a", "data": 1});
    let reply = json!({"channel": "/a", "id": "1", "successful": true});
    assert_eq!(posting.batch(json!([{"channel": "/a", "data": 1, "id": "1"}])), json!([event, reply]));
    let mut socket = WebSocket::resumed(&server, &caller.id);
    assert_eq!(socket.batch(json!([{"channel": "/a", "data": 1, "id": "1"}])), json!([event]));
    assert_eq!(socket.receive(), json!([reply]));
}

/// [CP-6]
#[test]
fn a_newer_connect_ends_a_held_one_as_on_long_polling() {
    let server = Server::start(&["bayeux.long_polling.duplicate_meta_connect_http_response_code=409"]);
    let ann = Caller::ready(&server);
    let mut first = ann.hold(&server);
    let mut second = Connection::open(server.address());
    second.send(&ann.signed(call(&json!([ann.connect()])))).expect("written");
    let response = first.response().expect("a response");
    assert_eq!(response.status, 409);
    assert!(!response.text().contains("cb("));
}

/// [CP-6]
#[test]
fn connects_of_one_browser_are_counted_over_both_transports() {
    let server = Server::start(&["bayeux.max_sessions_per_browser=1"]);
    let ann = LongPolling::ready(&server);
    let mut bob = Caller::ready(&server);
    bob.cookie.clone_from(&ann.cookie);
    let held = ann.hold(&server);
    assert_eq!(bob.batch(&json!([bob.connect()]))[0]["advice"]["multiple-clients"], true);
    assert!(held.is_silent());
}

/// [CP-6]
#[test]
fn options_of_long_polling_count_for_callbacks_too() {
    let held_for = |settings: &[&str]| {
        let server = Server::start(settings);
        let ann = Caller::ready(&server);
        let started = std::time::Instant::now();
        ann.batch(&json!([ann.connect()]));
        started.elapsed()
    };
    assert_lasted(held_for(&["bayeux.timeout=50ms", "bayeux.long_polling.timeout=300ms"]), Duration::from_millis(300));
    let own = &["bayeux.callback_polling.timeout=500ms", "bayeux.long_polling.timeout=1ms"];
    assert_lasted(held_for(own), Duration::from_millis(500));
}

/// [CP-3]
#[test]
fn messages_above_the_limit_are_refused() {
    let server = Server::start(&["bayeux.callback_polling.max_message_size=128"]);
    let request = |length: usize| {
        let message = format!("{HANDSHAKE:length$}");
        get(&format!("jsonp=cb&message={}", encoded(&message)))
    };
    for (length, status) in [(128, 200), (129, 500)] {
        let response = Connection::open(server.address()).exchange(&request(length)).expect("a response");
        assert_eq!(response.status, status, "{length}: {}", response.text());
    }
    let twice = format!("jsonp=cb&message={0}&message={0}", encoded(&format!("{HANDSHAKE:100}")));
    let response = Connection::open(server.address()).exchange(&get(&twice)).expect("a response");
    assert_eq!(response.status, 500);
    assert!(response.text().contains("bayeux.callback_polling.max_message_size"), "{}", response.text());
}

/// [CP-1]
#[test]
fn name_and_length_of_the_parameter_can_be_set() {
    let server = Server::start(&["bayeux.callback_parameter=call", "bayeux.callback_parameter_max_length=3"]);
    for (query, status) in [("call=abc", 200), ("call=abcd", 400), ("jsonp=abc", 400)] {
        let request = get(&format!("{query}&message={}", encoded(HANDSHAKE)));
        assert_eq!(
            Connection::open(server.address()).exchange(&request).expect("a response").status,
            status,
            "{query}"
        );
    }
}

/// [CP-1]
#[test]
fn only_a_get_may_name_a_callback() {
    let server = Server::start(&[]);
    let query = format!("jsonp=cb&message={}", encoded(HANDSHAKE));
    let path = format!("{MOUNT}/any/where?{query}");
    let mut connection = Connection::open(server.address());
    assert_eq!(connection.exchange(&Request::new("HEAD", &path)).expect("a response").status, 400);
    assert_eq!(connection.exchange(&Request::new("PUT", &path)).expect("a response").status, 400);
    let response = connection.exchange(&Request::new("GET", &path)).expect("a response");
    assert_eq!(argument(&response, "cb")[0]["successful"], true);
    let off = Server::start(&["bayeux.allowed_transports=long-polling"]);
    assert_eq!(Connection::open(off.address()).exchange(&Request::new("GET", &path)).expect("a response").status, 400);
}

/// [CP-7]
#[test]
fn a_response_is_nothing_but_a_script() {
    let server = Server::start(&[]);
    let ann = Caller::ready(&server);
    ann.subscribe("/a");
    let data = "</script><!--\u{2028}\u{2029}é";
    let response = ann.send(&call(&json!([
        {"channel": "/a", "clientId": ann.id, "data": data},
        {"channel": CONNECT, "clientId": ann.id, "advice": {"timeout": 0}},
    ])));
    assert_eq!(argument(&response, "cb")[0]["data"], data);
    assert!(!response.text().contains(['\u{2028}', '\u{2029}']) && response.text().contains("\\u2028\\u2029é"));
    assert_eq!(response.header("X-Content-Type-Options"), Some("nosniff"));
    assert!(response.text().starts_with("/**/cb(["));
}

/// [CP-7]
#[test]
fn the_hardening_can_be_switched_off() {
    let server = Server::start(&["bayeux.callback_hardening=false"]);
    let request = get(&format!("jsonp=cb&message={}", encoded(HANDSHAKE)));
    let response = Connection::open(server.address()).exchange(&request).expect("a response");
    assert!(response.text().starts_with("cb([{") && response.text().ends_with("}])"), "{}", response.text());
    assert_eq!(response.header("X-Content-Type-Options"), None);
    assert_eq!(response.header("Content-Type"), Some("text/javascript;charset=UTF-8"));
}

/// [OR-4]
#[test]
fn a_script_in_a_foreign_page_is_refused_unless_it_is_listed() {
    let statuses = |origins: &str| -> Vec<u16> {
        let server = Server::start(&[&format!("server.allowed_origins={origins}")]);
        let request = || get(&format!("jsonp=cb&message={}", encoded(HANDSHAKE)));
        [
            request(),
            request().header("Referer", "http://localhost/page").header("Sec-Fetch-Site", "same-origin"),
            request().header("Referer", "http://app.example.com/page?x").header("Sec-Fetch-Site", "cross-site"),
            request().header("Referer", "http://evil.example.com/http://app.example.com/"),
            request().header("Sec-Fetch-Site", "cross-site"),
            request().header("Origin", "http://evil.example.com").header("Referer", "http://localhost/"),
        ]
        .iter()
        .map(|request| {
            let response = Connection::open(server.address()).exchange(request).expect("a response");
            assert_eq!(response.status == 403, response.text().contains("server.allowed_origins"));
            response.status
        })
        .collect()
    };
    assert_eq!(statuses(""), [200, 200, 403, 403, 403, 403]);
    assert_eq!(statuses("http://app.example.com"), [200, 200, 200, 403, 403, 403]);
    assert_eq!(statuses("*"), [200; 6]);
}
