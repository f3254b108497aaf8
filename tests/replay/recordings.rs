//! The recordings, played back to themselves: unchanged they pass, with any mistake in the answers they fail.

use super::playback::Playback;
use super::support::deviation::DEVIATIONS;
use super::support::fixtures::{Suite, conversations};
use super::support::pattern::{Fields, Pattern};
use super::support::replay::replay;
use super::support::subject::Scope;
use super::support::transcript::{Body, Conversation, Event, Frame, Line};

/// Everything that a recorded server offered.
const ALL: [&str; 6] = ["ack", "timesync", "binary", "callback-polling", "empty-batch", "control"];

fn recordings() -> Suite {
    Suite::load(&conversations()).recorded()
}

#[test]
fn there_are_76_recordings_of_cometd_and_53_of_them_need_nothing_special() {
    if std::env::var_os("REPLAY").is_some() {
        return;
    }
    let suite = recordings();
    let of_cometd = |file: &&(String, Conversation)| file.1.head.origin[1] == "CometD 5.0.17 server";
    let files: Vec<_> = suite.conversations().iter().filter(of_cometd).collect();
    let plain = files.iter().filter(|(_, conversation)| conversation.head.needs.is_empty()).count();
    assert_eq!((files.len(), plain), (76, 53));
}

#[test]
fn the_recorded_server_needs_no_deviation() {
    for scope in [Scope::Wire, Scope::Messages] {
        let report = recordings().offering(&ALL).replay(|conversation| Playback::of(conversation, scope));
        report.check();
        assert!(report.deviations.is_empty(), "{:?}", report.deviations);
    }
}

#[test]
fn a_server_that_takes_no_time_is_as_good() {
    let quick = |conversation: &Conversation| Playback::of(conversation, Scope::Messages).hasty(140);
    recordings().offering(&ALL).replay(quick).check();
}

#[test]
fn every_file_is_written_as_it_is_read() {
    for (name, conversation) in recordings().conversations() {
        let text = std::fs::read_to_string(conversations().join(name)).expect("the file was read before");
        assert_eq!(conversation.to_string(), text, "{name}");
    }
}

#[test]
fn every_deviation_has_a_reason() {
    let text = include_str!("../../fixtures/deviations.txt");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let listed: Vec<&str> = lines.map(|line| line.split_once(": ").expect("a name and a reason").0).collect();
    let known: Vec<&str> = DEVIATIONS.iter().map(|deviation| deviation.name).collect();
    assert_eq!(listed, known);
}

#[test]
fn any_mistake_in_an_answer_is_noticed() {
    for (name, conversation) in recordings().offering(&ALL).conversations() {
        for (what, mistake) in MISTAKES {
            for index in spread(conversation) {
                let mut wrong = conversation.clone();
                if !mistake(&mut wrong.lines, index) {
                    continue;
                }
                let outcome = replay(conversation, &mut Playback::of(&wrong, Scope::Wire));
                let number = conversation.lines[index].number;
                assert!(outcome.is_err(), "{name}:{number}: {what} goes unnoticed");
            }
        }
    }
}

/// Returns some lines of the server: the first, the last, and some between.
fn spread(conversation: &Conversation) -> Vec<usize> {
    let lines = conversation.lines.iter().enumerate();
    let ours: Vec<usize> = lines.filter(|(_, line)| batch_of(&line.event).is_some()).map(|(index, _)| index).collect();
    let step = (ours.len() / 3).max(1);
    ours.iter().copied().step_by(step).chain(ours.last().copied()).collect()
}

type Mistake = fn(&mut Vec<Line>, usize) -> bool;

/// Makes a mistake at a line of the server; `false` where it would be none.
const MISTAKES: [(&str, Mistake); 9] = [
    ("a line that is missing", |lines, index| {
        lines.remove(index);
        true
    }),
    ("a line that comes twice", |lines, index| {
        let again = lines[index].clone();
        let is_frame = matches!(again.event, Event::Received(..));
        lines.insert(index, again);
        is_frame
    }),
    ("a failure instead of a success", |lines, index| {
        change(lines, index, |message| message.member_mut("successful").map(|value| *value = Pattern::Bool(false)))
    }),
    ("another channel", |lines, index| {
        change(lines, index, |message| message.member_mut("channel").map(|value| *value = text("/other")))
    }),
    ("another id", |lines, index| {
        change(lines, index, |message| message.member_mut("id").map(|value| *value = text("other")))
    }),
    ("a member too many", |lines, index| {
        change(lines, index, |message| match message {
            Pattern::Object(Fields { members, .. }) => {
                members.push(("\"more\"".to_owned(), Pattern::Null));
                Some(())
            }
            _ => None,
        })
    }),
    ("a message too many", |lines, index| {
        let Some(Pattern::Array(messages)) = batch_of_mut(&mut lines[index].event) else { return false };
        let more = messages.last().cloned();
        messages.extend(more);
        true
    }),
    ("messages in another order", |lines, index| {
        let Some(Pattern::Array(messages)) = batch_of_mut(&mut lines[index].event) else { return false };
        let before = messages.clone();
        messages.reverse();
        *messages != before
    }),
    ("a delay of a second", |lines, index| {
        let mut late = lines.remove(index);
        late.at += 1000;
        let place = lines.iter().position(|line| line.at > late.at).unwrap_or(lines.len());
        lines.insert(place, late);
        true
    }),
];

fn change(lines: &mut [Line], index: usize, edit: impl Fn(&mut Pattern) -> Option<()>) -> bool {
    let Some(Pattern::Array(messages)) = batch_of_mut(&mut lines[index].event) else { return false };
    let before = messages.clone();
    messages.last_mut().and_then(edit);
    *messages != before
}

fn text(content: &str) -> Pattern {
    Pattern::Text(format!("\"{content}\""))
}

fn batch_of(event: &Event) -> Option<&Pattern> {
    match event {
        Event::Received(_, Frame::Batch(batch)) => Some(batch),
        Event::Answer(_, answer) => match &answer.body {
            Body::Json(batch) | Body::Callback(_, batch) => Some(batch),
            Body::Empty | Body::Text(_) => None,
        },
        _ => None,
    }
}

fn batch_of_mut(event: &mut Event) -> Option<&mut Pattern> {
    match event {
        Event::Received(_, Frame::Batch(batch)) => Some(batch),
        Event::Answer(_, answer) => match &mut answer.body {
            Body::Json(batch) | Body::Callback(_, batch) => Some(batch),
            Body::Empty | Body::Text(_) => None,
        },
        _ => None,
    }
}
