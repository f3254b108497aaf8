//! [`Playback`]: a subject that answers what a conversation says, as a recording of it would.

use std::collections::VecDeque;

use super::support::pattern::{Bindings, Pattern};
use super::support::replay::resolved_target;
use super::support::subject::{Output, Scope, Sent, Subject, Written};
use super::support::timing::{body_pattern, is_close_of_the_server};
use super::support::transcript::{
    Answer, Body, Conversation, Directive, Event, Exchange, Frame, Headers, Line, Millis,
};
use serde_json::Value;

/// Writes each line of the server at its time, as soon as the lines of the client before it have been delivered.
pub(crate) struct Playback {
    conversation: Conversation,
    scope: Scope,
    /// By how much each line comes before its time, as far as what it answers allows.
    haste: Millis,
    bindings: Bindings,
    /// What remains to be written: index of the line, its time, and how many lines of the client precede it.
    remaining: VecDeque<(usize, Millis, usize)>,
    /// Lines of the client that have been delivered, and when the last one was.
    delivered: usize,
    last: Millis,
    now: Millis,
    complaints: Vec<String>,
}

impl Playback {
    /// Returns one that keeps to the times of a conversation.
    pub(crate) fn of(conversation: &Conversation, scope: Scope) -> Self {
        let mut bindings = Bindings::new();
        let mut bind = |pattern: &Pattern| {
            if let Pattern::Name(name) = pattern {
                let number = name.strip_prefix("ack").and_then(|digits| digits.parse::<u64>().ok());
                let value =
                    number.map_or_else(|| Value::from(format!("id of {name}")), |number| Value::from(number + 7));
                bindings.insert(name.clone(), value);
            }
        };
        for line in &conversation.lines {
            if let Some(pattern) = pattern_of(&line.event) {
                pattern.walk(&mut bind);
            }
        }
        let mut remaining = VecDeque::new();
        let mut needed = 0;
        for (index, line) in conversation.lines.iter().enumerate() {
            if Self::is_sent_by_client(&line.event) {
                needed += 1;
            } else if matches!(line.event, Event::Answer(..) | Event::Received(..)) {
                remaining.push_back((index, line.at, needed));
            }
        }
        let conversation = conversation.clone();
        let (delivered, last, now, complaints) = (0, 0, 0, Vec::new());
        Self { conversation, scope, haste: 0, bindings, remaining, delivered, last, now, complaints }
    }

    /// Lets each line come earlier by this, but not before the line of the client that precedes it.
    pub(crate) fn hasty(mut self, haste: Millis) -> Self {
        self.haste = haste;
        self
    }

    fn is_sent_by_client(event: &Event) -> bool {
        let is_known = !matches!(event, Event::Directive(Directive::Browser(..)));
        is_known && matches!(event, Event::Request(..) | Event::Sent(..) | Event::Directive(_))
    }

    /// Checks that what is delivered is the next line of the client that concerns the scope.
    fn take(&mut self, now: Millis, seen: &str) {
        self.now = now;
        self.last = now;
        loop {
            let mut lines = self.conversation.lines.iter().filter(|line| Self::is_sent_by_client(&line.event));
            let Some(line) = lines.nth(self.delivered) else {
                // The runner cuts all connections at the end.
                if !seen.starts_with("! cut") {
                    self.complaints.push(format!("surplus {seen}"));
                }
                return;
            };
            self.delivered += 1;
            let preflight = matches!(&line.event, Event::Request(_, request) if request.method == "OPTIONS");
            if preflight && self.scope == Scope::Messages {
                continue;
            }
            let text = self.described(&line.event);
            if text != seen {
                self.complaints.push(format!("{seen} instead of {text}"));
            }
            return;
        }
    }

    fn described(&self, event: &Event) -> String {
        match event {
            Event::Request(exchange, request) => {
                let body = match &request.body {
                    Body::Json(pattern) | Body::Callback(_, pattern) => self.resolved(pattern),
                    Body::Text(text) => text.clone(),
                    Body::Empty => String::new(),
                };
                let body = if request.path.contains('$') { String::new() } else { body };
                format!("> {exchange} {} {body}", request.method)
            }
            Event::Sent(connection, Frame::Batch(batch)) => format!("> {connection} {}", self.resolved(batch)),
            Event::Sent(connection, Frame::Text(text)) => format!("> {connection} {text}"),
            Event::Sent(connection, frame) => format!("> {connection} {frame}"),
            Event::Directive(Directive::Disconnect(name)) => {
                format!("! disconnect {}", self.bindings[name].as_str().expect("sessions have text ids"))
            }
            Event::Directive(Directive::Control(target, body)) => {
                let target = resolved_target(target, &self.bindings).expect("all names of the conversation are bound");
                let body = body_pattern(body).map_or(String::new(), |body| self.resolved(body));
                format!("! control {target} {body}")
            }
            Event::Directive(directive) => format!("! {directive}"),
            Event::Answer(..) | Event::Received(..) => String::new(),
        }
    }

    fn resolved(&self, pattern: &Pattern) -> String {
        closed(pattern).resolve(&self.bindings).expect("all names of the conversation are bound")
    }

    /// Returns the time of the next line that may be written now.
    fn next(&self) -> Option<Millis> {
        let (_, at, needed) = *self.remaining.front()?;
        (self.delivered >= needed).then(|| at.saturating_sub(self.haste).max(self.last))
    }

    fn written(&self, line: &Line) -> Option<Output> {
        let (connection, written) = match &line.event {
            Event::Answer(exchange, answer) => (&exchange.connection, self.answer(exchange, answer)),
            Event::Received(connection, frame) => (
                connection,
                match frame {
                    Frame::Batch(batch) => Written::Frame(self.resolved(batch)),
                    Frame::Text(text) => Written::Frame(text.clone()),
                    Frame::Close(code, reason) => Written::Close(*code, reason.clone()),
                    Frame::Cut => Written::Cut,
                },
            ),
            _ => return None,
        };
        let is_for_sockets = match written {
            Written::Answer { status, .. } => status == 101 || self.answers_wire_request(&line.event),
            Written::Close(..) => !is_close_of_the_server(&self.conversation, line),
            Written::Cut => true,
            Written::Frame(_) => false,
        };
        if self.scope == Scope::Messages && is_for_sockets {
            return None;
        }
        Some(Output { at: self.now, connection: connection.clone(), written })
    }

    /// Whether a line answers a request that the engine alone is not asked.
    fn answers_wire_request(&self, answer: &Event) -> bool {
        let Event::Answer(exchange, _) = answer else { return false };
        self.conversation.lines.iter().any(|line| match &line.event {
            Event::Request(other, request) => {
                other == exchange && matches!(request.method.as_str(), "OPTIONS" | "UPGRADE")
            }
            _ => false,
        })
    }

    fn answer(&self, exchange: &Exchange, answer: &Answer) -> Written {
        let body = match &answer.body {
            Body::Empty => String::new(),
            Body::Json(pattern) => self.resolved(pattern),
            Body::Callback(name, pattern) => format!("{name}({})", self.resolved(pattern)),
            Body::Text(text) => text.clone(),
        };
        let headers: Headers = self.conversation.answer_headers(answer).to_vec();
        Written::Answer { number: exchange.number, status: answer.status, headers, body }
    }
}

impl Subject for Playback {
    fn scope(&self) -> Scope {
        self.scope
    }

    fn request(&mut self, now: Millis, exchange: &Exchange, request: &Sent<'_>) {
        self.take(now, &format!("> {exchange} {} {}", request.method, request.body));
    }

    fn frame(&mut self, now: Millis, connection: &str, text: &str) {
        self.take(now, &format!("> {connection} {text}"));
    }

    fn close(&mut self, now: Millis, connection: &str, code: Option<u16>, reason: &str) {
        self.take(now, &format!("> {connection} {}", Frame::Close(code, reason.to_owned())));
    }

    fn cut(&mut self, now: Millis, connection: &str) {
        self.take(now, &format!("! cut {connection}"));
    }

    fn publish(&mut self, now: Millis, channel: &str, data: &str) {
        self.take(now, &format!("! publish {channel} {data}"));
    }

    fn disconnect(&mut self, now: Millis, client_id: &str) {
        self.take(now, &format!("! disconnect {client_id}"));
    }

    fn control(&mut self, now: Millis, target: &str, body: &str) -> Result<(), String> {
        self.take(now, &format!("! control {target} {body}"));
        Ok(())
    }

    fn restart(&mut self, now: Millis) {
        self.take(now, "! restart");
    }

    fn advance(&mut self, now: Millis, until: Millis) -> Millis {
        self.now = self.next().unwrap_or(until).clamp(now, until);
        self.now
    }

    fn collect(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        while self.next().is_some_and(|at| at <= self.now) {
            let Some((index, ..)) = self.remaining.pop_front() else { break };
            outputs.extend(self.written(&self.conversation.lines[index]));
        }
        outputs
    }

    fn leftovers(&mut self) -> Vec<String> {
        std::mem::take(&mut self.complaints)
    }
}

fn pattern_of(event: &Event) -> Option<&Pattern> {
    let body = match event {
        Event::Request(_, request) => &request.body,
        Event::Answer(_, answer) => &answer.body,
        Event::Sent(_, Frame::Batch(batch)) | Event::Received(_, Frame::Batch(batch)) => return Some(batch),
        _ => return None,
    };
    match body {
        Body::Json(pattern) | Body::Callback(_, pattern) => Some(pattern),
        Body::Empty | Body::Text(_) => None,
    }
}

/// Replaces what may be anything by something.
fn closed(pattern: &Pattern) -> Pattern {
    match pattern {
        Pattern::Any => Pattern::Number("0".to_owned()),
        Pattern::Array(elements) => Pattern::Array(elements.iter().map(closed).collect()),
        Pattern::Object(fields) => {
            let mut fields = fields.clone();
            fields.open = false;
            fields.members.iter_mut().for_each(|(_, value)| *value = closed(value));
            Pattern::Object(fields)
        }
        other => other.clone(),
    }
}
