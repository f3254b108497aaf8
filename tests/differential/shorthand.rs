//! Short forms of Bayeux messages: `sub $a /@/x ; pub $a /@/x {"n":1}`.

use serde_json::{Map, Value, json};

/// Messages written in short, as the text of a JSON array.
pub(crate) struct Batch {
    /// The array; names such as `$a` stand in it as strings.
    pub(crate) json: String,
    /// Names of the sessions that handshakes among them begin.
    pub(crate) begins: Vec<String>,
}

/// Whether text begins with a short form rather than with JSON.
pub(crate) fn is_short(text: &str) -> bool {
    let word = text.split(' ').next().unwrap_or_default();
    ["hs", "cn", "cn0", "sub", "uns", "pub", "dis"].contains(&word)
}

/// Expands `text`; ids are taken from `next_id`, `connection_type` is what a connect names.
pub(crate) fn expand(text: &str, next_id: &mut u32, connection_type: &str) -> Result<Batch, String> {
    let mut rest = text.trim();
    let mut batch = Batch { json: String::new(), begins: Vec::new() };
    let mut messages = Vec::new();
    loop {
        let (message, after) = expand_one(rest, *next_id, connection_type, &mut batch.begins)?;
        *next_id += 1;
        messages.push(Value::Object(message));
        rest = after.trim_start();
        match rest.strip_prefix(';') {
            Some(more) => rest = more.trim_start(),
            None if rest.is_empty() => break,
            None => return Err(format!("`;` or the end expected at `{rest}`")),
        }
    }
    batch.json = Value::Array(messages).to_string();
    Ok(batch)
}

fn expand_one<'a>(
    text: &'a str,
    id: u32,
    connection_type: &str,
    begins: &mut Vec<String>,
) -> Result<(Map<String, Value>, &'a str), String> {
    let (verb, rest) = word(text);
    let (session, mut rest) = word(rest);
    let mut message = Map::new();
    let mut set = |key: &str, value: Value| message.insert(key.to_owned(), value);
    set("id", json!(id.to_string()));
    if verb == "hs" {
        begins.push(session.trim_start_matches('$').to_owned());
    } else if session != "-" {
        set("clientId", json!(session.trim_matches('"')));
    }
    match verb {
        "hs" => {
            set("channel", json!("/meta/handshake"));
            set("version", json!("1.0"));
            set("minimumVersion", json!("1.0"));
            set("supportedConnectionTypes", json!(["websocket", "long-polling", "callback-polling"]));
        }
        "cn" | "cn0" => {
            set("channel", json!("/meta/connect"));
            set("connectionType", json!(connection_type));
            if verb == "cn0" {
                set("advice", json!({"timeout": 0}));
            }
        }
        "sub" | "uns" => {
            let (value, after) = channel_or_json(rest)?;
            rest = after;
            set("channel", json!(if verb == "sub" { "/meta/subscribe" } else { "/meta/unsubscribe" }));
            set("subscription", value);
        }
        "pub" => {
            let (channel, after) = channel_or_json(rest)?;
            let (data, after) = json_value(after)?.ok_or("a publish needs data")?;
            rest = after;
            set("channel", channel);
            set("data", data);
        }
        "dis" => {
            set("channel", json!("/meta/disconnect"));
        }
        _ => return Err(format!("`{verb}` is no short form")),
    }
    if rest.trim_start().starts_with('{')
        && let Some((Value::Object(more), after)) = json_value(rest)?
    {
        message.extend(more);
        rest = after;
    }
    Ok((message, rest))
}

fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once(' ').unwrap_or((text, ""))
}

fn channel_or_json(text: &str) -> Result<(Value, &str), String> {
    let text = text.trim_start();
    if text.starts_with(['"', '[']) {
        return json_value(text)?.ok_or_else(|| "a channel is missing".to_owned());
    }
    let (channel, rest) = word(text);
    Ok((json!(channel), rest))
}

/// The JSON value at the beginning of `text`, and what follows it.
fn json_value(text: &str) -> Result<Option<(Value, &str)>, String> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    match values.next() {
        None => Ok(None),
        Some(Ok(value)) => {
            let end = values.byte_offset();
            Ok(Some((value, &text[end..])))
        }
        Some(Err(error)) => Err(format!("{error} in `{text}`")),
    }
}
