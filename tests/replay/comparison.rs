//! How values, order and time are compared.

use std::collections::BTreeSet;

use serde_json::Value;

use super::playback::Playback;
use super::support::fixtures::Report;
use super::support::pattern::{Bindings, Pattern};
use super::support::replay::{Failure, replay};
use super::support::subject::Scope;
use super::support::transcript::Conversation;

fn compare(expected: &str, got: &str, bindings: &mut Bindings) -> Result<(), String> {
    let pattern = Pattern::parse(expected).expect("the pattern is well-formed");
    let value: Value = serde_json::from_str(got).expect("the value is JSON");
    pattern.compare(&value, bindings).map_err(|difference| difference.to_string())
}

#[test]
fn values_are_compared_by_structure() {
    let same = |expected, got| compare(expected, got, &mut Bindings::new()).expect("they are the same");
    same(r#"{"a":1,"b":[true,null]}"#, r#" { "b" : [ true , null ], "a" : 1.0 } "#);
    same(r#""h\u00e9""#, r#""hé""#);
    same(r#"{"a":1,…}"#, r#"{"a":1,"b":2}"#);
    same(r#"[…,{"a":…}]"#, r#"[{"x":[]},{"a":null}]"#);
    let differ = |expected, got| compare(expected, got, &mut Bindings::new()).expect_err("they differ");
    assert_eq!(differ(r#"[{"a":{"b":1}}]"#, r#"[{"a":{"b":2}}]"#), "[0].a.b: expected 1, got 2");
    assert_eq!(differ(r#"{"a":1}"#, r#"{"a":1,"b":2}"#), ".b: expected nothing, got 2");
    assert_eq!(differ(r#"{"a":1,"b":"x"}"#, r#"{"a":1}"#), ".b: expected \"x\", got nothing");
    assert_eq!(differ("[1,2]", "[1]"), "the value: expected 2 elements, got 1 element");
    assert_eq!(differ("\"1\"", "1"), "the value: expected \"1\", got 1");
    assert_eq!(differ("[]", "{}"), "the value: expected [], got {}");
}

#[test]
fn names_are_bound_on_first_sight_and_differ_from_one_another() {
    let mut bindings = Bindings::new();
    compare(r#"{"clientId":$a}"#, r#"{"clientId":"x"}"#, &mut bindings).expect("the name is free");
    compare("$a", "\"x\"", &mut bindings).expect("it is the same value");
    let other = compare("$a", "\"y\"", &mut bindings).expect_err("it is another value");
    assert_eq!(other, "the value: expected $a = \"x\", got \"y\"");
    compare("$b", "\"x\"", &mut bindings).expect_err("two names mean the same");
    compare("$n", "7", &mut bindings).expect("numbers may be named");
    compare("$m", "7", &mut bindings).expect("numbers may coincide");
    compare("$c", "null", &mut bindings).expect_err("null is no id");
    compare(r#"[$d,1]"#, r#"["z",2]"#, &mut bindings).expect_err("the rest differs");
    assert!(!bindings.contains_key("d"), "a failed comparison binds nothing");
}

/// Replays `expected` against a server that behaves as in `actual`; both without their heads.
fn played(expected: &str, actual: &str) -> Result<BTreeSet<&'static str>, Failure> {
    let parse = |lines: &str| {
        let head = "# origin: written | test\n# settings: timeout=5s\n# cookies: none\n\n";
        Conversation::parse(&format!("{head}{lines}")).expect("the conversation is well-formed")
    };
    replay(&parse(expected), &mut Playback::of(&parse(actual), Scope::Wire))
}

fn failure(expected: &str, actual: &str) -> String {
    played(expected, actual).expect_err("the difference goes unnoticed").to_string()
}

const ASKED: &str = "@0 > A.1 POST /cometd [{\"id\":\"1\",\"channel\":\"/meta/connect\"}]\n";

#[test]
fn a_failure_names_line_expected_and_got() {
    let expected = format!("{ASKED}@5 < A.1 [{{\"id\":\"1\",\"advice\":{{\"timeout\":5}}}}]\n");
    let actual = format!("{ASKED}@7 < A.1 [{{\"id\":\"1\",\"advice\":{{\"timeout\":6}}}}]\n");
    let text = "6: [0].advice.timeout: expected 5, got 6\n  \
        expected @5      < A.1 [{\"id\":\"1\",\"advice\":{\"timeout\":5}}]\n  \
        got      @7 < A.1 200 [{\"id\":\"1\",\"advice\":{\"timeout\":6}}]";
    assert_eq!(failure(&expected, &actual), text);
}

#[test]
fn an_answer_may_come_a_little_earlier_or_later_than_recorded_but_not_much() {
    let at = |time: u32| format!("{ASKED}@{time} < A.1 [{{}}]\n@9000 ! restart\n");
    assert!(played(&at(5003), &at(5000)).is_ok() && played(&at(5003), &at(5100)).is_ok());
    assert!(failure(&at(5003), &at(4700)).contains("written too early"));
    assert!(failure(&at(5003), &at(5200)).contains("written too late"));
    assert!(failure(&at(5003), &format!("{ASKED}@9000 ! restart\n")).contains("nothing was written until"));
}

#[test]
fn whatever_no_line_expects_is_a_failure() {
    let silent = format!("{ASKED}@900 ! cut A\n");
    let answered = format!("{ASKED}@300 < A.1 [{{}}]\n@900 ! cut A\n");
    assert!(failure(&silent, &answered).contains("no line expects this\n  got      @300 < A.1 200 [{}]"));
    let open = "@0 > A.1 UPGRADE /cometd\n@0 < A.1 101\n";
    assert!(failure(open, &format!("{open}@1 < A [{{\"a\":1}}]\n")).contains("no line expects this"));
    assert!(failure(open, &format!("{open}@1 < A close 1001 x\n")).contains("no line expects this"));
    assert!(failure(open, &format!("{open}@1 < A cut\n")).contains("no line expects this"));
}

#[test]
fn a_request_that_was_given_up_at_once_may_be_answered() {
    let silent = format!("{ASKED}@20 ! cut A\n");
    let answered = format!("{ASKED}@10 < A.1 [{{}}]\n@20 ! cut A\n");
    assert!(played(&silent, &answered).is_ok());
}

#[test]
fn messages_on_a_websocket_keep_their_order_but_not_their_frames() {
    let open = "@0 > A.1 UPGRADE /cometd\n@0 < A.1 101\n@0 > A [{\"channel\":\"/a\"}]\n";
    let two = format!("{open}@1 < A [{{\"n\":1}}]\n@1 < A [{{\"n\":2}}]\n");
    let one = format!("{open}@1 < A [{{\"n\":1}},{{\"n\":2}}]\n");
    let swapped = format!("{open}@1 < A [{{\"n\":2}},{{\"n\":1}}]\n");
    assert!(played(&two, &one).is_ok() && played(&one, &two).is_ok());
    assert!(failure(&two, &swapped).contains("8: .n: expected 1, got 2"));
    let parse =
        |lines: &str| Conversation::parse(&format!("# origin: x\n# frames: compared\n{lines}")).expect("well-formed");
    let outcome = replay(&parse(&two), &mut Playback::of(&parse(&one), Scope::Wire));
    assert!(outcome.is_err(), "frames are compared where the file asks for it");
}

#[test]
fn answers_on_different_connections_may_come_in_any_order() {
    let asked = format!("{ASKED}@0 > B.1 POST /cometd [{{}}]\n");
    let one = format!("{asked}@1 < A.1 [{{\"a\":1}}]\n@2 < B.1 [{{\"b\":1}}]\n");
    let other = format!("{asked}@1 < B.1 [{{\"b\":1}}]\n@1 < A.1 [{{\"a\":1}}]\n");
    assert!(played(&one, &other).is_ok());
}

#[test]
fn a_line_waits_for_the_answer_that_it_builds_on() {
    let late = |time: u32| {
        format!(
            "{ASKED}@{time} < A.1 [{{\"clientId\":$a}}]\n@{time} > B.1 POST /cometd [{{\"clientId\":$a}}]\n@{time} < B.1 [{{}}]\n"
        )
    };
    assert!(played(&late(10), &late(100)).is_ok());
    assert!(failure(&late(10), &late(400)).contains("cannot be sent without $a"));
    let next =
        |time: u32| format!("{ASKED}@{time} < A.1 [{{}}]\n@{time} > A.2 POST /cometd [{{}}]\n@{time} < A.2 [{{}}]\n");
    assert!(played(&next(10), &next(100)).is_ok());
    assert!(failure(&next(10), &next(400)).contains("cannot be sent without the answer to A.1"));
}

#[test]
fn a_client_line_keeps_its_side_of_the_end_of_a_hold() {
    let shown = |after: &str| format!("{ASKED}@5001 ! publish /a 1\n@5004 < A.1 [{{\"id\":\"1\"}}]\n{after}");
    // The clock of this server ends the hold at 5000, one millisecond before the publication that it waits for.
    let mut subject = Prompt::default();
    let conversation = format!("# origin: x\n# settings: timeout=5s\n{}", shown("@5010 ! restart\n"));
    replay(&Conversation::parse(&conversation).expect("well-formed"), &mut subject).expect("the order is kept");
    assert_eq!(subject.seen, ["@0 request", "@4999 publish", "@5000 answer", "@5010 restart"]);
}

#[test]
fn a_report_names_every_file_that_fails_and_refuses_to_be_empty() {
    let mut report = Report::default();
    assert!(std::panic::catch_unwind(|| Report::default().check()).is_err(), "nothing was replayed");
    report.add("good.txt".to_owned(), Ok(BTreeSet::new()));
    report.check();
    report.add("one.txt".to_owned(), Err(Failure::about(Some(3), "broken")));
    report.add("two.txt".to_owned(), Err(Failure::about(None, "broken")));
    let panic = std::panic::catch_unwind(|| report.check()).expect_err("two files fail");
    let text = panic.downcast_ref::<String>().expect("a text");
    assert!(
        text.contains("2 of 3 files fail") && text.contains("one.txt:3: broken") && text.contains("two.txt: broken")
    );
}

use prompt::Prompt;

/// A server that holds one connect for exactly five seconds.
mod prompt {
    use crate::support::subject::{Output, Scope, Sent, Subject, Written};
    use crate::support::transcript::{Exchange, Millis};

    #[derive(Default)]
    pub(super) struct Prompt {
        pub(super) seen: Vec<String>,
        due: Option<Millis>,
        now: Millis,
    }

    impl Prompt {
        fn see(&mut self, now: Millis, what: &str) {
            self.now = now;
            self.seen.push(format!("@{now} {what}"));
        }
    }

    impl Subject for Prompt {
        fn scope(&self) -> Scope {
            Scope::Messages
        }

        fn request(&mut self, now: Millis, _: &Exchange, _: &Sent<'_>) {
            self.see(now, "request");
            self.due = Some(now + 5000);
        }

        fn frame(&mut self, _: Millis, _: &str, _: &str) {}

        fn close(&mut self, _: Millis, _: &str, _: Option<u16>, _: &str) {}

        fn cut(&mut self, _: Millis, _: &str) {}

        fn publish(&mut self, now: Millis, _: &str, _: &str) {
            self.see(now, "publish");
        }

        fn disconnect(&mut self, _: Millis, _: &str) {}

        fn restart(&mut self, now: Millis) {
            self.see(now, "restart");
        }

        fn advance(&mut self, now: Millis, until: Millis) -> Millis {
            self.now = self.due.unwrap_or(until).clamp(now, until);
            self.now
        }

        fn collect(&mut self) -> Vec<Output> {
            if self.due.is_none_or(|due| due > self.now) {
                return Vec::new();
            }
            self.due = None;
            self.see(self.now, "answer");
            let body = "[{\"id\":\"1\"}]".to_owned();
            let written = Written::Answer { number: 1, status: 200, headers: Vec::new(), body };
            vec![Output { at: self.now, connection: "A".to_owned(), written }]
        }
    }
}
