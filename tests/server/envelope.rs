//! The message envelope and its framing.

use serde_json::{Value, json};

use crate::support::client::{LongPolling, MOUNT, WebSocket};
use crate::support::http::Request;
use crate::support::server::Server;

/// Posts each body, expects its status, and that the session is none the worse for it.
#[track_caller]
fn refused(ann: &mut LongPolling, bodies: &[&[u8]], status: u16) {
    for body in bodies {
        let response = ann.exchange(*body);
        assert_eq!(response.status, status, "{}", String::from_utf8_lossy(body));
        ann.publish("/still/usable", json!(1));
    }
}

/// The text of a publish by `ann` with the id `1`.
fn publish_text(ann: &LongPolling) -> String {
    json!([{"channel": "/a", "clientId": ann.id, "id": "1", "data": 1}]).to_string()
}

#[test]
fn case_1_a_bare_object_is_answered_by_an_array() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let replies = ann.batch(json!({"channel": "/a", "id": "1", "data": 1}));
    assert_eq!(replies, json!([{"channel": "/a", "id": "1", "successful": true}]));
}

#[test]
fn case_2_an_empty_array_is_answered_by_an_empty_array() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    assert_eq!(ann.batch(json!([])), json!([]));
}

#[test]
fn case_3_an_empty_body_is_a_bad_request() {
    let server = Server::start(&[]);
    refused(&mut LongPolling::ready(&server), &[b""], 400);
}

#[test]
fn case_4_null_is_refused() {
    let server = Server::start(&[]);
    refused(&mut LongPolling::ready(&server), &[b"null"], 500);
}

#[test]
fn case_5_a_number_or_a_string_is_a_bad_request() {
    let server = Server::start(&[]);
    refused(&mut LongPolling::ready(&server), &[b"1", b"\"x\""], 400);
}

#[test]
fn case_6_an_array_of_anything_but_objects_is_refused() {
    let server = Server::start(&[]);
    refused(&mut LongPolling::ready(&server), &[b"[1]", b"[null]", b"[[{}]]"], 500);
}

#[test]
fn case_7_truncated_json_is_a_bad_request_and_leaves_the_session_alone() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/a");
    let whole = publish_text(&ann);
    refused(&mut ann, &[&whole.as_bytes()[..whole.len() - 1], &whole.as_bytes()[..whole.len() / 2]], 400);
    assert_eq!(ann.events(), json!([]), "no part of a truncated body takes effect");
}

#[test]
fn case_8_anything_behind_the_array_is_a_bad_request() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let whole = publish_text(&ann);
    refused(&mut ann, &[format!("{whole} x").as_bytes(), format!("{whole}]").as_bytes()], 400);
}

#[test]
fn case_9_a_byte_order_mark_and_invalid_utf8_are_bad_requests() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let whole = publish_text(&ann);
    let marked = [b"\xef\xbb\xbf", whole.as_bytes()].concat();
    let outside = [whole.as_bytes(), b"\xff"].concat();
    let (before, after) = whole.split_once("\"data\":1").expect("data");
    let inside = [before.as_bytes(), b"\"data\":\"\xc3\x28\"", after.as_bytes()].concat();
    refused(&mut ann, &[&marked, &outside, &inside], 400);
}

#[test]
fn case_10_whitespace_around_the_array_is_ignored() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let body = format!(" \r\n\t{}\n ", publish_text(&ann));
    let response = ann.exchange(body);
    assert_eq!(response.status, 200);
    let replies: Value = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!(replies, json!([{"channel": "/a", "id": "1", "successful": true}]));
}

#[test]
fn case_11_the_last_of_two_equal_keys_counts() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/two");
    let body = format!(r#"[{{"channel":"/one","clientId":"{}","channel":"/two","data":1}}]"#, ann.id);
    let response = ann.exchange(body);
    let replies: Value = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!(replies, json!([{"channel": "/two", "data": 1}, {"channel": "/two", "successful": true}]));
}

#[test]
fn case_12_a_numeric_id_is_echoed_as_a_string() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let replies = ann.batch(json!([{"channel": "/a", "id": 8}]));
    assert_eq!(replies, json!([{"channel": "/a", "id": "8", "successful": true}]));
}

#[test]
fn cases_13_and_14_an_id_of_anything_but_letters_and_digits_is_invalid() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    for channel in ["/a", "/meta/connect"] {
        for (sent, echoed) in [
            (json!("a-b"), "a-b"),
            (json!(""), ""),
            (json!(1.5), "1.5"),
            (json!(-1), "-1"),
            (json!("<script>"), "<script>"),
        ] {
            let replies = ann.batch(json!([{"channel": channel, "id": sent}]));
            let expected =
                json!([{"channel": channel, "id": echoed, "successful": false, "error": "405::message_id_invalid"}]);
            assert_eq!(replies, expected);
        }
    }
}

#[test]
fn case_15_without_an_id_or_with_null_the_reply_has_none() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    assert_eq!(ann.batch(json!([{"channel": "/a"}])), json!([{"channel": "/a", "successful": true}]));
    assert_eq!(ann.batch(json!([{"channel": "/a", "id": null}])), json!([{"channel": "/a", "successful": true}]));
}

#[test]
fn case_16_a_message_without_a_channel_is_answered_without_one() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let replies = ann.batch(json!([{"id": "1", "data": 1}]));
    assert_eq!(replies, json!([{"id": "1", "successful": false, "error": "400::channel_missing"}]));
}

#[test]
fn case_17_a_channel_outside_the_grammar_is_invalid() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    for channel in ["foo", "/", "/foo%", "/foo<>"] {
        let replies = ann.batch(json!([{"channel": channel, "id": "1"}]));
        assert_eq!(
            replies,
            json!([{"channel": channel, "id": "1", "successful": false, "error": "405::channel_invalid"}])
        );
    }
}

/// [EN-3]
#[test]
fn a_channel_with_half_a_surrogate_pair_is_invalid() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let body = format!(r#"[{{"channel":"/a\ud800","clientId":"{}"}}]"#, ann.id);
    let response = ann.exchange_request(&ann.request(body));
    let replies: Value = serde_json::from_slice(&response.body).expect("JSON");
    assert_eq!(replies[0]["error"], "405::channel_invalid");
}

#[test]
fn case_18_a_channel_that_is_no_string_fails_the_whole_request() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let body = json!([{"channel": 5, "clientId": ann.id}]).to_string();
    refused(&mut ann, &[body.as_bytes()], 500);
    let mut bob = WebSocket::ready(&server);
    bob.send(json!([{"channel": 5}]));
    assert_eq!(bob.close_code(), Some(1011));
}

#[test]
fn case_19_an_empty_segment_or_a_wildcard_before_the_end_is_an_invalid_channel() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let mut bob = WebSocket::ready(&server);
    for channel in ["/a//b", "/a/ /b", "/foo/*/b", "/foo/**/b"] {
        let expected = json!([{"channel": channel, "id": "1", "successful": false, "error": "405::channel_invalid"}]);
        assert_eq!(ann.batch(json!([{"channel": channel, "id": "1"}])), expected);
        assert_eq!(bob.batch(json!([{"channel": channel, "id": "1"}])), expected);
    }
}

#[test]
fn case_20_fields_are_checked_before_the_session() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let replies = ann.batch(json!([{"channel": "/foo%", "id": "1", "clientId": "nobody"}]));
    assert_eq!(replies, json!([{"channel": "/foo%", "id": "1", "successful": false, "error": "405::channel_invalid"}]));
    for channel in ["/foo", "/meta/connect"] {
        let replies = ann.batch(json!([{"channel": channel, "id": "a-b", "clientId": "nobody"}]));
        let expected =
            json!([{"channel": channel, "id": "a-b", "successful": false, "error": "405::message_id_invalid"}]);
        assert_eq!(replies, expected, "and no advice");
    }
}

#[test]
fn case_21_subscription_is_echoed_even_in_the_reply_to_a_publish() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let replies = ann.batch(json!([{"channel": "/a", "id": "1", "subscription": "/q"}]));
    assert_eq!(replies, json!([{"channel": "/a", "id": "1", "subscription": "/q", "successful": true}]));
}

#[test]
fn case_22_deliveries_come_before_the_replies_of_their_batch() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/a");
    let replies = ann.batch(json!([
        {"channel": "/a", "id": "1", "data": "one"},
        {"channel": "/a", "id": "2", "data": "two"},
        {"channel": "/meta/subscribe", "id": "3", "subscription": "/b"},
    ]));
    assert_eq!(
        replies,
        json!([
            {"channel": "/a", "data": "one"},
            {"channel": "/a", "data": "two"},
            {"channel": "/a", "id": "1", "successful": true},
            {"channel": "/a", "id": "2", "successful": true},
            {"channel": "/meta/subscribe", "id": "3", "subscription": "/b", "successful": true},
        ])
    );
}

#[test]
fn cases_23_and_24_every_message_of_a_batch_must_name_the_session_of_the_first() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let mut bob = LongPolling::new(&server);
    bob.cookie.clone_from(&ann.cookie);
    bob.handshake();
    for other in ["nobody", &bob.id] {
        let replies = ann.batch(json!([{"channel": "/a", "id": "1"}, {"channel": "/a", "id": "2", "clientId": other}]));
        assert_eq!(
            replies,
            json!([
                {"channel": "/a", "id": "1", "successful": true},
                {"channel": "/a", "id": "2", "successful": false, "error": "402::session_unknown"},
            ])
        );
    }
}

#[test]
fn case_25_the_content_type_of_a_post_does_not_matter() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let request = ann.request(publish_text(&ann));
    let types = [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=UTF-8",
        "text/json;charset=utf-8",
    ];
    let mut requests: Vec<Request> = types.iter().map(|value| request.clone().header("Content-Type", value)).collect();
    requests.push(request.without("Content-Type"));
    for request in requests {
        let response = ann.exchange_request(&request);
        assert_eq!(response.status, 200, "{request:?}");
        let replies: Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!(replies, json!([{"channel": "/a", "id": "1", "successful": true}]));
    }
}

#[test]
fn case_26_a_body_is_decoded_by_its_charset() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/a");
    let (before, after) = (format!(r#"[{{"channel":"/a","clientId":"{}","data":""#, ann.id), r#""}]"#);
    // Alpha, beta, gamma in ISO-8859-7.
    let body = [before.as_bytes(), &[0xe1, 0xe2, 0xe3], after.as_bytes()].concat();
    let request = ann.request(body).header("Content-Type", "application/json; charset=ISO-8859-7");
    let response = ann.exchange_request(&request);
    let replies: Value = serde_json::from_slice(&response.body).expect("JSON in UTF-8");
    assert_eq!(replies, json!([{"channel": "/a", "data": "αβγ"}, {"channel": "/a", "successful": true}]));
}

#[test]
fn case_27_an_unknown_charset_is_an_unsupported_media_type() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let request = ann.request(publish_text(&ann)).header("Content-Type", "application/json; charset=foo");
    assert_eq!(ann.exchange_request(&request).status, 415);
    ann.publish("/still/usable", json!(1));
}

#[test]
fn case_28_a_form_with_a_message_field_is_accepted() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    let plain = publish_text(&ann);
    let encoded: String = plain.bytes().map(|byte| format!("%{byte:02X}")).collect();
    for (content_type, message) in
        [("application/x-www-form-urlencoded", &encoded), ("text/plain", &encoded), ("text/plain", &plain)]
    {
        let request = ann.request(format!("message={message}")).header("Content-Type", content_type);
        let response = ann.exchange_request(&request);
        assert_eq!(response.status, 200, "{content_type} {message}");
        let replies: Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!(replies, json!([{"channel": "/a", "id": "1", "successful": true}]));
    }
}

#[test]
fn case_29_a_body_above_the_limit_is_refused() {
    let server = Server::start(&["bayeux.long_polling.max_message_size=2KiB"]);
    let mut ann = LongPolling::ready(&server);
    ann.publish("/a", json!("x".repeat(1500)));
    let body = json!([{"channel": "/a", "clientId": ann.id, "data": "x".repeat(2048)}]).to_string();
    refused(&mut ann, &[body.as_bytes()], 500);
    let chunked = ann.request(body).chunked(100);
    assert_eq!(ann.exchange_request(&chunked).status, 500, "without Content-Length as well");
    ann.publish("/still/usable", json!(1));
}

#[test]
fn case_30_without_validation_any_id_passes() {
    let server = Server::start(&["bayeux.validate_message_fields=false"]);
    let mut ann = LongPolling::ready(&server);
    let replies = ann.batch(json!([{"channel": "/a", "id": "<x>"}]));
    assert_eq!(replies, json!([{"channel": "/a", "id": "<x>", "successful": true}]));
}

/// [EN-17]
#[test]
fn a_client_id_that_is_no_string_names_no_session() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    for client_id in [json!(5), json!(null), json!(["x"]), json!({"a": 1}), json!(true), json!("")] {
        let replies = ann.batch(json!([{"channel": "/a", "id": "1", "clientId": client_id}]));
        assert_eq!(
            replies,
            json!([{"channel": "/a", "id": "1", "successful": false, "error": "402::session_unknown"}])
        );
    }
}

/// [LP-12]
#[test]
fn the_body_of_an_error_is_a_short_text() {
    let server = Server::start(&["bayeux.long_polling.max_message_size=2KiB"]);
    let mut ann = LongPolling::ready(&server);
    let long = "x".repeat(3000);
    for body in ["", "null", "[1]", "[", &long] {
        let response = ann.exchange(body);
        assert!(response.status >= 400 && response.text().len() < 200, "{response:?}");
        assert!(!response.text().contains("src/") && !response.text().contains('<'), "{response:?}");
    }
}

/// [LP-9]
#[test]
fn a_long_answer_is_written_in_ascii() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::subscribed(&server, "/a");
    let mut bob = LongPolling::ready(&server);
    for (text, is_ascii) in [("ä€😀".repeat(10), false), ("ä€😀".repeat(5000), true)] {
        bob.publish("/a", json!(text));
        let connect = json!([{"channel": "/meta/connect", "clientId": ann.id, "advice": {"timeout": 0}}]).to_string();
        let response = ann.exchange(connect);
        assert_eq!(response.body.is_ascii(), is_ascii);
        let messages: Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!(messages[0], json!({"channel": "/a", "data": text}));
    }
}

/// [LP-11]
#[test]
fn a_chunked_body_is_read_like_any_other() {
    let server = Server::start(&[]);
    let mut ann = LongPolling::ready(&server);
    for size in [1, 7, 1000] {
        let response = ann.exchange_request(&ann.with_cookie(Request::post(MOUNT, publish_text(&ann))).chunked(size));
        let replies: Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!(replies, json!([{"channel": "/a", "id": "1", "successful": true}]));
    }
}
