//! Event streams of Faye's clients: publications on one long response, everything else by requests beside it.

use std::sync::Arc;
use std::time::Duration;

use super::advice::Advice;
use super::browsers::BrowserPlace;
use super::config::TransportConfig;
use super::engine::{Dirty, Engine, Release};
use super::exchange::PendingConnect;
use super::ids::SessionId;
use super::peer::{Peer, Transport};
use super::session::{Outlet, Session, Slot};
use super::time::Time;

/// A session that has an event stream from now on.
#[derive(Debug)]
pub struct Streaming<T> {
    /// The session.
    pub session: Arc<Slot<T>>,
    /// The WebSocket that it was written through so far. What has been taken for that one may still be given back, so the
    /// event stream must not be asked for anything before nobody is writing there.
    pub left: Option<T>,
}

/// Why a session gets no event stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoStream {
    /// There is no such session, or its publications travel with connect replies only.
    #[error("no session of this clientId takes an event stream")]
    Unknown,
    /// Its browser has too many open requests ([BR-3]).
    #[error("this browser has too many open requests")]
    Crowded,
}

impl<T: Clone + PartialEq> Engine<T> {
    /// Lets a session be written to through the event stream `token`, until it moves elsewhere, ends, or another stream
    /// takes its place ([FY-4], [FY-6]).
    ///
    /// A stream is flushed like any other; a connect that was held is answered.
    ///
    /// # Errors
    ///
    /// [`NoStream`]: nothing has changed.
    pub fn open_stream(
        &self,
        now: Time,
        peer: &Peer,
        id: SessionId,
        token: T,
        dirty: &mut Dirty<T>,
    ) -> Result<Streaming<T>, NoStream> {
        let slot = self.sessions.get(id).filter(|slot| slot.view().mount == peer.mount && !slot.is_local());
        let slot = slot.ok_or(NoStream::Unknown)?;
        let config = self.config.transport(peer.transport);
        let mut session = slot.session.lock();
        if !session.is_alive() || session.connect_only {
            return Err(NoStream::Unknown);
        }
        // The request that it takes over from has a place already.
        let place = match session.leave_place() {
            None => self.place_for_stream(peer)?,
            place => place,
        };
        let held = session.held.take();
        let old = std::mem::replace(&mut session.outlet, Outlet::Events { token, place });
        if held.is_some() {
            session.start_expiry(now, config);
        }
        session.touch(now, config);
        drop(session);
        let left = match (held, old) {
            (Some(held), Outlet::Once(request)) => {
                dirty.releases.push((request, Release::Answer(self.render_held(now, &slot, *held, None))));
                None
            }
            (_, Outlet::Events { token: stream, .. }) => {
                dirty.releases.push((stream, Release::Destroy));
                None
            }
            // A connect that was held there is forgotten ([CN-13]).
            (_, Outlet::Stream(socket)) => Some(socket),
            (None, Outlet::Once(_)) | (_, Outlet::None) => None,
        };
        self.arm(&slot);
        self.mark(&slot, dirty);
        Ok(Streaming { session: slot, left })
    }

    fn place_for_stream(&self, peer: &Peer) -> Result<Option<BrowserPlace>, NoStream> {
        let max = self.config.transport(peer.transport).max_held_per_browser(peer.http);
        let (Some(browser), Some(max)) = (&peer.browser, max) else { return Ok(None) };
        self.browsers.enter(browser, max).map(Some).ok_or(NoStream::Crowded)
    }
}

impl<T> Session<T> {
    /// Takes the browser's place away from what is about to be replaced by an event stream.
    fn leave_place(&mut self) -> Option<BrowserPlace> {
        match (&mut self.held, &mut self.outlet) {
            (Some(held), _) => held.place.take(),
            (None, Outlet::Events { place, .. }) => place.take(),
            (None, _) => None,
        }
    }

    /// Whether publications leave on an event stream rather than with responses.
    pub(super) const fn has_event_stream(&self) -> bool {
        matches!(self.outlet, Outlet::Events { .. })
    }

    /// Whether a connect is one that is never held on HTTP, because what is published leaves on a stream ([FY-5]).
    pub(super) fn is_beside_stream(&self, connect: &PendingConnect) -> bool {
        self.is_alive() && !self.connect_only && (connect.by_stream || self.has_event_stream())
    }

    /// Returns what a client of an event stream is told with every connect: to come again when the session would be
    /// given up otherwise, and that nothing is held ([FY-5]).
    pub(super) fn stream_advice(&mut self, config: &TransportConfig) -> Advice {
        // One whose connects are not held would come again and again.
        let pause = self.times.timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(config.timeout);
        self.advised = Some(Transport::EventSource);
        // The pause it is told to make must not count as silence.
        self.client_interval = self.client_interval.max(Some(pause));
        Advice { timeout: Some(Duration::ZERO), ..self.advice(config) }
    }
}
