//! `/meta/subscribe` and `/meta/unsubscribe`.

use serde_json::{Value, json};

use crate::support::client::LongPolling;
use crate::support::server::Server;

const SUBSCRIBE: &str = "/meta/subscribe";
const UNSUBSCRIBE: &str = "/meta/unsubscribe";

/// The channels on which `ann` receives something when `bob` publishes to each of `channels`.
#[track_caller]
fn heard(ann: &mut LongPolling, bob: &mut LongPolling, channels: &[&str]) -> Vec<String> {
    for channel in channels {
        bob.publish(channel, json!(1));
    }
    let events = ann.events();
    events
        .as_array()
        .expect("an array")
        .iter()
        .map(|event| event["channel"].as_str().expect("a channel").to_owned())
        .collect()
}

/// Sends `channel` with `subscription` and expects the same back, with `outcome`.
#[track_caller]
fn answered(ann: &mut LongPolling, channel: &str, subscription: &Value, error: Option<&str>) {
    let mut expected =
        json!({"channel": channel, "id": "1", "subscription": subscription, "successful": error.is_none()});
    if let Some(error) = error {
        expected["error"] = json!(error);
    }
    assert_eq!(ann.batch(json!([{"channel": channel, "id": "1", "subscription": subscription}])), json!([expected]));
}

#[test]
fn cases_84_and_85_subscription_is_echoed_as_sent() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    answered(&mut ann, SUBSCRIBE, &json!("/foo"), None);
    answered(&mut ann, SUBSCRIBE, &json!(["/bar", "/baz/*", "/qux/**"]), None);
    let mut bob = LongPolling::ready(&server);
    let channels = ["/foo", "/bar", "/baz/x", "/qux/x/y", "/other"];
    assert_eq!(heard(&mut ann, &mut bob, &channels), &channels[..4]);
}

#[test]
fn case_86_an_empty_list_is_subscribed_with_success() {
    let server = Server::start(&[]);
    answered(&mut LongPolling::ready(&server), SUBSCRIBE, &json!([]), None);
}

#[test]
fn cases_87_and_102_a_missing_subscription_is_refused() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    for channel in [SUBSCRIBE, UNSUBSCRIBE] {
        let replies = ann.batch(json!([{"channel": channel, "id": "1"}]));
        assert_eq!(
            replies,
            json!([{"channel": channel, "id": "1", "successful": false, "error": "403::subscription_missing"}])
        );
    }
}

#[test]
fn case_88_a_subscription_that_is_neither_string_nor_list_is_invalid() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    for subscription in [json!(5), json!({"a": 1}), json!(true)] {
        answered(&mut ann, SUBSCRIBE, &subscription, Some("403::subscription_invalid"));
    }
}

#[test]
fn case_89_one_invalid_name_keeps_the_whole_list_from_being_subscribed() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    answered(&mut ann, SUBSCRIBE, &json!(["/ok", "bad"]), Some("403::subscription_invalid"));
    assert_eq!(heard(&mut ann, &mut LongPolling::ready(&server), &["/ok"]), [""; 0]);
}

#[test]
fn case_90_a_denied_name_ends_the_list_but_those_before_it_stay() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let denied = Some("403:denied_by_security_policy:create_denied");
    answered(&mut ann, SUBSCRIBE, &json!(["/ok1", "/meta/x", "/ok2"]), denied);
    assert_eq!(heard(&mut ann, &mut LongPolling::ready(&server), &["/ok1", "/ok2"]), ["/ok1"]);
}

#[test]
fn cases_91_and_92_meta_channels_cannot_be_subscribed() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    for channel in ["/meta/connect", "/meta/handshake"] {
        answered(&mut ann, SUBSCRIBE, &json!(channel), Some("403:denied_by_security_policy:subscribe_denied"));
    }
    for channel in ["/meta/*", "/meta/**", "/meta/other", "/meta/connect/"] {
        answered(&mut ann, SUBSCRIBE, &json!(channel), Some("403:denied_by_security_policy:create_denied"));
    }
}

#[test]
fn case_93_subscribing_to_a_service_succeeds_and_delivers_nothing() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    for channel in ["/service/x", "/service/*", "/service/**"] {
        answered(&mut ann, SUBSCRIBE, &json!(channel), None);
        answered(&mut ann, UNSUBSCRIBE, &json!(channel), None);
        answered(&mut ann, SUBSCRIBE, &json!(channel), None);
    }
    assert_eq!(heard(&mut ann, &mut LongPolling::ready(&server), &["/service/x"]), [""; 0]);
}

#[test]
fn cases_94_and_95_one_message_is_delivered_once_however_often_it_matches() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let mut bob = LongPolling::ready(&server);
    answered(&mut ann, SUBSCRIBE, &json!("/foo"), None);
    answered(&mut ann, SUBSCRIBE, &json!("/foo"), None);
    assert_eq!(heard(&mut ann, &mut bob, &["/foo"]), ["/foo"]);
    for pattern in ["/*", "/foo/**", "/**"] {
        answered(&mut ann, SUBSCRIBE, &json!(pattern), None);
    }
    assert_eq!(heard(&mut ann, &mut bob, &["/foo", "/foo/bar"]), ["/foo", "/foo/bar"]);
}

#[test]
fn cases_96_and_97_a_star_matches_one_segment_and_two_stars_match_more() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/a/*");
    let mut eve = LongPolling::subscribed(&server, "/a/**");
    let mut bob = LongPolling::ready(&server);
    assert_eq!(heard(&mut ann, &mut bob, &["/a/b", "/a/b/c", "/a", "/b"]), ["/a/b"]);
    assert_eq!(heard(&mut eve, &mut bob, &[]), ["/a/b", "/a/b/c"]);
}

#[test]
fn case_98_a_trailing_slash_makes_no_other_channel() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/foo/");
    assert_eq!(heard(&mut ann, &mut LongPolling::ready(&server), &["/foo"]), ["/foo"]);
}

#[test]
fn cases_99_and_100_only_a_channel_that_exists_can_be_unsubscribed() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    answered(&mut ann, UNSUBSCRIBE, &json!("/never/seen"), Some("400::channel_missing"));
    LongPolling::ready(&server).subscribe("/seen");
    answered(&mut ann, UNSUBSCRIBE, &json!("/seen"), None);
}

#[test]
fn case_101_unsubscribing_a_list_stops_at_the_first_failure() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    answered(&mut ann, SUBSCRIBE, &json!(["/n", "/m"]), None);
    answered(&mut ann, UNSUBSCRIBE, &json!(["/n", "/none", "/m"]), Some("400::channel_missing"));
    assert_eq!(heard(&mut ann, &mut LongPolling::ready(&server), &["/n", "/m"]), ["/m"]);
}

#[test]
fn case_103_a_session_subscribes_and_publishes_before_its_first_connect() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::handshaken(&server);
    let replies = ann.batch(json!([
        {"channel": SUBSCRIBE, "id": "1", "subscription": "/foo"},
        {"channel": "/foo", "id": "2", "data": 1},
    ]));
    assert_eq!(
        replies,
        json!([
            {"channel": "/foo", "data": 1},
            {"channel": SUBSCRIBE, "id": "1", "subscription": "/foo", "successful": true},
            {"channel": "/foo", "id": "2", "successful": true},
        ])
    );
}

/// [CH-6]
#[test]
fn an_idle_channel_is_swept() {
    let server = Server::start(&["bayeux.sweep_period=50ms"]);
    let mut ann = LongPolling::ready(&server);
    ann.publish("/seen", json!(1));
    let mut bob = LongPolling::subscribed(&server, "/kept/child");
    ann.publish("/kept", json!(1));
    server.await_swept("/seen");
    server.await_swept("/kept");
    answered(&mut ann, UNSUBSCRIBE, &json!("/seen"), Some("400::channel_missing"));
    ann.publish("/kept/child", json!(1));
    assert_eq!(bob.events(), json!([{"channel": "/kept/child", "data": 1}]));
}

#[test]
fn an_unsubscribed_channel_is_silent() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/foo");
    answered(&mut ann, UNSUBSCRIBE, &json!("/foo"), None);
    assert_eq!(heard(&mut ann, &mut LongPolling::ready(&server), &["/foo"]), [""; 0]);
}
