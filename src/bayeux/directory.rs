//! [`Directory`]: the living sessions by id, in shards so that connections do not meet at one lock.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;

use super::hash::Seeded;
use super::ids::SessionId;
use super::session::Slot;

/// Enough that two cores seldom want one shard, few enough to list.
const SHARDS: usize = 64;

/// The living sessions.
pub(super) struct Directory<T> {
    shards: Box<[Shard<T>]>,
    hash: Seeded,
    count: AtomicUsize,
}

type Shard<T> = RwLock<HashMap<SessionId, Arc<Slot<T>>, Seeded>>;

impl<T> Directory<T> {
    pub(super) fn new(hash: Seeded) -> Self {
        let shards = (0..SHARDS).map(|_| RwLock::new(HashMap::with_hasher(hash))).collect();
        Self { shards, hash, count: AtomicUsize::new(0) }
    }

    pub(super) fn get(&self, id: SessionId) -> Option<Arc<Slot<T>>> {
        self.shard(id).read().get(&id).cloned()
    }

    /// Adds a session unless `max` are there.
    pub(super) fn insert(&self, slot: &Arc<Slot<T>>, max: usize) -> bool {
        let room =
            self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < max).then_some(count + 1));
        if room.is_ok() {
            self.shard(slot.id()).write().insert(slot.id(), Arc::clone(slot));
        }
        room.is_ok()
    }

    /// Removes a session; false if it was not there.
    pub(super) fn remove(&self, id: SessionId) -> bool {
        let removed = self.shard(id).write().remove(&id);
        if removed.is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        removed.is_some()
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns all sessions, in no order.
    pub(super) fn snapshot(&self) -> Vec<Arc<Slot<T>>> {
        self.shards.iter().flat_map(|shard| shard.read().values().cloned().collect::<Vec<_>>()).collect()
    }

    /// Returns the ids of all sessions that `wanted` says yes to, in no order.
    pub(super) fn ids(&self, wanted: impl Fn(SessionId) -> bool) -> Vec<SessionId> {
        let mut ids = Vec::new();
        for shard in &self.shards {
            ids.extend(shard.read().keys().copied().filter(|id| wanted(*id)));
        }
        ids
    }

    fn shard(&self, id: SessionId) -> &Shard<T> {
        let hash = self.hash.hash_one(id);
        // The low bits pick a bucket inside the map; the shard takes others.
        &self.shards[usize::try_from(hash >> 58).expect("six bits fit")]
    }
}
