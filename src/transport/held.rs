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
