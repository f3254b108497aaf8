//! The text format of conversations.

use super::support::pattern::{Bindings, Pattern};
use super::support::transcript::{Body, Conversation, Directive, Event, Frame};

const HEAD: &str = "# origin: written | test\n\n";

fn parse(lines: &str) -> Result<Conversation, String> {
    Conversation::parse(&format!("{HEAD}{lines}"))
}

fn error(lines: &str) -> String {
    parse(lines).expect_err("a mistake goes unnoticed")
}

#[test]
fn a_head_tells_settings_needs_and_headers() {
    let text = "# origin: recorded | server | client | websocket\n# source: a/b.jsonl\n# A comment: with a colon.\n\
        # needs: ack timesync\n# settings: max_interval=3s timeout=1500ms\n# services: echo tick\n# cookies: none\n\
        # headers: POST | Content-Type: a/b | X-Test: yes\n";
    let head = Conversation::parse(text).expect("the head is well-formed").head;
    assert!(head.is_recorded());
    assert_eq!(head.needs, ["ack", "timesync"]);
    assert_eq!((head.millis("timeout"), head.millis("max_interval")), (Some(1500), Some(3000)));
    assert!(head.services.contains("tick") && head.without_cookies && !head.compares_frames);
    assert_eq!(head.headers["POST"][1], ("X-Test".to_owned(), "yes".to_owned()));
}

#[test]
fn every_kind_of_line_survives_being_written_and_read() {
    let text = "# origin: recorded | s | c | t\n# headers: POST | A: b\n\n\
        @0      > A.1 POST /cometd/handshake [{\"id\":1.50,\"text\":\"\\u00e9\"}]\n        | Content-Type: x/y\n        | Cookie:\n\
        @1      < A.1 [{\"clientId\":$session1,\"advice\":{\"timeout\":…},…}]\n        |\n\
        @1      > B.1 OPTIONS /cometd\n@2      < B.1 200\n@2      > A.2 POST /cometd {\"a\":[],\"b\":{}}\n@3      < A.2 500\n\
        @3      > A.3 POST /cometd text \"message=\\\"\"\n@3      < A.3 [null,true,-0.5e3]\n\
        @4      > C.1 GET /cometd?message=$body&jsonp=cb [{}]\n@4      < C.1 cb([{…}])\n\
        @5      > D.1 UPGRADE /cometd\n@5      < D.1 101\n@5      > D [{\"clientId\":$session1}]\n@6      < D [{}]\n\
        @6      > D text \"x\"\n@6      > D close 1000 Good bye\n@6      < D close\n@6      < D cut\n@7      ! publish /a {\"n\":1}\n\
        @7      ! disconnect $session1\n@7      ! restart\n@7      ! cut D\n";
    let conversation = Conversation::parse(text).expect("the text is well-formed");
    assert_eq!(conversation.to_string(), text);
}

#[test]
fn labels_without_a_number_mean_the_next_request_and_the_latest_answer() {
    let text = "@0 > A [{\"channel\":\"/meta/handshake\"}]\n@0 < A [{}]\n@1 > A [{}]\n@2 < A [{}]\n";
    let conversation = parse(text).expect("the text is well-formed");
    let Event::Request(exchange, request) = &conversation.lines[2].event else { panic!("a request was written") };
    assert_eq!((exchange.to_string().as_str(), request.path.as_str()), ("A.2", "/cometd"));
    let Event::Answer(exchange, answer) = &conversation.lines[3].event else { panic!("an answer was written") };
    assert_eq!((exchange.number, answer.status), (2, 200));
    assert_eq!(conversation.lines[3].number, 6);
}

#[test]
fn frames_and_answers_are_told_apart_by_the_upgrade() {
    let text = "@0 > A [{}]\n@0 < A [{}]\n@0 > A UPGRADE /cometd\n@0 < A.2 101\n@0 > A [{}]\n@0 < A [{}]\n@0 ! cut A\n";
    let events: Vec<_> =
        parse(text).expect("the text is well-formed").lines.into_iter().map(|line| line.event).collect();
    assert!(matches!(&events[0], Event::Request(..)) && matches!(&events[1], Event::Answer(..)));
    assert!(matches!(&events[4], Event::Sent(_, Frame::Batch(_))) && matches!(&events[5], Event::Received(..)));
    assert_eq!(events[6], Event::Directive(Directive::Cut("A".to_owned())));
    let refused = parse("@0 > A UPGRADE /x\n@0 < A.1 400\n@0 > A POST / text \"\"\n").expect("the text is well-formed");
    assert!(matches!(&refused.lines[2].event, Event::Request(_, request) if request.body == Body::Text(String::new())));
}

#[test]
fn mistakes_are_told_with_their_line() {
    assert!(error("@0 > A [{]\n").starts_with("line 3: column"));
    assert!(error("@5 > A [{}]\n@4 < A [{}]\n").contains("line 4: the times go backwards"));
    assert!(error("@0 < A [{}]\n").contains("no request A stands above"));
    assert!(error("@0 > A [{}]\n@0 < A [{}]\n@0 < A [{}]\n").contains("A.1 is answered above already"));
    assert!(error("@0 > A.2 [{}]\n@0 > A.2 [{}]\n").contains("A.2 stands above already"));
    assert!(error("@0 > A [{\"a\":…}]\n").contains("`…` cannot be sent"));
    assert!(error("@x > A [{}]\n").contains("`x` is not a number of milliseconds"));
    assert!(error("@0 ? A\n").contains("`>`, `<` or `!` expected"));
    assert!(error("@0 ! explode\n").contains("unknown directive"));
    assert!(error("@0 ! disconnect alice\n").contains("the name of a session"));
    assert!(error("| A: b\n").contains("follow a request or an answer"));
    assert!(error("@0 > A- [{}]\n").contains("not the name of a connection"));
    assert!(error("@0 > A.0 [{}]\n").contains("the number of a request"));
    assert!(error("hello\n").contains("a line starts with"));
    let head = |line: &str| Conversation::parse(line).expect_err("a mistake goes unnoticed");
    assert!(head("# origin: x\n# setings: a=b\n").contains("line 2: unknown entry `setings"));
    assert!(head("# origin: x\n# settings: timeout=5\n").contains("not a length of time"));
    assert!(head("@0 ! restart\n").contains("`# origin:` is missing"));
}

#[test]
fn patterns_keep_their_tokens_and_refuse_what_is_not_json() {
    for text in [r#"{"b":1e5,"a":[1.0,"é€😀"],"c":{"d":null}}"#, "$x", "…", "[]", "{}", "{…}", r#"[{"a":$x,…},…]"#]
    {
        let pattern = Pattern::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(pattern.to_string(), text);
    }
    for text in ["", "[1,]", "{\"a\":1,}", "{a:1}", "[01]", "\"\\x\"", "\"a", "$", "{…,\"a\":1}", "nul", "1 2", "[1"]
    {
        assert!(Pattern::parse(text).is_err(), "{text} is taken");
    }
}

#[test]
fn names_are_replaced_when_a_pattern_is_sent() {
    let pattern = Pattern::parse(r#"[{"clientId":$alice,"ext":{"ack":$ack1}}]"#).expect("the pattern is well-formed");
    let mut bindings = Bindings::new();
    assert_eq!(pattern.resolve(&bindings), Err("$alice".to_owned()));
    bindings.insert("alice".to_owned(), "a\"b".into());
    bindings.insert("ack1".to_owned(), 7.into());
    assert_eq!(pattern.resolve(&bindings).as_deref(), Ok(r#"[{"clientId":"a\"b","ext":{"ack":7}}]"#));
}
