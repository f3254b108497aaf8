//! Policy and authorizers.

use mirant::bayeux::Operation;
use serde_json::{Value, json};

use crate::support::client::LongPolling;
use crate::support::server::{Denial, Question, Server, Verdict};

#[track_caller]
fn publish(ann: &mut LongPolling, channel: &str, error: Option<&str>) {
    let mut expected = json!({"channel": channel, "id": "1", "successful": error.is_none()});
    if let Some(error) = error {
        expected["error"] = json!(error);
    }
    assert_eq!(ann.batch(json!([{"channel": channel, "id": "1", "data": 1}])), json!([expected]));
}

#[track_caller]
fn subscribe(ann: &mut LongPolling, channel: &str, error: Option<&str>) {
    let mut expected =
        json!({"channel": "/meta/subscribe", "id": "1", "subscription": channel, "successful": error.is_none()});
    if let Some(error) = error {
        expected["error"] = json!(error);
    }
    let replies = ann.batch(json!([{"channel": "/meta/subscribe", "id": "1", "subscription": channel}]));
    assert_eq!(replies, json!([expected]));
}

#[test]
fn case_189_what_no_authorizer_grants_is_denied() {
    let server = Server::start(&[]);
    server.authorize("/auth/*", Verdict::Ignore);
    let mut ann = LongPolling::ready(&server);
    publish(&mut ann, "/auth/x", Some("403:denied_by_not_granting:channel_create_denied"));
    subscribe(&mut ann, "/auth/x", Some("403:denied_by_not_granting:create_denied"));
    publish(&mut ann, "/other/x", None);
}

#[test]
fn case_190_the_reason_of_a_denying_authorizer_is_told() {
    let server = Server::start(&[]);
    server.authorize("/auth/*", Verdict::Deny("custom_reason"));
    let mut ann = LongPolling::ready(&server);
    publish(&mut ann, "/auth/x", Some("403:custom_reason:channel_create_denied"));
    subscribe(&mut ann, "/auth/x", Some("403:custom_reason:create_denied"));
}

#[test]
fn case_191_one_denial_outweighs_a_grant() {
    let server = Server::start(&[]);
    server.authorize("/t/*", Verdict::Grant);
    server.authorize("/t/x", Verdict::Deny("not_x"));
    let mut ann = LongPolling::ready(&server);
    publish(&mut ann, "/t/x", Some("403:not_x:publish_denied"));
    publish(&mut ann, "/t/y", None);
    subscribe(&mut ann, "/t/x", Some("403:not_x:subscribe_denied"));
    subscribe(&mut ann, "/t/y", None);
}

#[test]
fn case_192_an_authorizer_closes_only_its_own_channel() {
    let server = Server::start(&[]);
    server.authorize("/test", Verdict::Ignore);
    let mut ann = LongPolling::ready(&server);
    publish(&mut ann, "/test", Some("403:denied_by_not_granting:publish_denied"));
    publish(&mut ann, "/test/below", None);
    publish(&mut ann, "/other", None);
}

#[test]
fn authorizers_apply_to_services_but_never_to_meta_channels() {
    let server = Server::start(&[]);
    server.authorize("/**", Verdict::Ignore);
    let mut ann = LongPolling::ready(&server);
    publish(&mut ann, "/service/none", Some("403:denied_by_not_granting:channel_create_denied"));
}

#[test]
fn case_193_advice_and_ext_of_a_policy_that_denies_are_kept() {
    let ext = json!({"com.example": {"why": "because"}});
    let denial = || Denial { reconnect: Some("none"), ext: Some(ext.clone()) };
    let subscribe = json!({"channel": "/meta/subscribe", "id": "1", "subscription": "/a"});
    let publish = json!({"channel": "/a", "id": "1"});
    let cases = [
        (Operation::Create, &publish, "403:denied_by_security_policy:channel_create_denied"),
        (Operation::Create, &subscribe, "403:denied_by_security_policy:create_denied"),
        (Operation::Publish, &publish, "403:denied_by_security_policy:publish_denied"),
        (Operation::Subscribe, &subscribe, "403:denied_by_security_policy:subscribe_denied"),
    ];
    for (operation, message, error) in cases {
        let server = Server::start(&[]);
        let mut ann = LongPolling::ready(&server);
        server.deny(Question::Channel(operation), denial());
        let mut expected: Value = message.clone();
        expected["successful"] = json!(false);
        expected["error"] = json!(error);
        expected["advice"] = json!({"reconnect": "none"});
        expected["ext"] = ext.clone();
        assert_eq!(ann.batch(json!([message])), json!([expected]), "{operation:?}");
    }
}
