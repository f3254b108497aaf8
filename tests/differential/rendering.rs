//! [`render`]: a play as lines of text that are the same for servers that do the same.
//!
//! What servers may choose freely is replaced or left out: client ids, cookies, acknowledgement numbers, times, header
//! lines that no client looks at, error pages. `docs/differential.md` lists it.

use serde_json::{Map, Value};

use super::connection::{Received, Seconds, messages_of, unwrapped};
use super::player::Play;
use super::wire::Response;

/// Header lines of an answer that are compared.
const HEADERS: [&str; 4] = ["Set-Cookie", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Allow"];

/// The lines of a play: connection by connection, in the order of their first use.
pub(crate) fn render(play: &Play, by_frames: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, received) in &play.connections {
        let renderer = Renderer { play, name };
        let mut run = Vec::new();
        for item in received {
            match item {
                Received::Messages(messages) if !by_frames => run.extend(messages.iter().cloned()),
                other => {
                    renderer.messages(&mut lines, std::mem::take(&mut run));
                    renderer.item(&mut lines, other);
                }
            }
        }
        renderer.messages(&mut lines, run);
    }
    lines
}

/// Complaints about acknowledgement numbers, which are opaque but never decrease.
pub(crate) fn unordered_acks(play: &Play) -> Option<String> {
    let (session, numbers) = play.acks.iter().find(|(_, numbers)| !numbers.is_sorted())?;
    Some(format!("acknowledgement numbers of ${session} decrease: {numbers:?}"))
}

struct Renderer<'a> {
    play: &'a Play,
    name: &'a str,
}

impl Renderer<'_> {
    fn item(&self, lines: &mut Vec<String>, item: &Received) {
        let name = self.name;
        match item {
            Received::Response { request, response, after } => self.response(lines, *request, response, *after),
            Received::Opening(response) => lines.push(format!("{name} {}{}", response.status, self.headers(response))),
            Received::Messages(messages) => {
                let after = messages.iter().map(|(_, after)| *after).max().unwrap_or(0);
                let texts: Vec<String> = messages.iter().map(|(message, _)| self.message(message)).collect();
                lines.push(format!("{name} [{}]{}", texts.join(","), suffix(after)));
            }
            Received::Other(text) => lines.push(format!("{name} {}", self.masked(text))),
            Received::Close(Some(code)) => lines.push(format!("{name} close {code}")),
            Received::Close(None) => lines.push(format!("{name} close")),
            Received::End => lines.push(format!("{name} end of stream")),
            Received::Cut => lines.push(format!("{name} (cut)")),
            Received::InVain(what) => lines.push(format!("{name} (waited in vain for {what})")),
            Received::NoAnswer(request) => lines.push(format!("{name}.{request} (no answer)")),
        }
    }

    fn response(&self, lines: &mut Vec<String>, request: usize, response: &Response, after: Seconds) {
        let label = format!("{}.{request}", self.name);
        let head = format!("{label} {}", response.status);
        if response.status >= 400 {
            lines.push(format!("{head}{}{}", self.headers(response), suffix(after)));
            return;
        }
        let text = String::from_utf8_lossy(&response.body);
        if self.name == "!" || response.body.is_empty() {
            lines.push(format!("{head} {}{}", self.masked(&text), suffix(after)));
            return;
        }
        let callback = unwrapped(&text).map(|(name, _)| format!(" {name}(…)")).unwrap_or_default();
        lines.push(format!("{head} {}{callback}{}{}", media_type(response), self.headers(response), suffix(after)));
        let messages = messages_of(&response.body);
        if messages.is_empty() {
            lines.push(format!("{label}   {}", self.masked(&text)));
        }
        lines.extend(messages.iter().map(|message| format!("{label}   {}", self.message(message))));
    }

    /// Messages of one WebSocket, in an order that does not depend on what servers may order freely.
    fn messages(&self, lines: &mut Vec<String>, mut messages: Vec<(Value, Seconds)>) {
        let mut has_changed = true;
        while has_changed {
            has_changed = false;
            for index in 1..messages.len() {
                if is_before(&messages[index].0, &messages[index - 1].0) {
                    messages.swap(index, index - 1);
                    has_changed = true;
                }
            }
        }
        for (message, after) in &messages {
            lines.push(format!("{}   {}{}", self.name, self.message(message), suffix(*after)));
        }
    }

    fn headers(&self, response: &Response) -> String {
        let mut text = String::new();
        for name in HEADERS {
            for value in response.all(name) {
                let value = if name == "Set-Cookie" { without_value(value) } else { value.to_owned() };
                text.push_str(&format!(" | {name}: {value}"));
            }
        }
        text
    }

    fn message(&self, message: &Value) -> String {
        let mut message = message.clone();
        if let Value::Object(members) = &mut message {
            self.mask_members(members);
        }
        self.masked(&written(&message))
    }

    fn mask_members(&self, members: &mut Map<String, Value>) {
        if let Some(Value::String(id)) = members.get("clientId")
            && !self.play.sessions.iter().any(|(_, known)| known == id)
            && members.get("successful") == Some(&Value::Bool(true))
        {
            members.insert("clientId".to_owned(), "<new>".into());
        }
        if let Some(Value::String(time)) = members.get("timestamp") {
            let shape = shape(time);
            members.insert("timestamp".to_owned(), shape.into());
        }
        let Some(Value::Object(ext)) = members.get_mut("ext") else { return };
        match ext.get_mut("ack") {
            Some(number @ Value::Number(_)) => *number = "<ack>".into(),
            Some(Value::Object(ack)) => {
                ack.entry("batch").and_modify(|batch| *batch = "<ack>".into());
            }
            _ => {}
        }
        if let Some(Value::Object(timesync)) = ext.get_mut("timesync") {
            for key in ["ts", "a"] {
                timesync.entry(key.to_owned()).and_modify(|value| {
                    *value = if value.is_number() { format!("<{key}>").into() } else { value.clone() };
                });
            }
            if let Some(spent) = timesync.get("p").and_then(Value::as_u64) {
                timesync.insert("p".to_owned(), ((spent + 200) / 1000).into());
            }
        }
    }

    /// Text with names in the place of client ids and of the script's own channels.
    fn masked(&self, text: &str) -> String {
        let mut text = text.replace(&format!("/{}/", self.play.token), "/@/");
        for (name, id) in &self.play.sessions {
            text = text.replace(id, &format!("${name}"));
        }
        text
    }
}

/// A client's own message and the reply to its publish come in either order from CometD; so do the reply to a connect that
/// ends with its session and the replies to what ended it (D14, D60).
fn is_before(later: &Value, earlier: &Value) -> bool {
    let is_reply = |message: &Value| message.get("successful").is_some() && message.get("data").is_none();
    let channel = |message: &Value| message["channel"].as_str().unwrap_or_default().to_owned();
    let own_event = is_reply(earlier)
        && !is_reply(later)
        && !channel(earlier).starts_with("/meta/")
        && channel(earlier).trim_end_matches('/') == channel(later).trim_end_matches('/');
    let ended = is_reply(later)
        && channel(earlier) == "/meta/connect"
        && earlier["successful"] == true
        && earlier["advice"]["reconnect"] == "none";
    own_event || ended
}

fn suffix(after: Seconds) -> String {
    if after == 0 { String::new() } else { format!(" (after {after} s)") }
}

/// A line without the time that [`suffix`] put there.
pub(crate) fn without_time(line: &str) -> &str {
    let is_time = |end: &str| end.strip_suffix(" s)").is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()));
    line.rsplit_once(" (after ").filter(|(_, end)| is_time(end)).map_or(line, |(kept, _)| kept)
}

/// The media type; its charset only if it is not UTF-8.
fn media_type(response: &Response) -> String {
    let value = response.header("Content-Type").unwrap_or("no content type").to_ascii_lowercase().replace(' ', "");
    value.trim_end_matches(";charset=utf-8").to_owned()
}

fn without_value(cookie: &str) -> String {
    let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
    let name = pair.split('=').next().unwrap_or_default();
    let attributes = if attributes.is_empty() { String::new() } else { format!(";{attributes}") };
    format!("{name}=<cookie>{attributes}")
}

/// A time as its pattern: letters as `a`, digits as `9`.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    for c in text.chars() {
        let mark = if c.is_ascii_alphabetic() {
            'a'
        } else if c.is_ascii_digit() {
            '9'
        } else {
            c
        };
        if !(matches!(mark, 'a' | '9') && shape.ends_with(mark)) {
            shape.push(mark);
        }
    }
    shape
}

/// JSON with what tells most first, the rest by name.
fn written(value: &Value) -> String {
    let Value::Object(members) = value else { return value.to_string() };
    let rank = |key: &str| ["channel", "id", "successful", "error"].iter().position(|first| *first == key).unwrap_or(9);
    let mut keys: Vec<&String> = members.keys().collect();
    keys.sort_by_key(|key| (rank(key), key.as_str()));
    let texts: Vec<String> =
        keys.iter().map(|key| format!("{}:{}", Value::from(key.as_str()), members[*key])).collect();
    format!("{{{}}}", texts.join(","))
}
