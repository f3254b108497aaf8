//! [`Incoming`]: the messages of one request or frame, on their way through policy and engine.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::bayeux::{self, Batch, Exchange, Fault, Finished, Handled, Message, Peer};

use super::{Node, OutletRef, Pending};

/// Which session the messages of a connection or request may use.
pub type Binding = bayeux::Binding<OutletRef>;

/// An exchange whose messages have all been handled and which waits to be finished.
///
/// Dropping it gives the exchange up, as if the sender had gone.
pub struct Incoming<'p> {
    node: Arc<Node>,
    /// Boxed, because it is handed from place to place.
    exchange: Option<Box<Exchange<OutletRef>>>,
    pending: &'p mut Pending,
}

impl Node {
    /// Handles the messages of one request or frame in order, each after the policy has decided about it.
    ///
    /// `outlet` is what the session may be written through: the connection, or this request. Sessions that became
    /// sendable are on `pending`, to be flushed by the caller when its read burst has been processed.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the request fails as a whole; what earlier messages did stays done.
    ///
    /// # Cancel safety
    ///
    /// Messages handled before the future was dropped stay handled, and their exchange is given up.
    pub async fn receive<'p>(
        self: &Arc<Self>,
        peer: Peer,
        outlet: OutletRef,
        binding: Binding,
        messages: Vec<Message<'_>>,
        pending: &'p mut Pending,
    ) -> Result<Incoming<'p>, Fault> {
        let exchange = Box::new(self.engine.begin(self.now(), peer.clone(), outlet, binding, messages.len()));
        let mut incoming = Incoming { node: Arc::clone(self), exchange: Some(exchange), pending };
        for message in messages {
            let verdict = incoming.meanwhile(self.verdict(&peer, &message)).await;
            let Incoming { exchange: Some(exchange), pending, .. } = &mut incoming else { break };
            let now = self.now();
            match self.engine.handle(now, exchange, message, &verdict, pending.dirty()) {
                Handled::Done => {}
                Handled::Accepted(accepted) => {
                    let queued = self.engine.commit(now, accepted, None, Some(exchange), pending.dirty());
                    pending.count_queued(queued);
                    if pending.is_long() {
                        incoming.flush().await;
                    }
                }
                Handled::Fault(fault) => return Err(fault),
            }
        }
        Ok(incoming)
    }
}

impl Incoming<'_> {
    /// Flushes what the messages so far have made sendable, for a caller that has to wait before it can finish.
    ///
    /// Sessions on the list stay silent until they are flushed, also for other publishers; so nobody may keep them
    /// there while waiting for something else than other flushes.
    pub async fn flush(&mut self) {
        self.pending.flush_list().await;
    }

    /// Waits for `asking`, and flushes first if that takes any time.
    async fn meanwhile<R>(&mut self, asking: impl Future<Output = R>) -> R {
        let mut asking = pin!(asking);
        let first = poll_fn(|context| Poll::Ready(asking.as_mut().poll(context))).await;
        match first {
            Poll::Ready(result) => result,
            Poll::Pending => {
                self.flush().await;
                asking.await
            }
        }
    }

    /// Finishes the exchange: fills `batch` with what leaves now.
    ///
    /// A stream calls this under its writer lock.
    pub fn finish(mut self, batch: &mut Batch) -> (Finished, Binding) {
        let exchange = self.exchange.take().expect("an exchange is finished once");
        self.node.engine.finish(self.node.now(), *exchange, batch, self.pending.dirty())
    }
}

impl Drop for Incoming<'_> {
    fn drop(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            self.node.engine.abandon(self.node.now(), *exchange, self.pending.dirty());
        }
    }
}
