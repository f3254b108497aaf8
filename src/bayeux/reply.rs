//! [`Reply`]: the answer to one message.

use std::borrow::Cow;

use super::advice::Advice;
use super::extension::{Question, TIMESTAMP, json_text};
use super::ids::SessionId;
use super::message::{Json, Message, ext_with, write_field, write_string};
use super::rejection::Rejection;

/// The answer to one message, until it is written.
///
/// It echoes `channel`, `id` and `subscription` of the message ([EN-6], [EN-7]) and never names the session, except
/// in the reply to a handshake ([EN-8]).
#[derive(Clone, Debug)]
pub struct Reply<'a> {
    /// `channel` of the message.
    pub channel: Option<Cow<'a, str>>,
    /// `id` of the message.
    pub id: Option<Cow<'a, str>>,
    /// `subscription` of the message.
    pub subscription: Option<Json<'a>>,
    /// Whether the message was accepted.
    pub successful: bool,
    /// Why the message was refused.
    pub error: Option<Rejection>,
    /// What the client is told to do next.
    pub advice: Option<ReplyAdvice>,
    /// `ext`, JSON text of an object.
    pub ext: Option<String>,
    /// `timestamp`: when it left.
    pub timestamp: Option<String>,
    /// What only the reply to a handshake has.
    pub handshake: Option<Box<Handshake>>,
    /// What the message asked about clocks, until it is answered ([TS-1]).
    pub(super) question: Option<Box<Question>>,
}

/// The `advice` of a reply.
#[derive(Clone, Debug)]
pub enum ReplyAdvice {
    /// The engine's own.
    Engine(Advice),
    /// JSON text of an object that a policy wrote.
    Policy(String),
}

/// What only the reply to a successful handshake has.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// `clientId` of the new session.
    pub id: SessionId,
    /// `supportedConnectionTypes`, in the order of the settings.
    pub transports: Vec<&'static str>,
    /// `x-messages`: how many messages follow; left out if zero.
    pub messages: usize,
}

impl<'a> Reply<'a> {
    /// The reply to `message`, successful unless something is found.
    #[must_use]
    pub fn to(message: &Message<'a>) -> Self {
        Self {
            channel: message.channel.clone(),
            id: message.id.clone(),
            subscription: message.subscription.clone(),
            successful: true,
            error: None,
            advice: None,
            ext: None,
            timestamp: None,
            handshake: None,
            question: None,
        }
    }

    /// Makes it a refusal.
    pub fn refuse(&mut self, rejection: Rejection) {
        self.successful = false;
        self.error = Some(rejection);
    }

    /// Sets one entry of `ext`, JSON text; the others stay as they are.
    pub fn put_ext(&mut self, name: &str, value: &str) {
        let ext = self.ext.take().map(Cow::Owned);
        self.ext = Some(ext_with(ext.as_ref(), name, value));
    }

    /// Sets the engine's advice.
    pub(super) fn advise(&mut self, advice: Option<Advice>) {
        if let Some(advice) = advice {
            self.advice = Some(ReplyAdvice::Engine(advice));
        }
    }

    /// Makes sure that it has `ext`.
    pub(super) fn ensure_ext(&mut self) {
        self.ext.get_or_insert_with(|| "{}".to_owned());
    }

    /// Returns the reply without borrowing from the message.
    #[must_use]
    pub fn into_owned(self) -> Reply<'static> {
        Reply {
            channel: self.channel.map(|text| Cow::Owned(text.into_owned())),
            id: self.id.map(|text| Cow::Owned(text.into_owned())),
            subscription: self.subscription.map(|text| Cow::Owned(text.into_owned())),
            successful: self.successful,
            error: self.error,
            advice: self.advice,
            ext: self.ext,
            timestamp: self.timestamp,
            handshake: self.handshake,
            question: self.question,
        }
    }

    /// Appends the reply as a JSON object, after a comma if something precedes it.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"successful\":");
        out.extend_from_slice(if self.successful { b"true" } else { b"false" });
        for (name, value) in [("channel", &self.channel), ("id", &self.id)] {
            if let Some(value) = value {
                out.extend_from_slice(b",\"");
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":");
                write_string(value, out);
            }
        }
        if let Some(subscription) = &self.subscription {
            write_field("subscription", subscription, out);
        }
        if let Some(error) = &self.error {
            out.extend_from_slice(b",\"error\":");
            write_string(&error.to_string(), out);
        }
        if let Some(handshake) = &self.handshake {
            handshake.write(out);
        }
        match &self.advice {
            None => {}
            Some(ReplyAdvice::Engine(advice)) => {
                out.extend_from_slice(b",\"advice\":");
                advice.write(out);
            }
            Some(ReplyAdvice::Policy(json)) => write_field("advice", json, out),
        }
        if let Some(ext) = &self.ext {
            write_field("ext", ext, out);
        }
        if let Some(timestamp) = &self.timestamp {
            write_field(TIMESTAMP, &json_text(timestamp), out);
        }
        out.push(b'}');
    }
}

impl Handshake {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!(",\"clientId\":\"{}\"", self.id).as_bytes());
        out.extend_from_slice(b",\"version\":\"1.0\",\"minimumVersion\":\"1.0\",\"supportedConnectionTypes\":[");
        for (position, transport) in self.transports.iter().enumerate() {
            if position > 0 {
                out.push(b',');
            }
            write_string(transport, out);
        }
        out.push(b']');
        if self.messages > 0 {
            out.extend_from_slice(format!(",\"x-messages\":{}", self.messages).as_bytes());
        }
    }
}
