//! One running node: the engine with a clock, a policy, tasks and sessions of this process.
//!
//! The central type is [`Node`]. A transport gives it the messages of a request with [`Node::receive`], a program
//! publishes with [`Node::publish`] or opens a [`LocalSession`]. Every such call has a [`Pending`] list of the sessions
//! it made sendable; flushing it writes to their [`Outlet`]s, here and now, without waking anybody.
//!
//! **Must not know**: HTTP, WebSocket, files, settings, and what any bridge speaks.
//!
//! Start reading at [`Node::receive`], then `flush.rs` for how publications leave.

mod clock;
mod flush;
mod full_queues;
mod health;
mod incoming;
mod local;
mod policy;
mod services;
mod tasks;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::bayeux::{
    ChannelKind, ChannelName, Dirty, Engine, IdSource, Message, Naming, PlainNames, SessionId, SessionView, Slot,
    config::EngineConfig,
};

use clock::Calendar;
use full_queues::FullQueues;

pub use clock::Clock;
pub use flush::{Flushed, Outlet, OutletRef, Pending};
pub use health::Health;
pub use incoming::{Binding, Incoming};
pub use local::{LocalSession, ReceiveError};
pub use policy::{Decision, Policy};
pub use services::ServiceError;
pub use tasks::{Stopping, Tasks};

/// A session of a node.
pub type Session = Slot<OutletRef>;

/// How often deadlines are looked at; holds and expiries may be late by this much.
const TICK: Duration = Duration::from_millis(50);

/// One running node.
pub struct Node {
    engine: Engine<OutletRef>,
    policy: Arc<dyn Policy>,
    clock: Clock,
    tasks: Tasks,
    health: Mutex<Health>,
}

/// Why a publish of the server's own code went nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Meta and service channels are not fanned out.
    #[error("{0} channels cannot be published to from the server")]
    NotBroadcast(&'static str),
    /// A listener or an extension dropped the message.
    #[error("a listener or an extension dropped the message")]
    Dropped,
}

/// Randomness of the operating system.
struct SystemRandom;

impl IdSource for SystemRandom {
    fn random(&self) -> u128 {
        // Six bits of an id of this form are fixed; two of them are joined where all 128 must be random.
        let (one, two) = (Uuid::new_v4().as_u128(), Uuid::new_v4().as_u128());
        one ^ two.rotate_left(64)
    }
}

impl Node {
    /// Makes a node with plain channel names and starts its clock.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(config: EngineConfig, policy: Arc<dyn Policy>) -> Arc<Self> {
        Self::start_with(config, policy, Arc::new(PlainNames))
    }

    /// Makes a node whose channel names mean what `naming` says, and starts its clock.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start_with(config: EngineConfig, policy: Arc<dyn Policy>, naming: Arc<dyn Naming>) -> Arc<Self> {
        let calendar = Calendar::new(&config.extensions);
        let node = Arc::new(Self {
            engine: Engine::new(config, Arc::new(SystemRandom), naming),
            policy,
            clock: Clock::start(),
            tasks: Tasks::new(),
            health: Mutex::new(Health::Starting),
        });
        node.read_calendar(&calendar);
        let ticking = Arc::downgrade(&node);
        node.tasks.spawn("clock", async move {
            let mut tick = tokio::time::interval(TICK);
            let mut full_queues = FullQueues::default();
            loop {
                tick.tick().await;
                let Some(node) = ticking.upgrade() else { return };
                node.read_calendar(&calendar);
                let mut pending = node.pending();
                // A listener that panics must not stop the time of everybody else.
                if catch_unwind(AssertUnwindSafe(|| node.engine.fire(node.now(), pending.dirty()))).is_err() {
                    tracing::error!("a listener panicked while time passed");
                }
                full_queues.tell(node.now(), node.engine.totals());
                pending.flush().await;
            }
        });
        node
    }

    /// Tells the engine what the system's clock shows; it may have been set since the last time.
    fn read_calendar(&self, calendar: &Calendar) {
        let (unix_millis, zone) = calendar.read();
        self.engine.set_wall_clock(self.now(), unix_millis, zone);
    }

    /// The engine.
    #[must_use]
    pub const fn engine(&self) -> &Engine<OutletRef> {
        &self.engine
    }

    /// The tasks of this node and of what runs on it.
    #[must_use]
    pub const fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// What the clock shows.
    #[must_use]
    pub fn now(&self) -> crate::bayeux::Time {
        self.clock.now()
    }

    /// Whether the node takes part in the world; `/health/ready` shows it.
    #[must_use]
    pub fn health(&self) -> Health {
        *self.health.lock()
    }

    /// Says whether the node takes part in the world.
    pub fn set_health(&self, health: Health) {
        *self.health.lock() = health;
    }

    /// Returns an empty list for the sessions that one call makes sendable.
    #[must_use]
    pub fn pending(self: &Arc<Self>) -> Pending {
        Pending::new(Arc::clone(self))
    }

    /// Publishes `data` from the server; returns how many sessions it was queued for.
    ///
    /// # Errors
    ///
    /// [`PublishError`]: nobody got the message.
    ///
    /// # Cancel safety
    ///
    /// The message is published before the first await; dropping the future leaves only the flushing to a task.
    pub async fn publish(self: &Arc<Self>, channel: &ChannelName, data: &RawValue) -> Result<usize, PublishError> {
        let mut pending = self.pending();
        let delivered = self.publish_into(channel, Message::default().with_data(data), None, &mut pending)?;
        pending.flush().await;
        Ok(delivered)
    }

    /// Publishes a message from the server or one of its sessions without flushing, so that several leave together.
    ///
    /// # Errors
    ///
    /// [`PublishError`]: nobody got the message.
    pub fn publish_into(
        &self,
        channel: &ChannelName,
        message: Message<'_>,
        sender: Option<&SessionView>,
        pending: &mut Pending,
    ) -> Result<usize, PublishError> {
        match channel.kind() {
            ChannelKind::Broadcast => {}
            ChannelKind::Meta => return Err(PublishError::NotBroadcast("meta")),
            ChannelKind::Service => return Err(PublishError::NotBroadcast("service")),
        }
        let now = self.now();
        let accepted = self.engine.publish(now, sender, channel, message, pending.dirty());
        let accepted = accepted.ok_or(PublishError::Dropped)?;
        let delivered = self.engine.commit(now, accepted, None, None, pending.dirty());
        pending.count_queued(delivered);
        Ok(delivered)
    }

    /// Sends `data` to one session on `channel`; false if the session is gone.
    pub async fn deliver(self: &Arc<Self>, to: SessionId, channel: &ChannelName, data: &RawValue) -> bool {
        let mut pending = self.pending();
        let delivered = self.deliver_into(to, Message::to(channel.as_str()).with_data(data), &mut pending);
        pending.flush().await;
        delivered
    }

    /// Sends a message to one session without flushing, so that several leave together; false if the session is gone,
    /// if an extension dropped the message, or if its channel is none.
    pub fn deliver_into(&self, to: SessionId, message: Message<'_>, pending: &mut Pending) -> bool {
        self.engine.deliver(self.now(), None, to, message, pending.dirty())
    }

    /// Ends a session as the server's decision; false if it is gone already.
    pub async fn disconnect(self: &Arc<Self>, session: SessionId) -> bool {
        let mut pending = self.pending();
        let was_there = self.engine.disconnect(self.now(), session, pending.dirty());
        pending.flush().await;
        was_there
    }

    /// Answers every held connect with what is queued, as an ordinary success, before the server stops ([CN-17]).
    pub async fn release_held(self: &Arc<Self>) {
        let mut pending = self.pending();
        self.engine.release_all(pending.dirty());
        pending.flush().await;
    }

    /// Flushes what a dropped [`Pending`] has left.
    fn flush_later(self: &Arc<Self>, dirty: Dirty<OutletRef>) {
        let node = Arc::clone(self);
        self.tasks.spawn("flush", async move {
            let mut pending = Pending::new(node);
            *pending.dirty() = dirty;
            pending.flush().await;
        });
    }
}
