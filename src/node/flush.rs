//! [`Pending`] and [`Outlet`]: how what became sendable leaves.
//!
//! Whoever made sessions sendable flushes them, once each, when the request or read burst at hand has been processed.
//! No task is woken for a delivery; an outlet that cannot be written to at once wakes its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::bayeux::{Dirty, Release};

use super::{Node, Session};

/// Sessions flushed before a task lets others run.
const FLUSHES_PER_TURN: usize = 256;

/// How long a task flushes before it lets others run.
const TURN: Duration = Duration::from_micros(300);

/// Turns are timed after this many flushes only. Letting others run costs a write to wake a thread of the runtime, so a
/// turn has to be worth it, however slow the sockets are.
const FLUSHES_PER_READING: usize = 64;

/// Deliveries that one list gathers, several milliseconds of work, before they leave and others may run.
const QUEUED_MAX: usize = 65_536;

/// What a session may be written through: a connection, a held request, or a callback.
pub trait Outlet: Send + Sync + 'static {
    /// Takes what the session has for this outlet and writes it without waiting.
    ///
    /// The order of locks is the connection's writer lock, then [`Engine::take`](crate::bayeux::Engine::take).
    fn flush(&self, node: &Arc<Node>, session: &Arc<Session>, me: &OutletRef) -> Flushed;

    /// Ends a connect that was held through this outlet.
    fn release(&self, node: &Arc<Node>, release: Release);

    /// Returns when what has been taken for this outlet so far is written, or back in the queue of its session.
    ///
    /// Called without any lock when a session leaves a stream. What it is sent elsewhere must not overtake what comes back.
    fn settle(&self) {}
}

/// What became of a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flushed {
    /// Everything was written, or the outlet's own task does the rest.
    Done,
    /// The session has another outlet now.
    Moved,
}

/// A shared outlet; two are equal if they are the same.
#[derive(Clone)]
pub struct OutletRef(Arc<dyn Outlet>);

impl OutletRef {
    /// Shares an outlet.
    #[must_use]
    pub fn new(outlet: Arc<dyn Outlet>) -> Self {
        Self(outlet)
    }
}

impl OutletRef {
    /// See [`Outlet::settle`].
    pub(super) fn settle(&self) {
        self.0.settle();
    }
}

impl PartialEq for OutletRef {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.0), Arc::as_ptr(&other.0))
    }
}

impl std::fmt::Debug for OutletRef {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "OutletRef({:p})", Arc::as_ptr(&self.0))
    }
}

/// The sessions that one call made sendable.
///
/// Dropping it hands what has not been flushed to a task of the node, so that a publisher which vanishes in the middle
/// of a fan-out silences nobody.
pub struct Pending {
    node: Arc<Node>,
    dirty: Dirty<OutletRef>,
    /// How many sessions of the list have been flushed.
    flushed: usize,
    /// How many deliveries were queued since the list was empty.
    queued: usize,
    /// How many publications they belong to.
    publications: usize,
}

impl Pending {
    pub(super) fn new(node: Arc<Node>) -> Self {
        Self { node, dirty: Dirty::default(), flushed: 0, queued: 0, publications: 0 }
    }

    /// The list, for calls of the engine.
    pub fn dirty(&mut self) -> &mut Dirty<OutletRef> {
        &mut self.dirty
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Notes that a publication was queued for so many sessions.
    pub(super) const fn count_queued(&mut self, sessions: usize) {
        self.queued += sessions;
        self.publications += 1;
    }

    /// Whether so much is queued that it must leave before more is.
    ///
    /// A burst longer than the queue of a session would end one that reads well, only because nobody has written to it
    /// yet.
    #[must_use]
    pub fn is_long(&self) -> bool {
        let config = self.node.engine().config();
        let queues =
            [&config.websocket, &config.long_polling, &config.callback_polling].map(|options| options.max_queue);
        let shortest = queues.into_iter().min().unwrap_or_default();
        self.queued >= QUEUED_MAX || self.publications > shortest / 2
    }

    /// Flushes every session and lets other tasks run now and then.
    ///
    /// # Cancel safety
    ///
    /// What has not been flushed when the future is dropped is flushed by a task of the node.
    pub async fn flush(mut self) {
        self.flush_list().await;
    }

    /// Flushes every session on the list and empties it, for a caller that goes on using it.
    ///
    /// # Cancel safety
    ///
    /// As [`flush`](Self::flush), once the list itself is dropped.
    pub async fn flush_list(&mut self) {
        while !self.turn() {
            tokio::task::yield_now().await;
        }
    }

    /// Flushes every session without letting other tasks run, for callers that cannot wait.
    pub fn flush_now(mut self) {
        while !self.turn() {}
    }

    /// Flushes for one turn; true if nothing is left.
    fn turn(&mut self) -> bool {
        for (outlet, release) in self.dirty.releases.drain(..) {
            outlet.0.release(&self.node, release);
        }
        let started = Instant::now();
        for count in 1..=FLUSHES_PER_TURN {
            let Some(session) = self.dirty.sessions.get(self.flushed) else {
                self.dirty.sessions.clear();
                (self.flushed, self.queued, self.publications) = (0, 0, 0);
                return self.dirty.is_empty();
            };
            self.flushed += 1;
            flush_session(&self.node, session);
            if count % FLUSHES_PER_READING == 0 && started.elapsed() >= TURN {
                break;
            }
        }
        false
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.dirty.sessions.drain(..self.flushed);
        if !self.dirty.is_empty() {
            self.node.flush_later(std::mem::take(&mut self.dirty));
        }
    }
}

/// Flushes one session through the outlet it has at this moment.
fn flush_session(node: &Arc<Node>, session: &Arc<Session>) {
    while let Some(outlet) = node.engine().outlet(session) {
        if outlet.0.flush(node, session, &outlet) == Flushed::Done {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;
    use tokio::sync::Notify;

    use crate::bayeux::config::EngineConfig;
    use crate::bayeux::{ChannelName, Message};
    use crate::node::Policy;

    use super::*;

    struct Anyone;

    impl Policy for Anyone {}

    #[tokio::test]
    async fn a_list_that_is_dropped_outside_the_runtime_is_flushed_inside() {
        let node = Node::start(EngineConfig::default(), Arc::new(Anyone));
        let heard = Arc::new(Notify::new());
        let hears = Arc::clone(&heard);
        let session = node.local_session(move |_| hears.notify_one()).await.unwrap();
        session.subscribe("/a").await.unwrap();
        let publisher = std::thread::spawn(move || {
            let (mut pending, data) = (node.pending(), RawValue::from_string("1".into()).unwrap());
            let channel = ChannelName::parse("/a").unwrap();
            node.publish_into(&channel, Message::default().with_data(&data), None, &mut pending).unwrap();
        });
        publisher.join().unwrap();
        tokio::time::timeout(Duration::from_secs(10), heard.notified()).await.expect("a delivery");
    }
}
