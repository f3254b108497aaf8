//! The meta channels: handshake, connect, subscribe, unsubscribe, disconnect.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;

use super::advice::{Advice, Reconnect};
use super::channel::{ChannelKind, ChannelName};
use super::context::Context;
use super::engine::{CONNECT, DISCONNECT, Dirty, Engine, Release, SUBSCRIBE, UNSUBSCRIBE, is_protocol_channel};
use super::exchange::{Binding, Exchange, Fault, Handled, PendingConnect};
use super::extension::acknowledge;
use super::hooks::{Ended, Flow, Operation, SessionView};
use super::ids::SessionId;
use super::message::Message;
use super::peer::Transport;
use super::rejection::{BY_LIMIT, BY_POLICY, Reason, Rejection};
use super::reply::{Handshake, Reply, ReplyAdvice};
use super::session::{Acknowledged, Outlet, Resume, Session, Slot, State};
use super::time::Time;
use super::verdict::{Denial, Verdict};

/// How long a client is told to wait when the server has `max_sessions` sessions.
const FULL_SERVER_INTERVAL: Duration = Duration::from_secs(10);

/// The name under which Faye's clients post to another origin; it is long-polling.
const CROSS_ORIGIN_LONG_POLLING: &str = "cross-origin-long-polling";

/// What a client may say in the `advice` of a connect.
#[derive(Debug)]
struct ClientAdvice {
    timeout: Option<f64>,
    interval: Option<f64>,
}

impl ClientAdvice {
    /// Reads it; a value below zero counts as absent, and fractions of milliseconds do not count ([CN-4]).
    fn read(message: &Message<'_>) -> Result<Option<Self>, Fault> {
        let Some(json) = &message.advice else { return Ok(None) };
        // A map, because a derived struct would also be read from an array, and refuse a key that comes twice.
        let fields: BTreeMap<String, &RawValue> = serde_json::from_str(json).map_err(|_| Fault::BadAdvice)?;
        let time = |name: &str| match fields.get(name) {
            None => Ok(None),
            Some(value) => serde_json::from_str(value.get()).map_err(|_| Fault::BadAdvice),
        };
        Ok(Some(Self { timeout: time("timeout")?, interval: time("interval")? }))
    }

    fn millis(value: Option<f64>, max: Duration) -> Option<Duration> {
        let value = value.filter(|value| *value >= 0.0)?;
        Some(Duration::try_from_secs_f64(value.trunc() / 1_000.0).map_or(max, |asked| asked.min(max)))
    }
}

impl<T: Clone + PartialEq> Engine<T> {
    /// Makes a session, unless the policy or the server's size forbids it ([HS-1] to [HS-8]).
    pub(super) fn handshake(
        &self,
        now: Time,
        exchange: &mut Exchange<T>,
        message: &Message<'_>,
        mut reply: Reply<'_>,
        verdict: &Verdict,
        dirty: &mut Dirty<T>,
    ) -> Handled<T> {
        if let Some(denial) = verdict.handshake() {
            reply.refuse(Rejection::HandshakeDenied);
            reply.advise(Some(Advice::only(Reconnect::None)));
            amend(&mut reply, denial);
            return self.answer(exchange, None, reply);
        }
        let transport = exchange.peer.transport;
        let config = self.config.transport(transport);
        let view = SessionView { id: SessionId::from_random(self.ids.random()), mount: exchange.peer.mount, transport };
        let mut session = Session::new(now, transport, config, self.config.broadcast_to_publisher);
        session.open = 1;
        // A local session sends no connects that could acknowledge anything.
        if self.config.extensions.ack && transport != Transport::Local && acknowledge::is_wanted(message) {
            session.start_acknowledging();
        }
        if !transport.is_http() {
            session.outlet = Outlet::Stream(exchange.token.clone());
        }
        let slot = Arc::new(Slot::new(view, session));
        if self.pass_listeners(now, &slot, message, dirty) == Flow::Drop {
            reply.refuse(Rejection::MessageDeleted);
            return self.answer(exchange, None, reply);
        }
        if !self.sessions.insert(&slot, self.config.limits.max_sessions) {
            reply.refuse(Rejection::HandshakeDenied);
            let advice = Advice { interval: Some(FULL_SERVER_INTERVAL), ..Advice::only(Reconnect::Handshake) };
            reply.advise(Some(advice));
            return self.answer(exchange, None, reply);
        }
        self.counters.sessions_added.add(1);
        // The session that this connection used before stays as it is; only its own messages are refused here ([WS-4]).
        exchange.session = Binding::Session(Arc::clone(&slot));
        exchange.opened = Some(Arc::clone(&slot));
        let mut context = Context::new(self, now, Some(view), dirty);
        for listener in self.listeners().iter() {
            listener.session_added(&mut context, &view);
        }
        let connect_only = {
            let session = slot.session.lock();
            reply.advise(Some(session.advice(config)));
            session.connect_only
        };
        let transports = self.offered(message, connect_only);
        reply.handshake = Some(Box::new(Handshake { id: view.id, transports, messages: 0 }));
        exchange.handshake = Some(reply.into_owned());
        Handled::Done
    }

    /// Lists the connection types of a handshake reply: the allowed ones, and what only Faye's clients know to those that
    /// name it ([HS-4], [FY-1]).
    fn offered(&self, message: &Message<'_>, connect_only: bool) -> Vec<&'static str> {
        let mut types = Vec::new();
        for transport in &self.config.allowed_transports {
            match transport {
                Transport::EventSource if connect_only || !message.names_connection_type(transport.as_str()) => {}
                _ => types.push(transport.as_str()),
            }
            if *transport == Transport::LongPolling && message.names_connection_type(CROSS_ORIGIN_LONG_POLLING) {
                types.push(CROSS_ORIGIN_LONG_POLLING);
            }
        }
        types
    }

    /// Answers a message whose session does not exist, has ended or may not be used here ([CN-10], [CN-11]).
    pub(super) fn unknown_session(
        &self,
        exchange: &mut Exchange<T>,
        is_connect: bool,
        has_just_ended: bool,
        mut reply: Reply<'_>,
    ) -> Handled<T> {
        reply.refuse(Rejection::SessionUnknown);
        if is_connect {
            let reconnect = if has_just_ended { Reconnect::None } else { Reconnect::Handshake };
            reply.advise(Some(Advice::at_once(reconnect)));
        }
        self.answer(exchange, None, reply)
    }

    /// Dispatches a message to a meta channel by its exact name.
    #[expect(clippy::too_many_arguments, reason = "one message with everything that came with it")]
    pub(super) fn meta(
        &self,
        now: Time,
        exchange: &mut Exchange<T>,
        slot: &Arc<Slot<T>>,
        message: &Message<'_>,
        mut reply: Reply<'_>,
        verdict: &Verdict,
        dirty: &mut Dirty<T>,
    ) -> Handled<T> {
        if !is_protocol_channel(message.channel_text())
            && let Some(denial) = verdict.denial(Operation::Create, 0)
        {
            reply.refuse(Rejection::ChannelCreateDenied(denial.reason.clone()));
            amend(&mut reply, denial);
            return self.answer(exchange, Some(slot), reply);
        }
        if self.pass_listeners(now, slot, message, dirty) == Flow::Drop {
            reply.refuse(Rejection::MessageDeleted);
            return self.answer(exchange, Some(slot), reply);
        }
        match message.channel_text() {
            CONNECT => return self.connect(now, exchange, slot, message, reply),
            SUBSCRIBE => self.subscribe(now, slot, message, &mut reply, verdict, dirty),
            UNSUBSCRIBE => self.unsubscribe(now, slot, message, &mut reply, dirty),
            DISCONNECT => self.end(now, slot, Ended::Disconnected, dirty),
            _ => {}
        }
        self.answer(exchange, Some(slot), reply)
    }

    /// Accepts a connect; whether it is held is decided when the exchange is finished ([CN-1] to [CN-9]).
    fn connect(
        &self,
        now: Time,
        exchange: &mut Exchange<T>,
        slot: &Arc<Slot<T>>,
        message: &Message<'_>,
        reply: Reply<'_>,
    ) -> Handled<T> {
        let advice = match ClientAdvice::read(message) {
            Ok(advice) => advice,
            Err(fault) => return Handled::Fault(fault),
        };
        let acknowledged = if slot.acknowledges() { acknowledge::acknowledged(message) } else { None };
        self.answer_pending_connect(exchange, slot);
        let carrier = exchange.peer.transport;
        let config = self.config.transport(carrier);
        let limits = &self.config.limits;
        let mut session = slot.session.lock();
        let was_connected = session.state == State::Connected;
        session.state = State::Connected;
        session.stop_expiry(now);
        let own = session.times.timeout.unwrap_or(config.timeout);
        let mut timeout = own;
        let asks_for_timeout = advice.as_ref().is_some_and(|advice| advice.timeout.is_some());
        session.client_interval = None;
        if let Some(advice) = advice {
            // The client may have lost what it was told ([CN-8]).
            session.advised = None;
            session.client_interval = ClientAdvice::millis(advice.interval, limits.max_advice_interval);
            let asked = ClientAdvice::millis(advice.timeout, limits.max_advice_timeout.max(own));
            timeout = asked.unwrap_or(own);
        }
        match acknowledged.map(|number| session.acknowledge(number)) {
            Some(Acknowledged::MustRepeat) if !asks_for_timeout => {
                // As if the client had asked to be answered at once, advice and all.
                timeout = Duration::ZERO;
                session.advised = None;
            }
            Some(Acknowledged::Emptied) => timeout = Duration::ZERO,
            _ => {}
        }
        drop(session);
        let may_be_held = was_connected && !timeout.is_zero() && (exchange.count == 1 || !carrier.is_http());
        let by_stream = self.config.allowed_transports.contains(&Transport::EventSource)
            && message.names_connection_type(Transport::EventSource.as_str());
        exchange.connect = Some(PendingConnect {
            reply: reply.into_owned(),
            by_stream,
            hold: may_be_held.then(|| now + timeout),
            place: exchange.replies.len(),
        });
        Handled::Done
    }

    /// Subscribes to each channel in turn and stops at the first that is refused ([SB-1] to [SB-8]).
    fn subscribe(
        &self,
        now: Time,
        slot: &Arc<Slot<T>>,
        message: &Message<'_>,
        reply: &mut Reply<'_>,
        verdict: &Verdict,
        dirty: &mut Dirty<T>,
    ) {
        let names = match self.subscription(message) {
            Ok(names) => names,
            Err(rejection) => return reply.refuse(rejection),
        };
        if names.len() > self.config.limits.max_subscriptions {
            return reply.refuse(Rejection::SubscribeDenied(BY_LIMIT));
        }
        for (position, text) in names.iter().enumerate() {
            let Ok(name) = ChannelName::parse(text) else { return reply.refuse(Rejection::SubscriptionInvalid) };
            if let Err((rejection, denial)) = self.may_subscribe(slot, text, &name, message, verdict, position) {
                reply.refuse(rejection);
                if let Some(denial) = denial {
                    amend(reply, denial);
                }
                return;
            }
            if name.kind() == ChannelKind::Service {
                continue;
            }
            if let Err(rejection) = self.add_subscription(now, slot, &name, dirty) {
                return reply.refuse(rejection);
            }
        }
    }

    /// Reads `subscription`; every name is valid or none is used ([SB-3]).
    fn subscription(&self, message: &Message<'_>) -> Result<Vec<String>, Rejection> {
        if message.subscription.is_none() {
            return Err(Rejection::SubscriptionMissing);
        }
        let names = message.subscription_names().ok_or(Rejection::SubscriptionInvalid)?;
        let longest = self.config.limits.max_channel_length;
        let valid = |name: &String| name.len() <= longest && ChannelName::normalize(name).is_ok();
        if names.iter().all(valid) { Ok(names) } else { Err(Rejection::SubscriptionInvalid) }
    }

    fn may_subscribe<'v>(
        &self,
        slot: &Slot<T>,
        text: &str,
        name: &ChannelName,
        message: &Message<'_>,
        verdict: &'v Verdict,
        position: usize,
    ) -> Result<(), (Rejection, Option<&'v Denial>)> {
        let remote = !slot.is_local();
        if name.is_internal() && remote {
            return Err((Rejection::CreateDenied(BY_POLICY), None));
        }
        let is_meta = name.kind() == ChannelKind::Meta;
        // As it was sent: `/meta/connect/` is none of the five.
        if !self.channel_exists(text) {
            if let Some(denial) = verdict.denial(Operation::Create, position) {
                return Err((Rejection::CreateDenied(denial.reason.clone()), Some(denial)));
            }
            self.authorize(Operation::Create, name, slot, message)
                .map_err(|reason| (Rejection::CreateDenied(reason), None))?;
        }
        if let Some(denial) = verdict.denial(Operation::Subscribe, position) {
            return Err((Rejection::SubscribeDenied(denial.reason.clone()), Some(denial)));
        }
        self.authorize(Operation::Subscribe, name, slot, message)
            .map_err(|reason| (Rejection::SubscribeDenied(reason), None))?;
        if is_meta { Err((Rejection::SubscribeFailed, None)) } else { Ok(()) }
    }

    fn add_subscription(
        &self,
        now: Time,
        slot: &Arc<Slot<T>>,
        name: &ChannelName,
        dirty: &mut Dirty<T>,
    ) -> Result<(), Rejection> {
        let routes = self.naming.routes(slot.view(), name);
        let leads_to: Vec<_> = match routes.as_slice() {
            [] => vec![name.clone()],
            routes => routes.iter().map(|route| route.routing.clone()).collect(),
        };
        for routing in &leads_to {
            let max = self.config.limits.max_channels;
            self.create(routing, max).ok_or(Rejection::CreateDenied(BY_LIMIT))?;
        }
        let is_new = {
            let mut session = slot.session.lock();
            if !session.is_alive() {
                return Err(Rejection::SubscribeFailed);
            }
            if !session.subscribes(name) && session.subscription_count() >= self.config.limits.max_subscriptions {
                return Err(Rejection::SubscribeDenied(BY_LIMIT));
            }
            session.subscribe(name, routes)
        };
        for routing in &leads_to {
            self.reconcile(slot, routing);
        }
        if !is_new {
            return Ok(());
        }
        let mut context = Context::new(self, now, Some(*slot.view()), dirty);
        for listener in self.listeners().iter() {
            listener.subscribed(&mut context, slot.view(), name);
        }
        Ok(())
    }

    /// Unsubscribes from each channel in turn and stops at the first that does not exist ([SB-9], [SB-10]).
    fn unsubscribe(
        &self,
        now: Time,
        slot: &Arc<Slot<T>>,
        message: &Message<'_>,
        reply: &mut Reply<'_>,
        dirty: &mut Dirty<T>,
    ) {
        let names = match self.subscription(message) {
            Ok(names) => names,
            Err(rejection) => return reply.refuse(rejection),
        };
        for text in &names {
            if is_protocol_channel(text) {
                return reply.refuse(Rejection::UnsubscribeFailed);
            }
            let Ok(name) = ChannelName::parse(text) else { return reply.refuse(Rejection::SubscriptionInvalid) };
            if name.kind() == ChannelKind::Service {
                continue;
            }
            if name.is_internal() && !slot.is_local() {
                return reply.refuse(Rejection::ChannelMissing);
            }
            // CometD looks the text up as it is, so `/foo/` is unknown although `/foo` exists.
            let left = if name.as_str() == text { slot.session.lock().unsubscribe(&name) } else { None };
            match left {
                Some(routing) => self.left(now, slot, &name, &routing, dirty),
                None if name.as_str() == text && self.channels.get(text).is_some() => {}
                None => return reply.refuse(Rejection::ChannelMissing),
            }
        }
    }

    /// Makes channels follow a subscription that a session has given up.
    fn left(&self, now: Time, slot: &Arc<Slot<T>>, name: &ChannelName, routing: &[ChannelName], dirty: &mut Dirty<T>) {
        for routing in routing {
            self.reconcile(slot, routing);
        }
        let mut context = Context::new(self, now, Some(*slot.view()), dirty);
        for listener in self.listeners().iter() {
            listener.unsubscribed(&mut context, slot.view(), name);
        }
    }

    /// Makes the subscriber list of one routing name agree with what the session wants.
    ///
    /// The session's own set is the truth. It may change while the list is changed, so it is read again afterwards,
    /// until both agree; no two locks are ever held together.
    pub(super) fn reconcile(&self, slot: &Arc<Slot<T>>, routing: &ChannelName) {
        let mut wanted = slot.session.lock().wants(routing);
        loop {
            let channel =
                if wanted.is_some() { self.create(routing, usize::MAX) } else { self.channels.get(routing.as_str()) };
            let is_set = channel.is_none_or(|channel| self.channels.set_subscriber(&channel, slot, wanted.clone()));
            let now_wanted = slot.session.lock().wants(routing);
            let agrees = match (&wanted, &now_wanted) {
                (None, None) => true,
                (Some(old), Some(new)) => old.leads_like(new),
                _ => false,
            };
            if is_set && agrees {
                return;
            }
            wanted = now_wanted;
        }
    }

    /// Ends a session: it leaves the directory and its channels, and a held connect is let go ([DC-1], [DC-2]).
    pub(super) fn end(&self, now: Time, slot: &Arc<Slot<T>>, ended: Ended, dirty: &mut Dirty<T>) {
        let (subscriptions, routing) = {
            let mut session = slot.session.lock();
            if !session.is_alive() {
                return;
            }
            session.state = match ended {
                Ended::Disconnected => State::Disconnected,
                Ended::Expired => State::Expired,
            };
            session.scopes = 0;
            // It stays the outlet of what is queued, and goes when it has brought that.
            if let Outlet::Events { token, .. } = &session.outlet {
                dirty.releases.push((token.clone(), Release::Destroy));
            }
            if let Some(held) = &mut session.held {
                held.resume = Some(Resume::Ended);
            }
            (session.subscription_names(), session.routing_names())
        };
        self.sessions.remove(slot.id());
        for routing in &routing {
            self.reconcile(slot, routing);
        }
        let mut context = Context::new(self, now, Some(*slot.view()), dirty);
        for listener in self.listeners().iter() {
            for name in &subscriptions {
                listener.unsubscribed(&mut context, slot.view(), name);
            }
            listener.session_removed(&mut context, slot.view(), ended);
        }
        self.mark(slot, dirty);
    }

    /// Asks the authorizers of a channel; a list without one grants ([SC-4], [SC-5]).
    pub(super) fn authorize(
        &self,
        operation: Operation,
        channel: &ChannelName,
        slot: &Slot<T>,
        message: &Message<'_>,
    ) -> Result<(), Reason> {
        if channel.kind() == ChannelKind::Meta {
            return Ok(());
        }
        super::publish::ask(&self.channels.authorizers(channel), operation, channel, slot.view(), message)
    }
}

/// Adds the advice and `ext` of a denial to its reply; they win over the engine's own ([SC-2]).
pub(super) fn amend(reply: &mut Reply<'_>, denial: &Denial) {
    if let Some(advice) = &denial.advice {
        reply.advice = Some(ReplyAdvice::Policy(advice.clone()));
    }
    if let Some(ext) = &denial.ext {
        reply.ext = Some(ext.clone());
    }
}
