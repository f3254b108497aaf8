//! [`Incoming`]: the messages of one request or frame, on their way through policy and engine.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use crate::bayeux::{self, Batch, Exchange, Fault, Finished, Handled, Message, NoStream, Peer, SessionId, Streaming};

use super::{Node, OutletRef, Pending, Session};

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
            let handled = self.engine.handle(now, exchange, message, &verdict, pending.dirty());
            if let Some(left) = exchange.left_stream() {
                left.settle();
            }
            match handled {
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

    /// Lets a session be written to through an event stream, which must not take anything before this returns.
    ///
    /// # Errors
    ///
    /// [`NoStream`]: nothing has changed.
    pub fn open_stream(
        &self,
        peer: &Peer,
        id: SessionId,
        stream: OutletRef,
        pending: &mut Pending,
    ) -> Result<Arc<Session>, NoStream> {
        let Streaming { session, left } = self.engine.open_stream(self.now(), peer, id, stream, pending.dirty())?;
        if let Some(left) = left {
            left.settle();
        }
        Ok(session)
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use parking_lot::Mutex;
    use serde_json::value::RawValue;

    use crate::bayeux::config::EngineConfig;
    use crate::bayeux::{ChannelListener, ChannelName, Context, Flow, Release, Took, Transport, decode};
    use crate::node::{Flushed, Outlet, Policy};

    use super::*;

    struct Anyone;

    impl Policy for Anyone {}

    /// A connection that is full: it takes, and gives back when it is told to.
    struct Full {
        writer: Mutex<()>,
        took: mpsc::SyncSender<()>,
        go_on: Mutex<mpsc::Receiver<()>>,
        /// Told that a session leaves.
        leaving: mpsc::SyncSender<()>,
    }

    impl Outlet for Full {
        fn flush(&self, node: &Arc<Node>, session: &Arc<Session>, me: &OutletRef) -> Flushed {
            let _writer = self.writer.lock();
            let mut batch = Batch::default();
            if node.engine().take(node.now(), session, me, &mut batch) != Took::Batch {
                return Flushed::Moved;
            }
            self.took.send(()).unwrap();
            self.go_on.lock().recv().unwrap();
            node.engine().give_back(session, me, batch.events, node.pending().dirty());
            Flushed::Done
        }

        fn release(&self, _: &Arc<Node>, _: Release) {}

        fn settle(&self) {
            let _ = self.leaving.try_send(());
            drop(self.writer.lock());
        }
    }

    /// A session with a subscription to `/a`, on a full connection that has just taken a publication.
    struct Stuck {
        session: Arc<Session>,
        publisher: thread::JoinHandle<()>,
        go_on: mpsc::SyncSender<()>,
        leaving: (mpsc::SyncSender<()>, mpsc::Receiver<()>),
    }

    impl Stuck {
        async fn on(node: &Arc<Node>) -> Self {
            let ((took_tx, took), (go_on, go_on_rx)) = (mpsc::sync_channel(1), mpsc::sync_channel(1));
            let leaving = mpsc::sync_channel(1);
            let full =
                Full { writer: Mutex::new(()), took: took_tx, go_on: Mutex::new(go_on_rx), leaving: leaving.0.clone() };
            let full = OutletRef::new(Arc::new(full) as _);
            let (_, binding) = send(node, &full, Transport::WebSocket, r#"{"channel":"/meta/handshake"}"#).await;
            let Binding::Session(session) = binding else { panic!("no session") };
            let id = session.id();
            let subscribe = format!(r#"{{"channel":"/meta/subscribe","subscription":"/a","clientId":"{id}"}}"#);
            send(node, &full, Transport::WebSocket, &subscribe).await;
            let publisher = thread::spawn({
                let node = Arc::clone(node);
                move || publish(&node, "1")
            });
            took.recv().unwrap();
            Self { session, publisher, go_on, leaving }
        }
    }

    fn texts(batch: &Batch) -> Vec<&str> {
        batch.events.iter().map(|event| std::str::from_utf8(event.json()).unwrap()).collect()
    }

    /// A connection that is never flushed.
    struct Silent;

    impl Outlet for Silent {
        fn flush(&self, _: &Arc<Node>, _: &Arc<Session>, _: &OutletRef) -> Flushed {
            Flushed::Done
        }

        fn release(&self, _: &Arc<Node>, _: Release) {}
    }

    /// Sends one message of a client and returns what leaves with its answer.
    async fn send(node: &Arc<Node>, outlet: &OutletRef, transport: Transport, message: &str) -> (Batch, Binding) {
        let messages = decode(message, &node.engine().config().limits).unwrap();
        let (mut pending, mut batch) = (node.pending(), Batch::default());
        let incoming = node.receive(Peer::on(transport), outlet.clone(), Binding::Open, messages, &mut pending).await;
        let (_, binding) = incoming.unwrap().finish(&mut batch);
        (batch, binding)
    }

    fn publish(node: &Arc<Node>, data: &str) {
        let (mut pending, data) = (node.pending(), RawValue::from_string(data.to_owned()).unwrap());
        let channel = ChannelName::parse("/a").unwrap();
        node.publish_into(&channel, Message::default().with_data(&data), None, &mut pending).unwrap();
        pending.flush_now();
    }

    /// [PB-10] Where it goes, by WebSocket or by HTTP, is the same.
    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_overtakes_what_a_full_connection_gives_back() {
        for transport in [Transport::WebSocket, Transport::LongPolling] {
            let node = Node::start(EngineConfig::default(), Arc::new(Anyone));
            let stuck = Stuck::on(&node).await;
            let id = stuck.session.id();
            // The session moves before the full connection has given back what it took.
            let (moves, moving) = mpsc::sync_channel(1);
            let tell = move |_: &mut Context<'_, OutletRef>, _: &ChannelName, _: &Message<'_>| {
                moves.send(()).unwrap();
                Flow::Continue
            };
            let listener: Arc<dyn ChannelListener<OutletRef>> = Arc::new(tell);
            node.engine().add_channel_listener(&ChannelName::parse("/b").unwrap(), &listener);
            let moved = tokio::spawn({
                let node = Arc::clone(&node);
                async move {
                    let message = format!(r#"{{"channel":"/b","clientId":"{id}"}}"#);
                    send(&node, &OutletRef::new(Arc::new(Silent) as _), transport, &message).await.0
                }
            });
            moving.recv().unwrap();
            publish(&node, "2");
            stuck.go_on.send(()).unwrap();
            stuck.publisher.join().unwrap();
            let batch = moved.await.unwrap();
            assert_eq!(texts(&batch), [r#"{"channel":"/a","data":1}"#, r#"{"channel":"/a","data":2}"#], "{transport}");
        }
    }

    /// [PB-10] [FY-4]
    #[tokio::test(flavor = "multi_thread")]
    async fn no_event_stream_overtakes_what_a_full_connection_gives_back() {
        let node = Node::start(EngineConfig::default(), Arc::new(Anyone));
        let stuck = Stuck::on(&node).await;
        let (leaves, leaving) = stuck.leaving;
        let moved = thread::spawn({
            let (node, session) = (Arc::clone(&node), Arc::clone(&stuck.session));
            move || {
                let (peer, stream) = (Peer::on(Transport::EventSource), OutletRef::new(Arc::new(Silent) as _));
                node.open_stream(&peer, session.id(), stream.clone(), &mut node.pending()).unwrap();
                publish(&node, "2");
                let mut batch = Batch::default();
                node.engine().take(node.now(), &session, &stream, &mut batch);
                let _ = leaves.try_send(());
                batch
            }
        });
        leaving.recv().unwrap();
        stuck.go_on.send(()).unwrap();
        stuck.publisher.join().unwrap();
        let batch = moved.join().unwrap();
        assert_eq!(texts(&batch), [r#"{"channel":"/a","data":1}"#, r#"{"channel":"/a","data":2}"#]);
    }
}
