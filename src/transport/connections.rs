//! [`Connections`]: the open WebSockets and event streams of a server, to be counted, timed out and closed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::web::websocket::CloseCode;

use super::event_source::EventStream;
use super::websocket::Connection;

/// The open WebSockets and event streams of a server.
#[derive(Default)]
pub struct Connections {
    open: Mutex<HashMap<u64, Weak<Connection>>>,
    streams: Mutex<HashMap<u64, Weak<EventStream>>>,
    next: AtomicU64,
    traffic: Counters,
}

/// What the WebSockets of a server have done, as counts that only grow.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Polls of connection tasks.
    pub(super) polls: Arc<AtomicU64>,
    /// Calls that wrote to a socket, or tried to.
    pub(super) writes: AtomicU64,
}

/// A snapshot of what the WebSockets of a server have done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Polls of connection tasks; deliveries add none.
    pub polls: u64,
    /// Calls that wrote to a socket, or tried to.
    pub writes: u64,
}

impl Connections {
    /// How many WebSockets are open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.open.lock().len()
    }

    /// What they have done so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        Traffic {
            polls: self.traffic.polls.load(Ordering::Relaxed),
            writes: self.traffic.writes.load(Ordering::Relaxed),
        }
    }

    pub(super) const fn counters(&self) -> &Counters {
        &self.traffic
    }

    pub(super) fn add(&self, connection: &Arc<Connection>) -> u64 {
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.lock().insert(key, Arc::downgrade(connection));
        key
    }

    pub(super) fn remove(&self, key: u64) {
        self.open.lock().remove(&key);
    }

    /// How many event streams are open.
    #[must_use]
    pub fn stream_count(&self) -> usize {
        self.streams.lock().len()
    }

    pub(super) fn add_stream(&self, stream: &Arc<EventStream>) -> u64 {
        let key = self.next.fetch_add(1, Ordering::Relaxed);
        self.streams.lock().insert(key, Arc::downgrade(stream));
        key
    }

    pub(super) fn remove_stream(&self, key: u64) {
        self.streams.lock().remove(&key);
    }

    /// Asks every connection to close, and every event stream to end, as a server does that stops.
    pub fn close_all(&self) {
        let streams: Vec<_> = self.streams.lock().values().filter_map(Weak::upgrade).collect();
        for stream in streams {
            stream.end();
        }
        for connection in self.snapshot() {
            connection.request_close(CloseCode::Away, "server stops");
        }
    }

    /// Asks every connection to close that has been silent for its mount's `idle_timeout`, that has taken nothing of what
    /// waits for it for `write_timeout`, or whose message takes longer to arrive than a request body may.
    pub fn close_idle(&self) {
        for connection in self.snapshot() {
            if connection.is_stuck() {
                connection.request_close(CloseCode::Policy, "what was sent was not taken in time");
            } else if connection.is_stalled() {
                connection.request_close(CloseCode::Policy, "message did not arrive in time");
            } else if connection.is_idle() {
                connection.request_close(CloseCode::Away, "idle for too long");
            }
        }
    }

    fn snapshot(&self) -> Vec<Arc<Connection>> {
        self.open.lock().values().filter_map(Weak::upgrade).collect()
    }
}
