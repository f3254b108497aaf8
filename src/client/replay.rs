//! [`replay`]: plays the client's part of a conversation to a [`Subject`] and compares what it answers.
//!
//! Nothing here knows who answers: the engine in virtual time, a server behind sockets, or the recording itself. How time
//! and order are compared is described in `docs/fixtures.md`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use serde_json::Value;

use super::deviation::{Case, Change, Deviation, deviations_for};
use super::pattern::{Bindings, Difference, Pattern};
use super::subject::{Output, Scope, Sent, Subject, Tolerance, Written};
use super::timing::{Hold, abandoned, answers, body_pattern, holds, is_close_of_the_server};
use super::transcript::{
    Answer, Body, Conversation, Directive, Event, Exchange, Frame, Headers, Line, Millis, Request,
};

/// Why a conversation could not be replayed.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Line of the file.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What was expected, if something was.
    pub expected: Option<String>,
    /// What there was, if there was something.
    pub got: Option<String>,
}

impl Failure {
    /// Returns a failure that is told in one sentence.
    pub fn about(line: Option<usize>, what: impl Into<String>) -> Self {
        Self { line, what: what.into(), expected: None, got: None }
    }

    fn expecting(mut self, expected: &(impl ToString + ?Sized)) -> Self {
        self.expected = Some(expected.to_string());
        self
    }

    fn getting(mut self, output: &Output) -> Self {
        self.got = Some(output.to_string());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(formatter, "{line}:")?;
        }
        write!(formatter, " {}", self.what)?;
        for (label, text) in [("expected", &self.expected), ("got     ", &self.got)] {
            if let Some(text) = text {
                write!(formatter, "\n  {label} {text}")?;
            }
        }
        Ok(())
    }
}

/// Plays a conversation and returns the names of the deviations that it took.
///
/// # Errors
///
/// The first thing that is not as written.
pub fn replay<S: Subject>(conversation: &Conversation, subject: &mut S) -> Result<BTreeSet<&'static str>, Failure> {
    replay_allowing(conversation, subject, deviations_for(conversation))
}

/// Plays a conversation as [`replay`] does, with these deviations and no others.
///
/// # Errors
///
/// The first thing that is not as written.
pub fn replay_allowing<S: Subject>(
    conversation: &Conversation,
    subject: &mut S,
    deviations: &[Deviation],
) -> Result<BTreeSet<&'static str>, Failure> {
    let mut run = Run::new(conversation, subject, deviations);
    for index in 0..conversation.lines.len() {
        run.play(index)?;
    }
    run.finish()?;
    Ok(run.used)
}

/// What is expected next on a WebSocket, or of a connection.
struct Expected<'a> {
    line: &'a Line,
    what: What<'a>,
}

enum What<'a> {
    Message(&'a Pattern),
    Batch(&'a Pattern),
    Text(&'a str),
    Close(Option<u16>),
    Cut,
}

impl fmt::Display for Expected<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Message(message) => write!(formatter, "@{} {message}", self.line.at),
            _ => write!(formatter, "{}", self.line.to_string().trim_end()),
        }
    }
}

struct Run<'a, S> {
    conversation: &'a Conversation,
    subject: &'a mut S,
    tolerance: Tolerance,
    now: Millis,
    bindings: Bindings,
    requests: BTreeMap<&'a Exchange, &'a Request>,
    answers: BTreeMap<&'a Exchange, (&'a Line, &'a Answer)>,
    streams: BTreeMap<&'a str, VecDeque<Expected<'a>>>,
    /// Messages sent on each WebSocket, latest last.
    asked: BTreeMap<&'a str, Vec<&'a Pattern>>,
    holds: Vec<Hold>,
    /// Requests whose answer the client did not wait for.
    abandoned: BTreeSet<&'a Exchange>,
    /// Connections that the server may end: the client said goodbye or asked for it, or a request was refused.
    leaving: BTreeSet<&'a str>,
    /// Whether the conversation says which cookies were given, so that further ones are too many.
    shows_cookies: bool,
    deviations: &'a [Deviation],
    used: BTreeSet<&'static str>,
}

impl<'a, S: Subject> Run<'a, S> {
    fn new(conversation: &'a Conversation, subject: &'a mut S, deviations: &'a [Deviation]) -> Self {
        let tolerance = subject.tolerance();
        let mut run = Self {
            conversation,
            subject,
            tolerance,
            now: 0,
            bindings: Bindings::new(),
            requests: BTreeMap::new(),
            answers: BTreeMap::new(),
            streams: BTreeMap::new(),
            asked: BTreeMap::new(),
            holds: holds(conversation),
            abandoned: abandoned(conversation),
            leaving: BTreeSet::new(),
            shows_cookies: conversation.lines.iter().any(|line| match &line.event {
                Event::Answer(_, answer) => conversation.answer_headers(answer).iter().any(is_cookie),
                _ => false,
            }),
            deviations,
            used: BTreeSet::new(),
        };
        for line in &conversation.lines {
            run.expect_line(line);
        }
        run
    }

    fn expect_line(&mut self, line: &'a Line) {
        let wire = self.subject.scope() == Scope::Wire;
        match &line.event {
            Event::Request(exchange, request) => _ = self.requests.insert(exchange, request),
            Event::Answer(exchange, answer) => {
                let method = self.requests.get(exchange).map_or("", |request| request.method.as_str());
                if wire || !matches!(method, "OPTIONS" | "UPGRADE") {
                    self.answers.insert(exchange, (line, answer));
                }
            }
            Event::Received(connection, frame) => {
                let closes = wire || is_close_of_the_server(self.conversation, line);
                let stream = self.streams.entry(connection).or_default();
                let mut expect = |what| stream.push_back(Expected { line, what });
                match frame {
                    // An empty one has no messages that could be expected.
                    Frame::Batch(batch) if self.conversation.head.compares_frames || batch.messages().is_empty() => {
                        expect(What::Batch(batch));
                    }
                    Frame::Batch(batch) => batch.messages().iter().for_each(|message| expect(What::Message(message))),
                    Frame::Text(text) => expect(What::Text(text)),
                    Frame::Close(code, _) if closes => expect(What::Close(*code)),
                    Frame::Cut if wire => expect(What::Cut),
                    Frame::Close(..) | Frame::Cut => {}
                }
            }
            Event::Sent(..) | Event::Directive(_) => {}
        }
    }

    fn play(&mut self, index: usize) -> Result<(), Failure> {
        let conversation = self.conversation;
        let line = &conversation.lines[index];
        if matches!(line.event, Event::Answer(..) | Event::Received(..)) {
            return Ok(());
        }
        self.pass(self.moment(index))?;
        self.wait_for_what_it_needs(index)?;
        self.deliver(line)?;
        for hold in self.holds.iter_mut().filter(|hold| hold.asked == index) {
            hold.since = Some(self.now);
        }
        self.take_outputs()
    }

    /// Returns when to play a line: at its time, or earlier if a hold would then end before it, other than recorded.
    fn moment(&self, index: usize) -> Millis {
        let before_its_end = |hold: &&Hold| index < hold.answered;
        let due = self.holds.iter().filter(before_its_end).filter_map(|hold| Some(hold.since? + hold.length));
        let moment = self.conversation.lines[index].at.max(self.now);
        due.filter(|due| *due < moment + self.tolerance.ahead)
            .fold(moment, |moment, due| moment.min(due.saturating_sub(self.tolerance.ahead)).max(self.now))
    }

    /// Waits for the answers and names that a line builds on.
    fn wait_for_what_it_needs(&mut self, index: usize) -> Result<(), Failure> {
        let line = &self.conversation.lines[index];
        loop {
            let Some((what, at)) = self.missing_for(index) else { return Ok(()) };
            let limit = at + self.tolerance.late;
            if self.now >= limit {
                return Err(Failure::about(Some(line.number), format!("cannot be sent without {what}")).expecting(line));
            }
            self.now = self.subject.advance(self.now, limit).max(self.now);
            self.take_outputs()?;
        }
    }

    /// Returns what a line still lacks, and when the recording has it.
    fn missing_for(&self, index: usize) -> Option<(String, Millis)> {
        let line = &self.conversation.lines[index];
        let (connection, patterns) = match &line.event {
            Event::Request(exchange, request) => (Some(&exchange.connection), body_pattern(&request.body)),
            Event::Sent(connection, Frame::Batch(batch)) => (Some(connection), Some(batch)),
            Event::Sent(connection, _) | Event::Directive(Directive::Cut(connection)) => (Some(connection), None),
            Event::Directive(Directive::Disconnect(name)) if !self.bindings.contains_key(name) => {
                return Some((format!("${name}"), line.at));
            }
            _ => (None, None),
        };
        // What an operator changes, changes what comes after it, on every connection.
        let is_change = matches!(&line.event, Event::Directive(Directive::Control(..)));
        let unanswered = self.conversation.lines[..index].iter().enumerate().find_map(|(place, earlier)| {
            let is_end_of_hold = is_change || self.holds.iter().any(|hold| hold.answered == place);
            let what = match &earlier.event {
                Event::Answer(exchange, _) if is_end_of_hold || Some(&exchange.connection) == connection => {
                    self.answers.contains_key(exchange).then(|| format!("the answer to {exchange}"))
                }
                // Whoever leaves has read what there was.
                Event::Received(socket, _) if is_end_of_hold || patterns.is_none() && Some(socket) == connection => {
                    let next = self.streams.get(socket.as_str()).and_then(VecDeque::front);
                    next.filter(|next| next.line.number <= earlier.number).map(|next| format!("`{next}`"))
                }
                _ => None,
            };
            what.map(|what| (what, earlier.at))
        });
        unanswered.or_else(|| {
            let name = patterns?.resolve(&self.bindings).err()?;
            Some((name, line.at))
        })
    }

    fn deliver(&mut self, line: &'a Line) -> Result<(), Failure> {
        let now = self.now;
        match &line.event {
            Event::Request(exchange, request) => {
                if self.subject.scope() == Scope::Messages && request.method == "OPTIONS" {
                    return Ok(());
                }
                let sent = self.sendable(line, request)?;
                self.subject.request(now, exchange, &sent);
            }
            Event::Sent(connection, Frame::Batch(batch)) => {
                let text = self.resolved(line, batch)?;
                self.asked.entry(connection).or_default().extend(batch.messages());
                self.subject.frame(now, connection, &text);
            }
            Event::Sent(connection, Frame::Text(text)) => self.subject.frame(now, connection, text),
            Event::Sent(connection, Frame::Close(code, reason)) => {
                self.leaving.insert(connection);
                self.subject.close(now, connection, *code, reason);
            }
            Event::Directive(Directive::Cut(connection)) => {
                self.leaving.insert(connection);
                self.subject.cut(now, connection);
            }
            Event::Directive(Directive::Publish(channel, data)) => {
                let data = self.resolved(line, data)?;
                self.subject.publish(now, channel, &data);
            }
            Event::Directive(Directive::Disconnect(name)) => {
                let id = self.bindings.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
                self.subject.disconnect(now, &id);
            }
            Event::Directive(Directive::Restart) => self.subject.restart(now),
            Event::Directive(Directive::Control(target, body)) => {
                let fail = |what: String| Failure::about(Some(line.number), what).expecting(line);
                let target = resolved_target(target, &self.bindings).map_err(fail)?;
                let body = body_pattern(body).map_or(Ok(String::new()), |body| self.resolved(line, body))?;
                self.subject.control(now, &target, &body).map_err(fail)?;
            }
            Event::Directive(Directive::Browser(..)) => {}
            Event::Sent(_, Frame::Cut) | Event::Answer(..) | Event::Received(..) => {}
        }
        Ok(())
    }

    fn resolved(&self, line: &Line, pattern: &Pattern) -> Result<String, Failure> {
        pattern
            .resolve(&self.bindings)
            .map_err(|name| Failure::about(Some(line.number), format!("cannot be sent without {name}")).expecting(line))
    }

    fn sendable(&self, line: &Line, request: &'a Request) -> Result<Sent<'a>, Failure> {
        let text = match &request.body {
            Body::Empty => String::new(),
            Body::Text(text) => text.clone(),
            Body::Json(pattern) | Body::Callback(_, pattern) => self.resolved(line, pattern)?,
        };
        let headers = self.conversation.request_headers(request);
        let method = request.method.as_str();
        Ok(if request.path.contains("$body") {
            let path = request.path.replace("$body", &percent_encoded(&text));
            Sent { method, path, headers, body: String::new() }
        } else {
            Sent { method, path: request.path.clone(), headers, body: text }
        })
    }

    /// Lets time pass and takes what is written meanwhile.
    fn pass(&mut self, until: Millis) -> Result<(), Failure> {
        loop {
            self.take_outputs()?;
            self.check_overdue()?;
            if self.now >= until {
                return Ok(());
            }
            self.now = self.subject.advance(self.now, until).max(self.now);
        }
    }

    fn check_overdue(&self) -> Result<(), Failure> {
        let answer = self.answers.values().map(|(line, _)| *line).min_by_key(|line| line.at);
        let message = self.streams.values().filter_map(VecDeque::front).min_by_key(|expected| expected.line.at);
        let is_overdue = |line: &Line| line.at + self.tolerance.late < self.now;
        let (line, text) = match (answer, message) {
            (Some(line), _) if is_overdue(line) => (line, line.to_string()),
            (_, Some(expected)) if is_overdue(expected.line) => (expected.line, expected.to_string()),
            _ => return Ok(()),
        };
        let what = format!("nothing was written until @{}", self.now);
        Err(Failure::about(Some(line.number), what).expecting(text.trim_end()))
    }

    fn take_outputs(&mut self) -> Result<(), Failure> {
        for output in self.subject.collect() {
            match &output.written {
                Written::Answer { .. } => self.take_answer(&output)?,
                Written::Frame(text) => self.take_frame(&output, text)?,
                Written::Close(..) | Written::Cut => self.take_end(&output)?,
            }
        }
        Ok(())
    }

    /// `is_prompt` says that nobody waits for anything but the machine: such an answer may come at any time before the
    /// recorded one, which a server that had just started may have taken seconds for.
    fn check_time(&self, line: &Line, expected: &str, output: &Output, is_prompt: bool) -> Result<(), Failure> {
        let what = if output.at + self.tolerance.early < line.at && !is_prompt {
            "written too early"
        } else if output.at > line.at + self.tolerance.late {
            "written too late"
        } else {
            return Ok(());
        };
        Err(Failure::about(Some(line.number), what).expecting(expected).getting(output))
    }

    fn take_answer(&mut self, output: &Output) -> Result<(), Failure> {
        let Written::Answer { number, status, headers, body } = &output.written else { return Ok(()) };
        let exchange = Exchange { connection: output.connection.clone(), number: *number };
        let Some((line, answer)) = self.answers.remove(&exchange) else {
            if self.abandoned.contains(&exchange) {
                return Ok(());
            }
            return Err(Failure::about(None, "no line expects this").getting(output));
        };
        let text = line.to_string();
        let text = text.lines().next().unwrap_or_default();
        let request = self.requests.get_key_value(&exchange).map(|(exchange, request)| (*exchange, *request));
        let asked = request.and_then(|(_, request)| body_pattern(&request.body)).map_or(&[][..], Pattern::messages);
        let is_prompt = asked.iter().all(|message| message.member("channel").is_some_and(is_prompt));
        self.check_time(line, text, output, is_prompt)?;
        let fail = |what: String| Failure::about(Some(line.number), what).expecting(text).getting(output);
        if let Some((exchange, request)) = request {
            let headers = self.conversation.request_headers(request);
            let is_last =
                headers.iter().any(|(name, value)| name.eq_ignore_ascii_case("connection") && value == "close");
            self.leaving.extend((is_last || *status >= 400).then_some(exchange.connection.as_str()));
        }
        let rewritten = self.rewritten_answer(request, answer, *status);
        let answer = rewritten.as_ref().unwrap_or(answer);
        if answer.status != *status {
            return Err(fail(format!("the status is {status}")));
        }
        if self.subject.scope() == Scope::Wire {
            self.compare_headers(answer, headers).map_err(fail)?;
        }
        match &answer.body {
            _ if *status >= 400 => Ok(()),
            Body::Empty if body.is_empty() => Ok(()),
            Body::Text(expected) if expected == body => Ok(()),
            Body::Empty | Body::Text(_) => Err("the body is another".to_owned()),
            Body::Json(expected) => self.compare_batch(request, asked, expected, body),
            Body::Callback(name, expected) => match call_argument(name, body) {
                Some(argument) => self.compare_batch(request, asked, expected, argument),
                None => Err(format!("the body is not a call of {name}")),
            },
        }
        .map_err(fail)
    }

    fn rewritten_answer(
        &mut self,
        request: Option<(&'a Exchange, &'a Request)>,
        answer: &Answer,
        status: u16,
    ) -> Option<Answer> {
        if answer.status == status {
            return None;
        }
        let case = Case { conversation: self.conversation, asked: None, request };
        self.deviations.iter().find_map(|deviation| {
            let Change::Answer(rewrite) = deviation.change else { return None };
            let rewritten = rewrite(&case, answer, status)?;
            self.used.insert(deviation.name);
            Some(rewritten)
        })
    }

    fn compare_headers(&mut self, answer: &Answer, got: &Headers) -> Result<(), String> {
        let expected = self.conversation.answer_headers(answer);
        if self.shows_cookies && got.iter().any(is_cookie) && !expected.iter().any(is_cookie) {
            return Err("a cookie was given".to_owned());
        }
        // Whoever reads it acts on it, so that one that is not written down is one too many.
        let names_protocol = |headers: &[(String, String)]| {
            headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-protocol"))
        };
        if names_protocol(got) && !names_protocol(expected) {
            return Err("a subprotocol was named".to_owned());
        }
        for (name, expected) in self.conversation.answer_headers(answer) {
            let got = got.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str());
            if got.is_some_and(|got| is_like(expected, got)) {
                continue;
            }
            let allowed = self.deviations.iter().find(|deviation| match deviation.change {
                Change::Header(as_good) => as_good(name, expected, got),
                _ => false,
            });
            match allowed {
                Some(deviation) => _ = self.used.insert(deviation.name),
                None => return Err(format!("{name}: expected {expected}, got {}", got.unwrap_or("nothing"))),
            }
        }
        Ok(())
    }

    /// Compares an array of messages, each with what it answers among `asked`.
    fn compare_batch(
        &mut self,
        request: Option<(&'a Exchange, &'a Request)>,
        asked: &[Pattern],
        expected: &Pattern,
        got: &str,
    ) -> Result<(), String> {
        let got: Value = serde_json::from_str(got).map_err(|error| format!("the body is not JSON ({error})"))?;
        let (Pattern::Array(expected), Value::Array(got)) = (expected, &got) else {
            return expected.compare(&got, &mut self.bindings).map_err(|difference| difference.to_string());
        };
        for (index, (expected, got)) in expected.iter().zip(got).enumerate() {
            let asked = asked.iter().rfind(|message| answers(message, expected));
            let case = Case { conversation: self.conversation, asked, request };
            compare_message(&case, self.deviations, expected, got, &mut self.bindings, &mut self.used)
                .map_err(|difference| format!("[{index}]{difference}"))?;
        }
        if expected.len() == got.len() {
            return Ok(());
        }
        Err(format!("expected {} messages, got {}", expected.len(), got.len()))
    }

    fn take_frame(&mut self, output: &Output, text: &str) -> Result<(), Failure> {
        let stream = self.streams.get_mut(output.connection.as_str());
        let Some(first) = stream.and_then(|stream| stream.front()) else {
            return Err(Failure::about(None, "no line expects this").getting(output));
        };
        let line = first.line;
        let whole = match first.what {
            What::Text(expected) => Some((expected == text).then_some(()).ok_or("the text is another".to_owned())),
            What::Batch(expected) => {
                let asked = self.asked.get(output.connection.as_str()).cloned().unwrap_or_default();
                let asked: Vec<Pattern> = asked.into_iter().cloned().collect();
                Some(self.compare_batch(None, &asked, expected, text))
            }
            _ => None,
        };
        if let Some(outcome) = whole {
            let expected = line.to_string();
            self.check_time(line, expected.trim_end(), output, false)?;
            self.streams.get_mut(output.connection.as_str()).map(VecDeque::pop_front);
            return outcome.map_err(|what| {
                Failure::about(Some(line.number), what).expecting(expected.trim_end()).getting(output)
            });
        }
        match serde_json::from_str(text) {
            Ok(Value::Array(messages)) => messages.iter().try_for_each(|message| self.take_message(output, message)),
            _ => Err(Failure::about(Some(line.number), "not a JSON array").getting(output)),
        }
    }

    fn take_message(&mut self, output: &Output, message: &Value) -> Result<(), Failure> {
        let asked = self.asked.get(output.connection.as_str()).map_or(&[][..], Vec::as_slice);
        let unexpected = || Failure::about(None, "no line expects this").getting(output);
        let stream = self.streams.get_mut(output.connection.as_str()).ok_or_else(unexpected)?;
        let first = stream.front().ok_or_else(unexpected)?;
        let fail = |what: String| Failure::about(Some(first.line.number), what).expecting(first).getting(output);
        let mut compare = |expected: &Expected<'a>| match expected.what {
            What::Message(pattern) => {
                let asked = asked.iter().copied().rfind(|message| answers(message, pattern));
                let case = Case { conversation: self.conversation, asked, request: None };
                compare_message(&case, self.deviations, pattern, message, &mut self.bindings, &mut self.used)
                    .map_err(|difference| difference.to_string())
            }
            _ => Err("a message came instead".to_owned()),
        };
        let index = match (compare(first), stream.get(1)) {
            (Ok(()), _) => 0,
            (Err(_), Some(second)) if may_swap(self.deviations, first, second).is_some() && compare(second).is_ok() => {
                self.used.extend(may_swap(self.deviations, first, second));
                1
            }
            (Err(what), _) => return Err(fail(what)),
        };
        let expected = stream.remove(index).ok_or_else(unexpected)?;
        let is_prompt = match expected.what {
            What::Message(reply) => reply.member("successful").and(reply.member("channel")).is_some_and(is_prompt),
            _ => false,
        };
        self.check_time(expected.line, &expected.to_string(), output, is_prompt)
    }

    /// A connection may end when a line says so, or when it is of no more use.
    fn take_end(&mut self, output: &Output) -> Result<(), Failure> {
        let connection = output.connection.as_str();
        let stream = self.streams.get_mut(connection);
        let expected = stream.as_ref().and_then(|stream| stream.front());
        let same = expected.is_some_and(|expected| match (&expected.what, &output.written) {
            (What::Close(code), Written::Close(got, _)) => code == got,
            (What::Cut, Written::Cut) => true,
            _ => false,
        });
        if same {
            stream.and_then(VecDeque::pop_front);
            self.leaving.extend(self.conversation_connection(connection));
            return Ok(());
        }
        if self.leaving.contains(connection) {
            return Ok(());
        }
        Err(Failure::about(None, "no line expects this").getting(output))
    }

    /// Returns the name of a connection as the conversation owns it.
    fn conversation_connection(&self, connection: &str) -> Option<&'a str> {
        self.streams.keys().find(|name| **name == connection).copied()
    }

    fn finish(&mut self) -> Result<(), Failure> {
        let lines = &self.conversation.lines;
        let end = lines.last().map_or(0, |line| line.at).max(self.now);
        self.pass(end + Tolerance::default().late + 1)?;
        while !self.answers.is_empty() || self.streams.values().any(|stream| !stream.is_empty()) {
            self.pass(self.now + 1)?;
        }
        let connections: BTreeSet<&str> = self.requests.keys().map(|exchange| exchange.connection.as_str()).collect();
        for connection in connections {
            self.subject.cut(self.now, connection);
        }
        if self.subject.scope() == Scope::Messages {
            self.pass(self.now + QUIET)?;
        }
        match self.subject.leftovers() {
            left if left.is_empty() => Ok(()),
            left => Err(Failure::about(None, format!("left behind at the end: {}", left.join(", ")))),
        }
    }
}

/// How long virtual time runs after the end: longer than any session may live without a connect.
const QUIET: Millis = 600_000;

fn may_swap(deviations: &[Deviation], first: &Expected<'_>, second: &Expected<'_>) -> Option<&'static str> {
    let (What::Message(first), What::Message(second)) = (&first.what, &second.what) else { return None };
    deviations.iter().find_map(|deviation| match deviation.change {
        Change::Order(either_way) => either_way(first, second).then_some(deviation.name),
        _ => None,
    })
}

/// Compares one message, as written or as one or more deviations have it.
fn compare_message(
    case: &Case<'_>,
    deviations: &[Deviation],
    expected: &Pattern,
    got: &Value,
    bindings: &mut Bindings,
    used: &mut BTreeSet<&'static str>,
) -> Result<(), Difference> {
    let Err(mut difference) = expected.compare(got, bindings) else { return Ok(()) };
    let mut expected = expected.clone();
    let mut names = Vec::new();
    for deviation in deviations {
        let Change::Message(rewrite) = deviation.change else { continue };
        let Some(ours) = rewrite(case, &expected, got) else { continue };
        expected = ours;
        names.push(deviation.name);
        match expected.compare(got, bindings) {
            Ok(()) => {
                used.extend(names);
                return Ok(());
            }
            // What remains is what is wrong.
            Err(remaining) => difference = remaining,
        }
    }
    Err(difference)
}

/// Whether whatever answers a message on this channel is written as soon as it is handled.
fn is_prompt(channel: &Pattern) -> bool {
    !channel.is_text("/meta/connect")
}

fn is_cookie((name, _): &(String, String)) -> bool {
    name.eq_ignore_ascii_case("set-cookie")
}

/// Whether a header line's value is as written, where `…` stands for any text.
fn is_like(expected: &str, got: &str) -> bool {
    match expected.split_once('…') {
        Some((start, end)) => got.len() >= start.len() + end.len() && got.starts_with(start) && got.ends_with(end),
        None => expected == got,
    }
}

/// Returns the argument of a JSONP call; the guard against content sniffing in front of it does not matter.
fn call_argument<'a>(name: &str, body: &'a str) -> Option<&'a str> {
    let body = body.strip_prefix("/**/").unwrap_or(body).trim_end_matches(';');
    body.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')')
}

/// Puts what names stand for in the place of each `$name` in the target of a control endpoint.
///
/// # Errors
///
/// The first name that stands for nothing yet.
pub fn resolved_target(target: &str, bindings: &Bindings) -> Result<String, String> {
    let mut parts = target.split('$');
    let mut resolved = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(part.len());
        let value = bindings.get(&part[..end]).ok_or_else(|| format!("cannot be sent without ${}", &part[..end]))?;
        resolved.push_str(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        resolved.push_str(&part[end..]);
    }
    Ok(resolved)
}

fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
