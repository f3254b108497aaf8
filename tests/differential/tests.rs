//! The language of scripts and the comparison, tested with the example that plays scripts: the differential test itself has
//! no test harness.

use serde_json::{Value, json};

use super::difference::{Compared, difference};
use super::script::{Payload, Script, Sent, Step};
use super::shorthand::expand;

#[test]
fn a_script_is_read() {
    let text = "# A client that reads its own message.\n\
        # settings: maxInterval=3000\n\
        # cases: 59\n\
        A ws\n\
        A ? hs $a\n\
        2x A > pub $a /@/x {\"n\":$n}\n\
        A < 2 events\n\
        ! publish /@/x 1\n\
        B ? POST /cometd/ text \"[\"\n\
        | Content-Type: text/plain\n\
        pause 1500ms\n";
    let script = Script::parse("x", text).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(script.lines.len(), 8);
    assert_eq!(script.server.0[..6], ["--policy", "default", "--set", "maxInterval=3000", "--set", "timeout=2000"]);
    let Step::Send { what: Sent::Messages { headers, body: Payload::Template(body), .. }, .. } = &script.lines[6].step
    else {
        panic!("{:?}", script.lines[6]);
    };
    assert_eq!(headers, &[("Content-Type".to_owned(), "text/plain".to_owned())]);
    assert_eq!(body, "[");
}

#[test]
fn what_cannot_be_read_is_named() {
    let error = Script::parse("x", "A ? hs $a\nA ! 5\n").unwrap_err();
    assert!(error.starts_with("x:2: `!`"), "{error}");
    assert!(Script::parse("x", "# setings: a\nA < 1 events\n").unwrap_err().contains("setings"));
}

#[test]
fn messages_are_expanded_in_order() {
    let comma = expand(r#"sub $a /@/x , pub $a /@/x 1"#, &mut 1, "websocket");
    assert!(comma.is_err(), "a comma does not part messages");
    let mut id = 4;
    let batch = expand(r#"sub $a ["/x","/y"] ; pub - /x 7 {"id":"p"}"#, &mut id, "websocket").unwrap();
    let messages: Value = serde_json::from_str(&batch.json).unwrap();
    assert_eq!(
        messages,
        json!([
            {"channel": "/meta/subscribe", "id": "4", "clientId": "$a", "subscription": ["/x", "/y"]},
            {"channel": "/x", "id": "p", "data": 7},
        ])
    );
    assert_eq!(id, 6);
}

#[test]
fn a_handshake_names_its_session() {
    let batch = expand(r#"hs $a {"ext":{"ack":true}}"#, &mut 1, "long-polling").unwrap();
    assert_eq!(batch.begins, ["a"]);
    assert!(batch.json.contains(r#""ext":{"ack":true}"#));
}

#[test]
fn what_differs_is_marked() {
    let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let compared = difference(&lines("a b c d"), &lines("a x c d e"));
    let shown: Vec<String> = compared.iter().map(Compared::shown).collect();
    assert_eq!(shown, ["  a", "- b", "+ x", "  c", "  d", "+ e"]);
}
