//! `activity`: ends sessions that do nothing but connect.

use std::sync::Arc;

use crate::bayeux::config::ActivityMode;
use crate::bayeux::engine::{Dirty, Engine};
use crate::bayeux::session::{Session, Slot};
use crate::bayeux::time::Time;

impl<T: Clone + PartialEq> Engine<T> {
    /// Notes that a message of the session has come; a connect ends the session if that was too long ago ([AC-1]).
    pub(in crate::bayeux) fn note_activity(
        &self,
        now: Time,
        slot: &Arc<Slot<T>>,
        is_connect: bool,
        dirty: &mut Dirty<T>,
    ) {
        let extensions = &self.config.extensions;
        if !extensions.activity {
            return;
        }
        let mut session = slot.session.lock();
        if !is_connect {
            session.active = now;
        } else if now.since(session.active) > extensions.activity_max_inactivity_period {
            drop(session);
            self.disconnect(now, slot.id(), dirty);
        }
    }

    /// Notes that there is a message for the session ([AC-2]).
    pub(in crate::bayeux) fn note_delivery(&self, now: Time, session: &mut Session<T>) {
        if self.config.extensions.activity_mode == ActivityMode::ClientServer {
            session.active = now;
        }
    }
}
