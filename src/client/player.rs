//! [`Player`]: a subject that is a server somewhere else, played in real time.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::cookies::Cookies;
use super::line::{Inbox, TcpLine, request_bytes};
use super::recorder::MOUNT;
use super::subject::{Output, Scope, Sent, Subject, Tolerance, Written};
use super::transcript::{Conversation, Directive, Event, Exchange, Millis};
use super::upstream::ServerUrl;

/// How long the server has for what it was sent before the next line is played: over the network nobody can tell when it
/// is done, and what is sent on two connections at once has no order.
const NOTICE: Duration = Duration::from_millis(20);

/// In place of a connection, where an operator's request fails.
const CONTROL: &str = "control";

/// A server, and what can be done to it other than by talking to it as a client.
pub trait Stage {
    /// Where it is.
    fn url(&self) -> ServerUrl;

    /// Whether it can do this.
    fn can(&self, directive: &Directive) -> bool;

    /// Publishes as the server itself.
    ///
    /// # Errors
    ///
    /// It cannot be done.
    fn publish(&mut self, channel: &str, data: &str) -> Result<(), String>;

    /// Disconnects a session as the server itself.
    ///
    /// # Errors
    ///
    /// It cannot be done.
    fn disconnect(&mut self, client_id: &str) -> Result<(), String>;

    /// Stops without notice and comes back empty.
    ///
    /// # Errors
    ///
    /// It cannot be done.
    fn restart(&mut self) -> Result<(), String>;

    /// Takes what an operator asks at a control endpoint.
    ///
    /// # Errors
    ///
    /// It cannot be done.
    fn control(&mut self, target: &str, body: &str) -> Result<(), String>;
}

/// Returns the first directive of a conversation that a stage cannot do.
pub fn impossible<'a>(conversation: &'a Conversation, stage: &impl Stage) -> Option<&'a Directive> {
    conversation.lines.iter().find_map(|line| match &line.event {
        Event::Directive(Directive::Cut(_) | Directive::Browser(..)) => None,
        Event::Directive(directive) => (!stage.can(directive)).then_some(directive),
        _ => None,
    })
}

/// The client's side of all connections to a server.
pub struct Player<'a, S> {
    conversation: &'a Conversation,
    stage: S,
    started: Instant,
    lines: BTreeMap<String, TcpLine>,
    inbox: Inbox,
    received: Receiver<Output>,
    outputs: Vec<Output>,
    cookies: Cookies,
}

impl<'a, S: Stage> Player<'a, S> {
    /// Gets ready to play a conversation from its first line on.
    #[must_use]
    pub fn new(conversation: &'a Conversation, stage: S) -> Self {
        let first = conversation.lines.first().map_or(0, |line| line.at);
        let now = Instant::now();
        let started = now.checked_sub(Duration::from_millis(first)).unwrap_or(now);
        let (inbox, received) = Inbox::new(started);
        let (lines, outputs, cookies) = (BTreeMap::new(), Vec::new(), Cookies::default());
        Self { conversation, stage, started, lines, inbox, received, outputs, cookies }
    }

    fn line(&mut self, name: &str) -> Option<&TcpLine> {
        if !self.lines.contains_key(name) {
            let url = self.stage.url();
            let line = url.connect().and_then(|stream| TcpLine::over(stream, name, self.inbox.clone()));
            match line {
                Ok(line) => _ = self.lines.insert(name.to_owned(), line),
                Err(error) => self.inbox.fail(name, format!("cannot connect to {url}: {error}")),
            }
        }
        self.lines.get(name)
    }

    /// Waits for an answer on a connection, but no longer than it takes to notice what was sent.
    fn give_time(&mut self, connection: &str) {
        let end = Instant::now() + NOTICE;
        while let Ok(output) = self.received.recv_timeout(end.saturating_duration_since(Instant::now())) {
            let answers = output.connection == connection;
            self.keep(output);
            if answers {
                return;
            }
        }
    }

    fn keep(&mut self, output: Output) {
        if let Written::Answer { headers, .. } = &output.written {
            self.cookies.take(self.conversation.browser(&output.connection), headers);
        }
        self.outputs.push(output);
    }

    fn done(&mut self, outcome: Result<(), String>) {
        if let Err(what) = outcome {
            self.inbox.fail(CONTROL, what);
        }
        self.give_time(CONTROL);
    }
}

impl<S: Stage> Subject for Player<'_, S> {
    fn scope(&self) -> Scope {
        Scope::Wire
    }

    /// A busy machine may be late; what is held when it should be answered, or the other way round, is so for longer.
    fn tolerance(&self) -> Tolerance {
        Tolerance { early: 250, late: 1_900, ahead: 100 }
    }

    fn request(&mut self, _: Millis, exchange: &Exchange, sent: &Sent<'_>) {
        let browser = self.conversation.browser(&exchange.connection);
        let cookie = self.cookies.of(browser).filter(|_| !self.conversation.head.without_cookies);
        let url = self.stage.url();
        let below = sent.path.strip_prefix(MOUNT).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?', ';']));
        let path = match below {
            Some(rest) if !url.path.is_empty() => format!("{}{rest}", url.path),
            _ => sent.path.clone(),
        };
        let bytes = request_bytes(&Sent { path, ..sent.clone() }, &url.authority(), cookie.as_deref());
        if let Some(line) = self.line(&exchange.connection) {
            line.request(exchange.number, sent.method, &bytes);
        }
        self.give_time(&exchange.connection);
    }

    fn frame(&mut self, _: Millis, connection: &str, text: &str) {
        if let Some(line) = self.line(connection) {
            line.text(text);
        }
        self.give_time(connection);
    }

    fn close(&mut self, _: Millis, connection: &str, code: Option<u16>, reason: &str) {
        if let Some(line) = self.line(connection) {
            line.close(code, reason);
        }
        self.give_time(connection);
    }

    fn cut(&mut self, _: Millis, connection: &str) {
        if self.lines.remove(connection).is_some() {
            self.give_time(connection);
        }
    }

    fn publish(&mut self, _: Millis, channel: &str, data: &str) {
        let outcome = self.stage.publish(channel, data);
        self.done(outcome);
    }

    fn disconnect(&mut self, _: Millis, client_id: &str) {
        let outcome = self.stage.disconnect(client_id);
        self.done(outcome);
    }

    fn restart(&mut self, _: Millis) {
        let outcome = self.stage.restart();
        self.done(outcome);
    }

    fn control(&mut self, _: Millis, target: &str, body: &str) -> Result<(), String> {
        let outcome = self.stage.control(target, body);
        self.give_time(CONTROL);
        outcome
    }

    fn advance(&mut self, now: Millis, until: Millis) -> Millis {
        if self.outputs.is_empty() {
            let left = (self.started + Duration::from_millis(until)).saturating_duration_since(Instant::now());
            if let Ok(output) = self.received.recv_timeout(left) {
                self.keep(output);
            }
        }
        self.inbox.now().max(now)
    }

    fn collect(&mut self) -> Vec<Output> {
        while let Ok(output) = self.received.try_recv() {
            self.keep(output);
        }
        std::mem::take(&mut self.outputs)
    }
}
