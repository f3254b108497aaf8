//! [`together`]: what one request publishes to a client that acknowledges, in one batch.
//!
//! The recorded server writes the first publication and the connect reply as soon as it is published, in frames of their
//! own, and the others with the reply to the client's next connect; the reply to the request itself comes anywhere
//! between. Ours handles the whole request first and then writes one frame, so that the next connect is held.

use super::pattern::Pattern;
use super::transcript::{Conversation, Event, Frame, Line, Millis};

/// How soon the recorded server answers a connect for which it has something.
const AT_ONCE: Millis = 20;

/// Returns the conversation as our server has it, if it is another; only WebSockets of clients that acknowledge are
/// looked at.
pub fn together(conversation: &Conversation) -> Option<Conversation> {
    if !conversation.head.needs.iter().any(|need| need == "ack") {
        return None;
    }
    let mut ours = conversation.clone();
    let mut start = 0;
    while start < ours.lines.len() {
        if let Some(end) = batch_at(&ours.lines, start) {
            let mut reply = replies_first(&mut ours.lines, start, end);
            while let Some(more) = merge_next(&mut ours.lines, reply) {
                reply += more;
            }
        }
        start += 1;
    }
    (ours != *conversation).then_some(ours)
}

/// Returns the place of the connect reply behind the publications that begin at `start`, if it is the begin of a batch.
fn batch_at(lines: &[Line], start: usize) -> Option<usize> {
    let connection = publication(&lines[start])?;
    let continues = start > 0 && publication(&lines[start - 1]) == Some(connection);
    let rest = lines[start..].iter().take_while(|line| publication(line) == Some(connection)).count();
    let reply = lines.get(start + rest)?;
    (!continues && numbered(reply)?.0 == connection).then_some(start + rest)
}

/// Moves the replies that directly follow a batch in front of it; returns the new place of its connect reply.
fn replies_first(lines: &mut [Line], start: usize, end: usize) -> usize {
    let connection = numbered(&lines[end]).map(|(connection, _, _)| connection.to_owned());
    let follows = |line: &&Line| {
        matches!(&line.event, Event::Received(at, Frame::Batch(batch))
            if Some(at) == connection.as_ref() && batch.messages().iter().all(is_other_reply))
    };
    let count = lines[end + 1..].iter().take_while(follows).count();
    let moved = &mut lines[start..=end + count];
    let places: Vec<(usize, Millis)> = moved.iter().map(|line| (line.number, line.at)).collect();
    moved.rotate_right(count);
    for (line, (number, at)) in moved.iter_mut().zip(places) {
        (line.number, line.at) = (number, at);
    }
    end + count
}

/// Puts the publications of the next batch in front of the connect reply at `reply`, if that batch is what remained, and
/// returns how many; the connect that fetched them is not sent.
fn merge_next(lines: &mut Vec<Line>, reply: usize) -> Option<usize> {
    let (connection, _, number) = numbered(&lines[reply])?;
    let (connection, number) = (connection.to_owned(), number.to_owned());
    let asked = reply + 1 + lines[reply + 1..].iter().position(|line| !is_received(line))?;
    let id = connect(&lines[asked], &connection, &number)?;
    let first = asked + 1;
    let count = lines[first..].iter().take_while(|line| publication(line) == Some(&*connection)).count();
    let (at, next_id, next) = lines.get(first + count).and_then(numbered)?;
    let is_at_once = lines[first + count].at <= lines[asked].at + AT_ONCE;
    if count == 0 || at != connection || *next_id != id || !is_at_once {
        return None;
    }
    let next = next.to_owned();
    let (line, moment) = (lines[reply].number, lines[reply].at);
    let mut rest: Vec<Line> = lines.drain(asked..=first + count).collect();
    rest.truncate(1 + count);
    for mut publication in rest.drain(1..).rev() {
        (publication.number, publication.at) = (line, moment);
        lines.insert(reply, publication);
    }
    lines.iter_mut().filter_map(batch_mut).for_each(|batch| rename(batch, &next, &number));
    Some(count)
}

fn is_received(line: &Line) -> bool {
    matches!(line.event, Event::Received(..))
}

/// Returns the connection if the line is a frame of publications.
fn publication(line: &Line) -> Option<&str> {
    let Event::Received(connection, Frame::Batch(batch)) = &line.event else { return None };
    let plain = |message: &Pattern| message.member("successful").is_none() && message.member("data").is_some();
    batch.messages().iter().all(plain).then_some(connection)
}

/// Whether the message is a reply, and not to a connect.
fn is_other_reply(message: &Pattern) -> bool {
    let is_connect = message.member("channel").is_some_and(|channel| channel.is_text("/meta/connect"));
    message.member("successful").is_some() && !is_connect
}

/// Returns connection, `id` and number if the line is a numbered connect reply.
fn numbered(line: &Line) -> Option<(&str, &Pattern, &str)> {
    let Event::Received(connection, Frame::Batch(batch)) = &line.event else { return None };
    let [reply] = batch.messages() else { return None };
    reply.member("successful")?;
    Some((connection, reply.member("id")?, number_of(reply)?))
}

/// Returns the `id` if the line is a connect on this connection that acknowledges this number.
fn connect(line: &Line, connection: &str, number: &str) -> Option<Pattern> {
    let Event::Sent(at, Frame::Batch(batch)) = &line.event else { return None };
    let [connect] = batch.messages() else { return None };
    (at == connection && number_of(connect)? == number).then(|| connect.member("id").cloned())?
}

fn number_of(message: &Pattern) -> Option<&str> {
    if !message.member("channel")?.is_text("/meta/connect") {
        return None;
    }
    match message.member("ext")?.member("ack")? {
        Pattern::Name(name) => Some(name),
        _ => None,
    }
}

fn batch_mut(line: &mut Line) -> Option<&mut Pattern> {
    match &mut line.event {
        Event::Received(_, Frame::Batch(batch)) | Event::Sent(_, Frame::Batch(batch)) => Some(batch),
        _ => None,
    }
}

/// Gives a value another name, wherever it stands.
fn rename(pattern: &mut Pattern, from: &str, to: &str) {
    match pattern {
        Pattern::Name(name) if name == from => to.clone_into(name),
        Pattern::Array(elements) => elements.iter_mut().for_each(|element| rename(element, from, to)),
        Pattern::Object(fields) => fields.members.iter_mut().for_each(|(_, value)| rename(value, from, to)),
        _ => {}
    }
}
