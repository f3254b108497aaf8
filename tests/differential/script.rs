//! [`Script`]: what one or several clients do, read from a file of `fixtures/scripts`.
//!
//! `docs/differential.md` describes the language. Names such as `$a` are still in the texts; the player puts values in
//! their place when a line is played.

use std::collections::BTreeSet;
use std::time::Duration;

use super::shorthand;

/// A script.
#[derive(Debug)]
pub(crate) struct Script {
    /// Path below the folder of scripts.
    pub(crate) name: String,
    /// What the server is started with.
    pub(crate) server: ServerArguments,
    /// Whether no other script may run beside it on the same server.
    pub(crate) is_alone: bool,
    /// Whether WebSocket frames are compared, rather than the messages in them.
    pub(crate) compares_frames: bool,
    /// Why the two servers differ here: a row of the deviations, `CometD`, or a client; and in words.
    pub(crate) differs: Vec<(String, String)>,
    /// The lines in which they differ, with `- ` or `+ ` in front.
    pub(crate) difference: Vec<String>,
    /// What happens.
    pub(crate) lines: Vec<Line>,
}

/// The command line of a server, except for its address; scripts with equal ones share a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServerArguments(pub(crate) Vec<String>);

/// One line of a script.
#[derive(Debug)]
pub(crate) struct Line {
    /// Its number in the file.
    pub(crate) number: usize,
    /// What it does.
    pub(crate) step: Step,
}

/// What a line does.
#[derive(Debug)]
pub(crate) enum Step {
    /// Opens a WebSocket.
    Open { connection: String, target: String, headers: Vec<(String, String)> },
    /// Sends, and waits for the answer if it asks.
    Send { connection: String, asks: bool, what: Sent },
    /// Waits.
    Await { connection: String, until: Until },
    /// Ends the TCP connection.
    Cut { connection: String },
    /// Calls a control endpoint.
    Control { method: String, target: String, body: String },
    /// Lets time pass.
    Pause(Duration),
}

/// What is sent.
#[derive(Debug)]
pub(crate) enum Sent {
    /// An HTTP request; without a method a POST to the mount, or a text frame on a WebSocket.
    Messages {
        method: Option<String>,
        target: String,
        body: Payload,
        headers: Vec<(String, String)>,
        begins: Vec<String>,
    },
    /// A WebSocket frame with this first byte.
    Frame { first: u8, payload: Payload },
    /// A WebSocket close frame.
    Close { code: Option<u16>, reason: String },
}

/// A body or payload.
#[derive(Debug)]
pub(crate) enum Payload {
    /// Text in which names are replaced.
    Template(String),
    /// Bytes as they are.
    Bytes(Vec<u8>),
}

/// What is waited for.
#[derive(Debug)]
pub(crate) enum Until {
    /// Everything that was asked on the connection is answered.
    Answered,
    /// The reply with this id is there.
    Reply(String),
    /// So many more messages that are no replies are there.
    Events(usize),
    /// The server has closed.
    Closed,
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    ///
    /// Names the line that cannot be read.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut reader = Reader::default();
        for (index, line) in text.lines().enumerate() {
            reader.read(index + 1, line.trim_end()).map_err(|error| format!("{name}:{}: {error}", index + 1))?;
        }
        if reader.lines.is_empty() {
            return Err(format!("{name}: nothing happens"));
        }
        Ok(Self {
            name: name.to_owned(),
            server: reader.head.arguments(),
            is_alone: reader.is_alone,
            compares_frames: reader.compares_frames,
            differs: reader.differs,
            difference: reader.difference,
            lines: reader.lines,
        })
    }
}

/// What the head says about the server.
#[derive(Default)]
struct Head {
    settings: BTreeSet<String>,
    policy: Option<String>,
    extensions: Option<String>,
    activity: Option<String>,
}

impl Head {
    fn arguments(&self) -> ServerArguments {
        let mut settings = self.settings.clone();
        if !settings.iter().any(|setting| setting.starts_with("timeout=")) {
            settings.insert("timeout=2000".to_owned());
        }
        let mut arguments = vec!["--policy".to_owned(), self.policy.clone().unwrap_or_else(|| "default".to_owned())];
        arguments.extend(settings.into_iter().flat_map(|setting| ["--set".to_owned(), setting]));
        match self.extensions.as_deref() {
            Some("none") => arguments.extend(["--without", "ack,timesync,timestamp,binary"].map(str::to_owned)),
            names => arguments.extend(["--ext".to_owned(), names.unwrap_or("ack,timesync,binary").replace(' ', ",")]),
        }
        arguments.extend(self.activity.iter().flat_map(|limit| ["--activity".to_owned(), limit.clone()]));
        ServerArguments(arguments)
    }
}

#[derive(Default)]
struct Reader {
    head: Head,
    is_alone: bool,
    compares_frames: bool,
    differs: Vec<(String, String)>,
    difference: Vec<String>,
    lines: Vec<Line>,
    sockets: BTreeSet<String>,
    next_id: u32,
}

impl Reader {
    fn read(&mut self, number: usize, line: &str) -> Result<(), String> {
        if line.is_empty() {
            return Ok(());
        }
        if let Some(comment) = line.strip_prefix('#') {
            return self.head_line(comment.trim());
        }
        if line.starts_with("- ") || line.starts_with("+ ") {
            self.difference.push(line.to_owned());
            return Ok(());
        }
        if let Some(header) = line.trim_start().strip_prefix("| ") {
            return self.header_line(header);
        }
        let (times, text) = repetitions(line);
        for index in 1..=times {
            let text = if times == 1 { text.to_owned() } else { text.replace("$n", &index.to_string()) };
            let step = self.step(&text)?;
            self.lines.push(Line { number, step });
        }
        Ok(())
    }

    fn head_line(&mut self, text: &str) -> Result<(), String> {
        let Some((key, value)) = text.split_once(':') else { return Ok(()) };
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return Ok(());
        }
        let value = value.trim();
        match key {
            "settings" => self.head.settings.extend(value.split_whitespace().map(str::to_owned)),
            "policy" => self.head.policy = Some(value.to_owned()),
            "ext" => self.head.extensions = Some(value.to_owned()),
            "activity" => self.head.activity = Some(value.to_owned()),
            "alone" => self.is_alone = true,
            "frames" if value == "compared" => self.compares_frames = true,
            "cases" | "rules" | "needs" | "services" | "cookies" => {}
            "differs" => {
                let (name, reason) = value.split_once(' ').ok_or("`# differs: NAME reason`")?;
                self.differs.push((name.to_owned(), reason.to_owned()));
            }
            _ => return Err(format!("the head has no key `{key}`")),
        }
        Ok(())
    }

    fn header_line(&mut self, text: &str) -> Result<(), String> {
        let (name, value) = text.split_once(':').ok_or("a header line is `| Name: value`")?;
        let step = self.lines.last_mut().map(|line| &mut line.step);
        let Some(Step::Open { headers, .. } | Step::Send { what: Sent::Messages { headers, .. }, .. }) = step else {
            return Err("a header line follows a request".to_owned());
        };
        headers.push((name.trim().to_owned(), value.trim().to_owned()));
        Ok(())
    }

    fn step(&mut self, text: &str) -> Result<Step, String> {
        let (first, rest) = split_word(text);
        match first {
            "pause" => return duration(rest).map(Step::Pause),
            "!" => return control(rest),
            _ => {}
        }
        if !first.starts_with(|c: char| c.is_ascii_uppercase()) {
            return Err(format!("`{first}` is neither a connection nor a directive"));
        }
        let connection = first.to_owned();
        let (mark, rest) = split_word(rest);
        match mark {
            "ws" => {
                self.sockets.insert(connection.clone());
                let target = if rest.is_empty() { "/cometd" } else { rest };
                Ok(Step::Open { connection, target: target.to_owned(), headers: Vec::new() })
            }
            "?" | ">" => Ok(Step::Send { asks: mark == "?", what: self.sent(&connection, rest)?, connection }),
            "<" => Ok(Step::Await { connection, until: until(rest)? }),
            "cut" => Ok(Step::Cut { connection }),
            _ => Err(format!("`{mark}` is none of `?`, `>`, `<`, `ws`, `cut`")),
        }
    }

    fn sent(&mut self, connection: &str, text: &str) -> Result<Sent, String> {
        let (word, rest) = split_word(text);
        let is_socket = self.sockets.contains(connection);
        match word {
            "close" if is_socket => {
                let (code, reason) = split_word(rest);
                return Ok(Sent::Close { code: code.parse().ok(), reason: reason.to_owned() });
            }
            "frame" if is_socket => {
                let (first, payload) = split_word(rest);
                let first = u8::from_str_radix(first, 16).map_err(|_| "`frame HH payload`")?;
                return Ok(Sent::Frame { first, payload: self.payload(payload, "websocket")?.0 });
            }
            _ => {}
        }
        let (method, target, rest) = if word == "jsonp" {
            (Some("GET".to_owned()), "/cometd?jsonp=cb&message=$body".to_owned(), rest)
        } else if ["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"].contains(&word) {
            let (target, rest) = split_word(rest);
            (Some(word.to_owned()), target.to_owned(), rest)
        } else {
            (None, "/cometd".to_owned(), text)
        };
        let connection_type = match (word, is_socket) {
            (_, true) => "websocket",
            ("jsonp", _) => "callback-polling",
            _ => "long-polling",
        };
        let (rest, bound) = match rest.rsplit_once("-> $") {
            Some((rest, name)) => (rest.trim_end(), Some(name.to_owned())),
            None => (rest, None),
        };
        let (body, mut begins) = self.payload(rest, connection_type)?;
        begins.extend(bound);
        Ok(Sent::Messages { method, target, body, headers: Vec::new(), begins })
    }

    fn payload(&mut self, text: &str, connection_type: &str) -> Result<(Payload, Vec<String>), String> {
        if shorthand::is_short(text) {
            self.next_id = self.next_id.max(1);
            let batch = shorthand::expand(text, &mut self.next_id, connection_type)?;
            return Ok((Payload::Template(batch.json), batch.begins));
        }
        let payload = match split_word(text) {
            ("text", quoted) => {
                Payload::Template(serde_json::from_str(quoted).map_err(|error| format!("text \"…\": {error}"))?)
            }
            ("bytes", digits) => {
                let bytes = digits.split_whitespace().map(|pair| u8::from_str_radix(pair, 16));
                Payload::Bytes(bytes.collect::<Result<_, _>>().map_err(|_| "bytes are two hex digits each")?)
            }
            _ => Payload::Template(text.to_owned()),
        };
        Ok((payload, Vec::new()))
    }
}

fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    (word, rest.trim_start())
}

/// `10x LINE` is the line ten times, with the number of the time in place of `$n`.
fn repetitions(line: &str) -> (usize, &str) {
    let repeated = line.split_once("x ").and_then(|(times, rest)| Some((times.parse().ok()?, rest)));
    repeated.unwrap_or((1, line))
}

fn duration(text: &str) -> Result<Duration, String> {
    let millis = text.strip_suffix("ms").and_then(|number| number.parse().ok());
    millis.map(Duration::from_millis).ok_or_else(|| format!("`{text}` is no time: `1500ms`"))
}

fn until(text: &str) -> Result<Until, String> {
    match text.split_once(' ') {
        None if text.is_empty() => Ok(Until::Answered),
        None if text == "close" => Ok(Until::Closed),
        None => Ok(Until::Reply(text.to_owned())),
        Some((count, "event" | "events")) => {
            count.parse().map(Until::Events).map_err(|_| format!("`{count}` is no number"))
        }
        Some(_) => Err(format!("`< {text}`: nothing, an id, `N events` or `close`")),
    }
}

/// `! publish CHANNEL DATA`, `! deliver $a CHANNEL DATA`, `! disconnect $a`, `! session $a timeout=1 interval=2`,
/// `! stats`, and `! lazy CHANNEL timeout=1` and its like.
fn control(text: &str) -> Result<Step, String> {
    let (verb, rest) = split_word(text);
    let (object, rest) = split_word(rest);
    let encoded =
        |channel: &str| channel.replace('%', "%25").replace(' ', "%20").replace('+', "%2B").replace('#', "%23");
    let options = || rest.split_whitespace().map(|option| format!("&{option}")).collect::<String>();
    let (target, body) = match verb {
        "stats" => {
            return Ok(Step::Control { method: "GET".to_owned(), target: "/stats".to_owned(), body: String::new() });
        }
        "publish" => (format!("/publish?channel={}", encoded(object)), rest),
        "deliver" => {
            let (channel, data) = split_word(rest);
            (format!("/deliver?clientId={object}&channel={}", encoded(channel)), data)
        }
        "disconnect" => (format!("/disconnect?clientId={object}"), ""),
        "session" => (format!("/session?clientId={object}{}", options()), ""),
        "lazy" | "persistent" | "broadcastToPublisher" | "authorizer" | "veto" => {
            (format!("/{verb}?channel={}{}", encoded(object), options()), "")
        }
        _ => return Err(format!("there is no control `{verb}`")),
    };
    Ok(Step::Control { method: "POST".to_owned(), target, body: body.to_owned() })
}
