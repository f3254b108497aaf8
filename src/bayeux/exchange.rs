//! [`Exchange`]: one request body or one frame on its way through the engine, and [`Batch`], what leaves together.

use std::sync::Arc;

use super::channels::Channel;
use super::ids::SessionId;
use super::peer::Peer;
use super::publication::{Publication, Shared};
use super::reply::Reply;
use super::session::Slot;
use super::time::Time;

/// The messages of one HTTP request or one WebSocket frame while they are handled, in order ([EN-10]).
///
/// An exchange that has begun must be given to [`Engine::finish`](super::Engine::finish) or to
/// [`Engine::abandon`](super::Engine::abandon): the session it belongs to is not flushed meanwhile.
pub struct Exchange<T> {
    /// When it came.
    pub(super) received: Time,
    /// When its last call was made.
    pub(super) now: Time,
    pub(super) peer: Peer,
    /// What the session may be written through: the connection, or this request.
    pub(super) token: T,
    /// How many messages came together.
    pub(super) count: usize,
    pub(super) session: Binding<T>,
    /// The session whose flushes wait for this exchange.
    pub(super) opened: Option<Arc<Slot<T>>>,
    /// The other stream that the session was written through so far.
    pub(super) left: Option<T>,
    /// The reply to a handshake, which may still count the messages that follow it.
    pub(super) handshake: Option<Reply<'static>>,
    /// Rendered replies in order, separated by commas.
    pub(super) replies: Vec<u8>,
    /// A connect whose fate is decided when all messages have been handled.
    pub(super) connect: Option<PendingConnect>,
}

impl<T> Exchange<T> {
    /// Returns the other stream that the session was written through when this exchange began with it, once.
    ///
    /// What has been taken for that stream may still be given back, so whoever finishes the exchange must first see to it
    /// that nobody is writing there; else newer publications could leave in front of it.
    pub fn left_stream(&mut self) -> Option<T> {
        self.left.take()
    }

    /// Leaves a connect that was refused to be answered when the exchange is finished.
    pub(super) fn refuse_connect(&mut self, reply: Reply<'_>) {
        let place = self.replies.len();
        self.connect = Some(PendingConnect { reply: reply.into_owned(), hold: None, by_stream: false, place });
    }
}

/// Which session the messages of an exchange may use.
#[derive(Debug)]
pub enum Binding<T> {
    /// The session of the first message that names one.
    Open,
    /// One session; messages that name another are answered 402 ([WS-3], [EN-12]).
    Session(Arc<Slot<T>>),
    /// None: the first message named a session that does not exist.
    Nobody,
}

impl<T> Clone for Binding<T> {
    fn clone(&self) -> Self {
        match self {
            Self::Open => Self::Open,
            Self::Session(slot) => Self::Session(Arc::clone(slot)),
            Self::Nobody => Self::Nobody,
        }
    }
}

/// A connect that is either held or answered with the exchange; a refused one is not held.
pub(super) struct PendingConnect {
    pub(super) reply: Reply<'static>,
    /// When to answer it if it is held; `None` if it may not be held.
    pub(super) hold: Option<Time>,
    /// Whether its client says that it has an event stream.
    pub(super) by_stream: bool,
    /// Where its reply belongs among the replies if it is answered at once.
    pub(super) place: usize,
}

impl PendingConnect {
    /// Whether it was not refused.
    pub(super) const fn is_accepted(&self) -> bool {
        self.reply.successful
    }
}

/// What [`Engine::handle`](super::Engine::handle) made of a message.
pub enum Handled<T> {
    /// It is done; its reply waits in the exchange.
    Done,
    /// It was accepted for publication: give it to [`Engine::commit`](super::Engine::commit), which owes the reply.
    Accepted(Accepted<T>),
    /// The request as a whole has failed and gets no replies, though what was done stays done ([EN-13]).
    Fault(Fault),
}

/// A publication that was accepted and is not yet fanned out.
pub struct Accepted<T> {
    pub(super) publication: Publication,
    pub(super) channel: Arc<Channel<T>>,
    pub(super) publisher: Option<SessionId>,
    /// The rendered reply that is owed; empty for publications of the server itself.
    pub(super) reply: Vec<u8>,
}

/// Why a request fails as a whole: HTTP 500, WebSocket close 1011.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A handshake came together with other messages.
    #[error("a handshake must be the only message of its request")]
    HandshakeInBatch,
    /// `advice` of a connect is not an object, or a time in it is not a number.
    #[error("the advice of a connect must be an object with numeric times")]
    BadAdvice,
}

/// One hand-over to a transport: what leaves together, in this order.
#[derive(Debug, Default)]
pub struct Batch {
    /// The handshake reply, a JSON object; on WebSocket a frame of its own.
    pub handshake: Option<Vec<u8>>,
    /// Publications, oldest first.
    pub events: Vec<Shared>,
    /// Replies, JSON objects separated by commas.
    pub replies: Vec<u8>,
    /// The reply of a connect that was held, after the replies withheld with it; JSON objects separated by commas.
    pub connect: Vec<u8>,
    /// Whether events and replies must leave in one frame, so that a cut delivers all or nothing ([WS-9]).
    pub together: bool,
    /// Whether writing it starts the expiry of the session.
    pub starts_expiry: bool,
    /// Whether the session has more to write at once.
    pub more: bool,
}

impl Batch {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.handshake.is_none() && self.events.is_empty() && self.replies.is_empty() && self.connect.is_empty()
    }

    /// Whether it is a single event that a stream sends as the frame it is.
    #[must_use]
    pub fn is_one_event(&self) -> bool {
        self.events.len() == 1 && self.handshake.is_none() && self.replies.is_empty() && self.connect.is_empty()
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self) {
        self.handshake = None;
        self.events.clear();
        self.replies.clear();
        self.connect.clear();
        self.together = false;
        self.starts_expiry = false;
        self.more = false;
    }

    /// Appends everything as one JSON array, the body of an HTTP response.
    pub fn write_array(&self, out: &mut Vec<u8>) {
        out.push(b'[');
        let start = out.len();
        let mut part = |json: &[u8]| {
            if !json.is_empty() {
                if out.len() > start {
                    out.push(b',');
                }
                out.extend_from_slice(json);
            }
        };
        part(self.handshake.as_deref().unwrap_or_default());
        for event in &self.events {
            part(event.json());
        }
        part(&self.replies);
        part(&self.connect);
        out.push(b']');
    }
}

/// What becomes of an exchange when all its messages have been handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finished {
    /// The batch is the answer.
    Answered,
    /// The connect is held. HTTP: the request waits for its outlet to be flushed. WebSocket: the replies of the frame
    /// are withheld with it, and the batch holds what leaves now.
    Held,
}
