//! Publishing: accepting a message, fanning it out, delivering to one session.

use std::sync::Arc;
use std::time::Duration;

use super::channel::{ChannelKind, ChannelName, is_internal};
use super::channels::{Channel, Plan};
use super::codec::decode_publication;
use super::context::Context;
use super::engine::{Dirty, Engine};
use super::exchange::{Accepted, Exchange, Handled};
use super::hooks::{Authorization, Authorizer, Extension, Flow, Operation, SessionView};
use super::ids::SessionId;
use super::message::{Client, Message};
use super::meta::amend;
use super::publication::{Position, Publication, Shared};
use super::rejection::{BY_LIMIT, BY_NOT_GRANTING, BY_POLICY, Reason, Rejection};
use super::reply::Reply;
use super::session::{Enqueued, Slot};
use super::time::Time;
use super::verdict::{Denial, Verdict};

/// Why a publish is refused, and the policy's words if it was the policy.
type Refusal<'v> = (Rejection, Option<&'v Denial>);

/// A channel that may be published to, with its plan.
type Granted<T> = (Arc<Channel<T>>, Arc<Plan<T>>);

impl<T: Clone + PartialEq> Engine<T> {
    /// Handles a message to a service or broadcast channel ([PB-1] to [PB-9], [SV-1]).
    #[expect(clippy::too_many_arguments, reason = "one message with everything that came with it")]
    pub(super) fn receive_publish(
        &self,
        now: Time,
        exchange: &mut Exchange<T>,
        slot: &Arc<Slot<T>>,
        mut message: Message<'_>,
        mut reply: Reply<'_>,
        verdict: &Verdict,
        dirty: &mut Dirty<T>,
    ) -> Handled<T> {
        let (channel, plan) = match self.may_publish(slot, &message, verdict) {
            Ok(granted) => granted,
            Err((rejection, denial)) => {
                reply.refuse(rejection);
                if let Some(denial) = denial {
                    amend(&mut reply, denial);
                }
                return self.answer(exchange, Some(slot), reply);
            }
        };
        let is_broadcast = channel.name().kind() == ChannelKind::Broadcast;
        if is_broadcast {
            message.id = None;
            message.client = Client::Absent;
        }
        let mut context = Context::new(self, now, Some(*slot.view()), dirty);
        let dropped = plan
            .listeners
            .iter()
            .any(|listener| listener.message(&mut context, channel.name(), &message) == Flow::Drop)
            || (is_broadcast && self.extend_broadcast(now, Some(slot.id()), &mut message) == Flow::Drop);
        if dropped {
            reply.refuse(Rejection::MessageDeleted);
            return self.answer(exchange, Some(slot), reply);
        }
        if !is_broadcast {
            return self.answer(exchange, Some(slot), reply);
        }
        let mut rendered = Vec::new();
        if self.extend_reply(now, Some(slot), &mut reply) == Flow::Continue {
            reply.write(&mut rendered);
        }
        let publication = Publication::freeze(&message, message.channel_text(), channel.name(), plan.lazy);
        Handled::Accepted(Accepted { publication, channel, publisher: Some(slot.id()), reply: rendered })
    }

    /// Finds or makes the channel if policy and authorizers allow it.
    fn may_publish<'v>(
        &self,
        slot: &Slot<T>,
        message: &Message<'_>,
        verdict: &'v Verdict,
    ) -> Result<Granted<T>, Refusal<'v>> {
        let text = ChannelName::normalize(message.channel_text()).map_err(|_| (Rejection::ChannelInvalid, None))?;
        if is_internal(text) && !slot.is_local() {
            // The same words whether or not the channel is there ([SC-9]).
            return Err((Rejection::ChannelCreateDenied(BY_POLICY), None));
        }
        let channel = match self.channels.get(text) {
            Some(channel) => channel,
            None => self.create_to_publish(slot, text, message, verdict)?,
        };
        if let Some(denial) = verdict.denial(Operation::Publish, 0) {
            return Err((Rejection::PublishDenied(denial.reason.clone()), Some(denial)));
        }
        let plan = self.channels.plan(&channel);
        ask(&plan.authorizers, Operation::Publish, channel.name(), slot.view(), message)
            .map_err(|reason| (Rejection::PublishDenied(reason), None))?;
        Ok((channel, plan))
    }

    fn create_to_publish<'v>(
        &self,
        slot: &Slot<T>,
        text: &str,
        message: &Message<'_>,
        verdict: &'v Verdict,
    ) -> Result<Arc<Channel<T>>, Refusal<'v>> {
        let name = ChannelName::parse(text).map_err(|_| (Rejection::ChannelInvalid, None))?;
        if let Some(denial) = verdict.denial(Operation::Create, 0) {
            return Err((Rejection::ChannelCreateDenied(denial.reason.clone()), Some(denial)));
        }
        self.authorize(Operation::Create, &name, slot, message)
            .map_err(|reason| (Rejection::ChannelCreateDenied(reason), None))?;
        let max = self.config.limits.max_channels;
        self.create(&name, max).ok_or((Rejection::ChannelCreateDenied(BY_LIMIT), None))
    }

    /// Passes a broadcast through the server's outgoing extensions, once for all subscribers.
    fn extend_broadcast(&self, now: Time, from: Option<SessionId>, message: &mut Message<'_>) -> Flow {
        for extension in self.extensions().iter().rev() {
            if extension.outgoing(from, None, message) == Flow::Drop {
                return Flow::Drop;
            }
        }
        self.stamp(now, message);
        Flow::Continue
    }

    /// Accepts a publication of the server's own code; give it to [`commit`](Self::commit).
    ///
    /// It passes listeners and outgoing extensions, not policy or authorizers. `None` if one of them dropped it, or if
    /// the channel is not a broadcast channel.
    pub fn publish(
        &self,
        now: Time,
        sender: Option<&SessionView>,
        channel: &ChannelName,
        mut message: Message<'_>,
        dirty: &mut Dirty<T>,
    ) -> Option<Accepted<T>> {
        if channel.kind() != ChannelKind::Broadcast {
            return None;
        }
        let found = self.create(channel, usize::MAX)?;
        let plan = self.channels.plan(&found);
        message.id = None;
        message.client = Client::Absent;
        let mut context = Context::new(self, now, sender.copied(), dirty);
        let dropped =
            plan.listeners.iter().any(|listener| listener.message(&mut context, channel, &message) == Flow::Drop);
        let from = sender.map(|sender| sender.id);
        if dropped || self.extend_broadcast(now, from, &mut message) == Flow::Drop {
            return None;
        }
        let publication = Publication::freeze(&message, channel.as_str(), channel, plan.lazy);
        Some(Accepted { publication, channel: found, publisher: from, reply: Vec::new() })
    }

    /// Fans an accepted publication out and releases the reply that is owed to its exchange.
    ///
    /// Returns the number of sessions it was queued for. `position` is where a durable log has put it.
    ///
    /// # Order
    ///
    /// Publications committed one after the other reach each subscriber in that order.
    pub fn commit(
        &self,
        now: Time,
        accepted: Accepted<T>,
        position: Option<Position>,
        exchange: Option<&mut Exchange<T>>,
        dirty: &mut Dirty<T>,
    ) -> usize {
        let Accepted { publication, channel, publisher, reply } = accepted;
        let plan = match self.channels.current(&channel) {
            Some(plan) => plan,
            // The channel has been swept since it was accepted; whoever has subscribed since is in its successor.
            None => match self.create(channel.name(), usize::MAX) {
                Some(channel) => self.channels.plan(&channel),
                None => return 0,
            },
        };
        let mut fan_out = FanOut {
            engine: self,
            now,
            publisher,
            publication: Arc::new(publication.at(position)),
            renamed: Vec::new(),
            plan: &plan,
            delivered: 0,
            troubled: Vec::new(),
        };
        for recipient in plan.lists.iter().flat_map(|list| list.iter()) {
            let publication = match &recipient.outside {
                None => Arc::clone(&fan_out.publication),
                Some(name) => fan_out.renamed(name),
            };
            fan_out.reach(&recipient.slot, publication, dirty);
        }
        let delivered = fan_out.delivered;
        for (slot, enqueued) in fan_out.troubled {
            self.settle(now, &slot, enqueued, dirty);
        }
        self.counters.published.add(1);
        self.counters.delivered.add(delivered as u64);
        if let Some(exchange) = exchange
            && !reply.is_empty()
        {
            if !exchange.replies.is_empty() {
                exchange.replies.push(b',');
            }
            exchange.replies.extend_from_slice(&reply);
        }
        delivered
    }

    /// Does what a queue asked for, now that no lock is held.
    fn settle(&self, now: Time, slot: &Arc<Slot<T>>, enqueued: Enqueued, dirty: &mut Dirty<T>) {
        match enqueued {
            Enqueued::Queued | Enqueued::Gone | Enqueued::Dropped => {}
            Enqueued::QueuedUntil(at) => self.deadlines.arm(at, slot.id()),
            Enqueued::Full => {
                self.counters.sessions_overflowed.add(1);
                slot.session.lock().queue.clear();
                self.disconnect(now, slot.id(), dirty);
            }
        }
    }

    /// Sends a message to one session, whatever it subscribes to; false if the session is gone or a hook dropped it.
    ///
    /// `id`, if set, stays: it makes the message the answer of a remote call ([SV-3]).
    pub fn deliver(
        &self,
        now: Time,
        from: Option<SessionId>,
        to: SessionId,
        mut message: Message<'_>,
        dirty: &mut Dirty<T>,
    ) -> bool {
        let Some(slot) = self.sessions.get(to) else { return false };
        let Ok(name) = ChannelName::parse(message.channel_text()) else { return false };
        message.client = Client::Absent;
        if self.extend_broadcast(now, from, &mut message) == Flow::Drop {
            return false;
        }
        let lazy = self.channels.get(name.as_str()).is_some_and(|channel| channel.options().lazy);
        let publication = Arc::new(Publication::freeze(&message, message.channel_text(), &name, lazy));
        let enqueued = self.enqueue(now, &slot, from, publication, None, dirty);
        self.settle(now, &slot, enqueued, dirty);
        matches!(enqueued, Enqueued::Queued | Enqueued::QueuedUntil(_))
    }

    /// Puts one publication into one queue and the session on the dirty list, under one lock unless the session has
    /// extensions of its own.
    fn enqueue(
        &self,
        now: Time,
        slot: &Arc<Slot<T>>,
        from: Option<SessionId>,
        mut publication: Shared,
        lazy_time: Option<Duration>,
        dirty: &mut Dirty<T>,
    ) -> Enqueued {
        let transport = slot.view().transport;
        let mut session = slot.session.lock();
        if let Some(own) = session.extensions.clone() {
            drop(session);
            match self.extend_for(&own, from, slot, &publication) {
                Some(copy) => publication = copy,
                None => return Enqueued::Dropped,
            }
            session = slot.session.lock();
        }
        let before = session.dropped;
        let lazy_time = lazy_time.unwrap_or(self.config.transport(transport).max_lazy_timeout);
        self.note_delivery(now, &mut session);
        let enqueued = session.enqueue(now, publication, lazy_time, self.config.transport(transport));
        if session.dropped > before {
            self.counters.dropped.add(session.dropped - before);
        }
        if session.mark_dirty() {
            drop(session);
            dirty.sessions.push(Arc::clone(slot));
        }
        enqueued
    }

    /// Runs a session's own outgoing extensions; returns its private copy, or `None` if one dropped the message.
    fn extend_for(
        &self,
        own: &[Arc<dyn Extension>],
        from: Option<SessionId>,
        slot: &Slot<T>,
        publication: &Shared,
    ) -> Option<Shared> {
        let text = std::str::from_utf8(publication.json()).expect("the engine writes UTF-8");
        let mut message = decode_publication(text).expect("the engine writes messages it can read");
        for extension in own.iter().rev() {
            if extension.outgoing(from, Some(slot.view()), &mut message) == Flow::Drop {
                return None;
            }
        }
        let name = message.channel_text().to_owned();
        let copy = Publication::freeze(&message, &name, publication.channel(), publication.is_lazy());
        Some(Arc::new(copy.at(publication.position())))
    }
}

/// One publication on its way through a plan.
struct FanOut<'a, T> {
    engine: &'a Engine<T>,
    now: Time,
    publisher: Option<SessionId>,
    publication: Shared,
    /// The same publication under the outside names met so far, nearly always none or one.
    renamed: Vec<(ChannelName, Shared)>,
    plan: &'a Plan<T>,
    delivered: usize,
    /// Sessions that need more than their own lock.
    troubled: Vec<(Arc<Slot<T>>, Enqueued)>,
}

impl<T: Clone + PartialEq> FanOut<'_, T> {
    fn renamed(&mut self, name: &ChannelName) -> Shared {
        if let Some((_, copy)) = self.renamed.iter().find(|(known, _)| known == name) {
            return Arc::clone(copy);
        }
        let copy = Arc::new(self.publication.renamed(name));
        self.renamed.push((name.clone(), Arc::clone(&copy)));
        copy
    }

    fn reach(&mut self, slot: &Arc<Slot<T>>, publication: Shared, dirty: &mut Dirty<T>) {
        if self.publisher == Some(slot.id()) && !self.publisher_hears(slot) {
            return;
        }
        let from = self.publisher;
        match self.engine.enqueue(self.now, slot, from, publication, self.plan.lazy_timeout, dirty) {
            Enqueued::Queued => self.delivered += 1,
            Enqueued::QueuedUntil(at) => {
                self.delivered += 1;
                self.troubled.push((Arc::clone(slot), Enqueued::QueuedUntil(at)));
            }
            Enqueued::Full => self.troubled.push((Arc::clone(slot), Enqueued::Full)),
            Enqueued::Gone | Enqueued::Dropped => {}
        }
    }

    /// Whether the publisher may hear itself: its own flag, and one matching subscription whose channel allows it
    /// ([PB-6]).
    fn publisher_hears(&self, slot: &Slot<T>) -> bool {
        let session = slot.session.lock();
        if !session.broadcast_to_publisher || self.plan.silent.is_empty() {
            return session.broadcast_to_publisher;
        }
        let channel = self.publication.channel();
        channel.patterns().chain([channel.as_str().to_owned()]).any(|pattern| {
            ChannelName::parse(&pattern)
                .is_ok_and(|pattern| session.wants(&pattern).is_some() && !self.plan.silent.contains(&pattern))
        })
    }
}

/// Asks authorizers one after the other ([SC-4], [SC-5]).
pub(super) fn ask(
    authorizers: &[Arc<dyn Authorizer>],
    operation: Operation,
    channel: &ChannelName,
    session: &SessionView,
    message: &Message<'_>,
) -> Result<(), Reason> {
    let mut granted = authorizers.is_empty();
    for authorizer in authorizers {
        match authorizer.authorize(operation, channel, session, message) {
            Authorization::Grant => granted = true,
            Authorization::Deny(reason) => return Err(reason),
            Authorization::Ignore => {}
        }
    }
    if granted { Ok(()) } else { Err(BY_NOT_GRANTING) }
}
