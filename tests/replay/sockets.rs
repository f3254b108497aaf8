//! The conversations over real sockets: a server in this process, raw HTTP/1.1 and WebSocket, in real time.
//!
//! Times are those of the file and nothing is scaled, so that holds, advice and expiry are compared as written. All files
//! are played at once: most of their time is silence. The server handles what one line brings before the next line is
//! played, as it was when it was recorded; the runner waits for that, not for a length of time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use mirant::bayeux::SessionId;
use serde_json::value::RawValue;

use super::hosted::Hosted;
use super::support::controls::{self, Left};
use super::support::cookies::Cookies;
use super::support::deviation::DEVIATIONS;
use super::support::fixtures::{Suite, conversations};
use super::support::line::{Inbox, TcpLine, request_bytes};
use super::support::replay::replay;
use super::support::services::channel;
use super::support::subject::{Output, Scope, Sent, Subject, Tolerance, Written};
use super::support::transcript::{Conversation, Exchange, Millis};

/// Longest conversation that is worth its time.
const LONGEST: Millis = 10_000;

#[test]
fn the_server_answers_as_recorded() {
    let report = Suite::load(&conversations())
        .offering(&[
            "ack",
            "timesync",
            "timestamp",
            "binary",
            "activity",
            "callback-polling",
            "empty-batch",
            "control",
            "server",
        ])
        .rewritten_for_our_server()
        .not_longer_than(LONGEST)
        .replay_together(OverSockets::for_conversation);
    report.check();
    if std::env::var_os("REPLAY").is_none() {
        let names = DEVIATIONS.iter().map(|deviation| deviation.name);
        let unused: Vec<&str> = names.filter(|name| !report.deviations.contains_key(name)).collect();
        assert!(unused.is_empty(), "no recording needs {unused:?} any more");
    }
}

/// What a client and the server say, and mistakes in it: text that is replaced, by what.
const SAID: &str = r#"# origin: written | test
# settings: allowed_origins=http://page.example timeout=2s

@0 > A.1 POST /cometd [{"id":"1","channel":"/meta/handshake"}]
 | Origin: http://page.example
@0 < A.1 [{"id":"1","channel":"/meta/handshake","successful":true,"clientId":$ann,…}]
 | Access-Control-Allow-Origin: http://page.example
 | Set-Cookie: BAYEUX_BROWSER=…; Path=/; HttpOnly
@0 > B.1 UPGRADE /cometd
@0 < B.1 101
@0 > B [{"id":"2","channel":"/meta/subscribe","subscription":"/a","clientId":$ann}]
@0 < B [{"id":"2","channel":"/meta/subscribe","subscription":"/a","successful":true}]
@0 > A.2 POST /cometd text "no JSON"
@0 < A.2 400
@100 ! publish /a {"n":1}
@100 < B [{"channel":"/a","data":{"n":1}}]
@200 > B text "no JSON"
@200 < B close 1011
"#;
const MISTAKES: [(&str, &str); 12] = [
    ("", ""),
    ("Allow-Origin: http://page", "Allow-Origin: http://other"),
    ("Path=/; HttpOnly", "Path=/; Secure"),
    (" | Set-Cookie", " | Set-Cookie2"),
    ("B.1 101", "B.1 101\n | Upgrade: h2c"),
    ("A.2 400", "A.2 500"),
    ("@0 < A.2 400\n", ""),
    ("\"data\":{\"n\":1}", "\"data\":{\"n\":2}"),
    ("@100 < B [{\"channel\":\"/a\",\"data\":{\"n\":1}}]\n", ""),
    ("@200 > B", "@200 < B [{}]\n@200 > B"),
    ("close 1011", "close 1000"),
    ("@200 < B close 1011\n", ""),
];

#[test]
fn any_mistake_on_the_wire_is_noticed() {
    let outcome = |(said, instead): (&str, &str)| {
        assert!(SAID.contains(said), "{said} is not said");
        let conversation = Conversation::parse(&SAID.replacen(said, instead, 1)).expect("the text is well-formed");
        replay(&conversation, &mut OverSockets::for_conversation(&conversation))
            .err()
            .map(|failure| failure.to_string())
    };
    thread::scope(|scope| {
        let runs = MISTAKES.map(|mistake| (mistake, scope.spawn(move || outcome(mistake))));
        for ((said, instead), run) in runs {
            let failure = run.join().expect("the replay ends");
            assert_eq!(failure.is_some(), !said.is_empty(), "{instead} instead of {said}: {failure:?}");
        }
    });
}

/// How long the server may take to notice what it was sent; it never does.
const NOTICE: Duration = Duration::from_secs(2);

/// A server, and the client's side of all connections to it.
struct OverSockets {
    conversation: Conversation,
    started: Instant,
    server: Hosted,
    lines: BTreeMap<String, TcpLine>,
    inbox: Inbox,
    received: Receiver<Output>,
    outputs: Vec<Output>,
    cookies: Cookies,
    /// WebSockets that the server has closed.
    closed: BTreeSet<String>,
    complaints: Vec<String>,
}

impl OverSockets {
    fn for_conversation(conversation: &Conversation) -> Self {
        let server = Hosted::start(&conversation.head);
        let first = conversation.lines.first().map_or(0, |line| line.at);
        let now = Instant::now();
        let started = now.checked_sub(Duration::from_millis(first)).unwrap_or(now);
        let (inbox, received) = Inbox::new(started);
        let conversation = conversation.clone();
        let (lines, outputs, closed, complaints) = (BTreeMap::new(), Vec::new(), BTreeSet::new(), Vec::new());
        Self {
            conversation,
            started,
            server,
            lines,
            inbox,
            received,
            outputs,
            cookies: Cookies::default(),
            closed,
            complaints,
        }
    }

    fn now(&self) -> Millis {
        Millis::try_from(self.started.elapsed().as_millis()).expect("a short test")
    }

    fn line(&mut self, name: &str) -> &mut TcpLine {
        let (address, inbox) = (self.server.address(), &self.inbox);
        self.lines.entry(name.to_owned()).or_insert_with(|| {
            let stream = TcpStream::connect_timeout(&address, Duration::from_secs(10)).expect("the server accepts");
            TcpLine::over(stream, name, inbox.clone()).expect("a thread")
        })
    }

    /// Waits until the server has handled what was sent on a connection: until it has begun on it or answered, and then
    /// has nothing left to do.
    fn until_handled(&mut self, connection: &str, seen: usize) {
        let limit = Instant::now() + NOTICE;
        loop {
            self.server.settle();
            self.outputs.extend(self.received.try_iter());
            let has_answered = self.outputs.iter().any(|output| output.connection == connection);
            if has_answered || self.server.seen() > seen {
                break;
            }
            if Instant::now() > limit {
                self.complaints.push(format!("what nobody noticed on {connection} @{}", self.now()));
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        self.server.settle();
    }

    fn wait_for(&self, limit: Duration, condition: impl Fn(&Hosted) -> bool) -> bool {
        let limit = Instant::now() + limit;
        loop {
            self.server.settle();
            if condition(&self.server) {
                return true;
            }
            if Instant::now() > limit {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Subject for OverSockets {
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
        let (seen, request) = (self.server.seen(), request_bytes(sent, "localhost", cookie.as_deref()));
        self.line(&exchange.connection).request(exchange.number, sent.method, &request);
        self.until_handled(&exchange.connection, seen);
    }

    fn frame(&mut self, _: Millis, connection: &str, text: &str) {
        let seen = self.server.seen();
        self.line(connection).text(text);
        self.until_handled(connection, seen);
    }

    fn close(&mut self, _: Millis, connection: &str, code: Option<u16>, reason: &str) {
        let seen = self.server.seen();
        self.line(connection).close(code, reason);
        // Nobody listens on one that the server has closed.
        if !self.closed.contains(connection) {
            self.until_handled(connection, seen);
        }
    }

    fn cut(&mut self, _: Millis, connection: &str) {
        let tasks = self.server.tasks();
        if self.lines.remove(connection).is_some() {
            // One that the server has left already is not missed.
            self.wait_for(Duration::from_millis(100), |server| server.tasks() < tasks);
        }
    }

    fn publish(&mut self, _: Millis, name: &str, data: &str) {
        let (node, name) = (Arc::clone(self.server.node()), channel(name).expect("a channel"));
        let data = RawValue::from_string(data.to_owned()).expect("JSON");
        self.server.run(async move { node.publish(&name, &data).await }).expect("published");
        self.server.settle();
    }

    fn disconnect(&mut self, _: Millis, client_id: &str) {
        let node = Arc::clone(self.server.node());
        let id = SessionId::parse(client_id).expect("the server gave this id");
        self.server.run(async move { node.disconnect(id).await });
        self.server.settle();
    }

    fn control(&mut self, _: Millis, target: &str, body: &str) -> Result<(), String> {
        if let Left::Delivery(id, name) = controls::apply(self.server.node().engine(), target)? {
            let node = Arc::clone(self.server.node());
            let data = RawValue::from_string(body.to_owned()).expect("JSON");
            self.server.run(async move { node.deliver(id, &name, &data).await });
        }
        self.server.settle();
        Ok(())
    }

    fn restart(&mut self, _: Millis) {
        self.server = Hosted::start(&self.conversation.head);
    }

    fn advance(&mut self, now: Millis, until: Millis) -> Millis {
        if self.outputs.is_empty() {
            let left = (self.started + Duration::from_millis(until)).saturating_duration_since(Instant::now());
            self.outputs.extend(self.received.recv_timeout(left));
        }
        self.now().max(now)
    }

    fn collect(&mut self) -> Vec<Output> {
        self.outputs.extend(self.received.try_iter());
        for output in &self.outputs {
            if matches!(output.written, Written::Close(..)) {
                self.closed.insert(output.connection.clone());
            }
            let Written::Answer { headers, .. } = &output.written else { continue };
            self.cookies.take(self.conversation.browser(&output.connection), headers);
        }
        std::mem::take(&mut self.outputs)
    }

    fn leftovers(&mut self) -> Vec<String> {
        let is_held = |server: &Hosted| server.node().engine().session_reports().iter().any(|session| session.is_held);
        let mut left = std::mem::take(&mut self.complaints);
        if !self.wait_for(NOTICE, |server| server.web_sockets() == 0) {
            left.push(format!("{} WebSockets", self.server.web_sockets()));
        }
        if !self.wait_for(NOTICE, |server| !is_held(server)) {
            left.push("a held connect".to_owned());
        }
        left
    }
}
