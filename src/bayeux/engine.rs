//! [`Engine`]: what composes the parts; how an exchange begins, is handled message by message, and finishes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};

use super::browsers::Browsers;
use super::channel::{ChannelKind, ChannelName, kind_of};
use super::channels::{Channel, ChannelOptions, Channels, Found};
use super::config::EngineConfig;
use super::counters::{Counters, Totals};
use super::deadlines::Deadlines;
use super::directory::Directory;
use super::exchange::{Binding, Exchange, Handled};
use super::extension::WallClock;
use super::extension::acknowledge;
use super::hash::Seeded;
use super::hooks::{Authorizer, ChannelListener, Extension, Flow, Listener, Naming};
use super::ids::{IdSource, SessionId};
use super::message::{Client, Message};
use super::peer::{Peer, Transport};
use super::rejection::Rejection;
use super::reply::Reply;
use super::session::{Held, Outlet, Resume, Slot, State};
use super::time::Time;
use super::verdict::Verdict;

/// The Bayeux protocol for many sessions, without sockets, clocks or tasks.
///
/// `T` is the shell's handle of a connection or of a held request: the engine stores it, compares it and hands it
/// back, and never calls it. All calls return at once, may come from any thread, and give the time as an argument
/// that must not go backwards.
///
/// The verbs, in the order a message meets them: [`begin`](Self::begin), [`handle`](Self::handle),
/// [`commit`](Self::commit), [`finish`](Self::finish); then, for every session on the [`Dirty`] list,
/// [`outlet`](Self::outlet) and [`take`](Self::take). [`fire`](Self::fire) lets time pass.
pub struct Engine<T> {
    pub(super) config: EngineConfig,
    pub(super) ids: Arc<dyn IdSource>,
    pub(super) naming: Arc<dyn Naming>,
    pub(super) sessions: Directory<T>,
    pub(super) channels: Channels<T>,
    pub(super) deadlines: Deadlines,
    pub(super) browsers: Browsers,
    pub(super) counters: Counters,
    /// When idle channels are looked at next; in the past if there have been none.
    pub(super) next_sweep: Mutex<Time>,
    pub(super) wall: RwLock<WallClock>,
    extensions: RwLock<Arc<[Arc<dyn Extension>]>>,
    listeners: RwLock<Arc<[Arc<dyn Listener<T>>]>>,
    /// Whether any channel has a listener, so that meta messages need not look for theirs.
    has_channel_listeners: AtomicBool,
}

/// What calls of the engine leave to be done by the shell.
#[derive(Debug)]
pub struct Dirty<T> {
    /// Sessions with something to write, each once, in the order in which they got it.
    pub sessions: Vec<Arc<Slot<T>>>,
    /// Held connects that are over without being flushed.
    pub releases: Vec<(T, Release)>,
}

/// How a held connect ends when it is not answered through its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Release {
    /// HTTP: with this status and no Bayeux reply ([CN-12]).
    Status(u16),
    /// With these replies, JSON objects separated by commas: the session has moved to another transport.
    Answer(Vec<u8>),
    /// WebSocket: the connection is closed as CometD closes it when a session is swept, code 1000 `Destroy`. Event
    /// stream: it ends, because its session has ended or is written to elsewhere.
    Destroy,
}

impl<T> Default for Dirty<T> {
    fn default() -> Self {
        Self { sessions: Vec::new(), releases: Vec::new() }
    }
}

impl<T> Dirty<T> {
    /// Whether nothing is left to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.releases.is_empty()
    }
}

impl<T: Clone + PartialEq> Engine<T> {
    /// Makes an engine without sessions; `ids` also gives the seed of its hash tables.
    #[must_use]
    pub fn new(config: EngineConfig, ids: Arc<dyn IdSource>, naming: Arc<dyn Naming>) -> Self {
        let hash = Seeded::new(ids.random());
        Self {
            config,
            ids,
            naming,
            sessions: Directory::new(hash),
            channels: Channels::new(hash),
            deadlines: Deadlines::default(),
            browsers: Browsers::new(hash),
            counters: Counters::default(),
            next_sweep: Mutex::default(),
            wall: RwLock::default(),
            extensions: RwLock::new(Arc::from([])),
            listeners: RwLock::new(Arc::from([])),
            has_channel_listeners: AtomicBool::new(false),
        }
    }

    /// The settings.
    #[must_use]
    pub const fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// What has been done so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.counters.totals()
    }

    /// Adds a server-wide extension behind those that are there.
    pub fn add_extension(&self, extension: Arc<dyn Extension>) {
        let mut extensions = self.extensions.write();
        *extensions = extensions.iter().cloned().chain([extension]).collect();
    }

    /// Adds an extension of one session behind those that are there; false if the session is gone.
    pub fn add_session_extension(&self, id: SessionId, extension: Arc<dyn Extension>) -> bool {
        let Some(slot) = self.sessions.get(id) else { return false };
        let mut session = slot.session.lock();
        let old = session.extensions.take();
        session.extensions = Some(old.iter().flat_map(|old| old.iter().cloned()).chain([extension]).collect());
        true
    }

    /// Adds a listener to the comings and goings of sessions and channels.
    pub fn add_listener(&self, listener: Arc<dyn Listener<T>>) {
        let mut listeners = self.listeners.write();
        *listeners = listeners.iter().cloned().chain([listener]).collect();
    }

    /// Adds a listener to a channel or pattern, which stays as long as it has one.
    pub fn add_channel_listener(&self, channel: &ChannelName, listener: &Arc<dyn ChannelListener<T>>) {
        self.has_channel_listeners.store(true, Ordering::Relaxed);
        self.with_channel(channel, |found| self.channels.add_listener(found, listener));
    }

    /// Adds an authorizer to a channel or pattern, which stays as long as it has one.
    pub fn add_authorizer(&self, channel: &ChannelName, authorizer: &Arc<dyn Authorizer>) {
        self.with_channel(channel, |found| self.channels.add_authorizer(found, authorizer));
    }

    /// Changes the options of a channel or pattern, which is made if it does not exist.
    ///
    /// `change` runs while the channel is locked and must not call the engine.
    pub fn set_channel_options(&self, channel: &ChannelName, mut change: impl FnMut(&mut ChannelOptions)) {
        self.with_channel(channel, |found| self.channels.set_options(found, &mut change));
    }

    /// Runs `attempt` on the channel until it does not meet one that has just been swept.
    fn with_channel(&self, name: &ChannelName, mut attempt: impl FnMut(&Channel<T>) -> bool) {
        // What the server's own code asks for does not count against the limit for clients.
        while !self.create(name, usize::MAX).is_some_and(|channel| attempt(&channel)) {}
    }

    /// Returns the channel, made now if need be; `None` if there are `max` already.
    pub(super) fn create(&self, name: &ChannelName, max: usize) -> Option<Arc<Channel<T>>> {
        match self.channels.get_or_create(name, max)? {
            Found::Existing(channel) => Some(channel),
            Found::Created(channel) => {
                for listener in self.listeners().iter() {
                    listener.channel_added(name);
                }
                Some(channel)
            }
        }
    }

    /// Whether a publish or subscribe to this name would find the channel; the five meta channels always exist.
    #[must_use]
    pub fn channel_exists(&self, name: &str) -> bool {
        is_protocol_channel(name)
            || ChannelName::normalize(name)
                .is_ok_and(|name| kind_of(name) != ChannelKind::Meta && self.channels.get(name).is_some())
    }

    pub(super) fn extensions(&self) -> Arc<[Arc<dyn Extension>]> {
        Arc::clone(&self.extensions.read())
    }

    pub(super) fn listeners(&self) -> Arc<[Arc<dyn Listener<T>>]> {
        Arc::clone(&self.listeners.read())
    }

    /// Begins an exchange of `count` messages that have come from `peer`, for the session that `binding` allows.
    ///
    /// `token` is what the session may be written through: the WebSocket connection, or this HTTP request while its
    /// connect is held.
    #[must_use]
    pub fn begin(&self, now: Time, peer: Peer, token: T, binding: Binding<T>, count: usize) -> Exchange<T> {
        Exchange {
            received: now,
            now,
            peer,
            token,
            count,
            session: binding,
            opened: None,
            left: None,
            handshake: None,
            replies: Vec::new(),
            connect: None,
        }
    }

    /// Handles one message of an exchange ([EN-2] gives the order of the steps).
    ///
    /// `verdict` is what the policy has said about it. Replies gather in the exchange; what became sendable for any
    /// session is on the `dirty` list.
    pub fn handle(
        &self,
        now: Time,
        exchange: &mut Exchange<T>,
        mut message: Message<'_>,
        verdict: &Verdict,
        dirty: &mut Dirty<T>,
    ) -> Handled<T> {
        exchange.now = now;
        let is_handshake = message.channel_text() == HANDSHAKE;
        if is_handshake && exchange.count > 1 {
            return Handled::Fault(super::exchange::Fault::HandshakeInBatch);
        }
        let slot = if is_handshake { None } else { self.resolve(now, exchange, message.client, dirty) };
        let is_connect = message.channel_text() == CONNECT;
        // Whatever session it names: the request is that of the session that it belongs to.
        if let (true, Some(slot)) = (is_connect, slot.as_ref().or(exchange.opened.as_ref())) {
            self.supersede(now, slot, exchange, dirty);
        }
        let mut reply = Reply::to(&message);
        if let Err(rejection) = self.validate(&message) {
            reply.refuse(rejection);
            return self.answer(exchange, slot.as_deref(), reply);
        }
        self.read_extensions(exchange, &mut message, &mut reply);
        if self.extend_incoming(slot.as_deref(), &mut message) == Flow::Drop {
            reply.refuse(Rejection::MessageDeleted);
            return self.answer(exchange, slot.as_deref(), reply);
        }
        if is_handshake {
            return self.handshake(now, exchange, &message, reply, verdict, dirty);
        }
        if let Some(slot) = &slot {
            self.note_activity(now, slot, is_connect, dirty);
        }
        let state = slot.as_ref().map(|slot| slot.session.lock().state);
        let (Some(slot), Some(State::Shaken | State::Connected)) = (slot, state) else {
            // One that expires just now is unknown: `none` would stop its client for good.
            return self.unknown_session(exchange, is_connect, state == Some(State::Disconnected), reply);
        };
        if !is_connect {
            let config = self.config.transport(exchange.peer.transport);
            slot.session.lock().touch(now, config);
        }
        match kind_of(message.channel_text()) {
            ChannelKind::Meta => self.meta(now, exchange, &slot, &message, reply, verdict, dirty),
            ChannelKind::Service | ChannelKind::Broadcast => {
                self.receive_publish(now, exchange, &slot, message, reply, verdict, dirty)
            }
        }
    }

    /// Finds the session a message may use and opens it for the exchange.
    fn resolve(
        &self,
        now: Time,
        exchange: &mut Exchange<T>,
        client: Client,
        dirty: &mut Dirty<T>,
    ) -> Option<Arc<Slot<T>>> {
        let Client::Id(id) = client else {
            // Over HTTP the first message decides for all ([EN-12]).
            if exchange.peer.transport.is_http() && matches!(exchange.session, Binding::Open) {
                exchange.session = Binding::Nobody;
            }
            self.open_bound(now, exchange, dirty);
            return None;
        };
        let is_stream = !exchange.peer.transport.is_http();
        let slot = match &exchange.session {
            // A stream whose session ended in an earlier exchange knows it no more ([DC-5]) and may go on with another.
            Binding::Session(slot) if is_stream && exchange.opened.is_none() && !slot.session.lock().is_alive() => {
                self.lookup(exchange, id)
            }
            Binding::Session(slot) if slot.id() == id => Some(Arc::clone(slot)),
            Binding::Session(_) | Binding::Nobody => None,
            Binding::Open => self.lookup(exchange, id),
        };
        match slot {
            Some(slot) => {
                self.open(now, exchange, &slot, dirty);
                Some(slot)
            }
            None => {
                if !is_stream && matches!(exchange.session, Binding::Open) {
                    exchange.session = Binding::Nobody;
                }
                self.open_bound(now, exchange, dirty);
                None
            }
        }
    }

    /// Opens the session that a stream belongs to for an exchange whose first message is not its own: what is refused is
    /// refused in its name. One that is written to elsewhere by now stays there.
    fn open_bound(&self, now: Time, exchange: &mut Exchange<T>, dirty: &mut Dirty<T>) {
        if let Binding::Session(slot) = &exchange.session
            && exchange.opened.is_none()
        {
            let slot = Arc::clone(slot);
            let belongs = {
                let session = slot.session.lock();
                session.is_alive() && session.streams_to(&exchange.token)
            };
            if belongs {
                self.open(now, exchange, &slot, dirty);
            }
        }
    }

    fn lookup(&self, exchange: &Exchange<T>, id: SessionId) -> Option<Arc<Slot<T>>> {
        let peer = &exchange.peer;
        let bound_elsewhere = peer.transport == Transport::WebSocket
            && self.config.transport(Transport::WebSocket).require_handshake_per_connection;
        if bound_elsewhere {
            return None;
        }
        let is_local = peer.transport == Transport::Local;
        self.sessions.get(id).filter(|slot| slot.view().mount == peer.mount && slot.is_local() == is_local)
    }

    /// Holds back flushes of the session until the exchange is finished; a stream also becomes its outlet.
    fn open(&self, now: Time, exchange: &mut Exchange<T>, slot: &Arc<Slot<T>>, dirty: &mut Dirty<T>) {
        if exchange.opened.is_some() {
            return;
        }
        exchange.session = Binding::Session(Arc::clone(slot));
        exchange.opened = Some(Arc::clone(slot));
        let mut session = slot.session.lock();
        session.open += 1;
        if let Outlet::Stream(token) = &session.outlet
            && *token != exchange.token
        {
            exchange.left = Some(token.clone());
        }
        if exchange.peer.transport.is_http() || !session.is_alive() {
            return;
        }
        session.has_spoken = true;
        let old = std::mem::replace(&mut session.outlet, Outlet::Stream(exchange.token.clone()));
        let moved = match &old {
            Outlet::Stream(token) => *token != exchange.token,
            Outlet::None | Outlet::Once(_) | Outlet::Events { .. } => true,
        };
        let held = if moved { session.held.take() } else { None };
        if held.is_some() {
            session.start_expiry(now, self.config.transport(exchange.peer.transport));
        }
        drop(session);
        match (held, old) {
            // A connect left behind on HTTP gets an ordinary answer; one on another socket is forgotten ([CN-13]).
            (Some(held), Outlet::Once(token)) => {
                dirty.releases.push((token, Release::Answer(self.render_held(now, slot, *held, None))));
            }
            (_, Outlet::Events { token, .. }) => dirty.releases.push((token, Release::Destroy)),
            _ => {}
        }
    }

    /// A newer connect ends a held one as soon as it arrives, valid or not, unless both are on WebSocket ([CN-12]).
    fn supersede(&self, now: Time, slot: &Slot<T>, exchange: &Exchange<T>, dirty: &mut Dirty<T>) {
        let carrier = exchange.peer.transport;
        if !carrier.is_http() {
            return;
        }
        let left = {
            let mut session = slot.session.lock();
            let left = session.leave_held();
            if left.is_some() {
                // The newer one stops it again, unless it turns out to be no good.
                session.start_expiry(now, self.config.transport(carrier));
            }
            left
        };
        self.release_replaced(now, slot, left, carrier, dirty);
    }

    /// Ends a held connect that a newer one has replaced ([CN-12], [CN-13]).
    pub(super) fn release_replaced(
        &self,
        now: Time,
        slot: &Slot<T>,
        left: Option<(Box<Held>, Outlet<T>)>,
        carrier: Transport,
        dirty: &mut Dirty<T>,
    ) {
        let Some((held, Outlet::Once(token) | Outlet::Stream(token))) = left else { return };
        let release = if held.carrier == carrier {
            Release::Status(self.config.transport(carrier).duplicate_meta_connect_http_response_code)
        } else {
            Release::Answer(self.render_held(now, slot, *held, None))
        };
        dirty.releases.push((token, release));
    }

    /// Renders the replies withheld with a connect and the connect's own, as an ordinary success; `batch` is the number
    /// of what leaves with it.
    pub(super) fn render_held(&self, now: Time, to: &Slot<T>, mut held: Held, batch: Option<u64>) -> Vec<u8> {
        let mut out = std::mem::take(&mut held.withheld);
        if self.extend_reply(now, Some(to), &mut held.reply) == Flow::Continue {
            if to.acknowledges() {
                acknowledge::mark(&mut held.reply, batch);
            }
            held.reply.write(&mut out);
        }
        out
    }

    /// Checks `channel` and `id` ([EN-3]).
    fn validate(&self, message: &Message<'_>) -> Result<(), Rejection> {
        let Some(channel) = &message.channel else { return Err(Rejection::ChannelMissing) };
        if channel.len() > self.config.limits.max_channel_length || ChannelName::normalize(channel).is_err() {
            return Err(Rejection::ChannelInvalid);
        }
        let Some(id) = message.id.as_ref().filter(|_| self.config.validate_message_fields) else { return Ok(()) };
        let valid = (1..=self.config.limits.max_id_length).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if valid { Ok(()) } else { Err(Rejection::MessageIdInvalid) }
    }

    fn extend_incoming(&self, slot: Option<&Slot<T>>, message: &mut Message<'_>) -> Flow {
        let own = slot.and_then(|slot| slot.session.lock().extensions.clone());
        let server = self.extensions();
        let view = slot.map(Slot::view);
        for extension in server.iter().chain(own.iter().flat_map(|own| own.iter())) {
            if extension.incoming(view, message) == Flow::Drop {
                return Flow::Drop;
            }
        }
        Flow::Continue
    }

    /// Passes a reply through the server's and then the session's extensions, both in reverse order ([SC-7]).
    pub(super) fn extend_reply(&self, now: Time, to: Option<&Slot<T>>, reply: &mut Reply<'_>) -> Flow {
        // The session may have left the directory: the reply to its disconnect is still its own.
        let own = to.and_then(|slot| slot.session.lock().extensions.clone());
        let server = self.extensions();
        let to = to.map(Slot::view);
        let pass = |extension: &Arc<dyn Extension>, reply: &mut Reply<'_>| extension.reply(to, reply);
        if server.iter().rev().any(|extension| pass(extension, reply) == Flow::Drop) {
            return Flow::Drop;
        }
        self.write_extensions(now, reply);
        let mut own = own.iter().flat_map(|own| own.iter().rev());
        if own.any(|extension| pass(extension, reply) == Flow::Drop) { Flow::Drop } else { Flow::Continue }
    }

    /// Puts a reply at its place in the exchange.
    pub(super) fn answer(
        &self,
        exchange: &mut Exchange<T>,
        slot: Option<&Slot<T>>,
        mut reply: Reply<'_>,
    ) -> Handled<T> {
        let channel = reply.channel.as_deref().unwrap_or_default();
        let mut acknowledges = false;
        if let (ChannelKind::Meta, Some(opened)) = (kind_of(channel), &exchange.opened) {
            let is_connect_only = || exchange.peer.transport.is_connect_only() || opened.session.lock().connect_only;
            if channel == CONNECT && is_connect_only() {
                // Publications travel with any reply to a connect, so also with a refusal.
                let opened = Arc::clone(opened);
                self.answer_pending_connect(exchange, &opened);
                exchange.refuse_connect(reply);
                return Handled::Done;
            }
            acknowledges = opened.acknowledges();
        }
        if self.extend_reply(exchange.now, slot, &mut reply) == Flow::Continue {
            if acknowledges {
                acknowledge::mark(&mut reply, None);
            }
            reply.write(&mut exchange.replies);
        }
        Handled::Done
    }

    /// Whether listeners of the channel and its patterns let a meta message pass.
    pub(super) fn pass_listeners(
        &self,
        now: Time,
        slot: &Slot<T>,
        message: &Message<'_>,
        dirty: &mut Dirty<T>,
    ) -> Flow {
        if !self.has_channel_listeners.load(Ordering::Relaxed) {
            return Flow::Continue;
        }
        let Ok(name) = ChannelName::parse(message.channel_text()) else { return Flow::Continue };
        let mut context = super::context::Context::new(self, now, Some(*slot.view()), dirty);
        for listener in self.channels.listeners(&name) {
            if listener.message(&mut context, &name, message) == Flow::Drop {
                return Flow::Drop;
            }
        }
        Flow::Continue
    }

    /// Puts a session on the list if a flush would write something.
    pub(super) fn mark(&self, slot: &Arc<Slot<T>>, dirty: &mut Dirty<T>) {
        if slot.session.lock().mark_dirty() {
            dirty.sessions.push(Arc::clone(slot));
        }
    }

    /// Arms the session's earliest deadline if it is earlier than what is armed.
    pub(super) fn arm(&self, slot: &Slot<T>) {
        let at = slot.session.lock().rearm();
        if let Some(at) = at {
            self.deadlines.arm(at, slot.id());
        }
    }

    /// Lets go of every held connect as if its time were over, so that a server can stop without errors ([CN-17]).
    pub fn release_all(&self, dirty: &mut Dirty<T>) {
        for slot in self.sessions.snapshot() {
            let mut session = slot.session.lock();
            if let Some(held) = session.held.as_mut().filter(|held| held.resume.is_none()) {
                held.resume = Some(Resume::Elapsed);
            }
            let newly = session.mark_dirty();
            drop(session);
            if newly {
                dirty.sessions.push(slot);
            }
        }
    }
}

pub(super) const HANDSHAKE: &str = "/meta/handshake";
pub(super) const CONNECT: &str = "/meta/connect";
pub(super) const SUBSCRIBE: &str = "/meta/subscribe";
pub(super) const UNSUBSCRIBE: &str = "/meta/unsubscribe";
pub(super) const DISCONNECT: &str = "/meta/disconnect";

/// Whether the name is one of the five channels of the protocol, letter by letter.
#[must_use]
pub fn is_protocol_channel(name: &str) -> bool {
    matches!(name, HANDSHAKE | CONNECT | SUBSCRIBE | UNSUBSCRIBE | DISCONNECT)
}
