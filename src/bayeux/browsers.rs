//! [`Browsers`]: how many connects of each browser are held.
//!
//! Browsers allow six connections to a host over HTTP/1.1. A page in each of six tabs, each holding a connect, would
//! leave none to publish with, so connects over the limit are answered with `multiple-clients` advice ([BR-3]).

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::hash::Seeded;

/// Held connects by browser; an entry lives while a connect of its browser is held.
pub(super) struct Browsers {
    held: Mutex<HashMap<Arc<str>, Weak<AtomicU32>, Seeded>>,
}

/// One held connect of one browser; dropping it frees the place.
#[derive(Debug)]
pub(super) struct BrowserPlace(Arc<AtomicU32>);

impl Browsers {
    pub(super) fn new(hash: Seeded) -> Self {
        Self { held: Mutex::new(HashMap::with_hasher(hash)) }
    }

    /// Takes a place for one more held connect of `browser`, unless `max` are taken.
    pub(super) fn enter(&self, browser: &Arc<str>, max: u32) -> Option<BrowserPlace> {
        let count = {
            let mut held = self.held.lock();
            if held.len() == held.capacity() {
                held.retain(|_, count| count.strong_count() > 0);
            }
            match held.get(browser).and_then(Weak::upgrade) {
                Some(count) => count,
                None => {
                    let count = Arc::new(AtomicU32::new(0));
                    held.insert(Arc::clone(browser), Arc::downgrade(&count));
                    count
                }
            }
        };
        let taken =
            count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| (taken < max).then_some(taken + 1));
        // Made only if it was taken: dropping one gives a place back.
        taken.is_ok().then(|| BrowserPlace(count))
    }
}

impl Drop for BrowserPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
