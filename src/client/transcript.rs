//! [`Conversation`]: what a client and a server said to one another, in the text format of `docs/fixtures.md`.
//!
//! [`Conversation::parse`] reads a file, `Display` writes one; the converter of captures uses the latter.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::pattern::Pattern;

/// Milliseconds since the start of a conversation.
pub type Millis = u64;

/// Header lines, in order, names as spelled by the sender.
pub type Headers = Vec<(String, String)>;

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversation {
    /// What the lines at the top say.
    pub head: Head,
    /// What happened, in the order of its times.
    pub lines: Vec<Line>,
}

/// The lines at the top of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Head {
    /// `recorded` or `written`, then server, client and transport.
    pub origin: Vec<String>,
    /// The capture that it was converted from.
    pub source: Option<String>,
    /// Rules of the notes that it shows.
    pub rules: Vec<String>,
    /// Numbers of the cases that it shows.
    pub cases: Vec<String>,
    /// What a server must offer to play its part; a runner without it leaves the file out.
    pub needs: Vec<String>,
    /// Options of the server, by our names.
    pub settings: BTreeMap<String, String>,
    /// Service channels that answer: `echo`, `tick`.
    pub services: BTreeSet<String>,
    /// Whether the client sent no cookie back.
    pub without_cookies: bool,
    /// Whether WebSocket output is compared frame by frame.
    pub compares_frames: bool,
    /// Header lines of requests by method and of answers by status, where the line itself has none.
    pub headers: BTreeMap<String, Headers>,
}

/// One event and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Line of the file, from 1; 0 when it came from no file.
    pub number: usize,
    /// When it happened.
    pub at: Millis,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The client sent an HTTP request.
    Request(Exchange, Request),
    /// The server answered one.
    Answer(Exchange, Answer),
    /// The client sent something on a WebSocket.
    Sent(String, Frame),
    /// The server sent something on a WebSocket, or ended a connection.
    Received(String, Frame),
    /// Neither of them: the server itself, another client, the network.
    Directive(Directive),
}

/// One HTTP request and its answer: `A.2` is the second on connection `A`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exchange {
    /// The TCP connection.
    pub connection: String,
    /// Number of the request on it, from 1.
    pub number: u32,
}

/// An HTTP request.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// HTTP method, or `UPGRADE` for the opening of a WebSocket.
    pub method: String,
    /// Target, with `$body` where a query carries the body.
    pub path: String,
    /// Its header lines if they are not those of the head.
    pub headers: Option<Headers>,
    /// What it carries.
    pub body: Body,
}

/// An HTTP answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Its header lines if they are not those of the head.
    pub headers: Option<Headers>,
    /// What it carries; that of an error status is not written down.
    pub body: Body,
}

/// The body of a request or an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// None.
    Empty,
    /// JSON.
    Json(Pattern),
    /// JSON as argument of a function call, as `callback-polling` answers.
    Callback(String, Pattern),
    /// Anything else.
    Text(String),
}

/// What travels on a WebSocket.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// A text frame with JSON.
    Batch(Pattern),
    /// A text frame with anything else.
    Text(String),
    /// A close frame with its code, if any, and its reason.
    Close(Option<u16>, String),
    /// The end of the TCP connection, on any connection.
    Cut,
}

/// What neither client nor server sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Directive {
    /// The server, or a client that is not recorded, publishes data to a channel.
    Publish(String, Pattern),
    /// The server disconnects the session with this name.
    Disconnect(String),
    /// The server stops without notice and starts again, empty.
    Restart,
    /// The client, or the network, ends a TCP connection.
    Cut(String),
    /// A connection belongs to the browser with this number; without a word of it, to the first one.
    Browser(String, u32),
    /// An operator asks the server for something by a control endpoint: its target, with names in the query, and JSON.
    Control(String, Body),
}

impl fmt::Display for Exchange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.connection, self.number)
    }
}

impl Head {
    /// Whether the conversation was recorded, so that it is evidence and never edited.
    pub fn is_recorded(&self) -> bool {
        self.origin.first().is_some_and(|origin| origin == "recorded")
    }

    /// Returns an option that is a length of time, in milliseconds.
    pub fn millis(&self, option: &str) -> Option<Millis> {
        self.settings.get(option).and_then(|text| parse_millis(text))
    }

    /// Returns an option that is a length of time.
    pub fn duration(&self, option: &str) -> Option<Duration> {
        self.millis(option).map(Duration::from_millis)
    }

    /// Takes one entry, `key: value`; a line without a colon is a comment.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read(&mut self, line: &str) -> Result<(), String> {
        let head = self;
        let Some((key, value)) = line.split_once(':') else { return Ok(()) };
        let value = value.trim();
        let words = || value.split_whitespace().map(str::to_owned);
        match key {
            "origin" => head.origin = value.split('|').map(|part| part.trim().to_owned()).collect(),
            "source" => head.source = Some(value.to_owned()),
            "rules" => head.rules = words().collect(),
            "cases" => head.cases = words().collect(),
            "needs" => head.needs = words().collect(),
            "services" => head.services = words().collect(),
            "cookies" if value == "none" => head.without_cookies = true,
            "frames" if value == "compared" => head.compares_frames = true,
            "settings" => {
                for word in words() {
                    let (option, value) = word.split_once('=').ok_or("a setting is written `name=value`")?;
                    let is_time = matches!(option, "timeout" | "interval" | "max_interval" | "multi_session_interval");
                    if is_time && parse_millis(value).is_none() {
                        return Err(format!("`{value}` is not a length of time like 5s or 1500ms"));
                    }
                    head.settings.insert(option.to_owned(), value.to_owned());
                }
            }
            "headers" => {
                let mut parts = value.split(" | ");
                let kind = parts.next().unwrap_or_default().trim().to_owned();
                let headers = parts.map(parse_header).collect::<Result<_, _>>()?;
                head.headers.insert(kind, headers);
            }
            _ if key.contains(' ') => {}
            _ => return Err(format!("unknown entry `{key}: {value}`")),
        }
        Ok(())
    }
}

impl Conversation {
    /// Returns the header lines of a request, its own or those of the head.
    pub fn request_headers<'a>(&'a self, request: &'a Request) -> &'a [(String, String)] {
        self.headers(request.headers.as_ref(), &request.method)
    }

    /// Returns the header lines of an answer, its own or those of the head.
    pub fn answer_headers<'a>(&'a self, answer: &'a Answer) -> &'a [(String, String)] {
        self.headers(answer.headers.as_ref(), &answer.status.to_string())
    }

    /// Returns the number of the browser that a connection belongs to.
    pub fn browser(&self, connection: &str) -> u32 {
        let named = self.lines.iter().find_map(|line| match &line.event {
            Event::Directive(Directive::Browser(other, number)) if other == connection => Some(*number),
            _ => None,
        });
        named.unwrap_or(1)
    }

    fn headers<'a>(&'a self, own: Option<&'a Headers>, kind: &str) -> &'a [(String, String)] {
        own.or_else(|| self.head.headers.get(kind)).map_or(&[], Vec::as_slice)
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// The first line that is not understood, with its number.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader::default();
        for (index, line) in text.lines().enumerate() {
            reader.read(index + 1, line.trim_end()).map_err(|error| format!("line {}: {error}", index + 1))?;
        }
        if reader.conversation.head.origin.is_empty() {
            return Err("line 1: `# origin:` is missing".to_owned());
        }
        Ok(reader.conversation)
    }
}

/// Parses `5s` or `1500ms`.
fn parse_millis(text: &str) -> Option<Millis> {
    let (number, factor) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 1),
        (None, Some(number)) => (number, 1000),
        (None, None) => return None,
    };
    number.parse::<Millis>().ok()?.checked_mul(factor)
}

#[derive(Default)]
struct Reader {
    conversation: Conversation,
    /// Connections that are WebSockets.
    upgraded: BTreeSet<String>,
    /// Number of the last request on each connection.
    requests: BTreeMap<String, u32>,
    in_body: bool,
}

impl Reader {
    fn read(&mut self, number: usize, line: &str) -> Result<(), String> {
        if let Some(comment) = line.strip_prefix('#') {
            return if self.in_body { Ok(()) } else { self.conversation.head.read(comment.trim()) };
        }
        if line.trim().is_empty() {
            return Ok(());
        }
        self.in_body = true;
        if let Some(header) = line.trim_start().strip_prefix('|') {
            return self.header_line(header.trim());
        }
        let event = self.event_line(line)?;
        let (at, event) = event;
        if self.conversation.lines.last().is_some_and(|last| last.at > at) {
            return Err("the times go backwards".to_owned());
        }
        self.conversation.lines.push(Line { number, at, event });
        Ok(())
    }

    fn header_line(&mut self, line: &str) -> Result<(), String> {
        let headers = match self.conversation.lines.last_mut().map(|line| &mut line.event) {
            Some(Event::Request(_, request)) => &mut request.headers,
            Some(Event::Answer(_, answer)) => &mut answer.headers,
            _ => return Err("header lines follow a request or an answer".to_owned()),
        };
        let headers = headers.get_or_insert_default();
        if !line.is_empty() {
            headers.push(parse_header(line)?);
        }
        Ok(())
    }

    fn event_line(&mut self, line: &str) -> Result<(Millis, Event), String> {
        let rest = line.strip_prefix('@').ok_or("a line starts with `@` and a time, `|` or `#`")?;
        let (at, rest) = word(rest);
        let at = at.parse().map_err(|_| format!("`{at}` is not a number of milliseconds"))?;
        let (mark, rest) = word(rest);
        let event = match mark {
            ">" => self.client_line(rest)?,
            "<" => self.server_line(rest)?,
            "!" => directive(rest)?,
            _ => return Err(format!("`>`, `<` or `!` expected, not `{mark}`")),
        };
        Ok((at, event))
    }

    fn client_line(&mut self, rest: &str) -> Result<Event, String> {
        let (label, rest) = word(rest);
        let (connection, number) = parse_label(label)?;
        let (method, after) = word(rest);
        let is_request = is_method(method);
        if !is_request && number.is_none() && self.upgraded.contains(&connection) {
            return Ok(Event::Sent(connection, sendable_frame(rest)?));
        }
        let (method, path, body) = if is_request {
            let (path, body) = word(after);
            if !path.starts_with('/') {
                return Err("a path is expected after the method".to_owned());
            }
            (method, path, body)
        } else {
            ("POST", "/cometd", rest)
        };
        let last = self.requests.entry(connection.clone()).or_default();
        let number = number.unwrap_or(*last + 1);
        if number <= *last {
            return Err(format!("{connection}.{number} stands above already"));
        }
        *last = number;
        if method == "UPGRADE" {
            self.upgraded.insert(connection.clone());
        }
        let body = parse_body(body)?;
        if let Body::Json(pattern) | Body::Callback(_, pattern) = &body
            && pattern.is_partial()
        {
            return Err("`…` cannot be sent".to_owned());
        }
        let request = Request { method: method.to_owned(), path: path.to_owned(), headers: None, body };
        Ok(Event::Request(Exchange { connection, number }, request))
    }

    fn server_line(&mut self, rest: &str) -> Result<Event, String> {
        let (label, rest) = word(rest);
        let (connection, number) = parse_label(label)?;
        if number.is_none() && (rest == "cut" || self.upgraded.contains(&connection)) {
            return Ok(Event::Received(connection, parse_frame(rest)?));
        }
        let last = self.requests.get(&connection).copied().unwrap_or(0);
        let number = number.unwrap_or(last);
        if number == 0 || number > last {
            return Err(format!("no request {label} stands above"));
        }
        let exchange = Exchange { connection, number };
        let answered = |line: &Line| matches!(&line.event, Event::Answer(other, _) if *other == exchange);
        if self.conversation.lines.iter().any(answered) {
            return Err(format!("{exchange} is answered above already"));
        }
        let (first, after) = word(rest);
        let status = Some(first).filter(|first| first.len() == 3).and_then(|first| first.parse().ok());
        let (status, body) = status.map_or((200, rest), |status| (status, after));
        let body = parse_body(body)?;
        if status != 101 && number == last {
            self.upgraded.remove(&exchange.connection);
        }
        Ok(Event::Answer(exchange, Answer { status, headers: None, body }))
    }
}

fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    (word, rest.trim_start())
}

/// Whether a word is a method that the format knows; `UPGRADE` is its own.
pub(super) fn is_method(word: &str) -> bool {
    matches!(word, "GET" | "HEAD" | "POST" | "PUT" | "DELETE" | "OPTIONS" | "PATCH" | "UPGRADE")
}

fn parse_label(label: &str) -> Result<(String, Option<u32>), String> {
    let (connection, number) = match label.split_once('.') {
        Some((connection, number)) => (connection, Some(number.parse().ok())),
        None => (label, None),
    };
    let is_name = !connection.is_empty() && connection.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match number {
        Some(None | Some(0)) => Err(format!("`{label}` is not a connection and the number of a request")),
        _ if !is_name => Err(format!("`{label}` is not the name of a connection")),
        number => Ok((connection.to_owned(), number.flatten())),
    }
}

fn parse_header(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or_else(|| format!("`{line}` is not a header line"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn parse_text(text: &str) -> Result<Option<String>, String> {
    let Some(literal) = text.strip_prefix("text ") else { return Ok(None) };
    serde_json::from_str(literal).map(Some).map_err(|error| format!("`text` takes a JSON string ({error})"))
}

fn parse_body(text: &str) -> Result<Body, String> {
    if text.is_empty() {
        return Ok(Body::Empty);
    }
    if let Some(text) = parse_text(text)? {
        return Ok(Body::Text(text));
    }
    if text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && let Some((name, argument)) = text.split_once('(')
    {
        let argument = argument.strip_suffix(')').ok_or("`)` expected at the end")?;
        return Ok(Body::Callback(name.to_owned(), Pattern::parse(argument)?));
    }
    Pattern::parse(text).map(Body::Json)
}

fn parse_frame(text: &str) -> Result<Frame, String> {
    if text == "cut" {
        return Ok(Frame::Cut);
    }
    if let Some(text) = parse_text(text)? {
        return Ok(Frame::Text(text));
    }
    let Some(rest) = text.strip_prefix("close") else { return Pattern::parse(text).map(Frame::Batch) };
    let (code, reason) = word(rest);
    if code.is_empty() {
        return Ok(Frame::Close(None, String::new()));
    }
    let code = u16::from_str(code).map_err(|_| format!("`{code}` is not a close code"))?;
    Ok(Frame::Close(Some(code), reason.to_owned()))
}

fn sendable_frame(text: &str) -> Result<Frame, String> {
    match parse_frame(text)? {
        Frame::Batch(pattern) if pattern.is_partial() => Err("`…` cannot be sent".to_owned()),
        Frame::Cut => Err("a client ends a connection with `! cut`".to_owned()),
        frame => Ok(frame),
    }
}

fn directive(rest: &str) -> Result<Event, String> {
    let (verb, rest) = word(rest);
    let session =
        || rest.strip_prefix('$').map(str::to_owned).ok_or("the name of a session is expected, like $session1");
    Ok(Event::Directive(match verb {
        "publish" => {
            let (channel, data) = word(rest);
            let data = Pattern::parse(data)?;
            if data.is_partial() {
                return Err("`…` cannot be sent".to_owned());
            }
            Directive::Publish(channel.to_owned(), data)
        }
        "disconnect" => Directive::Disconnect(session()?),
        "restart" => Directive::Restart,
        "cut" => Directive::Cut(parse_label(rest)?.0),
        "browser" => {
            let (connection, number) = word(rest);
            let number = number.parse().map_err(|_| format!("`{number}` is not the number of a browser"))?;
            Directive::Browser(parse_label(connection)?.0, number)
        }
        "control" => {
            let (target, body) = word(rest);
            if !target.starts_with('/') {
                return Err("a path is expected after `control`".to_owned());
            }
            Directive::Control(target.to_owned(), parse_body(body)?)
        }
        _ => return Err(format!("unknown directive `{verb}`")),
    }))
}

impl fmt::Display for Conversation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head.fmt(formatter)?;
        self.lines.iter().try_for_each(|line| line.fmt(formatter))
    }
}

impl fmt::Display for Head {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut entry = |key: &str, value: String| match value.is_empty() {
            true => Ok(()),
            false => writeln!(formatter, "# {key}: {value}"),
        };
        entry("origin", self.origin.join(" | "))?;
        entry("source", self.source.clone().unwrap_or_default())?;
        entry("rules", self.rules.join(" "))?;
        entry("cases", self.cases.join(" "))?;
        entry("needs", self.needs.join(" "))?;
        let settings: Vec<_> = self.settings.iter().map(|(option, value)| format!("{option}={value}")).collect();
        entry("settings", settings.join(" "))?;
        entry("services", self.services.iter().cloned().collect::<Vec<_>>().join(" "))?;
        entry("cookies", if self.without_cookies { "none".to_owned() } else { String::new() })?;
        entry("frames", if self.compares_frames { "compared".to_owned() } else { String::new() })?;
        for (kind, headers) in &self.headers {
            let lines = headers.iter().map(|(name, value)| format!(" | {name}: {value}"));
            entry("headers", format!("{kind}{}", lines.collect::<String>()))?;
        }
        writeln!(formatter)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = format!("@{}", self.at);
        let (text, headers) = match &self.event {
            Event::Request(exchange, request) => {
                (format!("> {exchange} {} {} {}", request.method, request.path, request.body), &request.headers)
            }
            Event::Answer(exchange, answer) => {
                let plain = answer.status == 200 && answer.body != Body::Empty;
                let status = if plain { String::new() } else { format!("{} ", answer.status) };
                (format!("< {exchange} {status}{}", answer.body), &answer.headers)
            }
            Event::Sent(connection, frame) => (format!("> {connection} {frame}"), &None),
            Event::Received(connection, frame) => (format!("< {connection} {frame}"), &None),
            Event::Directive(directive) => (format!("! {directive}"), &None),
        };
        writeln!(formatter, "{time:<8}{}", text.trim_end())?;
        let Some(headers) = headers else { return Ok(()) };
        if headers.is_empty() {
            writeln!(formatter, "        |")?;
        }
        headers
            .iter()
            .try_for_each(|(name, value)| writeln!(formatter, "{}", format!("        | {name}: {value}").trim_end()))
    }
}

impl fmt::Display for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => Ok(()),
            Self::Json(pattern) => pattern.fmt(formatter),
            Self::Callback(name, pattern) => write!(formatter, "{name}({pattern})"),
            Self::Text(text) => write!(formatter, "text {}", serde_json::Value::from(text.as_str())),
        }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch(pattern) => pattern.fmt(formatter),
            Self::Text(text) => write!(formatter, "text {}", serde_json::Value::from(text.as_str())),
            Self::Close(None, _) => formatter.write_str("close"),
            Self::Close(Some(code), reason) => write!(formatter, "close {code} {reason}"),
            Self::Cut => formatter.write_str("cut"),
        }
    }
}

impl fmt::Display for Directive {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish(channel, data) => write!(formatter, "publish {channel} {data}"),
            Self::Disconnect(session) => write!(formatter, "disconnect ${session}"),
            Self::Restart => formatter.write_str("restart"),
            Self::Cut(connection) => write!(formatter, "cut {connection}"),
            Self::Browser(connection, number) => write!(formatter, "browser {connection} {number}"),
            Self::Control(target, Body::Empty) => write!(formatter, "control {target}"),
            Self::Control(target, body) => write!(formatter, "control {target} {body}"),
        }
    }
}
