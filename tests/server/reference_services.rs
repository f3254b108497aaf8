//! The example `reference_services`, as a process: everything that a script can ask of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::client::{Host, LongPolling, WebSocket, assert_lasted};
use crate::support::http::{Connection, Request};
use crate::support::reference::ReferenceServices;

/// Posts to a control endpoint; the status and the answer, `null` if that is no JSON.
#[track_caller]
fn post(server: &ReferenceServices, target: &str, body: &str) -> (u16, Value) {
    let response = server.ask(&Request::post(target, body));
    (response.status, serde_json::from_slice(&response.body).unwrap_or_default())
}

/// Posts to a control endpoint that does what it is asked.
#[track_caller]
fn done(server: &ReferenceServices, target: &str, body: &str) {
    assert_eq!(post(server, target, body), (200, json!({"done": true})), "{target}");
}

#[track_caller]
fn stats(server: &ReferenceServices) -> Value {
    let response = server.ask(&Request::new("GET", "/stats"));
    assert_eq!((response.status, response.header("Content-Type")), (200, Some("application/json")));
    serde_json::from_slice(&response.body).expect("JSON")
}

/// Publishes as a client and returns the answer without what belongs to every message.
#[track_caller]
#[expect(clippy::needless_pass_by_value, reason = "callers pass json! literals")]
fn ask(client: &mut LongPolling, channel: &str, data: Value) -> Value {
    plain(client.batch(json!([{"channel": channel, "id": "7", "data": data}])))
}

/// Removes the time that an extension puts into messages.
fn plain(mut messages: Value) -> Value {
    for message in messages.as_array_mut().into_iter().flatten() {
        if let Some(message) = message.as_object_mut() {
            message.remove("timestamp");
        }
    }
    messages
}

fn success(channel: &str) -> Value {
    json!({"channel": channel, "id": "7", "successful": true})
}

fn ready(server: &ReferenceServices) -> LongPolling {
    let mut client = LongPolling::handshaken(server);
    client.batch(json!([{"channel": "/meta/connect"}]));
    client
}

fn subscribed(server: &ReferenceServices, channel: &str) -> LongPolling {
    let mut client = ready(server);
    let replies = client.batch(json!([{"channel": "/meta/subscribe", "subscription": channel}]));
    assert_eq!(replies[0]["successful"], true);
    client
}

/// What waits for a client.
#[track_caller]
fn events(client: &mut LongPolling) -> Value {
    plain(client.events())
}

#[test]
fn services_answer_their_sender() {
    let server = ReferenceServices::start(&[]);
    let mut ann = ready(&server);
    let (echo, call, burst) = ("/service/echo", "/service/call", "/service/burst");
    let heard = json!({"channel": echo, "data": {"x": 1}});
    assert_eq!(ask(&mut ann, echo, json!({"x": 1})), json!([heard, success(echo)]));
    assert_eq!(ask(&mut ann, echo, json!(null)), json!([{"channel": echo}, success(echo)]));
    let answer = json!({"channel": call, "id": "7", "successful": true, "data": [1]});
    assert_eq!(ask(&mut ann, call, json!([1])), json!([answer, success(call)]));
    let without = plain(ann.batch(json!([{"channel": call, "data": 1}])));
    assert_eq!(
        without,
        json!([{"channel": call, "data": 1, "successful": true}, {"channel": call, "successful": true}])
    );
    let number = |number: u8| json!({"channel": burst, "data": number});
    let all = ask(&mut ann, burst, json!({"count": 3}));
    assert_eq!(all, json!([number(0), number(1), number(2), success(burst)]));
    for nothing in [json!({"count": -1}), json!({"count": "2"}), json!({}), json!(5), json!(null)] {
        assert_eq!(ask(&mut ann, burst, nothing), json!([success(burst)]));
    }
    assert_eq!(ask(&mut ann, "/service/fail", json!(1)), json!([success("/service/fail")]));
    assert_eq!(ask(&mut ann, "/service/none", json!(1)), json!([success("/service/none")]));
}

#[test]
fn services_answer_bytes_with_bytes() {
    let bytes = json!({"data": "HelloWorld", "last": true});
    for (arguments, marker) in [(&[][..], json!({"binary": {}})), (&["--without", "binary"], Value::Null)] {
        let server = ReferenceServices::start(arguments);
        let mut ann = ready(&server);
        for channel in ["/service/echo", "/service/call"] {
            let sent = json!([{"channel": channel, "id": "7", "data": bytes, "ext": {"binary": {}}}]);
            let messages = plain(ann.batch(sent));
            assert_eq!((&messages[0]["data"], &messages[0]["ext"]), (&bytes, &marker), "{channel}");
            assert_eq!(messages[1], success(channel));
        }
    }
}

#[test]
fn services_answer_on_websocket_too() {
    let server = ReferenceServices::start(&["--ext", ","]);
    let mut ann = WebSocket::ready(&server);
    ann.send(json!([{"channel": "/service/burst", "id": "7", "data": {"count": 2}}]));
    for expected in [
        json!([{"channel": "/service/burst", "data": 0}]),
        json!([{"channel": "/service/burst", "data": 1}]),
        json!([success("/service/burst")]),
    ] {
        assert_eq!(ann.receive(), expected);
    }
}

#[test]
fn a_kicked_session_is_gone() {
    let server = ReferenceServices::start(&[]);
    let mut ann = ready(&server);
    let goodbye = json!({"channel": "/meta/disconnect", "successful": true});
    assert_eq!(ask(&mut ann, "/service/kick", json!(1)), json!([goodbye, success("/service/kick")]));
    assert_eq!(ask(&mut ann, "/a", json!(1))[0]["error"], "402::session_unknown");
    assert_eq!(stats(&server)["sessions"], 2);
}

#[test]
fn messages_of_the_server_reach_subscribers_and_single_sessions() {
    let server = ReferenceServices::start(&[]);
    let mut ann = subscribed(&server, "/p/**");
    done(&server, "/publish?channel=%2Fp%2Fa", r#" {"n": 1.50} "#);
    done(&server, "/publish?channel=/p/a/", "");
    done(&server, "/publish?channel=/service/echo", "1");
    let with_data = r#"{"channel":"/p/a","data":{"n": 1.50}"#;
    let connect = json!([{"channel": "/meta/connect", "clientId": ann.id, "advice": {"timeout": 0}}]).to_string();
    let raw = ann.exchange(connect);
    assert!(raw.text().contains(with_data), "data is sent as it was written: {}", raw.text());
    assert!(raw.text().contains(r#"{"channel":"/p/a""#), "{}", raw.text());

    let deliver = |channel: &str| format!("/deliver?clientId={}&channel={channel}", ann.id);
    let (one, other) = (deliver("/q/"), deliver("/q"));
    done(&server, &one, "[1]");
    done(&server, &other, "null");
    assert_eq!(events(&mut ann), json!([{"channel": "/q/", "data": [1]}, {"channel": "/q"}]));

    for (target, body, status) in [
        ("/publish", "1", 404),
        ("/publish?channel=abc", "1", 500),
        ("/publish?channel=/a/*", "1", 500),
        ("/publish?channel=/meta/connect", "1", 500),
        ("/publish?channel=/a", "{", 500),
        ("/deliver?clientId=x&channel=/a", "1", 404),
        ("/deliver?channel=/a", "1", 404),
    ] {
        assert_eq!(post(&server, target, body).0, status, "{target}");
    }
}

#[test]
fn sessions_are_changed_and_ended() {
    let server = ReferenceServices::start(&["--set", "interval=3"]);
    let mut ann = ready(&server);
    let id = ann.id.clone();
    let session = |parameters: &str| format!("/session?clientId={id}{parameters}");
    let (changed, back, zero) =
        (session("&timeout=150&interval=5"), session("&timeout=-1&interval=-1"), session("&timeout=0"));
    let mut connect = || {
        let started = Instant::now();
        let messages = plain(ann.batch(json!([{"channel": "/meta/connect", "id": "7"}])));
        (messages[0]["advice"].clone(), started.elapsed())
    };
    done(&server, &changed, "");
    let (advice, took) = connect();
    assert_eq!(advice, json!({"reconnect": "retry", "interval": 5, "timeout": 150}));
    assert_lasted(took, Duration::from_millis(150));
    assert_eq!(connect().0, Value::Null);
    done(&server, &back, "");
    done(&server, &zero, "");
    assert_eq!(connect().0, json!({"reconnect": "retry", "interval": 3, "timeout": 0}));
    for target in ["/session?clientId=x", "/session", "/disconnect?clientId=x", "/disconnect"] {
        assert_eq!(post(&server, target, ""), (404, json!({"done": false})), "{target}");
    }
    assert_eq!(post(&server, &session("&timeout=soon"), "").0, 500);

    let end = format!("/disconnect?clientId={id}");
    done(&server, &end, "");
    assert_eq!(post(&server, &end, ""), (404, json!({"done": false})));
    assert_eq!(ask(&mut ann, "/a", json!(1))[0]["error"], "402::session_unknown");
}

#[test]
fn channels_become_lazy() {
    // A message that stays lazy would make a test wait in vain.
    let server = ReferenceServices::start(&["--set", "maxLazyTimeout=600000"]);
    let mut ann = subscribed(&server, "/lazy");
    let mut wait = || {
        let started = Instant::now();
        done(&server, "/publish?channel=/lazy", "1");
        let messages = plain(ann.batch(json!([{"channel": "/meta/connect", "id": "7"}])));
        assert_eq!(messages, json!([{"channel": "/lazy", "data": 1}, success("/meta/connect")]));
        started.elapsed()
    };
    done(&server, "/lazy?channel=/lazy&timeout=300", "");
    assert_lasted(wait(), Duration::from_millis(300));
    done(&server, "/lazy?channel=/lazy&timeout=0", "");
    wait();
    assert_eq!(post(&server, "/lazy", "").0, 404);
    assert_eq!(post(&server, "/lazy?channel=/lazy&timeout=x", "").0, 500);
}

#[test]
fn persistent_channels_stay_and_others_are_swept() {
    let server = ReferenceServices::start(&["--set", "sweepPeriod=20"]);
    assert_eq!(stats(&server), json!({"sessions": 2, "channels": 10}));
    done(&server, "/persistent?channel=/kept", "");
    done(&server, "/publish?channel=/gone", "1");
    let deadline = Instant::now() + crate::support::http::PATIENCE;
    let await_channels = |count: u8| {
        while stats(&server)["channels"] != count {
            assert!(Instant::now() < deadline, "{}", stats(&server));
        }
    };
    await_channels(11);
    done(&server, "/persistent?channel=/kept&value=false", "");
    await_channels(10);
}

#[test]
fn a_channel_may_be_silent_for_its_publishers() {
    let server = ReferenceServices::start(&[]);
    let mut ann = subscribed(&server, "/a");
    let heard = json!({"channel": "/a", "data": 1});
    for (value, expected) in [
        ("&value=false", json!([success("/a")])),
        ("&value=true", json!([heard, success("/a")])),
        ("", json!([success("/a")])),
    ] {
        done(&server, &format!("/broadcastToPublisher?channel=/a{value}"), "");
        assert_eq!(ask(&mut ann, "/a", json!(1)), expected);
    }
}

#[test]
fn authorizers_are_added_while_it_runs() {
    let server = ReferenceServices::start(&[]);
    let mut ann = subscribed(&server, "/auth/grant");
    for (name, parameters, error) in [
        ("grant", "&result=grant", Value::Null),
        ("ignore", "&result=ignore", json!("403:denied_by_not_granting:publish_denied")),
        ("deny", "&result=deny&reason=no+way", json!("403:no way:publish_denied")),
        ("unsaid", "&result=deny", json!("403::publish_denied")),
    ] {
        let channel = format!("/auth/{name}");
        done(&server, &format!("/authorizer?channel={channel}{parameters}"), "");
        let messages = ask(&mut ann, &channel, json!(1));
        let reply = messages.as_array().and_then(|messages| messages.last()).expect("a reply");
        assert_eq!((&reply["successful"], &reply["error"]), (&json!(error.is_null()), &error), "{name}");
        // The server's own publications are not asked about.
        done(&server, &format!("/publish?channel={channel}"), "1");
    }
    done(&server, "/authorizer?channel=/closed/**&result=deny&reason=closed", "");
    assert_eq!(ask(&mut ann, "/closed/a/b", json!(1))[0]["error"], "403:closed:channel_create_denied");
}

#[test]
fn other_requests_are_not_found() {
    let server = ReferenceServices::start(&[]);
    for (method, target) in [
        ("GET", "/"),
        ("GET", "/page.css"),
        ("GET", "/publish?channel=/a"),
        ("PUT", "/publish?channel=/a"),
        ("OPTIONS", "/publish"),
        ("GET", "/stats/"),
    ] {
        let response = server.ask(&Request::new(method, target));
        assert_eq!((response.status, response.text()), (404, "{}"), "{method} {target}");
    }
    for target in ["/", "/stats", "/publish/?channel=/a", "/nothing"] {
        assert_eq!(post(&server, target, "1"), (404, json!({"done": false})), "{target}");
    }
}

#[test]
fn every_named_origin_may_use_mount_and_endpoints() {
    let server = ReferenceServices::start(&[]);
    let handshake = json!([{"channel": "/meta/handshake"}]).to_string();
    for request in [Request::post("/cometd", handshake), Request::post("/publish?channel=/a", "1")] {
        let response = server.ask(&request.header("Origin", "http://page.example"));
        assert_eq!(response.status, 200);
        assert_eq!(response.header("Access-Control-Allow-Origin"), Some("http://page.example"));
        assert_eq!(response.header("Access-Control-Allow-Credentials"), Some("true"));
    }
    for target in ["/cometd", "/publish"] {
        let preflight = Request::new("OPTIONS", target).header("Origin", "http://page.example");
        let response = server.ask(&preflight.header("Access-Control-Request-Method", "POST"));
        assert_eq!((response.status, response.header("Access-Control-Max-Age")), (200, Some("1800")));
    }
}

#[test]
fn defaults_are_those_of_the_released_server_and_options_change_them() {
    let server = ReferenceServices::start(&[]);
    let mut ann = LongPolling::new(&server);
    let reply = ann.handshake();
    assert_eq!(reply["advice"], json!({"reconnect": "retry", "interval": 0, "timeout": 20_000}));
    assert_eq!(reply["supportedConnectionTypes"], json!(["websocket", "long-polling", "callback-polling"]));
    // No comment in front of the call, which would keep older browsers from mistaking what it is.
    let handshake = "message=%5B%7B%22channel%22%3A%22%2Fmeta%2Fhandshake%22%7D%5D";
    let response = server.ask(&Request::new("GET", &format!("/cometd?jsonp=heard&{handshake}")));
    assert!(response.text().starts_with("heard([{"), "{}", response.text());
    // Nothing but a failure tells that such a policy was asked: the channel stays closed.
    let unknown = json!([{"channel": "/meta/subscribe", "subscription": "/meta/x"}]);
    assert_eq!(ann.batch(unknown.clone())[0]["error"], "403::subscribe_failed");

    let options =
        ["allowedTransports=long-polling", "timeout=1", "long-polling.timeout=2", "long-polling.json.timeout=30"];
    let options = [&["--policy", "default"][..], &options.map(|option| ["--set", option]).concat()].concat();
    let server = ReferenceServices::start(&options);
    let mut bob = LongPolling::new(&server);
    let reply = bob.handshake();
    assert_eq!(
        (&reply["advice"]["timeout"], &reply["supportedConnectionTypes"]),
        (&json!(30), &json!(["long-polling"]))
    );
    assert_eq!(bob.batch(unknown)[0]["error"], "403:denied_by_security_policy:create_denied");
}

#[test]
fn it_ends_when_it_is_told_to_and_says_what_it_did_not_do() {
    let server = ReferenceServices::start(&["--set", "sweepThreads=4", "--set", "timeout=20000", "--log", "error"]);
    let mut ann = ready(&server);
    assert_eq!(ask(&mut ann, "/a", json!(1)), json!([success("/a")]));
    let mut idle = Connection::open(server.address());
    let (status, errors) = server.terminate();
    assert!(status.success(), "{status}");
    assert_eq!(errors, "reference_services: --set sweepThreads: there is nothing like it here, it changes nothing\n");
    assert!(idle.closed().is_ok());

    for (arguments, problem) in [
        (&["--port"][..], "--port needs a value"),
        (&["--speed", "1"], "unknown option --speed"),
        (&["--ext", "acks"], "no extension acks"),
        (&["--set", "timeout=soon"], "timeout takes a number, not soon"),
    ] {
        let output = ReferenceServices::refused(arguments);
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(String::from_utf8_lossy(&output.stderr), format!("reference_services: {problem}\n"));
    }
}
