//! What order and times of a conversation tell: which connects were held to their end, which requests were given up, who
//! closed first.

use std::collections::{BTreeMap, BTreeSet};

use super::pattern::Pattern;
use super::subject::Tolerance;
use super::transcript::{Body, Conversation, Directive, Event, Exchange, Frame, Line, Millis};

/// A held connect of the recording, and its end by time.
pub struct Hold {
    /// Line of the connect, as index.
    pub asked: usize,
    /// Line of its reply, as index.
    pub answered: usize,
    /// For how long it is held.
    pub length: Millis,
    /// When the connect was delivered in this replay.
    pub since: Option<Millis>,
}

/// Whether a message of the server, as far as it is written down, answers a message of the client.
pub fn answers(asked: &Pattern, answer: &Pattern) -> bool {
    ["channel", "id"].iter().all(|key| asked.member(key) == answer.member(key))
}

/// Returns the JSON of a body, if it is any.
pub fn body_pattern(body: &Body) -> Option<&Pattern> {
    match body {
        Body::Json(pattern) | Body::Callback(_, pattern) => Some(pattern),
        Body::Empty | Body::Text(_) => None,
    }
}

/// Returns the JSON of a body, if it is any, for changing it.
pub fn body_pattern_mut(body: &mut Body) -> Option<&mut Pattern> {
    match body {
        Body::Json(pattern) | Body::Callback(_, pattern) => Some(pattern),
        Body::Empty | Body::Text(_) => None,
    }
}

/// Finds the connects that the recorded server held for their full time.
pub fn holds(conversation: &Conversation) -> Vec<Hold> {
    let slack = Tolerance::default().late;
    let standard = conversation.head.millis("timeout").unwrap_or(0);
    let mut holds = Vec::new();
    for (asked, line) in conversation.lines.iter().enumerate() {
        let (label, batch) = match &line.event {
            Event::Request(exchange, request) => (Ok(exchange), body_pattern(&request.body)),
            Event::Sent(connection, Frame::Batch(batch)) => (Err(connection), Some(batch)),
            _ => continue,
        };
        let is_connect =
            |message: &&Pattern| message.member("channel").is_some_and(|name| name.is_text("/meta/connect"));
        let Some(connect) = batch.and_then(|batch| batch.messages().iter().find(is_connect)) else { continue };
        let asked_for = connect.member("advice").and_then(|advice| advice.member("timeout")).and_then(Pattern::as_u64);
        let length = asked_for.unwrap_or(standard);
        let answered = conversation.lines[asked..].iter().position(|later| match (&later.event, label) {
            (Event::Answer(exchange, _), Ok(label)) => exchange == label,
            (Event::Received(connection, Frame::Batch(batch)), Err(label)) => {
                connection == label && batch.messages().iter().any(|message| answers(connect, message))
            }
            _ => false,
        });
        let Some(answered) = answered.map(|offset| asked + offset) else { continue };
        let took = conversation.lines[answered].at - line.at;
        if length > 0 && (length..=length + slack).contains(&took) {
            holds.push(Hold { asked, answered, length, since: None });
        }
    }
    holds
}

/// Finds the requests that nobody answered before the client ended their connection, shortly after.
pub fn abandoned(conversation: &Conversation) -> BTreeSet<&Exchange> {
    let slack = Tolerance::default().late;
    let mut open: BTreeMap<&Exchange, Millis> = BTreeMap::new();
    let mut abandoned = BTreeSet::new();
    for line in &conversation.lines {
        match &line.event {
            Event::Request(exchange, _) => _ = open.insert(exchange, line.at),
            Event::Answer(exchange, _) => _ = open.remove(exchange),
            Event::Directive(Directive::Cut(connection)) => {
                let soon = |(exchange, at): &(&&Exchange, &Millis)| {
                    exchange.connection == *connection && line.at <= **at + slack
                };
                abandoned.extend(open.iter().filter(soon).map(|(exchange, _)| *exchange));
            }
            _ => {}
        }
    }
    abandoned
}

/// Whether the server itself closed a WebSocket here, and did not only answer the client's close.
pub fn is_close_of_the_server(conversation: &Conversation, line: &Line) -> bool {
    let Event::Received(connection, Frame::Close(..)) = &line.event else { return false };
    let before = conversation.lines.iter().take_while(|earlier| !std::ptr::eq(*earlier, line));
    let by_client =
        |earlier: &Line| matches!(&earlier.event, Event::Sent(other, Frame::Close(..)) if other == connection);
    !before.into_iter().any(by_client)
}
