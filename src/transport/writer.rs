//! [`Writer`]: the one way to write to a WebSocket.
//!
//! Whoever has something for a connection, a publisher, the connection's own reader or its task, takes this lock, then
//! what the session has, then writes without waiting. So frames never interleave ([WS-15]) and nobody waits for a slow
//! client. What did not fit is the *rest*: while there is one nothing else is written, and only the connection's task,
//! which waits until the socket can take more, may continue.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::net::TcpStream;

use crate::bayeux::{Batch, Took};
use crate::node::{Node, OutletRef, Session};

use super::connections::Counters;
use super::encode::{self, DeflateFrom};

/// What a connection's writer lock protects.
#[derive(Default)]
pub(super) struct Writer {
    /// Bytes of frames that have begun to leave, or of replies that cannot go back to a session.
    rest: Vec<u8>,
    /// How much of the rest has left.
    left: usize,
    /// Whether the socket was full when something was to be written.
    is_full: bool,
    /// Whether the socket is broken or closed for writing.
    is_dead: bool,
    /// Every session whose outlet may be this connection.
    pub(super) sessions: Vec<Arc<Session>>,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    /// All of it has left.
    All,
    /// The socket is full; the connection's task has to go on.
    Full,
    /// The socket is broken; the connection's task has to end.
    Dead,
}

thread_local! {
    /// Memory for one flush, shared by all connections that this thread writes to.
    static SCRATCH: RefCell<(Batch, Vec<u8>)> = RefCell::default();
}

/// Scratch memory beyond this is given back after a flush.
const SCRATCH_MAX: usize = 256 * 1024;

impl Writer {
    /// Whether somebody else may write.
    pub(super) fn is_free(&self) -> bool {
        !self.is_full && !self.is_dead && self.rest.is_empty()
    }

    pub(super) const fn is_dead(&self) -> bool {
        self.is_dead
    }

    /// Stops all writing.
    pub(super) fn kill(&mut self) {
        self.is_dead = true;
        self.rest = Vec::new();
    }

    /// Writes bytes that cannot be given back: what does not fit is kept as the rest.
    pub(super) fn write(&mut self, stream: &TcpStream, counters: &Counters, bytes: &[u8]) -> Wrote {
        if self.is_dead {
            return Wrote::Dead;
        }
        if !self.is_free() {
            self.rest.extend_from_slice(bytes);
            return Wrote::Full;
        }
        let (wrote, count) = self.try_write(stream, counters, bytes);
        if wrote == Wrote::Full {
            self.rest.extend_from_slice(&bytes[count..]);
        }
        wrote
    }

    /// Continues with the rest; only the connection's task does.
    pub(super) fn write_rest(&mut self, stream: &TcpStream, counters: &Counters) -> Wrote {
        self.is_full = false;
        let rest = std::mem::take(&mut self.rest);
        let (wrote, count) = self.try_write(stream, counters, &rest[self.left..]);
        self.left += count;
        if wrote == Wrote::Full {
            self.rest = rest;
        } else {
            self.left = 0;
        }
        wrote
    }

    /// Writes as much as the socket takes now.
    fn try_write(&mut self, stream: &TcpStream, counters: &Counters, bytes: &[u8]) -> (Wrote, usize) {
        let mut count = 0;
        while count < bytes.len() {
            counters.writes.fetch_add(1, Ordering::Relaxed);
            match stream.try_write(&bytes[count..]) {
                Ok(0) => break,
                Ok(written) => count += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_full = true;
                    return (Wrote::Full, count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        if count < bytes.len() {
            self.kill();
            return (Wrote::Dead, count);
        }
        (Wrote::All, count)
    }

    /// Writes what a session has, until it has nothing or the socket is full.
    pub(super) fn flush(&mut self, wire: &Wire<'_>, session: &Arc<Session>) -> Result<Wrote, Moved> {
        with_scratch(|batch, bytes| {
            loop {
                batch.clear();
                match wire.node.engine().take(wire.node.now(), session, wire.me, batch) {
                    Took::Moved => return Err(Moved),
                    Took::Nothing => return Ok(Wrote::All),
                    Took::Batch => {}
                }
                let wrote = self.write_batch(wire, Some(session), batch, bytes);
                if wrote != Wrote::All || !batch.more {
                    return Ok(wrote);
                }
            }
        })
    }

    /// Writes one batch; if not a byte of it fits, its publications go back to the session.
    pub(super) fn write_batch(
        &mut self,
        wire: &Wire<'_>,
        session: Option<&Arc<Session>>,
        batch: &mut Batch,
        bytes: &mut Vec<u8>,
    ) -> Wrote {
        let Wire { stream, counters, node, me, deflate } = *wire;
        let messages_per_frame = node.engine().config().websocket.messages_per_frame;
        let bytes: &[u8] = match batch.events.as_slice() {
            // The usual delivery: the publication is the frame.
            [event] if batch.is_one_event() => encode::event_frame(event, deflate),
            _ => {
                bytes.clear();
                encode::frames(batch, messages_per_frame, deflate, bytes);
                bytes
            }
        };
        let (wrote, count) = self.try_write(stream, counters, bytes);
        if wrote == Wrote::All {
            return wrote;
        }
        let only_events = batch.connect.is_empty() && batch.replies.is_empty() && batch.handshake.is_none();
        // Replies cannot go back: on a full socket they wait here with their events, on a broken one they are lost.
        let goes_back = count == 0 && (only_events || wrote == Wrote::Dead);
        match session {
            Some(session) if goes_back => {
                // Its session may have moved to another connection in the meantime, which then has to be flushed.
                let mut pending = node.pending();
                node.engine().give_back(session, me, std::mem::take(&mut batch.events), pending.dirty());
            }
            _ if wrote == Wrote::Full => self.rest.extend_from_slice(&bytes[count..]),
            _ => {}
        }
        wrote
    }
}

/// The connection that a writer belongs to.
pub(super) struct Wire<'w> {
    pub(super) stream: &'w TcpStream,
    pub(super) counters: &'w Counters,
    pub(super) node: &'w Arc<Node>,
    pub(super) me: &'w OutletRef,
    pub(super) deflate: DeflateFrom,
}

/// The session may no longer be written to through this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moved;

/// Lends the thread's scratch memory.
pub(super) fn with_scratch<R>(work: impl FnOnce(&mut Batch, &mut Vec<u8>) -> R) -> R {
    SCRATCH.with_borrow_mut(|(batch, bytes)| {
        let result = work(batch, bytes);
        batch.clear();
        if bytes.capacity() > SCRATCH_MAX {
            *bytes = Vec::new();
        }
        result
    })
}
