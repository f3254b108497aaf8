//! [`HeldRequest`]: the outlet of a connect that waits on HTTP, good for one answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::bayeux::{Batch, Release, Took};
use crate::node::{Flushed, Node, Outlet, OutletRef, Session};

/// The place where a held request waits; its lock is the writer lock of this outlet.
pub(super) struct HeldRequest {
    state: Mutex<State>,
}

enum State {
    /// Nothing has come yet.
    Waiting(Option<Waker>),
    /// The answer is there and has not been picked up.
    Filled(Answer),
    /// The answer was picked up, or the request is gone.
    Done,
}

/// How a held request ends.
pub(super) enum Answer {
    /// With what its session had.
    Batch(Batch),
    /// With a status and no Bayeux reply.
    Status(u16),
}

impl HeldRequest {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State::Waiting(None)) })
    }

    fn fill(&self, answer: Answer) {
        let waker = {
            let mut state = self.state.lock();
            match std::mem::replace(&mut *state, State::Filled(answer)) {
                State::Waiting(waker) => waker,
                // Whoever was first has answered; a release that comes after a flush has nothing to say.
                answered => {
                    *state = answered;
                    None
                }
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Outlet for HeldRequest {
    fn flush(&self, node: &Arc<Node>, session: &Arc<Session>, me: &OutletRef) -> Flushed {
        let mut state = self.state.lock();
        let State::Waiting(waker) = &mut *state else { return Flushed::Done };
        let mut batch = Batch::default();
        match node.engine().take(node.now(), session, me, &mut batch) {
            Took::Nothing => Flushed::Done,
            Took::Moved => Flushed::Moved,
            Took::Batch => {
                let waker = waker.take();
                *state = State::Filled(Answer::Batch(batch));
                drop(state);
                if let Some(waker) = waker {
                    waker.wake();
                }
                Flushed::Done
            }
        }
    }

    fn release(&self, _: &Arc<Node>, release: Release) {
        match release {
            Release::Status(status) => self.fill(Answer::Status(status)),
            Release::Answer(connect) => self.fill(Answer::Batch(Batch { connect, ..Batch::default() })),
            // Only WebSockets are closed this way.
            Release::Destroy => self.fill(Answer::Status(500)),
        }
    }
}

/// Waits for the answer of a held request.
///
/// Dropping it lets go of the connect: what was queued meanwhile, or taken and not picked up, waits for the next one.
pub(super) struct Waiting {
    held: Arc<HeldRequest>,
    outlet: OutletRef,
    node: Arc<Node>,
    session: Arc<Session>,
}

impl Waiting {
    pub(super) fn new(held: Arc<HeldRequest>, outlet: OutletRef, node: Arc<Node>, session: Arc<Session>) -> Self {
        Self { held, outlet, node, session }
    }
}

impl Future for Waiting {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answer> {
        let mut state = self.held.state.lock();
        match std::mem::replace(&mut *state, State::Done) {
            State::Filled(answer) => Poll::Ready(answer),
            State::Waiting(_) => {
                *state = State::Waiting(Some(context.waker().clone()));
                Poll::Pending
            }
            State::Done => panic!("a held request is answered once and not asked again"),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let state = std::mem::replace(&mut *self.held.state.lock(), State::Done);
        match state {
            State::Done | State::Filled(Answer::Status(_)) => {}
            State::Waiting(_) => self.node.engine().detach(self.node.now(), &self.session, &self.outlet),
            State::Filled(Answer::Batch(batch)) => {
                let mut pending = self.node.pending();
                self.node.engine().put_back(&self.session, batch.events, pending.dirty());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::bayeux::config::EngineConfig;
    use crate::bayeux::{Finished, Peer, Transport, decode};
    use crate::node::{Binding, Policy};

    use super::*;

    struct Anyone;

    impl Policy for Anyone {}

    /// Sends one message of a client; returns what leaves with its answer, and the request if it is held.
    async fn send(node: &Arc<Node>, message: &str, binding: &mut Binding) -> (Batch, Option<Waiting>) {
        let held = HeldRequest::new();
        let outlet = OutletRef::new(Arc::clone(&held) as _);
        let messages = decode(message, &node.engine().config().limits).unwrap();
        let (mut pending, mut batch) = (node.pending(), Batch::default());
        let peer = Peer::on(Transport::LongPolling);
        let incoming = node.receive(peer, outlet.clone(), binding.clone(), messages, &mut pending).await;
        let (finished, bound) = incoming.unwrap().finish(&mut batch);
        *binding = bound;
        pending.flush().await;
        let Binding::Session(session) = binding else { panic!("no session") };
        let waiting = Waiting::new(held, outlet, Arc::clone(node), Arc::clone(session));
        (batch, (finished == Finished::Held).then_some(waiting))
    }

    #[tokio::test]
    async fn an_answer_that_nobody_picks_up_goes_back_to_its_session() {
        let node = Node::start(EngineConfig::default(), Arc::new(Anyone));
        let mut binding = Binding::Open;
        send(&node, r#"{"channel":"/meta/handshake"}"#, &mut binding).await;
        let Binding::Session(session) = &binding else { panic!("no session") };
        let id = session.id();
        let subscribe = format!(r#"{{"channel":"/meta/subscribe","subscription":"/a","clientId":"{id}"}}"#);
        let connect = format!(r#"{{"channel":"/meta/connect","connectionType":"long-polling","clientId":"{id}"}}"#);
        send(&node, &subscribe, &mut binding).await;
        send(&node, &connect, &mut binding).await;
        let (_, waiting) = send(&node, &connect, &mut binding).await;
        let channel = crate::bayeux::ChannelName::parse("/a").unwrap();
        for data in ["1", "2"] {
            node.publish(&channel, &serde_json::value::RawValue::from_string(data.to_owned()).unwrap()).await.unwrap();
        }
        // The first has filled the answer of the held request, the second waits behind it.
        assert_eq!(node.engine().session(id).unwrap().queued_messages, 1);
        drop(waiting.expect("a held request"));
        let (batch, _) = send(&node, &connect, &mut binding).await;
        let events: Vec<_> = batch.events.iter().map(|event| event.json()).collect();
        assert_eq!(events, [br#"{"channel":"/a","data":1}"#, br#"{"channel":"/a","data":2}"#]);
    }
}
