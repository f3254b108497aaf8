//! How an exchange finishes, how sessions are flushed, and how time passes.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::advice::{Advice, Reconnect};
use super::browsers::BrowserPlace;
use super::channel::ChannelName;
use super::config::TransportConfig;
use super::engine::{DISCONNECT, Dirty, Engine, Release};
use super::exchange::{Batch, Binding, Exchange, Finished, PendingConnect};
use super::extension::acknowledge;
use super::hooks::{Ended, Flow};
use super::ids::SessionId;
use super::message::Message;
use super::peer::Transport;
use super::publication::{Publication, Shared};
use super::reply::Reply;
use super::session::{Held, Outlet, Resume, Session, SessionTimes, Slot};
use super::time::Time;

/// Connects in a row that may ignore the advised interval before they are made to wait for it.
const HASTY_CONNECTS_MAX: u8 = 3;

/// What [`Engine::take`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Took {
    /// Nothing to write now.
    Nothing,
    /// The session may no longer be written to through this outlet: start the flush again.
    Moved,
    /// The batch holds something.
    Batch,
}

/// What finishing an exchange decided about its connect.
enum Fate {
    /// There was none.
    None,
    /// It waits.
    Hold,
    /// It is answered now.
    Answer(Box<Reply<'static>>, usize),
}

/// Whether a browser may hold one more connect.
enum Room {
    /// It may, taking this place if places are counted.
    Free(Option<BrowserPlace>),
    /// It has too many already.
    Full,
}

impl<T: Clone + PartialEq> Engine<T> {
    /// Finishes an exchange: fills `batch` with what leaves now, in the order of [EN-10].
    ///
    /// A stream calls this under its writer lock, so that nobody writes between the session's events and these replies.
    pub fn finish(
        &self,
        now: Time,
        mut exchange: Exchange<T>,
        batch: &mut Batch,
        dirty: &mut Dirty<T>,
    ) -> (Finished, Binding<T>) {
        exchange.now = now;
        let Some(slot) = exchange.opened.take() else {
            batch.replies = exchange.replies;
            return (Finished::Answered, exchange.session);
        };
        let room = self.room_to_hold(&slot, &exchange);
        let carrier = exchange.peer.transport;
        let config = self.config.transport(carrier);
        let answers_handshake = exchange.handshake.is_some();
        let pending = exchange.connect.take();
        let mut session = slot.session.lock();
        session.open -= 1;
        let has_moved = !carrier.is_http() && session.is_alive() && !session.streams_to(&exchange.token);
        // Two connects that were handled at the same time have not seen each other.
        let replaces = pending.as_ref().is_some_and(PendingConnect::is_accepted) && (carrier.is_http() || has_moved);
        let left = if replaces { session.leave_held() } else { None };
        let fate = match pending {
            None => Fate::None,
            Some(pending) => session.decide(now, pending, &mut exchange, room, config),
        };
        let held = matches!(fate, Fate::Hold);
        let ends_held = !session.is_alive() && session.held.is_some() && matches!(session.outlet, Outlet::Once(_));
        let answers_connect = matches!(fate, Fate::Answer(..));
        if replaces && carrier.is_http() && !held {
            session.leave_stream();
        }
        batch.starts_expiry = answers_connect || answers_handshake;
        if batch.starts_expiry {
            session.start_expiry(now, config);
        }
        let resumed = if carrier.is_http() { None } else { session.resumed(config) };
        let travels = match carrier {
            // A local session is flushed like any other, or its handler would run here and there at once.
            Transport::Local => false,
            // Its events go where it is now; only the replies are owed here.
            _ if has_moved && !held => false,
            // The response of a connect that ends with its session takes everything along ([DC-1], [DC-6]).
            _ if ends_held => false,
            // What an event stream brings must not be overtaken by what a response brings. One that ends with its session
            // may be gone before this is finished.
            _ if session.is_alive() && session.has_event_stream() && !session.connect_only => false,
            _ if answers_handshake => config.allow_message_delivery_during_handshake,
            _ => !(session.connect_only || carrier.is_connect_only()) || answers_connect || resumed.is_some(),
        };
        let mut number = None;
        // A connect that is held sends nothing by itself, and so takes no lazy message along ([LZ-2]).
        let waits = held && (carrier.is_http() || !session.has_prompt());
        if travels && !waits {
            // A stream's own events leave before its replies, however many they are; only batches that travel with a
            // connect reply, and responses, have a size that clients can take.
            let bounded = carrier.is_http() || session.connect_only;
            let bytes_max = if bounded { session.batch_bytes_max(config) } else { usize::MAX };
            number = session.take(bytes_max, &mut batch.events);
            let numbers_handshake = answers_handshake && number.is_some() && !batch.events.is_empty();
            batch.together = session.connect_only
                && (answers_connect || numbers_handshake)
                && session.leaves_together(&batch.events, config);
        }
        // What is queued during a handshake waits for the first connect, which a local session does not send ([HS-8]).
        let marked = (!answers_handshake || slot.is_local()) && session.mark_dirty();
        let at = session.rearm();
        drop(session);
        if let Some(at) = at {
            self.deadlines.arm(at, slot.id());
        }
        if marked {
            // Before any extension is called: a session that is marked and on no list would stay silent.
            dirty.sessions.push(Arc::clone(&slot));
        }
        self.release_replaced(now, &slot, left, carrier, dirty);
        if let Fate::Answer(reply, place) = fate {
            self.insert_reply(now, &slot, *reply, number, place, &mut exchange.replies);
        }
        if let Some(handshake) = exchange.handshake.take() {
            batch.handshake = self.render_handshake(now, &slot, handshake, batch.events.len(), number);
        }
        if let Some(due) = resumed {
            batch.connect = self.render_held(now, &slot, *due, number);
        }
        batch.replies = std::mem::take(&mut exchange.replies);
        (if held { Finished::Held } else { Finished::Answered }, exchange.session)
    }

    /// Renders the reply to a handshake, which so many publications follow as the batch of this number.
    fn render_handshake(
        &self,
        now: Time,
        slot: &Slot<T>,
        mut reply: Reply<'static>,
        messages: usize,
        batch: Option<u64>,
    ) -> Option<Vec<u8>> {
        if let Some(counted) = &mut reply.handshake {
            counted.messages = messages;
        }
        if self.extend_reply(now, Some(slot), &mut reply) == Flow::Drop {
            return None;
        }
        if slot.acknowledges() {
            acknowledge::confirm(&mut reply, batch);
        }
        let mut rendered = Vec::new();
        reply.write(&mut rendered);
        Some(rendered)
    }

    /// Gives an exchange up, for a request that failed as a whole or whose sender has gone.
    ///
    /// What its messages did stays done; a connect among them counts as answered. A client's stream is about to be closed
    /// and is no outlet any more.
    pub fn abandon(&self, now: Time, mut exchange: Exchange<T>, dirty: &mut Dirty<T>) {
        let Some(slot) = exchange.opened.take() else { return };
        let mut session = slot.session.lock();
        session.open -= 1;
        if exchange.connect.is_some() || exchange.handshake.is_some() {
            session.start_expiry(now, self.config.transport(exchange.peer.transport));
        }
        if !slot.is_local() && session.streams_to(&exchange.token) {
            session.outlet = Outlet::None;
        }
        drop(session);
        self.arm(&slot);
        self.mark(&slot, dirty);
    }

    /// Looks for room to hold the connect of an exchange ([BR-3]).
    fn room_to_hold(&self, slot: &Slot<T>, exchange: &Exchange<T>) -> Room {
        let Some(pending) = &exchange.connect else { return Room::Free(None) };
        let config = self.config.transport(exchange.peer.transport);
        let max = config.max_held_per_browser(exchange.peer.http);
        let (Some(browser), Some(max), true) = (&exchange.peer.browser, max, exchange.peer.transport.is_http()) else {
            return Room::Free(None);
        };
        if exchange.count > 1 {
            return Room::Free(None);
        }
        let session = slot.session.lock();
        if session.has_prompt() || session.is_beside_stream(pending) {
            return Room::Free(None);
        }
        drop(session);
        match self.browsers.enter(browser, max) {
            // A connect that is not going to be held needs a free place and takes none.
            Some(place) => Room::Free(pending.hold.is_some().then_some(place)),
            None => Room::Full,
        }
    }

    /// Renders the reply of a connect that is answered with its exchange, at its place among the other replies; `batch`
    /// is the number of what leaves with it.
    fn insert_reply(
        &self,
        now: Time,
        slot: &Slot<T>,
        mut reply: Reply<'static>,
        batch: Option<u64>,
        place: usize,
        replies: &mut Vec<u8>,
    ) {
        let behind = replies.split_off(place);
        if self.extend_reply(now, Some(slot), &mut reply) == Flow::Continue {
            if slot.acknowledges() {
                acknowledge::mark(&mut reply, batch);
            }
            reply.write(replies);
        }
        // What was behind began with its own comma, unless it was the first.
        if place == 0 && !replies.is_empty() && !behind.is_empty() {
            replies.push(b',');
        }
        replies.extend_from_slice(&behind);
    }

    /// Answers an earlier connect of the same exchange, which a second one may not replace.
    pub(super) fn answer_pending_connect(&self, exchange: &mut Exchange<T>, slot: &Slot<T>) {
        let Some(mut pending) = exchange.connect.take() else { return };
        let config = self.config.transport(exchange.peer.transport);
        let number = {
            let mut session = slot.session.lock();
            if pending.is_accepted() {
                pending.reply.advise(session.take_advice(exchange.peer.transport, config));
            }
            // What leaves with this exchange is the batch of the later one.
            session.queue.number_nothing()
        };
        self.insert_reply(exchange.now, slot, pending.reply, number, pending.place, &mut exchange.replies);
    }

    /// Begins the flush of a session that was on a dirty list: returns its outlet if there is something to write.
    #[must_use]
    pub fn outlet(&self, slot: &Slot<T>) -> Option<T> {
        let mut session = slot.session.lock();
        session.dirty = false;
        if !session.is_sendable() {
            return None;
        }
        match &session.outlet {
            Outlet::None => None,
            Outlet::Once(token) | Outlet::Stream(token) | Outlet::Events { token, .. } => Some(token.clone()),
        }
    }

    /// Moves what may be written to the session now into `batch`, if `token` is still its outlet.
    ///
    /// Call it under the writer lock of the connection. A held request gets everything that goes into one response,
    /// ends by this call and must be answered; a stream is asked again until nothing is left.
    pub fn take(&self, now: Time, slot: &Arc<Slot<T>>, token: &T, batch: &mut Batch) -> Took {
        let mut session = slot.session.lock();
        let is_once = match &session.outlet {
            Outlet::Once(current) if current == token => true,
            outlet if outlet.streams_through(token) => false,
            _ => return Took::Moved,
        };
        if !session.is_sendable() {
            return Took::Nothing;
        }
        let carrier = match &session.held {
            Some(held) if is_once => held.carrier,
            _ if slot.is_local() => Transport::Local,
            _ => Transport::WebSocket,
        };
        let config = self.config.transport(carrier);
        let bytes_max = session.batch_bytes_max(config);
        let number = session.take(bytes_max, &mut batch.events);
        let due = if is_once || session.connect_only {
            session.held.take()
        } else if !session.queue.has_unsent() {
            session.held.take_if(|held| held.resume.is_some())
        } else {
            // Events come first, and there are more.
            None
        };
        batch.together = session.connect_only && due.is_some() && session.leaves_together(&batch.events, config);
        if is_once {
            session.outlet = Outlet::None;
        }
        let due = due.map(|mut held| {
            session.advise(&mut held, config);
            session.start_expiry(now, config);
            held
        });
        batch.starts_expiry = due.is_some();
        batch.more = session.is_sendable();
        let at = session.rearm();
        drop(session);
        if let Some(at) = at {
            self.deadlines.arm(at, slot.id());
        }
        if let Some(held) = due {
            batch.connect = self.render_held(now, slot, *held, number);
        }
        Took::Batch
    }

    /// Starts the expiry of a session anew: the answer that began it has just been written ([SS-1]).
    pub fn written(&self, now: Time, slot: &Slot<T>) {
        let mut session = slot.session.lock();
        if session.is_alive() && session.is_expiring() {
            let carrier = session.advised.unwrap_or(slot.view().transport);
            session.start_expiry(now, self.config.transport(carrier));
        }
        drop(session);
        self.arm(slot);
    }

    /// Puts publications of a lost response back at the head of the queue, and the session on the list if another
    /// outlet waits for them ([LP-10]).
    pub fn put_back(&self, slot: &Arc<Slot<T>>, publications: Vec<Shared>, dirty: &mut Dirty<T>) {
        slot.session.lock().put_back(publications);
        self.mark(slot, dirty);
    }

    /// Puts publications that did not fit into the stream `token` back at the head of the queue.
    ///
    /// Whoever owns the stream takes them again when there is room. If the session has moved since they were taken,
    /// nobody would: then it is put on the list.
    pub fn give_back(&self, slot: &Arc<Slot<T>>, token: &T, publications: Vec<Shared>, dirty: &mut Dirty<T>) {
        let mut session = slot.session.lock();
        session.put_back(publications);
        if !session.streams_to(token) && session.mark_dirty() {
            drop(session);
            dirty.sessions.push(Arc::clone(slot));
        }
    }

    /// Tells that an outlet is gone: the connection is closed, or the held request was dropped.
    ///
    /// A connect held on HTTP ends with its request. One held on a WebSocket stays until its time is over, because
    /// the client may come back on another connection ([WS-14]).
    pub fn detach(&self, now: Time, slot: &Slot<T>, token: &T) {
        let mut session = slot.session.lock();
        let is_once = match &session.outlet {
            Outlet::Once(current) if current == token => true,
            outlet if outlet.streams_through(token) => false,
            _ => return,
        };
        session.outlet = Outlet::None;
        if is_once {
            let carrier = session.held.take().map_or(slot.view().transport, |held| held.carrier);
            session.start_expiry(now, self.config.transport(carrier));
        }
        drop(session);
        self.arm(slot);
    }

    /// Ends a session as the server's decision ([DC-4], [DC-5]); false if it is gone already.
    pub fn disconnect(&self, now: Time, id: SessionId, dirty: &mut Dirty<T>) -> bool {
        let Some(slot) = self.sessions.get(id) else { return false };
        {
            let mut session = slot.session.lock();
            let speaks = !slot.is_local() && session.speaks_before_its_connect();
            let is_told = session.held.is_some() || session.open > 0 || speaks;
            if is_told {
                session.queue.push(self.disconnect_message(now, slot.acknowledges()));
            }
        }
        self.end(now, &slot, Ended::Disconnected, dirty);
        true
    }

    /// The message that tells a client the server has ended its session; it has no `id` ([DC-4]).
    fn disconnect_message(&self, now: Time, acknowledges: bool) -> Shared {
        let channel = ChannelName::parse(DISCONNECT).expect("a meta channel is a channel");
        let ext = acknowledges.then_some(Cow::Borrowed("{}"));
        let mut message = Message { ext, ..Message::default() };
        message.extra.push((Cow::Borrowed("successful"), Cow::Borrowed("true")));
        self.stamp(now, &mut message);
        Arc::new(Publication::freeze(&message, DISCONNECT, &channel, false))
    }

    /// Lets time pass: ends held connects and silent sessions, sends lazy publications, sweeps channels.
    pub fn fire(&self, now: Time, dirty: &mut Dirty<T>) {
        while let Some((at, id)) = self.deadlines.pop_due(now) {
            if let Some(slot) = self.sessions.get(id) {
                self.elapse(now, &slot, at, dirty);
            }
        }
        self.sweep(now);
    }

    fn elapse(&self, now: Time, slot: &Arc<Slot<T>>, armed: Time, dirty: &mut Dirty<T>) {
        let mut session = slot.session.lock();
        if !session.disarm(armed) {
            return;
        }
        session.elapse(now);
        if session.has_stalled(now) {
            let (held, outlet) = (session.held.take(), std::mem::replace(&mut session.outlet, Outlet::None));
            drop(session);
            match (held, outlet) {
                (Some(held), Outlet::Once(token) | Outlet::Stream(token)) => {
                    let status = self.config.transport(held.carrier).duplicate_meta_connect_http_response_code;
                    let release = if held.carrier.is_http() { Release::Status(status) } else { Release::Destroy };
                    dirty.releases.push((token, release));
                }
                (_, Outlet::Events { token, .. }) => dirty.releases.push((token, Release::Destroy)),
                _ => {}
            }
            self.expire(now, slot, dirty);
            return;
        }
        if session.has_expired(now) && session.open > 0 {
            session.touch(now, self.config.transport(slot.view().transport));
        }
        if session.has_expired(now) {
            drop(session);
            self.expire(now, slot, dirty);
            return;
        }
        // The connection is gone and nobody came back in time to take the answer.
        if matches!(session.outlet, Outlet::None)
            && let Some(held) = session.held.take_if(|held| held.resume.is_some())
        {
            session.start_expiry(now, self.config.transport(held.carrier));
        }
        drop(session);
        self.mark(slot, dirty);
        self.arm(slot);
    }

    fn expire(&self, now: Time, slot: &Arc<Slot<T>>, dirty: &mut Dirty<T>) {
        self.counters.sessions_expired.add(1);
        self.end(now, slot, Ended::Expired, dirty);
        slot.session.lock().queue.clear();
    }

    fn sweep(&self, now: Time) {
        {
            let mut next = self.next_sweep.lock();
            if now < *next {
                return;
            }
            *next = now + self.config.sweep_period;
        }
        let removed = self.channels.sweep();
        let listeners = self.listeners();
        for name in &removed {
            for listener in listeners.iter() {
                listener.channel_removed(name);
            }
        }
    }

    /// When [`fire`](Self::fire) has something to do next, unless another call comes first.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let sweep = self.channels.has_idle().then(|| *self.next_sweep.lock());
        [self.deadlines.next(), sweep].into_iter().flatten().min()
    }

    /// Overrides `timeout` and `interval` of one session; the next connect reply says so ([CN-9]). False if the session
    /// is gone.
    pub fn set_session_times(&self, id: SessionId, timeout: Option<Duration>, interval: Option<Duration>) -> bool {
        self.change_session_times(id, |times| {
            times.timeout = timeout.or(times.timeout);
            times.interval = interval.or(times.interval);
        })
    }

    /// Changes the times of one session that differ from its transport's, also back to `None`; the next connect reply
    /// tells them ([CN-9]). False if the session is gone.
    ///
    /// A connect that is held keeps its own end. `change` runs while the session is locked and must not call the engine.
    pub fn change_session_times(&self, id: SessionId, change: impl FnOnce(&mut SessionTimes)) -> bool {
        let Some(slot) = self.sessions.get(id) else { return false };
        let mut session = slot.session.lock();
        change(&mut session.times);
        session.advised = None;
        true
    }

    /// Sets whether a session receives its own publications; false if it is gone.
    pub fn set_broadcast_to_publisher(&self, id: SessionId, hears: bool) -> bool {
        let Some(slot) = self.sessions.get(id) else { return false };
        slot.session.lock().broadcast_to_publisher = hears;
        true
    }

    /// Opens a batch scope: publications for the session wait until [`end_batch`](Self::end_batch). False if the session
    /// is gone.
    pub fn start_batch(&self, id: SessionId) -> bool {
        let Some(slot) = self.sessions.get(id) else { return false };
        slot.session.lock().scopes += 1;
        true
    }

    /// Closes a batch scope that was opened.
    pub fn end_batch(&self, id: SessionId, dirty: &mut Dirty<T>) {
        if let Some(slot) = self.sessions.get(id) {
            let mut session = slot.session.lock();
            session.scopes = session.scopes.saturating_sub(1);
            drop(session);
            self.mark(&slot, dirty);
        }
    }
}

impl<T: Clone + PartialEq> Session<T> {
    /// Whether the session is written to through this stream.
    pub(super) fn streams_to(&self, token: &T) -> bool {
        self.outlet.streams_through(token)
    }

    /// Decides whether a connect is held or answered ([CN-1] to [CN-5], [BR-3] to [BR-5]).
    fn decide(
        &mut self,
        now: Time,
        pending: PendingConnect,
        exchange: &mut Exchange<T>,
        room: Room,
        config: &TransportConfig,
    ) -> Fate {
        let carrier = exchange.peer.transport;
        let is_accepted = pending.is_accepted();
        let is_beside_stream = self.is_beside_stream(&pending);
        let PendingConnect { mut reply, hold, place, .. } = pending;
        if !is_accepted {
            return Fate::Answer(Box::new(reply), place);
        }
        if is_beside_stream && carrier.is_http() {
            reply.advise(Some(self.stream_advice(config)));
            return Fate::Answer(Box::new(reply), place);
        }
        let has_prompt = !self.is_open() && self.has_prompt();
        let must_answer = !self.is_alive() || (has_prompt && (carrier.is_http() || self.connect_only));
        let mut held = None;
        if !must_answer {
            held = match room {
                Room::Free(place) => hold.map(|deadline| (deadline, place, false)),
                Room::Full if config.multi_session_interval.is_zero() => {
                    reply.successful = false;
                    let due = self.take_advice(carrier, config).unwrap_or(Advice::only(Reconnect::None));
                    reply.advise(Some(Advice { reconnect: Reconnect::None, multiple_clients: true, ..due }));
                    return Fate::Answer(Box::new(reply), place);
                }
                Room::Full => self.crowd(now, &mut reply, carrier, config).map(|until| (until, None, true)),
            };
        }
        let Some((deadline, browser, crowded)) = held else {
            if reply.advice.is_none() {
                reply.advise(self.take_advice(carrier, config));
            }
            return Fate::Answer(Box::new(reply), place);
        };
        // An older connect that was answered meanwhile has started it.
        self.stop_expiry(now);
        let withheld = if carrier.is_http() { Vec::new() } else { std::mem::take(&mut exchange.replies) };
        let advises = self.take_advice(carrier, config).is_some();
        self.held =
            Some(Box::new(Held { reply, carrier, deadline, resume: None, withheld, place: browser, crowded, advises }));
        let token = exchange.token.clone();
        self.outlet = if carrier.is_http() { Outlet::Once(token) } else { Outlet::Stream(token) };
        Fate::Hold
    }

    /// Advises a session of a browser that has too many; returns until when it is held, if it came too early.
    ///
    /// CometD answers at once, and clients that ignore `interval` then ask hundreds of times a second. One that waits
    /// as it was told notices no difference ([BR-4]).
    fn crowd(
        &mut self,
        now: Time,
        reply: &mut Reply<'static>,
        carrier: Transport,
        config: &TransportConfig,
    ) -> Option<Time> {
        let allowed = self.crowded_until.unwrap_or(now);
        self.hasty = if allowed > now { self.hasty.saturating_add(1) } else { 0 };
        self.crowded_until = Some(now.max(allowed) + config.multi_session_interval);
        if self.hasty > HASTY_CONNECTS_MAX {
            return Some(allowed);
        }
        self.crowded_until = Some(now + config.multi_session_interval);
        reply.advise(Some(self.crowded_advice(carrier, config)));
        None
    }

    fn crowded_advice(&mut self, carrier: Transport, config: &TransportConfig) -> Advice {
        let due = self.take_advice(carrier, config);
        // The pause it is told to make must not count as silence.
        self.client_interval = self.client_interval.max(Some(config.multi_session_interval));
        let interval = Some(config.multi_session_interval);
        let base = due.unwrap_or(Advice::only(Reconnect::Retry));
        Advice { interval, multiple_clients: true, ..base }
    }

    /// How many bytes of publications may leave in one batch. What an ended session has left leaves whole, because no
    /// other batch follows ([DC-1]).
    fn batch_bytes_max(&self, config: &TransportConfig) -> usize {
        if self.is_alive() { config.max_batch_bytes } else { usize::MAX }
    }

    /// Whether a batch and its connect reply are one frame: the last of a session is in pieces where it is larger than
    /// clients can take, since nothing of it is sent again ([WS-9]).
    fn leaves_together(&self, events: &[Shared], config: &TransportConfig) -> bool {
        self.is_alive() || events.iter().map(|event| event.size()).sum::<usize>() <= config.max_batch_bytes
    }

    /// Lets go of a held connect that is to be answered on the stream that finishes an exchange.
    fn resumed(&mut self, config: &TransportConfig) -> Option<Box<Held>> {
        let mut held = self.held.take_if(|held| held.resume == Some(Resume::Ended))?;
        self.advise(&mut held, config);
        Some(held)
    }

    /// Writes the advice that is due into the reply of a connect that was held ([CN-9]).
    fn advise(&mut self, held: &mut Held, config: &TransportConfig) {
        if held.advises {
            // As it is now: times may have changed since it came.
            self.advised = None;
        }
        let advice = if held.resume == Some(Resume::Ended) {
            let due = self.take_advice(held.carrier, config);
            Some(Advice { reconnect: Reconnect::None, ..due.unwrap_or(Advice::only(Reconnect::None)) })
        } else if held.crowded {
            Some(self.crowded_advice(held.carrier, config))
        } else {
            self.take_advice(held.carrier, config)
        };
        held.reply.advise(advice);
    }
}
