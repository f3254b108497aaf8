//! [`Subject`]: who takes the server's part in a replay.

use std::fmt;

use super::transcript::{Exchange, Frame, Headers, Millis};

/// How much of a conversation a subject takes part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Bayeux messages and the status of their answers, in virtual time.
    Messages,
    /// All that travels over sockets.
    Wire,
}

/// By how much the time of an answer may differ from that written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// How much earlier it may come: what the recorded machine and relay took.
    pub early: Millis,
    /// How much later.
    pub late: Millis,
    /// How long before the end of a hold a line is played that is to come before it.
    pub ahead: Millis,
}

impl Default for Tolerance {
    fn default() -> Self {
        Self { early: 250, late: 150, ahead: 1 }
    }
}

/// Something that takes the server's part.
///
/// All methods take the time, which never goes backwards. A connection opens with the first request on it.
pub trait Subject {
    /// How much it takes part in; with [`Scope::Messages`] no `OPTIONS` is asked of it, and of close frames only
    /// those that it sends first are expected.
    fn scope(&self) -> Scope;

    /// How exact its times are.
    fn tolerance(&self) -> Tolerance {
        Tolerance::default()
    }

    /// Takes an HTTP request, or the opening of a WebSocket (method `UPGRADE`).
    fn request(&mut self, now: Millis, exchange: &Exchange, request: &Sent<'_>);

    /// Takes a text frame.
    fn frame(&mut self, now: Millis, connection: &str, text: &str);

    /// Takes a close frame.
    fn close(&mut self, now: Millis, connection: &str, code: Option<u16>, reason: &str);

    /// Sees the client or the network end a TCP connection; may be told of one that has ended already.
    fn cut(&mut self, now: Millis, connection: &str);

    /// Publishes as the server itself.
    fn publish(&mut self, now: Millis, channel: &str, data: &str);

    /// Disconnects a session as the server itself.
    fn disconnect(&mut self, now: Millis, client_id: &str);

    /// Takes what an operator asks at a control endpoint.
    ///
    /// # Errors
    ///
    /// It cannot be done here.
    fn control(&mut self, _now: Millis, target: &str, _body: &str) -> Result<(), String> {
        Err(format!("there is no control endpoint for {target}"))
    }

    /// Stops without notice and comes back empty.
    fn restart(&mut self, now: Millis);

    /// Lets time pass until something has been written or `until` has come, whichever is first, and returns the time that
    /// it is then.
    fn advance(&mut self, now: Millis, until: Millis) -> Millis;

    /// Hands over what has been written since the last call, in order.
    fn collect(&mut self) -> Vec<Output>;

    /// Names what is left (sessions, deadlines, queues) after all connections were cut and nothing was due for long.
    fn leftovers(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// An HTTP request as it is to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent<'a> {
    /// HTTP method, or `UPGRADE`.
    pub method: &'a str,
    /// Target, with its query.
    pub path: String,
    /// Header lines that matter; the subject adds what HTTP needs.
    pub headers: &'a [(String, String)],
    /// Body, empty if there is none.
    pub body: String,
}

/// Something that the subject wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// When.
    pub at: Millis,
    /// On which connection.
    pub connection: String,
    /// What.
    pub written: Written,
}

/// What a subject wrote.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// The answer to request `number` of the connection.
    Answer {
        /// Number of the request.
        number: u32,
        /// HTTP status.
        status: u16,
        /// Header lines.
        headers: Headers,
        /// Body.
        body: String,
    },
    /// A text frame.
    Frame(String),
    /// A close frame.
    Close(Option<u16>, String),
    /// The end of the TCP connection.
    Cut,
}

impl fmt::Display for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, connection, written } = self;
        match written {
            Written::Answer { number, status, body, .. } => {
                write!(formatter, "@{at} < {connection}.{number} {status} {body}")
            }
            Written::Frame(text) => write!(formatter, "@{at} < {connection} {text}"),
            Written::Close(code, reason) => {
                write!(formatter, "@{at} < {connection} {}", Frame::Close(*code, reason.clone()))
            }
            Written::Cut => write!(formatter, "@{at} < {connection} cut"),
        }
    }
}
