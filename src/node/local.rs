//! [`LocalSession`]: a client inside this process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::value::RawValue;

use crate::bayeux::{Batch, Finished, Message, Peer, Release, SessionId, SessionView, Shared, Took};

use super::{Binding, Flushed, Node, Outlet, OutletRef, PublishError, Session};

/// A session of this process, CometD's `LocalSession`: same pipeline, same hooks, no connection and no expiry ([SS-7]).
///
/// What it subscribes to is given to its handler in order, one publication at a time, on the thread that flushes it. A
/// panic of the handler is logged and costs that publication only. Dropping the session ends it.
pub struct LocalSession {
    node: Arc<Node>,
    outlet: OutletRef,
    view: SessionView,
}

/// Why a request of a local session was refused: the `error` of the reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ReceiveError(String);

/// The handler of a local session.
type Handler = Box<dyn Fn(&Shared) + Send + Sync>;

/// Hands publications to the handler of a local session.
struct LocalOutlet {
    handler: Handler,
    turn: Mutex<Turn>,
}

/// Who calls the handler; one thread at a time, so that order holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Nobody.
    Free,
    /// Somebody.
    Taken,
    /// Somebody, and there is more since.
    TakenAgain,
}

impl Node {
    /// Opens a local session whose publications go to `handler`.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`] if the policy or a limit refuses the handshake.
    pub async fn local_session(
        self: &Arc<Self>,
        handler: impl Fn(&Shared) + Send + Sync + 'static,
    ) -> Result<LocalSession, ReceiveError> {
        let outlet = LocalOutlet { handler: Box::new(handler), turn: Mutex::new(Turn::Free) };
        let outlet = OutletRef::new(Arc::new(outlet));
        let (binding, reply) = self.exchange(&outlet, Binding::Open, Message::to("/meta/handshake")).await;
        reply?;
        let Binding::Session(slot) = binding else { return Err(ReceiveError("the handshake made no session".into())) };
        Ok(LocalSession { node: Arc::clone(self), outlet, view: *slot.view() })
    }

    async fn exchange(
        self: &Arc<Self>,
        outlet: &OutletRef,
        binding: Binding,
        message: Message<'_>,
    ) -> (Binding, Result<(), ReceiveError>) {
        let mut pending = self.pending();
        let mut batch = Batch::default();
        let result = match self.receive(Peer::local(), outlet.clone(), binding, vec![message], &mut pending).await {
            Err(fault) => (Binding::Open, Err(ReceiveError(fault.to_string()))),
            Ok(incoming) => {
                let (finished, binding) = incoming.finish(&mut batch);
                debug_assert_eq!(finished, Finished::Answered, "a local session sends no connect that could be held");
                (binding, refusal(&batch))
            }
        };
        pending.flush().await;
        result
    }
}

impl LocalSession {
    /// Its id.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.view.id
    }

    /// Subscribes to a channel or pattern.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`] with the text a client would read.
    pub async fn subscribe(&self, channel: &str) -> Result<(), ReceiveError> {
        self.request("/meta/subscribe", channel).await
    }

    /// Unsubscribes from a channel or pattern.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`] with the text a client would read.
    pub async fn unsubscribe(&self, channel: &str) -> Result<(), ReceiveError> {
        self.request("/meta/unsubscribe", channel).await
    }

    /// Publishes as this session, under the same rules as any client.
    ///
    /// # Errors
    ///
    /// [`ReceiveError`] with the text a client would read.
    pub async fn publish(&self, channel: &str, data: &RawValue) -> Result<(), ReceiveError> {
        self.send(Message::to(channel).with_data(data)).await
    }

    /// Publishes for this session past the policy and authorizers, as a bridge does with what it was given.
    ///
    /// # Errors
    ///
    /// [`PublishError`]: nobody got the message.
    pub async fn forward(&self, channel: &crate::bayeux::ChannelName, data: &RawValue) -> Result<usize, PublishError> {
        let mut pending = self.node.pending();
        let message = Message::default().with_data(data);
        let delivered = self.node.publish_into(channel, message, Some(&self.view), &mut pending)?;
        pending.flush().await;
        Ok(delivered)
    }

    async fn request(&self, meta: &str, channel: &str) -> Result<(), ReceiveError> {
        let subscription = serde_json::to_string(channel).expect("a string can be written as JSON");
        let message = Message { subscription: Some(subscription.into()), ..Message::to(meta) };
        self.send(message).await
    }

    async fn send(&self, message: Message<'_>) -> Result<(), ReceiveError> {
        let message = message.from_session(self.view.id);
        self.node.exchange(&self.outlet, Binding::Open, message).await.1
    }
}

impl Drop for LocalSession {
    fn drop(&mut self) {
        let mut pending = self.node.pending();
        self.node.engine().disconnect(self.node.now(), self.view.id, pending.dirty());
        pending.flush_now();
    }
}

impl LocalOutlet {
    /// Calls the handler. The thread is that of some publisher, who must not suffer from a panic here, and neither may
    /// the turn stay taken.
    fn call(&self, publication: &Shared) {
        if catch_unwind(AssertUnwindSafe(|| (self.handler)(publication))).is_err() {
            tracing::error!(channel = %publication.channel(), "the handler of a local session panicked");
        }
    }
}

impl Outlet for LocalOutlet {
    fn flush(&self, node: &Arc<Node>, session: &Arc<Session>, me: &OutletRef) -> Flushed {
        {
            let mut turn = self.turn.lock();
            if *turn != Turn::Free {
                *turn = Turn::TakenAgain;
                return Flushed::Done;
            }
            *turn = Turn::Taken;
        }
        let mut batch = Batch::default();
        loop {
            batch.clear();
            match node.engine().take(node.now(), session, me, &mut batch) {
                Took::Batch => batch.events.iter().for_each(|publication| self.call(publication)),
                Took::Nothing | Took::Moved => {
                    let mut turn = self.turn.lock();
                    if *turn == Turn::Taken {
                        *turn = Turn::Free;
                        return Flushed::Done;
                    }
                    *turn = Turn::Taken;
                }
            }
        }
    }

    fn release(&self, _: &Arc<Node>, _: Release) {}
}

/// Reads whether the only reply of an exchange is a refusal.
fn refusal(batch: &Batch) -> Result<(), ReceiveError> {
    #[derive(serde::Deserialize)]
    struct Answer {
        successful: bool,
        #[serde(default)]
        error: String,
    }
    let reply = batch.handshake.as_deref().unwrap_or(&batch.replies);
    match serde_json::from_slice::<Answer>(reply) {
        Ok(answer) if !answer.successful => Err(ReceiveError(answer.error)),
        // A reply that an extension dropped is no refusal.
        _ => Ok(()),
    }
}
