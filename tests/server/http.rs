//! Paths, methods and headers of long-polling.

use serde_json::{Value, json};

use crate::support::client::{LongPolling, MOUNT};
use crate::support::http::Request;
use crate::support::server::Server;

#[test]
fn case_125_any_path_below_the_mount_will_do() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    for suffix in ["", "/", "/connect", "/handshake", "/x/y", "/62.0", "?a=b", "/?a=b"] {
        let body = json!([{"channel": "/a", "id": "1", "clientId": ann.id}]).to_string();
        let request = ann.with_cookie(Request::post(&format!("{MOUNT}{suffix}"), body));
        let response = ann.exchange_request(&request);
        assert_eq!(response.status, 200, "{suffix}");
        let replies: Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!(replies, json!([{"channel": "/a", "id": "1", "successful": true}]));
    }
}

#[test]
fn case_126_other_methods_are_no_transport() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::new(&server);
    for method in ["GET", "PUT", "DELETE", "PATCH", "HEAD"] {
        let body = if matches!(method, "GET" | "HEAD") { "" } else { r#"[{"channel":"/meta/handshake"}]"# };
        let request = Request::new(method, MOUNT).header("Content-Type", "application/json").body(body);
        assert_eq!(ann.exchange_request(&request).status, 400, "{method}");
    }
}

#[test]
fn case_127_options_is_answered_without_a_body() {
    let server = Server::start(&[]);
    let response = LongPolling::new(&server).exchange_request(&Request::new("OPTIONS", MOUNT));
    assert_eq!((response.status, response.text()), (200, ""));
    assert_eq!(response.header("Access-Control-Allow-Origin"), None);
}

#[test]
fn case_135_an_answer_is_json() {
    let server = Server::start(&[]);
    let response = LongPolling::new(&server).exchange(r#"[{"channel":"/meta/handshake"}]"#);
    let content_type = response.header("Content-Type").expect("a content type").to_ascii_lowercase().replace(' ', "");
    assert!(["application/json", "application/json;charset=utf-8"].contains(&content_type.as_str()), "{content_type}");
}

#[test]
fn case_136_an_allowed_origin_gets_cors_headers() {
    let origin = "http://app.example.com";
    let server = Server::start(&["server.allowed_origins=http://app.example.com"]);
    let mut ann = LongPolling::new(&server);
    let preflight = Request::new("OPTIONS", MOUNT)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "content-type,x-requested-with,x-own");
    let response = ann.exchange_request(&preflight);
    assert_eq!((response.status, response.text()), (200, ""));
    assert_eq!(response.header("Access-Control-Allow-Origin"), Some(origin));
    assert_eq!(response.header("Access-Control-Allow-Credentials"), Some("true"));
    assert!(response.header("Access-Control-Max-Age").is_some());
    let methods = response.header("Access-Control-Allow-Methods").expect("methods");
    assert!(methods.split(',').any(|method| method.trim() == "POST"), "{methods}");
    let headers = response.header("Access-Control-Allow-Headers").expect("headers").to_ascii_lowercase();
    for name in ["content-type", "x-requested-with", "x-own"] {
        assert!(headers.split(',').any(|header| header.trim() == name), "{name} in {headers}");
    }

    let handshake = Request::post(MOUNT, r#"[{"channel":"/meta/handshake"}]"#).header("Origin", origin);
    let response = ann.exchange_request(&handshake);
    assert_eq!(response.status, 200);
    assert_eq!(response.header("Access-Control-Allow-Origin"), Some(origin));
    assert_eq!(response.header("Access-Control-Allow-Credentials"), Some("true"));
    assert!(response.header("Vary").is_some_and(|vary| vary.to_ascii_lowercase().contains("origin")));
}

/// [OR-1], [OR-2]
#[test]
fn a_post_from_a_foreign_origin_is_refused_without_effect() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/a");
    let body = json!([{"channel": "/a", "clientId": ann.id, "data": 1}]).to_string();
    let foreign = ann.request(body).header("Origin", "http://evil.example.com");
    let response = ann.exchange_request(&foreign);
    assert_eq!(response.status, 403);
    assert_eq!(response.header("Access-Control-Allow-Origin"), None);
    assert_eq!(ann.events(), json!([]));
    let own = foreign.header("Origin", "http://localhost").header("Host", "localhost");
    assert_eq!(ann.exchange_request(&own).status, 200, "its own origin is allowed");
}

#[test]
fn requests_may_be_pipelined() {
    let server = Server::start(&[]);
    let ann = LongPolling::ready(&server);
    let mut connection = crate::support::http::Connection::open(server.address());
    for n in 0..20 {
        let body = json!([{"channel": "/a", "id": n, "clientId": ann.id}]).to_string();
        connection.send(&ann.request(body)).expect("written");
    }
    for n in 0..20 {
        let response = connection.response().expect("a response");
        let replies: Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!(replies, json!([{"channel": "/a", "id": n.to_string(), "successful": true}]));
    }
}
