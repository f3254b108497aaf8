//! Messages to services, and remote calls.

use serde_json::json;

use crate::support::client::{LongPolling, WebSocket};
use crate::support::server::Server;

#[test]
fn case_114_a_service_that_answers_at_once_is_heard_before_the_reply() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let replies = ann.batch(json!([{"channel": "/service/echo", "id": "1", "data": {"n": 1}}]));
    assert_eq!(
        replies,
        json!([{"channel": "/service/echo", "data": {"n": 1}}, {"channel": "/service/echo", "id": "1", "successful": true}])
    );
}

#[test]
fn case_115_a_message_to_a_service_that_nobody_offers_succeeds() {
    let server = Server::start(&[]);
    LongPolling::ready(&server).publish("/service/none", json!(1));
}

#[test]
fn case_116_messages_to_services_are_not_broadcast() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/**");
    LongPolling::ready(&server)
        .batch(json!([{"channel": "/service/echo", "data": 1}, {"channel": "/seen", "data": 2}]));
    assert_eq!(ann.events(), json!([{"channel": "/seen", "data": 2}]));
}

#[test]
fn case_194_a_remote_call_is_answered_with_its_id_before_the_reply() {
    let server = Server::start(&[]);
    let answer = json!({"channel": "/service/call", "id": "7", "successful": true, "data": {"q": 1}});
    let reply = json!({"channel": "/service/call", "id": "7", "successful": true});
    let call = json!([{"channel": "/service/call", "id": "7", "data": {"q": 1}}]);

    let mut ann = LongPolling::ready(&server);
    assert_eq!(ann.batch(call.clone()), json!([answer, reply]));
    let mut bob = WebSocket::ready(&server);
    assert_eq!(bob.batch(call), json!([answer]));
    assert_eq!(bob.receive(), json!([reply]));
}

/// [SV-4]
#[test]
fn a_null_result_is_sent_as_null() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let replies = ann.batch(json!([{"channel": "/service/call", "id": "7", "data": null}]));
    assert_eq!(replies[0], json!({"channel": "/service/call", "id": "7", "successful": true, "data": null}));
}

#[test]
fn case_195_a_failed_remote_call_is_answered_with_its_reason_as_data() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let replies = ann.batch(json!([{"channel": "/service/refuse", "id": "7", "data": {"why": "no"}}]));
    assert_eq!(
        replies,
        json!([
            {"channel": "/service/refuse", "id": "7", "successful": false, "data": {"why": "no"}},
            {"channel": "/service/refuse", "id": "7", "successful": true},
        ])
    );
}
