//! What may differ from a recording, and what may not although it looks alike.

use super::playback::Playback;
use super::support::deviation::{ANOTHER_TIME, as_our_server_has_it};
use super::support::replay::{replay, replay_allowing};
use super::support::subject::Scope;
use super::support::transcript::Conversation;

/// Returns the deviations that a server needs which behaves as in `actual`, or the failure; both without their heads.
fn played(head: &str, expected: &str, actual: &str) -> Result<Vec<&'static str>, String> {
    let parse = |lines: &str| {
        let text = format!("# origin: recorded | test\n# settings: timeout=5s\n{head}\n{lines}");
        Conversation::parse(&text).expect("the conversation is well-formed")
    };
    let used = replay(&parse(expected), &mut Playback::of(&parse(actual), Scope::Wire));
    used.map(|used| used.into_iter().collect()).map_err(|failure| failure.to_string())
}

#[test]
fn faye_is_offered_what_only_faye_has() {
    let offer = |named: &str, list: &str| {
        format!(
            "@0 > A.1 POST /cometd [{{\"channel\":\"/meta/handshake\",\"id\":\"1\",\"supportedConnectionTypes\":[{named}]}}]\n\
            @1 < A.1 [{{\"channel\":\"/meta/handshake\",\"id\":\"1\",\"supportedConnectionTypes\":[{list}]}}]\n"
        )
    };
    let outcome = |named: &str, recorded: &str, got: &str| played("", &offer(named, recorded), &offer(named, got));
    let list = r#""websocket","long-polling","callback-polling""#;
    let both = r#""eventsource","cross-origin-long-polling""#;
    let ours = r#""websocket","long-polling","cross-origin-long-polling","callback-polling","eventsource""#;
    assert_eq!(outcome(both, list, ours).unwrap(), ["offered-to-faye"]);
    let with_stream = r#""websocket","long-polling","callback-polling","eventsource""#;
    assert_eq!(outcome(r#""eventsource""#, list, with_stream).unwrap(), ["offered-to-faye"]);
    assert_eq!(outcome("", list, list).unwrap().len(), 0);
    assert!(outcome("", list, ours).is_err() && outcome(both, list, with_stream).is_err());
    assert!(outcome(both, list, r#""websocket""#).is_err());
}

#[test]
fn a_failure_tells_what_no_deviation_explains() {
    let asked =
        "@0 > A.1 POST /cometd [{\"channel\":\"/meta/handshake\",\"supportedConnectionTypes\":[\"eventsource\"]}]\n";
    let offer = |list: &str, id: u8| {
        format!(
            "{asked}@1 < A.1 [{{\"channel\":\"/meta/handshake\",\"supportedConnectionTypes\":{list},\"zid\":{id}}}]\n"
        )
    };
    let ours = offer(r#"["long-polling","eventsource"]"#, 2);
    let failure = played("", &offer(r#"["long-polling"]"#, 1), &ours).unwrap_err();
    assert!(failure.contains("[0].zid: expected 1, got 2"), "{failure}");
}

#[test]
fn what_was_written_for_our_server_is_met_exactly() {
    let offer = |list: &str| {
        let lines = format!("@0 > A [{{}}]\n@1 < A [{{\"supportedConnectionTypes\":{list}}}]\n");
        Conversation::parse(&format!("# origin: written | test\n{lines}")).unwrap()
    };
    let (asked, got) = (offer(r#"["websocket","long-polling"]"#), offer(r#"["websocket"]"#));
    assert!(replay(&asked, &mut Playback::of(&got, Scope::Wire)).is_err());
}

#[test]
fn a_session_is_found_without_a_cookie() {
    let connect = |advice: &str, reply: &str| {
        format!(
            "@0 > A.1 POST /cometd [{{\"id\":\"1\",\"channel\":\"/meta/connect\"{advice}}}]\n\
            @1 < A.1 [{{\"id\":\"1\",\"channel\":\"/meta/connect\",{reply}}}]\n"
        )
    };
    let refusal =
        r#""successful":false,"error":"402::session_unknown","advice":{"reconnect":"handshake","interval":0}"#;
    let success = r#""successful":true"#;
    let advised = r#""successful":true,"advice":{"reconnect":"retry","interval":0,"timeout":5000}"#;
    let asking = r#","advice":{"timeout":0}"#;
    let without = "# cookies: none\n";
    assert_eq!(played(without, &connect("", refusal), &connect("", success)).unwrap(), ["session-without-cookie"]);
    assert!(played(without, &connect(asking, refusal), &connect(asking, advised)).is_ok());
    assert!(played(without, &connect(asking, refusal), &connect(asking, success)).is_err(), "the advice is missing");
    assert!(played("", &connect("", refusal), &connect("", success)).is_err(), "this client has a cookie");
}

#[test]
fn a_connect_left_behind_on_another_transport_ends_well() {
    let asked = "@0 > A.1 POST /cometd [{\"id\":\"6\",\"channel\":\"/meta/connect\"}]\n";
    let recorded = format!("{asked}@100 < A.1 500\n");
    let answer = |reply: &str| format!("{asked}@100 < A.1 [{reply}]\n");
    let good = answer(r#"{"channel":"/meta/connect","id":"6","successful":true,"advice":{"reconnect":"none"}}"#);
    assert_eq!(played("", &recorded, &good).unwrap(), ["superseded-by-another-transport"]);
    for reply in ["", r#"{"channel":"/meta/connect","id":"6","successful":false}"#, r#"{"id":"6","successful":true}"#] {
        assert!(played("", &recorded, &answer(reply)).is_err(), "{reply}");
    }
    let publish = "@0 > A.1 POST /cometd [{\"id\":\"6\",\"channel\":\"/a\"}]\n";
    let outcome = played("", &format!("{publish}@1 < A.1 500\n"), &format!("{publish}@1 < A.1 [{{}}]\n"));
    assert!(outcome.unwrap_err().contains("the status is 200"));
}

#[test]
fn a_websocket_may_be_opened_below_the_mount_only() {
    let open = |path: &str, status: u16| format!("@0 > A.1 UPGRADE {path}\n@1 < A.1 {status}\n");
    let below = played("", &open("/cometd/62.0", 400), &open("/cometd/62.0", 101));
    assert_eq!(below.unwrap(), ["upgrade-below-the-mount"]);
    assert!(played("", &open("/elsewhere", 400), &open("/elsewhere", 101)).is_err());
    assert!(played("", &open("/cometd/62.0", 101), &open("/cometd/62.0", 400)).is_err());
}

#[test]
fn a_disconnect_and_its_connect_may_change_places() {
    let open = "@0 > A.1 UPGRADE /cometd\n@0 < A.1 101\n@0 > A [{}]\n";
    let message = |channel: &str, id: u8| format!("@1 < A [{{\"channel\":\"{channel}\",\"id\":\"{id}\"}}]\n");
    let two = |one: String, other: String| (format!("{open}{one}{other}"), format!("{open}{other}{one}"));
    let (recorded, swapped) = two(message("/meta/connect", 1), message("/meta/disconnect", 2));
    assert_eq!(played("", &recorded, &swapped).unwrap(), ["disconnect-order"]);
    assert_eq!(played("", &swapped, &recorded).unwrap(), ["disconnect-order"]);
    let (recorded, swapped) = two(message("/meta/connect", 1), message("/meta/subscribe", 2));
    assert!(played("", &recorded, &swapped).is_err());
    let last = "@1 < A [{\"channel\":\"/meta/connect\",\"id\":\"1\",\"advice\":{\"reconnect\":\"none\"}}]\n";
    let (recorded, swapped) = two(last.to_owned(), message("/service/kick", 2));
    assert_eq!(played("", &recorded, &swapped).unwrap(), ["disconnect-order"]);
    let event = "@1 < A [{\"channel\":\"/a\",\"data\":1}]\n".to_owned();
    let (recorded, swapped) = two(last.to_owned(), event);
    assert!(played("", &recorded, &swapped).is_err());
}

#[test]
fn header_lines_are_compared_by_what_they_mean() {
    let answer = |header: &str| format!("@0 > A.1 OPTIONS /cometd\n@1 < A.1 200\n|{header}\n");
    let outcome = |recorded: &str, got: &str| played("", &answer(recorded), &answer(got));
    let json = "Content-Type: application/json;charset=utf-8";
    assert_eq!(outcome(json, "content-type: application/json").unwrap(), ["content-type"]);
    assert!(outcome(json, "Content-Type: application/json; charset=iso-8859-1").is_err());
    assert!(outcome(json, "Content-Type: text/html").is_err() && outcome(json, "").is_err());
    let compression = "Sec-WebSocket-Extensions: permessage-deflate";
    assert_eq!(outcome(compression, "").unwrap(), ["no-compression"]);
    assert!(outcome(compression, "Sec-WebSocket-Extensions: other").is_err());
    let allowed = "Access-Control-Allow-Headers: content-type,x-token";
    assert_eq!(outcome(allowed, "Access-Control-Allow-Headers: X-Token, Content-Type, Pragma").unwrap(), ["preflight"]);
    assert!(outcome(allowed, "Access-Control-Allow-Headers: content-type").is_err());
    let origin = "Access-Control-Allow-Origin: http://a";
    assert!(outcome(origin, "Access-Control-Allow-Origin: *").is_err() && outcome(origin, origin).is_ok());
}

/// A conversation of a client that acknowledges on a WebSocket.
fn acknowledging(lines: &str) -> Conversation {
    let head = "# origin: recorded | test\n# needs: ack\n";
    Conversation::parse(&format!("{head}@0 > A.1 UPGRADE /cometd\n@0 < A.1 101\n{lines}")).expect("well-formed")
}

#[test]
fn what_one_request_publishes_may_come_in_one_batch() {
    let event = |data: u8| format!("< A [{{\"channel\":\"/a\",\"data\":{data}}}]\n");
    let reply = |id: &str, ack: &str| {
        format!(
            "< A [{{\"channel\":\"/meta/connect\",\"id\":\"{id}\",\"successful\":true,\"ext\":{{\"ack\":{ack}}}}}]\n"
        )
    };
    let connect = |id: &str, ack: &str| {
        format!("> A [{{\"channel\":\"/meta/connect\",\"id\":\"{id}\",\"ext\":{{\"ack\":{ack}}}}}]\n")
    };
    let held = format!("@1 {}", connect("1", "0"));
    let publish = "@5 > A [{\"channel\":\"/service/x\",\"id\":\"p\"}]\n";
    let published = "< A [{\"channel\":\"/service/x\",\"id\":\"p\",\"successful\":true}]\n";
    let recorded = |rest: &str| {
        let first = format!("@6 {}@6 {}@7 {published}", event(1), reply("1", "$one"));
        format!("{held}{publish}{first}@8 {}{rest}", connect("2", "$one"))
    };
    let (two, three) = (event(2), event(3));
    let rest = format!("@9 {two}@9 {three}@9 {}@10 {}", reply("2", "$two"), connect("3", "$two"));
    let ours = format!(
        "{held}{publish}@6 {published}@6 {}@7 {two}@7 {three}@7 {}@10 {}",
        event(1),
        reply("1", "$one"),
        connect("3", "$one")
    );
    let plain = |conversation: &Conversation| {
        conversation.lines.iter().map(|line| (line.at, line.event.clone())).collect::<Vec<_>>()
    };
    let rewritten = |lines: &str| as_our_server_has_it(acknowledging(lines));
    let (conversation, used) = rewritten(&recorded(&rest));
    assert_eq!((plain(&conversation), used), (plain(&acknowledging(&ours)), vec!["one-request-together"]));
    // What comes later, or for another reason, is no rest.
    let later = recorded(&format!("@900 {two}@900 {}", reply("2", "$two")));
    let meanwhile = recorded(&format!("@9 ! publish /a 2\n@9 {two}@9 {}", reply("2", "$two")));
    let nothing = recorded(&format!("@9 {}", reply("2", "$two")));
    for lines in [later, meanwhile, nothing] {
        let kept = acknowledging(&lines).lines.len();
        assert_eq!(rewritten(&lines).0.lines.len(), kept, "{lines}");
    }
    assert_eq!(rewritten(&ours).1.len(), 0);
}

#[test]
fn how_far_a_clock_is_off_may_be_told_or_not_at_another_time() {
    let asked =
        "@0 > A.1 POST /cometd [{\"id\":\"1\",\"channel\":\"/a\",\"ext\":{\"timesync\":{\"tc\":1,\"l\":2,\"o\":3}}}]\n";
    let answer = |ext: &str| {
        let text = format!("# origin: recorded | test\n{asked}@1 < A.1 [{{\"id\":\"1\",\"channel\":\"/a\"{ext}}}]\n");
        Conversation::parse(&text).expect("well-formed")
    };
    let outcome = |expected: &str, got: &str| {
        let subject = &mut Playback::of(&answer(got), Scope::Wire);
        replay_allowing(&answer(expected), subject, &[ANOTHER_TIME]).map(|used| used.len()).map_err(|_| ())
    };
    let told = ",\"ext\":{\"ack\":1,\"timesync\":{\"tc\":1,\"ts\":2,\"p\":3,\"a\":4}}";
    let (silent, nothing) = (",\"ext\":{\"ack\":1}", "");
    assert_eq!((outcome(told, silent), outcome(silent, told)), (Ok(1), Ok(1)));
    assert_eq!(outcome(",\"ext\":{\"timesync\":7}", nothing), Ok(1));
    assert_eq!(outcome(nothing, ",\"ext\":{\"timesync\":7}"), Err(()), "no answer to the question");
    assert_eq!((outcome(told, told), outcome(nothing, nothing)), (Ok(0), Ok(0)));
    assert_eq!((outcome(told, nothing), outcome(nothing, silent)), (Err(()), Err(())));
}
