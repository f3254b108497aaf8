//! [`Slot`] and the state machine of one client's session.
//!
//! ```text
//!   handshake          connect            connect
//!  ──────────▶ Shaken ─────────▶ Connected ─────┐
//!                │                │  ▲──────────┘
//!    disconnect, │                │ disconnect, expiry
//!        expiry  ▼                ▼
//!               Disconnected or Expired
//! ```
//!
//! Everything here is plain data behind one lock per session; nothing takes another lock or calls out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::advice::{Advice, Reconnect};
use super::browsers::BrowserPlace;
use super::channel::ChannelName;
use super::config::{QueueOverflow, TransportConfig};
use super::hooks::{Extension, Route, SessionView};
use super::ids::SessionId;
use super::peer::Transport;
use super::publication::Shared;
use super::queue::OutboundQueue;
use super::reply::Reply;
use super::time::Time;

/// A session as connections, channels and queues refer to it.
pub struct Slot<T> {
    view: SessionView,
    /// Whether the client acknowledges what it receives ([AK-1]).
    acknowledges: bool,
    pub(super) session: Mutex<Session<T>>,
}

impl<T> Slot<T> {
    pub(super) fn new(view: SessionView, session: Session<T>) -> Self {
        let acknowledges = session.queue.is_acknowledged();
        Self { view, acknowledges, session: Mutex::new(session) }
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.view.id
    }

    /// What hooks may know of it.
    #[must_use]
    pub const fn view(&self) -> &SessionView {
        &self.view
    }

    pub(super) const fn acknowledges(&self) -> bool {
        self.acknowledges
    }

    pub(super) const fn is_local(&self) -> bool {
        matches!(self.view.transport, Transport::Local)
    }
}

impl<T> fmt::Debug for Slot<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view.fmt(formatter)
    }
}

/// Times of one session that take the place of its transport's; `None` is the transport's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionTimes {
    /// How long its connects are held; zero holds none.
    pub timeout: Option<Duration>,
    /// How long it is advised to wait before its next connect.
    pub interval: Option<Duration>,
    /// How long it may go without a connect, after that interval, before it expires; counts from its next answer.
    pub max_interval: Option<Duration>,
}

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It has an id and may do everything, but its first connect is answered at once ([CN-1]).
    Shaken,
    /// It has connected; connects may be held.
    Connected,
    /// It said goodbye, or the server ended it.
    Disconnected,
    /// It was silent for too long.
    Expired,
}

/// What lets a session be written to.
#[derive(Debug)]
pub(super) enum Outlet<T> {
    /// Nothing; publications wait.
    None,
    /// One held HTTP request, good for one response.
    Once(T),
    /// A connection that may be written to at any time.
    Stream(T),
    /// An event stream, which takes publications; connects are requests beside it and are never held.
    Events {
        /// The stream.
        token: T,
        /// The browser's place it takes.
        place: Option<BrowserPlace>,
    },
}

impl<T: PartialEq> Outlet<T> {
    /// Whether it is a stream, and this one.
    pub(super) fn streams_through(&self, token: &T) -> bool {
        matches!(self, Self::Stream(current) | Self::Events { token: current, .. } if current == token)
    }
}

/// A connect that waits for its answer.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) reply: Reply<'static>,
    pub(super) carrier: Transport,
    /// When it is answered if nothing happens.
    pub(super) deadline: Time,
    /// Why it is to be answered now.
    pub(super) resume: Option<Resume>,
    /// Rendered replies of the same frame, which leave with it ([WS-8]).
    pub(super) withheld: Vec<u8>,
    /// The browser's place it takes.
    pub(super) place: Option<BrowserPlace>,
    /// Whether the browser has too many sessions, which the reply then says.
    pub(super) crowded: bool,
    /// Whether its reply gives advice. Who replaces it does not get that advice in its stead.
    pub(super) advises: bool,
}

/// Why a held connect is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resume {
    /// Its time is over, the server stops, or the session moved to another transport.
    Elapsed,
    /// The session has ended.
    Ended,
}

/// One subscription of a session, under the name the client used.
struct Subscription {
    outside: ChannelName,
    /// Where it leads; nothing means to the channel of its own name.
    routes: Vec<Route>,
}

/// What an acknowledgement says about the connect that it came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acknowledged {
    /// It may be held unless there is something new.
    MayWait,
    /// There is nothing new, and something that the client has missed ([AK-7]).
    MustRepeat,
    /// There was something new, which a number that was never given has removed ([AK-9]).
    Emptied,
}

/// What became of a publication that was handed to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enqueued {
    /// It waits.
    Queued,
    /// It waits, and there is a new earliest deadline to arm.
    QueuedUntil(Time),
    /// An extension of the session dropped it.
    Dropped,
    /// The session has ended.
    Gone,
    /// The queue is full and the session must end.
    Full,
}

/// One client's session.
pub(super) struct Session<T> {
    pub(super) state: State,
    pub(super) outlet: Outlet<T>,
    /// Whether the session is on a dirty list.
    pub(super) dirty: bool,
    /// Whether a message of it, or one in its name, has come over a stream since its handshake.
    pub(super) has_spoken: bool,
    /// Exchanges that are open; nothing is flushed meanwhile.
    pub(super) open: u32,
    /// Batch scopes that are open; nothing is flushed meanwhile, until the session ends.
    pub(super) scopes: u32,
    pub(super) queue: OutboundQueue,
    pub(super) held: Option<Box<Held>>,
    /// When lazy publications leave at the latest.
    lazy_at: Option<Time>,
    /// Whether that time has come.
    lazy_due: bool,
    /// When the session ends unless it connects.
    expires: Option<Time>,
    last_seen: Time,
    /// When there last was a message that shows that the session is in use ([AC-1], [AC-2]).
    pub(super) active: Time,
    /// How long the session may be silent while a connect is in progress.
    max_processing: Option<Duration>,
    /// The earliest entry this session has among the deadlines.
    armed: Option<Time>,
    is_local: bool,
    pub(super) times: SessionTimes,
    /// The interval announced by the client's last connect.
    pub(super) client_interval: Option<Duration>,
    /// The transport whose advice the client has.
    pub(super) advised: Option<Transport>,
    /// Whether publications travel with connect replies only.
    pub(super) connect_only: bool,
    pub(super) broadcast_to_publisher: bool,
    /// Sorted by outside name.
    subscriptions: Vec<Subscription>,
    /// How many of them lead elsewhere than to their own name.
    routed: usize,
    pub(super) extensions: Option<Arc<[Arc<dyn Extension>]>>,
    /// When a client in a browser with too many sessions may be answered at once again.
    pub(super) crowded_until: Option<Time>,
    /// Connects in a row that did not wait until then.
    pub(super) hasty: u8,
    /// Publications dropped because the queue was full.
    pub(super) dropped: u64,
}

impl<T> Session<T> {
    pub(super) fn new(now: Time, transport: Transport, config: &TransportConfig, broadcast_to_publisher: bool) -> Self {
        Self {
            state: State::Shaken,
            outlet: Outlet::None,
            dirty: false,
            has_spoken: false,
            open: 0,
            scopes: 0,
            queue: OutboundQueue::default(),
            held: None,
            lazy_at: None,
            lazy_due: false,
            expires: None,
            last_seen: now,
            active: now,
            max_processing: config.max_processing,
            armed: None,
            is_local: transport == Transport::Local,
            times: SessionTimes::default(),
            client_interval: None,
            advised: Some(transport),
            connect_only: config.meta_connect_deliver_only,
            broadcast_to_publisher,
            subscriptions: Vec::new(),
            routed: 0,
            extensions: None,
            crowded_until: None,
            hasty: 0,
            dropped: 0,
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        matches!(self.state, State::Shaken | State::Connected)
    }

    /// Whether something waits that need not wait for other traffic.
    pub(super) fn has_prompt(&self) -> bool {
        self.queue.has_prompt() || (self.lazy_due && self.queue.has_unsent())
    }

    /// Whether deliveries are collected at the moment.
    pub(super) fn is_open(&self) -> bool {
        self.open > 0 || self.scopes > 0
    }

    /// Whether a flush would write something now.
    pub(super) fn is_sendable(&self) -> bool {
        if self.is_open() {
            return false;
        }
        let resumes = self.held.as_ref().is_some_and(|held| held.resume.is_some());
        match self.outlet {
            Outlet::None => false,
            Outlet::Once(_) => resumes || (self.held.is_some() && self.has_prompt()),
            Outlet::Events { .. } => self.has_prompt() && !self.connect_only,
            Outlet::Stream(_) => resumes || (self.has_prompt() && (!self.connect_only || self.held.is_some())),
        }
    }

    /// Whether it uses a stream and has not connected yet; then it is told at once that the server has ended it.
    pub(super) fn speaks_before_its_connect(&self) -> bool {
        self.state == State::Shaken && self.has_spoken && matches!(self.outlet, Outlet::Stream(_))
    }

    /// Marks the session dirty if a flush would write something; true if the caller has to put it on its list.
    pub(super) fn mark_dirty(&mut self) -> bool {
        let newly = !self.dirty && self.is_sendable();
        self.dirty |= newly;
        newly
    }

    /// Takes one publication in, under the limits of the transport of the handshake.
    pub(super) fn enqueue(
        &mut self,
        now: Time,
        publication: Shared,
        lazy_timeout: Duration,
        config: &TransportConfig,
    ) -> Enqueued {
        if !self.is_alive() {
            return Enqueued::Gone;
        }
        while !self.queue.has_room(publication.size(), config.max_queue, config.max_queue_bytes) {
            if config.queue_overflow == QueueOverflow::Disconnect || self.queue.pop().is_none() {
                return Enqueued::Full;
            }
            self.dropped += 1;
        }
        let lazy = publication.is_lazy();
        self.queue.push(publication);
        if !lazy {
            return Enqueued::Queued;
        }
        if lazy_timeout.is_zero() {
            self.lazy_due = true;
        } else {
            let at = now + lazy_timeout;
            self.lazy_at = Some(self.lazy_at.map_or(at, |earlier| earlier.min(at)));
        }
        self.rearm().map_or(Enqueued::Queued, Enqueued::QueuedUntil)
    }

    /// Moves what waits to `out`, at most `bytes_max`, except a single larger publication; returns the number of the
    /// batch if the client acknowledges it.
    pub(super) fn take(&mut self, bytes_max: usize, out: &mut Vec<Shared>) -> Option<u64> {
        let number = self.queue.take(bytes_max, out);
        // A rest has been overtaken by nothing but a size limit, so it goes with the next flush.
        self.settle_lazy();
        number
    }

    /// Lets lazy messages go with the next flush if there are any, and forgets their timer if not.
    fn settle_lazy(&mut self) {
        self.lazy_due = self.queue.has_unsent();
        if !self.lazy_due {
            self.lazy_at = None;
        }
    }

    /// From now on publications travel with connect replies only and stay until they are acknowledged ([AK-1], [AK-2]).
    pub(super) fn start_acknowledging(&mut self) {
        self.connect_only = true;
        self.queue.keep_until_acknowledged();
    }

    /// Drops what the client acknowledges; returns whether its connect may be held, as far as that tells.
    pub(super) fn acknowledge(&mut self, number: u64) -> Acknowledged {
        let had_prompt = self.has_prompt();
        let was_given = self.queue.acknowledge(number);
        if !self.queue.has_unsent() {
            self.settle_lazy();
        }
        if had_prompt && !was_given {
            Acknowledged::Emptied
        } else if self.queue.unacknowledged() > 0 && !self.has_prompt() {
            Acknowledged::MustRepeat
        } else {
            Acknowledged::MayWait
        }
    }

    /// Puts publications that were taken and not written back at the head of the queue.
    ///
    /// A session that has ended takes them only while an answer that they belong before is still owed. Those that a
    /// client acknowledges have never left the queue, and it asks for them again.
    pub(super) fn put_back(&mut self, publications: Vec<Shared>) {
        if !self.queue.is_acknowledged() && (self.is_alive() || self.held.is_some()) {
            self.lazy_due |= !publications.is_empty();
            self.queue.put_back(publications.into_iter());
        }
    }

    /// Takes a held connect and its outlet away, for a newer connect; one whose session has ended is about to be told so
    /// and stays.
    pub(super) fn leave_held(&mut self) -> Option<(Box<Held>, Outlet<T>)> {
        let held = self.held.take_if(|held| held.resume != Some(Resume::Ended))?;
        Some((held, std::mem::replace(&mut self.outlet, Outlet::None)))
    }

    /// Takes the WebSocket away from a session whose client now asks over HTTP what there is ([CN-18]).
    pub(super) fn leave_stream(&mut self) {
        if let Outlet::Stream(_) = self.outlet {
            self.outlet = Outlet::None;
        }
    }

    /// Returns the advice that is due on `carrier`, once ([CN-8]).
    pub(super) fn take_advice(&mut self, carrier: Transport, config: &TransportConfig) -> Option<Advice> {
        if self.advised == Some(carrier) {
            return None;
        }
        self.advised = Some(carrier);
        Some(self.advice(config))
    }

    /// Returns the advice to go on as the settings and the client's own interval say.
    pub(super) fn advice(&self, config: &TransportConfig) -> Advice {
        Advice {
            reconnect: Reconnect::Retry,
            interval: Some(self.effective_interval(config)),
            timeout: Some(self.times.timeout.unwrap_or(config.timeout)),
            max_interval: config.handshake_reconnect.then(|| self.times.max_interval.unwrap_or(config.max_interval)),
            multiple_clients: false,
        }
    }

    fn effective_interval(&self, config: &TransportConfig) -> Duration {
        self.client_interval.or(self.times.interval).unwrap_or(config.interval)
    }

    /// Starts the time after which the session ends unless it connects ([SS-1]); a local one never does ([SS-7]), and
    /// one whose connect is held does not yet ([SS-2]).
    pub(super) fn start_expiry(&mut self, now: Time, config: &TransportConfig) {
        if self.is_local || self.held.is_some() {
            return;
        }
        let grace = self.times.max_interval.unwrap_or(config.max_interval);
        self.expires = Some(now + self.effective_interval(config) + grace);
    }

    /// Stops that time: a connect has arrived ([SS-2]).
    pub(super) fn stop_expiry(&mut self, now: Time) {
        self.expires = None;
        self.last_seen = now;
    }

    /// Whether no connect is in progress.
    pub(super) fn is_expiring(&self) -> bool {
        self.expires.is_some()
    }

    /// Any message but a connect keeps the session for another `max_interval` ([SS-3]).
    pub(super) fn touch(&mut self, now: Time, config: &TransportConfig) {
        self.last_seen = now;
        if let Some(expires) = self.expires {
            self.expires = Some(expires.max(now + self.times.max_interval.unwrap_or(config.max_interval)));
        }
    }

    /// Returns an entry to arm, if the earliest deadline is earlier than every armed one.
    pub(super) fn rearm(&mut self) -> Option<Time> {
        let next = self.next_deadline()?;
        if self.armed.is_some_and(|armed| armed <= next) {
            return None;
        }
        self.armed = Some(next);
        Some(next)
    }

    /// Forgets the armed entry, which has popped; false if it was not the one that counts.
    pub(super) fn disarm(&mut self, at: Time) -> bool {
        let counts = self.armed == Some(at);
        if counts {
            self.armed = None;
        }
        counts
    }

    /// Returns when something of this session is due next.
    fn next_deadline(&self) -> Option<Time> {
        if !self.is_alive() {
            return None;
        }
        let held = self.held.as_ref().filter(|held| held.resume.is_none()).map(|held| held.deadline);
        let lazy = self.lazy_at.filter(|_| !self.lazy_due);
        let processing = match self.expires {
            None if self.is_local => None,
            None => self.max_processing.map(|limit| self.last_seen + limit),
            Some(_) => None,
        };
        [held, lazy, self.expires, processing].into_iter().flatten().min()
    }

    /// Lets lazy publications and the held connect go if their time has come.
    pub(super) fn elapse(&mut self, now: Time) {
        if self.lazy_at.is_some_and(|at| at <= now) {
            self.lazy_at = None;
            self.lazy_due = self.queue.has_unsent();
        }
        if let Some(held) = &mut self.held
            && held.deadline <= now
            && held.resume.is_none()
        {
            held.resume = Some(Resume::Elapsed);
        }
        self.queue.shrink();
    }

    /// Whether the session has been without a connect for too long.
    pub(super) fn has_expired(&self, now: Time) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// Whether the session has been silent for too long while a connect is in progress ([SS-5]).
    pub(super) fn has_stalled(&self, now: Time) -> bool {
        !self.is_local
            && self.expires.is_none()
            && self.max_processing.is_some_and(|limit| self.last_seen + limit <= now)
    }

    /// Adds a subscription; false if it was there.
    pub(super) fn subscribe(&mut self, outside: &ChannelName, routes: Vec<Route>) -> bool {
        match self.place(outside) {
            Ok(_) => false,
            Err(place) => {
                self.routed += usize::from(!routes.is_empty());
                self.subscriptions.insert(place, Subscription { outside: outside.clone(), routes });
                true
            }
        }
    }

    /// Removes a subscription and returns where it led.
    pub(super) fn unsubscribe(&mut self, outside: &ChannelName) -> Option<Vec<ChannelName>> {
        let place = self.place(outside).ok()?;
        let subscription = self.subscriptions.remove(place);
        self.routed -= usize::from(!subscription.routes.is_empty());
        Some(subscription.leads_to())
    }

    /// Whether the session has a subscription of this name.
    pub(super) fn subscribes(&self, outside: &ChannelName) -> bool {
        self.place(outside).is_ok()
    }

    pub(super) fn subscription_count(&self) -> usize {
        self.subscriptions.len()
    }

    /// The names of all subscriptions, sorted.
    pub(super) fn subscription_names(&self) -> Vec<ChannelName> {
        self.subscriptions.iter().map(|subscription| subscription.outside.clone()).collect()
    }

    /// Every routing name or pattern the session is to be found at.
    pub(super) fn routing_names(&self) -> Vec<ChannelName> {
        self.subscriptions.iter().flat_map(Subscription::leads_to).collect()
    }

    fn place(&self, outside: &ChannelName) -> Result<usize, usize> {
        self.subscriptions.binary_search_by(|subscription| subscription.outside.cmp(outside))
    }

    /// Whether the session subscribes to the routing name or pattern, and how it knows what arrives there.
    ///
    /// A renaming route counts before a plain one, so that a client which matches under two names sees the outside
    /// one.
    pub(super) fn wants(&self, routing: &ChannelName) -> Option<Route> {
        if !self.is_alive() {
            return None;
        }
        // Nearly always there is none, and this is asked for each subscription of thousands.
        let routed = if self.routed == 0 { &[] } else { self.subscriptions.as_slice() };
        let mapped = routed.iter().flat_map(|subscription| &subscription.routes);
        let mapped = mapped.filter(|route| route.routing == *routing).max_by_key(|route| route.rename.is_some());
        mapped.cloned().or_else(|| {
            let place = self.place(routing).ok()?;
            let plain = self.subscriptions[place].routes.is_empty();
            plain.then(|| Route { routing: routing.clone(), rename: None })
        })
    }
}

impl Subscription {
    fn leads_to(&self) -> Vec<ChannelName> {
        if self.routes.is_empty() {
            vec![self.outside.clone()]
        } else {
            self.routes.iter().map(|route| route.routing.clone()).collect()
        }
    }
}
