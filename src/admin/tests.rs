//! The routes as a caller meets them, in memory: access, publishing, looking, ending.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::bayeux::config::EngineConfig;
use crate::bayeux::{Batch, Message, Peer, Release, SessionId, Transport};
use crate::node::{Binding, Flushed, Health, LocalSession, Node, Outlet, OutletRef, Policy, Session};
use crate::web::{Request, Response, Router, Scheme};

use super::{TokenCheck, routes};

struct Open;

impl Policy for Open {}

/// A connection that takes nothing.
struct Full;

impl Outlet for Full {
    fn flush(&self, _: &Arc<Node>, _: &Arc<Session>, _: &OutletRef) -> Flushed {
        Flushed::Done
    }

    fn release(&self, _: &Arc<Node>, _: Release) {}
}

struct World {
    node: Arc<Node>,
    router: Router,
}

impl World {
    fn new() -> Self {
        Self::with_token(None)
    }

    fn with_token(token: Option<TokenCheck>) -> Self {
        let node = Node::start(EngineConfig::default(), Arc::new(Open));
        let router = routes(&node, &["/cometd".to_owned()], token);
        Self { node, router }
    }

    /// Sends a request with headers of the form `name: value`.
    async fn send(&self, method: &str, uri: &str, headers: &[&str], body: &str) -> Response {
        let mut request = http::Request::builder().method(method).uri(uri);
        for header in headers {
            let (name, value) = header.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        let request = request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
        self.router.handle(Request::from_bytes(request, "127.0.0.1:9".parse().unwrap(), Scheme::Http)).await
    }

    async fn ask(&self, method: &str, uri: &str, body: &str) -> (u16, Value) {
        let response = self.send(method, uri, &["host: localhost:8081"], body).await;
        let body = response.body().bytes();
        (response.status().as_u16(), if body.is_empty() { Value::Null } else { serde_json::from_slice(body).unwrap() })
    }

    async fn get(&self, uri: &str) -> Value {
        let (status, answer) = self.ask("GET", uri, "").await;
        assert_eq!(status, 200, "{uri}: {answer}");
        answer
    }

    /// A session of this process and what it has received.
    async fn listener(&self, channel: &str) -> (LocalSession, Arc<Mutex<Vec<String>>>) {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hears = Arc::clone(&heard);
        let hear = move |publication: &crate::bayeux::Shared| {
            hears.lock().push(String::from_utf8(publication.json().to_vec()).unwrap());
        };
        let session = self.node.local_session(hear).await.unwrap();
        session.subscribe(channel).await.unwrap();
        (session, heard)
    }

    /// Shakes hands as a client does.
    async fn client(&self) -> SessionId {
        let mut pending = self.node.pending();
        let (peer, outlet) = (Peer::on(Transport::WebSocket), OutletRef::new(Arc::new(Full)));
        let messages = vec![Message::to("/meta/handshake")];
        let incoming = self.node.receive(peer, outlet, Binding::Open, messages, &mut pending).await.unwrap();
        let (_, Binding::Session(slot)) = incoming.finish(&mut Batch::default()) else { panic!("no session") };
        slot.id()
    }
}

#[tokio::test]
async fn one_object_is_answered_with_one() {
    let world = World::new();
    let (_session, heard) = world.listener("/a").await;
    let body = r#"{"channel":"/a","data":{"n":1.50}}"#;
    assert_eq!(world.ask("POST", "/admin/publish", body).await, (200, json!({"delivered": 1})));
    assert_eq!(*heard.lock(), [r#"{"channel":"/a","data":{"n":1.50}}"#]);
    let nobody = r#"{"channel":"/nobody","data":null}"#;
    assert_eq!(world.ask("POST", "/admin/publish", nobody).await, (200, json!({"delivered": 0})));
}

#[tokio::test]
async fn an_array_is_answered_entry_by_entry() {
    let world = World::new();
    let (_session, heard) = world.listener("/a/*").await;
    let body = r#" [{"channel":"/a/1","data":1},{"channel":"a","data":2},{"channel":"/a/3","data":3}]"#;
    let (status, answer) = world.ask("POST", "/admin/publish", body).await;
    assert_eq!(status, 200);
    assert_eq!(answer, json!([{"delivered": 1}, {"error": "channel is not a channel name"}, {"delivered": 1}]));
    assert_eq!(*heard.lock(), [r#"{"channel":"/a/1","data":1}"#, r#"{"channel":"/a/3","data":3}"#]);
    assert_eq!(world.ask("POST", "/admin/publish", "[]").await, (200, json!([])));
}

#[tokio::test]
async fn a_wrong_entry_is_told_why() {
    let world = World::new();
    let long = format!(r#"{{"channel":"/{}","data":1}}"#, "a".repeat(1_024));
    for (body, reason) in [
        (r#"{"data":1}"#, "channel is missing"),
        (r#"{"channel":"/a b/**/c","data":1}"#, "not a channel name"),
        (&long, "not a channel name"),
        (r#"{"channel":"/a"}"#, "data is missing"),
        (r#"{"channel":"/a","data":1,"dta":2}"#, "nothing else"),
        (r#"{"channel":"/a","data":1,"clientId":"x"}"#, "nothing else"),
        (r#"{"channel":"/service/a","data":1}"#, "service channels"),
        (r#"{"channel":"/meta/connect","data":1}"#, "meta channels"),
        (r#"{"channel":7,"data":1}"#, "or an array"),
        ("[1]", "or an array"),
        ("{", "not JSON"),
        ("", "not JSON"),
    ] {
        let (status, answer) = world.ask("POST", "/admin/publish", body).await;
        assert!(status == 400 && answer["error"].as_str().unwrap().contains(reason), "{body}: {status} {answer}");
    }
}

#[tokio::test]
async fn a_request_is_bounded() {
    let world = World::new();
    let (_session, heard) = world.listener("/a").await;
    let entries = |count: usize| format!("[{}]", vec![r#"{"channel":"/a","data":1}"#; count].join(","));
    assert_eq!(world.ask("POST", "/admin/publish", &entries(1_000)).await.0, 200);
    assert_eq!(heard.lock().len(), 1_000);
    let deep = format!(r#"{{"channel":"/a","data":{}1{}}}"#, "[".repeat(1_000), "]".repeat(1_000));
    let large = format!(r#"{{"channel":"/a","data":"{}"}}"#, "a".repeat(2 * 1024 * 1024));
    for body in [&entries(1_001), &deep, &large] {
        let (status, answer) = world.ask("POST", "/admin/publish", body).await;
        assert!(status == 413 && answer["error"].is_string(), "{status} {answer}");
    }
    assert_eq!(heard.lock().len(), 1_000);
}

#[tokio::test]
async fn sessions_are_shown_without_their_secret() {
    let world = World::new();
    let id = world.client().await;
    let local = world.listener("/a/**").await.0;
    let listed = world.get("/admin/sessions").await;
    assert_eq!(listed["total"], 2);
    let sessions = listed["sessions"].as_array().unwrap();
    let client = sessions.iter().find(|row| row["transport"] == "websocket").unwrap();
    let expected = json!({
        "clientId": id.shortened(), "mount": "/cometd", "transport": "websocket", "connected": false, "held": false,
        "subscriptionCount": 0, "queuedMessages": 0, "queuedBytes": 0, "unacknowledgedMessages": 0,
    });
    assert_eq!(*client, expected);
    let inside = sessions.iter().find(|row| row["transport"] == "local").unwrap();
    assert_eq!((&inside["mount"], &inside["subscriptionCount"]), (&Value::Null, &json!(1)));

    for name in [local.id().to_string(), local.id().shortened()] {
        let details = world.get(&format!("/admin/sessions/{name}")).await;
        assert_eq!(details["subscriptions"], json!(["/a/**"]));
        assert_eq!((&details["clientId"], &details["droppedMessages"]), (&json!(local.id().shortened()), &json!(0)));
    }
}

#[tokio::test]
async fn a_session_is_ended_once() {
    let world = World::new();
    let uri = format!("/admin/sessions/{}", world.client().await.shortened());
    assert_eq!(world.ask("DELETE", &uri, "").await, (204, Value::Null));
    assert_eq!(world.node.engine().session_count(), 0);
    let missing = json!({"error": "no such session"});
    assert_eq!(world.ask("DELETE", &uri, "").await, (404, missing.clone()));
    for name in ["0", "xyz", "00000000000000000000000000000000", "a/b"] {
        assert_eq!(world.ask("GET", &format!("/admin/sessions/{name}"), "").await, (404, missing.clone()));
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_gaps() {
    let world = World::new();
    let mut expected = Vec::new();
    for _ in 0..7 {
        expected.push(world.client().await.shortened());
    }
    expected.sort();
    let mut found = Vec::new();
    let mut uri = "/admin/sessions?limit=3".to_owned();
    loop {
        let page = world.get(&uri).await;
        let rows = page["sessions"].as_array().unwrap();
        found.extend(rows.iter().map(|row| row["clientId"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        uri = format!("/admin/sessions?limit=3&after={next}");
    }
    assert_eq!(found, expected);
    for wrong in ["limit=0", "limit=1001", "limit=x", "limit=", "after=x"] {
        assert_eq!(world.ask("GET", &format!("/admin/sessions?{wrong}"), "").await.0, 400, "{wrong}");
    }
}

#[tokio::test]
async fn channels_are_listed_by_name() {
    let world = World::new();
    let mut sessions = Vec::new();
    for channel in ["/b/1", "/a", "/b/2", "/b/2", "/b/*", "/b"] {
        sessions.push(world.listener(channel).await.0);
    }
    let page = world.get("/admin/channels?prefix=/b/&limit=2").await;
    assert_eq!(page["channels"], json!([{"channel": "/b/*", "subscribers": 1}, {"channel": "/b/1", "subscribers": 1}]));
    assert_eq!((&page["next"], &page["total"]), (&json!("/b/1"), &json!(5)));
    let page = world.get("/admin/channels?prefix=%2Fb%2F&limit=2&after=/b/1").await;
    assert_eq!(page, json!({"channels": [{"channel": "/b/2", "subscribers": 2}], "total": 5}));
    assert_eq!(world.get("/admin/channels").await["channels"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn health_needs_no_token_and_everything_else_does() {
    let token: TokenCheck = Arc::new(|token| token == b"demo");
    let world = World::with_token(Some(token));
    assert_eq!(world.get("/health/live").await, json!({"status": "live"}));
    for (method, uri) in [
        ("POST", "/admin/publish"),
        ("GET", "/admin/sessions"),
        ("GET", "/admin/sessions/00000000"),
        ("DELETE", "/admin/sessions/00000000"),
        ("GET", "/admin/channels"),
    ] {
        for headers in [&[][..], &["authorization: Bearer dem"], &["authorization: Basic demo"]] {
            let response = world.send(method, uri, headers, "").await;
            assert_eq!(
                (response.status().as_u16(), &response.headers()["www-authenticate"]),
                (401, &"Bearer".parse().unwrap())
            );
        }
    }
    for header in ["authorization: Bearer demo", "authorization: bearer  demo"] {
        // A token protects, whatever name the listener was reached by.
        let response = world.send("GET", "/admin/sessions", &["host: push.example", header], "").await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() {
    let world = World::new();
    for (headers, status) in [
        (&["host: 127.0.0.1:8081"][..], 200),
        (&[], 200),
        (&["host: 127.0.0.1:8081", "origin: http://127.0.0.1:8081", "sec-fetch-site: same-origin"], 200),
        (&["host: 127.0.0.1:8081", "sec-fetch-site: none"], 200),
        (&["host: 127.0.0.1:8081", "origin: http://127.0.0.1:8080"], 403),
        (&["host: 127.0.0.1:8081", "origin: null"], 403),
        (&["host: 127.0.0.1:8081", "sec-fetch-site: cross-site"], 403),
        (&["host: evil.example", "origin: http://evil.example", "sec-fetch-site: same-origin"], 403),
        (&["host: evil.example"], 403),
        (&["host: é"], 403),
    ] {
        for uri in ["/admin/sessions", "/health/ready", "/health/live"] {
            let answered = world.send("GET", uri, headers, "").await.status();
            let expected = if uri == "/health/ready" && status == 200 { 503 } else { status };
            assert_eq!(answered.as_u16(), expected, "{uri} {headers:?}");
        }
    }
}

#[tokio::test]
async fn readiness_follows_the_node() {
    let world = World::new();
    let _session = world.listener("/a").await;
    for (health, status, word) in
        [(Health::Starting, 503, "starting"), (Health::Ready, 200, "ready"), (Health::Stopping, 503, "stopping")]
    {
        world.node.set_health(health);
        let expected = json!({"status": word, "sessions": 1, "channels": 1});
        assert_eq!(world.ask("GET", "/health/ready", "").await, (status, expected));
    }
}
