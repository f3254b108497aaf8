//! [`DEVIATIONS`]: what our server does otherwise than the recorded ones, as rewritings of what is expected.
//!
//! Each has a name, and a reason in `fixtures/deviations.txt`. A rewriting says exactly what our server answers instead;
//! nothing is skipped.

use serde_json::Value;

use super::pattern::{Fields, Pattern};
use super::together::together;
use super::transcript::{Answer, Body, Conversation, Event, Exchange, Frame, Line, Millis, Request};

/// What is known of the place where a deviation may apply.
pub struct Case<'a> {
    /// The conversation.
    pub conversation: &'a Conversation,
    /// The message that is answered.
    pub asked: Option<&'a Pattern>,
    /// The HTTP request that is answered.
    pub request: Option<(&'a Exchange, &'a Request)>,
}

/// One way in which our server differs.
#[derive(Clone, Copy)]
pub struct Deviation {
    /// Its name in `fixtures/deviations.txt`.
    pub name: &'static str,
    /// What it changes.
    pub change: Change,
}

/// What a deviation changes.
#[derive(Clone, Copy)]
pub enum Change {
    /// One expected message; `None` where the deviation does not apply.
    Message(fn(&Case<'_>, &Pattern, &Value) -> Option<Pattern>),
    /// Status and body of an expected answer, given the status that was got; `None` where it does not apply.
    Answer(fn(&Case<'_>, &Answer, u16) -> Option<Answer>),
    /// One expected header line, given the value that was got; whether that is as good.
    Header(fn(&str, &str, Option<&str>) -> bool),
    /// The order of two messages that follow one another on a WebSocket: whether it may be the other one.
    Order(fn(&Pattern, &Pattern) -> bool),
    /// What client and server say, because what the client says next depends on it; `None` where it does not apply.
    Whole(fn(&Conversation) -> Option<Conversation>),
}

/// Returns those that may apply to a conversation: none to one that was written for our server.
pub fn deviations_for(conversation: &Conversation) -> &'static [Deviation] {
    static ALL: [Deviation; 12] = DEVIATIONS;
    if conversation.head.is_recorded() { &ALL } else { &[] }
}

/// All of them.
pub const DEVIATIONS: [Deviation; 12] = [
    Deviation { name: "offered-to-faye", change: Change::Message(offered_to_faye) },
    Deviation { name: "session-without-cookie", change: Change::Message(session_without_cookie) },
    Deviation { name: "superseded-by-another-transport", change: Change::Answer(superseded_by_another_transport) },
    Deviation { name: "empty-batch", change: Change::Answer(empty_batch) },
    Deviation { name: "empty-batch-on-websocket", change: Change::Whole(empty_batch_on_websocket) },
    Deviation { name: "upgrade-below-the-mount", change: Change::Answer(upgrade_below_the_mount) },
    Deviation { name: "disconnect-order", change: Change::Order(disconnect_order) },
    Deviation { name: "one-request-together", change: Change::Whole(together) },
    ANOTHER_TIME,
    Deviation { name: "content-type", change: Change::Header(content_type) },
    Deviation { name: "no-compression", change: Change::Header(no_compression) },
    Deviation { name: "preflight", change: Change::Header(preflight) },
];

/// What may differ whoever answers, unless the clock can be set.
pub const ANOTHER_TIME: Deviation = Deviation { name: "another-time", change: Change::Message(another_time) };

/// Rewrites a conversation as a whole where that has to be done before it is played; also returns by which deviations.
pub fn as_our_server_has_it(conversation: Conversation) -> (Conversation, Vec<&'static str>) {
    let deviations = deviations_for(&conversation);
    rewritten(conversation, deviations)
}

/// Rewrites a conversation as [`as_our_server_has_it`] does, by these deviations and no others.
pub fn rewritten(conversation: Conversation, deviations: &[Deviation]) -> (Conversation, Vec<&'static str>) {
    let mut names = Vec::new();
    let rewritten = deviations.iter().fold(conversation, |conversation, deviation| {
        let Change::Whole(rewrite) = deviation.change else { return conversation };
        let rewritten = rewrite(&conversation);
        names.extend(rewritten.is_some().then_some(deviation.name));
        rewritten.unwrap_or(conversation)
    });
    (rewritten, names)
}

/// A client of Faye that names connection types which only Faye has is offered them too, in a fixed order.
fn offered_to_faye(case: &Case<'_>, expected: &Pattern, _: &Value) -> Option<Pattern> {
    let names = |name: &str| {
        let Some(Pattern::Array(named)) = case.asked?.member("supportedConnectionTypes") else { return None };
        named.iter().any(|known| known.is_text(name)).then(|| Pattern::Text(format!("\"{name}\"")))
    };
    let mut ours = expected.clone();
    let Pattern::Array(offered) = ours.member_mut("supportedConnectionTypes")? else { return None };
    let behind = 1 + offered.iter().position(|name| name.is_text("long-polling"))?;
    let (cross_origin, stream) = (names("cross-origin-long-polling"), names("eventsource"));
    if cross_origin.is_none() && stream.is_none() {
        return None;
    }
    offered.splice(behind..behind, cross_origin);
    offered.extend(stream);
    Some(ours)
}

/// A connect that was refused for want of a cookie is answered as the first one of its session.
fn session_without_cookie(case: &Case<'_>, expected: &Pattern, _: &Value) -> Option<Pattern> {
    let refused = expected.member("error")?.is_text("402::session_unknown");
    let sent_none = |(_, request): (&Exchange, &Request)| {
        let mut headers = case.conversation.request_headers(request).iter();
        headers.any(|(name, value)| name.eq_ignore_ascii_case("cookie") && value.is_empty())
    };
    let is_without = case.conversation.head.without_cookies || case.request.is_some_and(sent_none);
    if !is_without || !refused || !expected.member("channel")?.is_text("/meta/connect") {
        return None;
    }
    let mut ours = expected.clone();
    let Pattern::Object(Fields { members, .. }) = &mut ours else { return None };
    members.retain(|(key, _)| !matches!(key.as_str(), "\"error\"" | "\"advice\"" | "\"successful\""));
    members.push(("\"successful\"".to_owned(), Pattern::Bool(true)));
    if case.asked?.member("advice").is_some() {
        let timeout = case.conversation.head.millis("timeout")?;
        let advice = format!("{{\"reconnect\":\"retry\",\"interval\":0,\"timeout\":{timeout}}}");
        members.push(("\"advice\"".to_owned(), Pattern::parse(&advice).ok()?));
    }
    Some(ours)
}

/// A held connect whose session went on over another transport ends well instead of with an error status.
fn superseded_by_another_transport(case: &Case<'_>, expected: &Answer, status: u16) -> Option<Answer> {
    let (_, request) = case.request?;
    let Body::Json(batch) = &request.body else { return None };
    let [connect] = batch.messages() else { return None };
    if expected.status != 500 || status != 200 || !connect.member("channel")?.is_text("/meta/connect") {
        return None;
    }
    let mut reply = Fields { members: Vec::new(), open: true };
    for key in ["channel", "id"] {
        reply.members.extend(connect.member(key).map(|value| (format!("\"{key}\""), value.clone())));
    }
    reply.members.push(("\"successful\"".to_owned(), Pattern::Bool(true)));
    let body = Body::Json(Pattern::Array(vec![Pattern::Object(reply)]));
    Some(Answer { status, headers: expected.headers.clone(), body })
}

/// A WebSocket is opened on any path below the mount.
fn upgrade_below_the_mount(case: &Case<'_>, expected: &Answer, status: u16) -> Option<Answer> {
    let (_, request) = case.request?;
    let below = request.method == "UPGRADE" && request.path.starts_with("/cometd/");
    (below && expected.status == 400 && status == 101).then(|| Answer {
        status,
        headers: expected.headers.clone(),
        body: Body::Empty,
    })
}

/// An empty batch is answered with an empty batch.
fn empty_batch(case: &Case<'_>, expected: &Answer, status: u16) -> Option<Answer> {
    let (_, request) = case.request?;
    let is_empty = matches!(&request.body, Body::Json(batch) if is_empty_array(batch));
    let body = Body::Json(Pattern::Array(Vec::new()));
    let is_ours = is_empty && expected.status == 500 && status == 200;
    is_ours.then(|| Answer { status, headers: expected.headers.clone(), body })
}

fn is_empty_array(batch: &Pattern) -> bool {
    matches!(batch, Pattern::Array(messages) if messages.is_empty())
}

/// A WebSocket that was closed for an empty batch stays open, and what the client sent after it is answered: a connect at
/// its time, when the conversation ends, for the client had no reason to try again.
fn empty_batch_on_websocket(conversation: &Conversation) -> Option<Conversation> {
    let lines = &conversation.lines;
    let sent = |line: &Line| match &line.event {
        Event::Sent(connection, Frame::Batch(batch)) => Some((connection.clone(), batch.clone())),
        _ => None,
    };
    let empty = lines.iter().position(|line| sent(line).is_some_and(|(_, batch)| is_empty_array(&batch)))?;
    let (connection, _) = sent(&lines[empty])?;
    let is_close =
        |event: &Event| matches!(event, Event::Received(on, Frame::Close(Some(1011), _)) if *on == connection);
    let closed = lines.iter().position(|line| is_close(&line.event))?;
    let answer = |line: &Line, after: Millis, members: Vec<(String, Pattern)>, open: bool| {
        let batch = Pattern::Array(vec![Pattern::Object(Fields { members, open })]);
        let event = Event::Received(connection.clone(), Frame::Batch(batch));
        Line { event, at: line.at + after, ..line.clone() }
    };
    let (mut now, mut later) = (Vec::new(), Vec::new());
    for line in &lines[empty + 1..closed] {
        now.push(line.clone());
        let Some((_, batch)) = sent(line).filter(|(on, _)| *on == connection) else { continue };
        for message in batch.messages() {
            let member = |name: &str| Some((format!("\"{name}\""), message.member(name)?.clone()));
            let reply = vec![member("channel")?, member("id")?, ("\"successful\"".to_owned(), Pattern::Bool(true))];
            if let Some(data) = member("data") {
                now.push(answer(line, 0, vec![member("channel")?, data], false));
                now.push(answer(line, 0, reply, false));
            } else {
                later.push(answer(line, conversation.head.millis("timeout")?, reply, true));
            }
        }
    }
    let mut ours = conversation.clone();
    ours.lines.truncate(empty + 1);
    ours.lines.extend(now.into_iter().chain(later));
    Some(ours)
}

/// A held connect that ends with its session is answered before or after what ended it.
fn disconnect_order(first: &Pattern, second: &Pattern) -> bool {
    let is_reply = |message: &Pattern| message.member("id").is_some() && message.member("data").is_none();
    let is_to = |message: &Pattern, channel: &str| message.member("channel").is_some_and(|name| name.is_text(channel));
    let is_last = |message: &Pattern| {
        let reconnect = message.member("advice").and_then(|advice| advice.member("reconnect"));
        is_to(message, "/meta/connect") && reconnect.is_some_and(|reconnect| reconnect.is_text("none"))
    };
    let pair = |one, other| {
        let disconnects = is_to(one, "/meta/disconnect") && is_to(other, "/meta/connect");
        is_reply(one) && is_reply(other) && (disconnects || is_last(other))
    };
    pair(first, second) || pair(second, first)
}

/// Whether a client is told how far its clock is off hangs on the clock of the server, and on single milliseconds.
fn another_time(case: &Case<'_>, expected: &Pattern, got: &Value) -> Option<Pattern> {
    const EXT: &str = "\"ext\"";
    const KEY: &str = "timesync";
    let question = case.asked?.member("ext")?.member(KEY)?;
    let is_told = got.get("ext").and_then(|ext| ext.get(KEY)).is_some();
    let was_told = expected.member("ext").is_some_and(|ext| ext.member(KEY).is_some());
    // One that does not know yet how long its messages take is always told.
    if is_told == was_told || question.member("l")?.as_u64() == Some(0) {
        return None;
    }
    let answer = format!("{{\"tc\":{},\"ts\":…,\"p\":…,\"a\":…}}", question.member("tc")?);
    let mut ours = expected.clone();
    let Pattern::Object(Fields { members, .. }) = &mut ours else { return None };
    if is_told && !members.iter().any(|(key, _)| key == EXT) {
        members.push((EXT.to_owned(), Pattern::Object(Fields::default())));
    }
    let (_, ext) = members.iter_mut().find(|(key, _)| key == EXT)?;
    let Pattern::Object(Fields { members: entries, .. }) = ext else { return None };
    if is_told {
        entries.push((format!("\"{KEY}\""), Pattern::parse(&answer).ok()?));
    } else {
        entries.retain(|(key, _)| *key != format!("\"{KEY}\""));
    }
    let is_empty = entries.is_empty() && got.get("ext").is_none();
    members.retain(|(key, _)| !(is_empty && key == EXT));
    Some(ours)
}

/// The media type is the same; its charset is UTF-8 or not named.
fn content_type(name: &str, expected: &str, got: Option<&str>) -> bool {
    let (Some(got), true) = (got, name.eq_ignore_ascii_case("content-type")) else { return false };
    let media_type = |value: &str| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let charset = got.split_once(';').map(|(_, charset)| charset.trim().to_ascii_lowercase());
    media_type(expected) == media_type(got) && charset.is_none_or(|charset| charset == "charset=utf-8")
}

/// An offer to compress frames is declined.
fn no_compression(name: &str, expected: &str, got: Option<&str>) -> bool {
    name.eq_ignore_ascii_case("sec-websocket-extensions") && expected.starts_with("permessage-deflate") && got.is_none()
}

/// A preflight names at least the methods and header lines that clients use, and any time for which it holds.
fn preflight(name: &str, expected: &str, got: Option<&str>) -> bool {
    let Some(got) = got else { return false };
    let listed = |list: &str| list.split(',').map(|item| item.trim().to_ascii_lowercase()).collect::<Vec<_>>();
    let got_list = listed(got);
    match name.to_ascii_lowercase().as_str() {
        "access-control-max-age" => got.trim().parse::<u64>().is_ok(),
        "access-control-allow-headers" => listed(expected).iter().all(|item| got_list.contains(item)),
        "access-control-allow-methods" => {
            ["get", "post"].iter().all(|method| got_list.iter().any(|item| item == method))
        }
        "vary" => listed(expected).iter().all(|item| got_list.contains(item)),
        _ => false,
    }
}
