//! [`Channels`] and [`Channel`]: who subscribes to what, and the plan of a fan-out.
//!
//! A concrete channel and a pattern are the same kind of thing here. What a publication needs, subscribers, listeners
//! and authorizers of the channel and of every pattern that matches it, is gathered once into a [`Plan`] and used until
//! something it was made from changes. Plans share the subscriber lists of patterns, so that a thousand subscribers
//! of `/**` exist once and not once for each channel.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::channel::{ChannelKind, ChannelName};
use super::hash::Seeded;
use super::hooks::{Authorizer, ChannelListener, Rename, Route};
use super::ids::SessionId;
use super::session::Slot;

/// Idle passes after which a channel is removed ([CH-6]).
const IDLE_PASSES_MAX: u8 = 3;

/// All channels by name.
pub(super) struct Channels<T> {
    by_name: RwLock<HashMap<Arc<str>, Arc<Channel<T>>, Seeded>>,
    hash: Seeded,
    /// Counts changes that may reach beyond one channel; a plan made before the last one is stale.
    generation: AtomicU64,
    /// Channels that may be idle, with the passes that found them so.
    idle: Mutex<BTreeMap<ChannelName, u8>>,
    count: AtomicUsize,
}

/// One channel or pattern.
pub(super) struct Channel<T> {
    name: ChannelName,
    state: Mutex<ChannelState<T>>,
    plan: RwLock<Option<Arc<Plan<T>>>>,
}

struct ChannelState<T> {
    subscribers: Vec<Subscriber<T>>,
    places: HashMap<SessionId, usize, Seeded>,
    /// The subscribers as plans share them, until they change.
    snapshot: Option<Arc<[Recipient<T>]>>,
    options: ChannelOptions,
    authorizers: Vec<Arc<dyn Authorizer>>,
    listeners: Vec<Arc<dyn ChannelListener<T>>>,
    /// Counts changes of this channel alone.
    version: u64,
    /// Whether the channel has left the directory; who still holds it looks it up again.
    retired: bool,
}

/// What a program may set on a channel or pattern ([CH-6], [LZ-1], [PB-6]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelOptions {
    /// Whether messages may wait for other traffic; a lazy pattern makes every channel it matches lazy.
    pub lazy: bool,
    /// How long they may wait; `None` is `max_lazy_timeout`.
    pub lazy_timeout: Option<Duration>,
    /// Whether the channel stays when nobody uses it.
    pub persistent: bool,
    /// Whether publishers receive their own messages through subscriptions to this channel or pattern.
    pub broadcast_to_publisher: bool,
}

struct Subscriber<T> {
    slot: Arc<Slot<T>>,
    rename: Option<Arc<dyn Rename>>,
}

/// Whom a channel or pattern reaches.
enum Reached<T> {
    /// Everybody under the routing name, as plans share them.
    All(Arc<[Recipient<T>]>),
    /// Perhaps not everybody, or under other names.
    Each(Vec<Subscriber<T>>),
}

/// One subscriber of a plan.
pub(super) struct Recipient<T> {
    pub(super) slot: Arc<Slot<T>>,
    /// The name it sees, if it is not the routing name.
    pub(super) outside: Option<ChannelName>,
}

/// Everything a publication to one channel needs.
pub(super) struct Plan<T> {
    pub(super) lists: Vec<Arc<[Recipient<T>]>>,
    pub(super) listeners: Vec<Arc<dyn ChannelListener<T>>>,
    pub(super) authorizers: Vec<Arc<dyn Authorizer>>,
    pub(super) lazy: bool,
    /// The channel's own lazy time.
    pub(super) lazy_timeout: Option<Duration>,
    /// Patterns and the channel itself through which publishers do not hear themselves.
    pub(super) silent: Vec<ChannelName>,
    generation: u64,
    version: u64,
}

/// How a channel came to hand.
pub(super) enum Found<T> {
    /// It was there.
    Existing(Arc<Channel<T>>),
    /// It was made.
    Created(Arc<Channel<T>>),
}

impl<T> Channel<T> {
    pub(super) const fn name(&self) -> &ChannelName {
        &self.name
    }

    pub(super) fn subscriber_count(&self) -> usize {
        self.state.lock().subscribers.len()
    }

    pub(super) fn options(&self) -> ChannelOptions {
        self.state.lock().options
    }

    /// Counts the channel's own changes; `None` once it has been swept.
    fn version(&self) -> Option<u64> {
        let state = self.state.lock();
        (!state.retired).then_some(state.version)
    }
}

impl<T> ChannelState<T> {
    fn new(options: ChannelOptions, hash: Seeded) -> Self {
        Self {
            subscribers: Vec::new(),
            places: HashMap::with_hasher(hash),
            snapshot: None,
            options,
            authorizers: Vec::new(),
            listeners: Vec::new(),
            version: 0,
            retired: false,
        }
    }

    fn is_idle(&self) -> bool {
        !self.options.persistent
            && self.subscribers.is_empty()
            && self.authorizers.is_empty()
            && self.listeners.is_empty()
    }

    fn renames(&self) -> bool {
        self.subscribers.iter().any(|subscriber| subscriber.rename.is_some())
    }

    fn changed(&mut self) {
        self.snapshot = None;
        self.version += 1;
    }

    /// Makes the list agree with what the session wants.
    fn set(&mut self, slot: &Arc<Slot<T>>, route: Option<Route>) {
        match (self.places.get(&slot.id()).copied(), route) {
            (None, None) => return,
            (None, Some(route)) => {
                self.places.insert(slot.id(), self.subscribers.len());
                self.subscribers.push(Subscriber { slot: Arc::clone(slot), rename: route.rename });
            }
            (Some(place), Some(route)) => self.subscribers[place].rename = route.rename,
            (Some(place), None) => {
                self.places.remove(&slot.id());
                self.subscribers.swap_remove(place);
                if let Some(moved) = self.subscribers.get(place) {
                    self.places.insert(moved.slot.id(), place);
                }
            }
        }
        self.changed();
    }

    /// Returns the subscribers as `channel` reaches them, or what it takes to find that out.
    fn reached(&mut self, channel: &ChannelName) -> Reached<T> {
        // The internal tree is closed to clients, whatever pattern they wrote ([SC-9]).
        if self.renames() || channel.is_internal() {
            return Reached::Each(self.subscribers.clone());
        }
        let snapshot = self.snapshot.get_or_insert_with(|| {
            self.subscribers.iter().map(|subscriber| Recipient::plain(&subscriber.slot)).collect()
        });
        Reached::All(Arc::clone(snapshot))
    }
}

impl<T> Reached<T> {
    /// Returns the recipients. Asks for outside names, so no lock may be held.
    fn recipients(self, channel: &ChannelName) -> Arc<[Recipient<T>]> {
        match self {
            Self::All(recipients) => recipients,
            Self::Each(subscribers) => {
                subscribers.iter().filter_map(|subscriber| subscriber.as_recipient(channel)).collect()
            }
        }
    }
}

impl<T> Clone for Subscriber<T> {
    fn clone(&self) -> Self {
        Self { slot: Arc::clone(&self.slot), rename: self.rename.clone() }
    }
}

impl<T> Subscriber<T> {
    fn as_recipient(&self, channel: &ChannelName) -> Option<Recipient<T>> {
        match &self.rename {
            Some(rename) => {
                let outside = rename.outside(channel)?;
                Some(Recipient { slot: Arc::clone(&self.slot), outside: Some(outside) })
            }
            None if channel.is_internal() && !self.slot.is_local() => None,
            None => Some(Recipient::plain(&self.slot)),
        }
    }
}

impl<T> Recipient<T> {
    fn plain(slot: &Arc<Slot<T>>) -> Self {
        Self { slot: Arc::clone(slot), outside: None }
    }
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self { lazy: false, lazy_timeout: None, persistent: false, broadcast_to_publisher: true }
    }
}

impl<T> Channels<T> {
    pub(super) fn new(hash: Seeded) -> Self {
        Self {
            by_name: RwLock::new(HashMap::with_hasher(hash)),
            hash,
            generation: AtomicU64::new(0),
            idle: Mutex::new(BTreeMap::new()),
            count: AtomicUsize::new(0),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<Channel<T>>> {
        self.by_name.read().get(name).cloned()
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Returns the channel of this name, made now if need be; `None` if there are `max` already.
    pub(super) fn get_or_create(&self, name: &ChannelName, max: usize) -> Option<Found<T>> {
        if let Some(channel) = self.get(name.as_str()) {
            return Some(Found::Existing(channel));
        }
        let mut by_name = self.by_name.write();
        if let Some(channel) = by_name.get(name.as_str()) {
            return Some(Found::Existing(Arc::clone(channel)));
        }
        if by_name.len() >= max {
            return None;
        }
        // CometD keeps service channels for ever too. Here those that nobody listens to go, or clients could make
        // them without end; no client can see the difference.
        let options = ChannelOptions { persistent: name.kind() == ChannelKind::Meta, ..ChannelOptions::default() };
        let channel = Arc::new(Channel {
            name: name.clone(),
            state: Mutex::new(ChannelState::new(options, self.hash)),
            plan: RwLock::new(None),
        });
        by_name.insert(name.shared(), Arc::clone(&channel));
        self.count.store(by_name.len(), Ordering::Relaxed);
        drop(by_name);
        self.idle.lock().insert(name.clone(), 0);
        Some(Found::Created(channel))
    }

    /// Returns all channels by name, with their subscriber counts.
    pub(super) fn snapshot(&self) -> Vec<(ChannelName, usize)> {
        let channels: Vec<_> = self.by_name.read().values().cloned().collect();
        let mut rows: Vec<_> =
            channels.iter().map(|channel| (channel.name.clone(), channel.subscriber_count())).collect();
        rows.sort();
        rows
    }

    /// Returns at most `count` channels by name with their subscriber counts, those that begin with `prefix` and come
    /// after `after`; and whether there are more.
    pub(super) fn page(&self, prefix: &str, after: &str, count: usize) -> (Vec<(ChannelName, usize)>, bool) {
        let by_name = self.by_name.read();
        let wanted = by_name.values().filter(|channel| {
            let name = channel.name.as_str();
            name > after && name.starts_with(prefix)
        });
        let mut channels: Vec<_> = wanted.cloned().collect();
        drop(by_name);
        let has_more = channels.len() > count;
        if has_more {
            channels.select_nth_unstable_by(count, |one, other| one.name.cmp(&other.name));
            channels.truncate(count);
        }
        channels.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        let rows = channels.iter().map(|channel| (channel.name.clone(), channel.subscriber_count())).collect();
        (rows, has_more)
    }

    /// Sets or removes one subscriber; false if the channel has retired meanwhile.
    pub(super) fn set_subscriber(&self, channel: &Channel<T>, slot: &Arc<Slot<T>>, route: Option<Route>) -> bool {
        let removed = route.is_none();
        let idle = {
            let mut state = channel.state.lock();
            if state.retired {
                return false;
            }
            state.set(slot, route);
            state.is_idle()
        };
        self.changed(channel);
        // It would keep whoever has left alive until the next publication, which may never come.
        let stale = channel.plan.write().take();
        drop(stale);
        if removed && idle {
            self.idle.lock().insert(channel.name.clone(), 0);
        }
        true
    }

    /// Changes options; false if the channel has retired meanwhile.
    pub(super) fn set_options(&self, channel: &Channel<T>, change: impl FnOnce(&mut ChannelOptions)) -> bool {
        self.change(channel, |state| change(&mut state.options))
    }

    /// Adds an authorizer; false if the channel has retired meanwhile.
    pub(super) fn add_authorizer(&self, channel: &Channel<T>, authorizer: &Arc<dyn Authorizer>) -> bool {
        self.change(channel, |state| state.authorizers.push(Arc::clone(authorizer)))
    }

    /// Adds a listener; false if the channel has retired meanwhile.
    pub(super) fn add_listener(&self, channel: &Channel<T>, listener: &Arc<dyn ChannelListener<T>>) -> bool {
        self.change(channel, |state| state.listeners.push(Arc::clone(listener)))
    }

    fn change(&self, channel: &Channel<T>, change: impl FnOnce(&mut ChannelState<T>)) -> bool {
        let idle = {
            let mut state = channel.state.lock();
            if state.retired {
                return false;
            }
            change(&mut state);
            state.changed();
            state.is_idle()
        };
        self.generation.fetch_add(1, Ordering::Release);
        if idle {
            self.idle.lock().insert(channel.name.clone(), 0);
        }
        true
    }

    /// Makes plans stale that the change of `channel` may touch; a concrete channel's own plan sees its version.
    fn changed(&self, channel: &Channel<T>) {
        if channel.name.is_wildcard() {
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// Returns the plan for a publication to `channel`, whether or not it has just been swept.
    pub(super) fn plan(&self, channel: &Arc<Channel<T>>) -> Arc<Plan<T>> {
        self.current(channel).unwrap_or_else(|| Arc::new(self.make_plan(channel, 0, 0)))
    }

    /// Returns the plan for a publication to `channel`; `None` if it has been swept.
    pub(super) fn current(&self, channel: &Arc<Channel<T>>) -> Option<Arc<Plan<T>>> {
        let generation = self.generation.load(Ordering::Acquire);
        let version = channel.version()?;
        let current = channel.plan.read().clone();
        match current {
            Some(plan) if plan.generation == generation && plan.version == version => Some(plan),
            _ => {
                let plan = Arc::new(self.make_plan(channel, generation, version));
                let old = channel.plan.write().replace(Arc::clone(&plan));
                // It may be the last to know of many ended sessions: they go when the lock is free.
                drop(old);
                Some(plan)
            }
        }
    }

    /// Returns the listeners that see messages to a channel, from `/**` down.
    pub(super) fn listeners(&self, name: &ChannelName) -> Vec<Arc<dyn ChannelListener<T>>> {
        self.line(name).flat_map(|channel| channel.state.lock().listeners.clone()).collect()
    }

    /// Returns the authorizers that decide about a channel, from `/**` down.
    pub(super) fn authorizers(&self, name: &ChannelName) -> Vec<Arc<dyn Authorizer>> {
        self.line(name).flat_map(|channel| channel.state.lock().authorizers.clone()).collect()
    }

    /// The patterns that match a name and exist, from `/**` down, and then the channel of that name.
    fn line<'a>(&'a self, name: &'a ChannelName) -> impl Iterator<Item = Arc<Channel<T>>> + 'a {
        name.patterns().chain(std::iter::once_with(|| name.as_str().to_owned())).filter_map(|name| self.get(&name))
    }

    fn make_plan(&self, channel: &Arc<Channel<T>>, generation: u64, version: u64) -> Plan<T> {
        let mut plan = Plan {
            lists: Vec::new(),
            listeners: Vec::new(),
            authorizers: Vec::new(),
            lazy: false,
            lazy_timeout: None,
            silent: Vec::new(),
            generation,
            version,
        };
        let mut matching = Vec::new();
        for each in self.line(&channel.name) {
            let mut state = each.state.lock();
            plan.listeners.extend(state.listeners.iter().cloned());
            plan.authorizers.extend(state.authorizers.iter().cloned());
            plan.lazy |= state.options.lazy;
            if !state.options.broadcast_to_publisher {
                plan.silent.push(each.name.clone());
            }
            if Arc::ptr_eq(&each, channel) {
                plan.lazy_timeout = state.options.lazy_timeout;
            }
            if channel.name.kind() == ChannelKind::Broadcast && !state.subscribers.is_empty() {
                matching.push(state.reached(&channel.name));
            }
        }
        let matching = matching.into_iter().map(|reached| reached.recipients(&channel.name)).collect();
        plan.lists = without_duplicates(matching, self.hash);
        plan
    }

    /// Removes channels that nobody has used for three passes; returns their names ([CH-6]).
    pub(super) fn sweep(&self) -> Vec<ChannelName> {
        let candidates = std::mem::take(&mut *self.idle.lock());
        let mut removed = Vec::new();
        for (name, passes) in candidates {
            let Some(channel) = self.get(name.as_str()) else { continue };
            if !channel.state.lock().is_idle() {
                continue;
            }
            if passes + 1 < IDLE_PASSES_MAX {
                self.idle.lock().entry(name).or_insert(passes + 1);
            } else if self.retire(&channel) {
                removed.push(name);
            }
        }
        removed
    }

    /// Marks an idle channel retired, under its own lock, and only then takes it out of the directory.
    fn retire(&self, channel: &Channel<T>) -> bool {
        {
            let mut state = channel.state.lock();
            // A retired one has left the directory, and its name may belong to another.
            if state.retired || !state.is_idle() {
                return false;
            }
            state.retired = true;
        }
        let mut by_name = self.by_name.write();
        by_name.remove(channel.name.as_str());
        self.count.store(by_name.len(), Ordering::Relaxed);
        true
    }

    /// Whether any channel waits to be swept.
    pub(super) fn has_idle(&self) -> bool {
        !self.idle.lock().is_empty()
    }
}

/// Leaves every session in one list only. The longest list stays as it is and shared; sessions that are in it, or in
/// an earlier one, are taken out of the others.
///
/// Only the lists themselves are compared, never the channels they came from: those may have changed meanwhile, and a
/// session that moved from one to the other must not fall between them.
fn without_duplicates<T>(mut lists: Vec<Arc<[Recipient<T>]>>, hash: Seeded) -> Vec<Arc<[Recipient<T>]>> {
    if lists.len() < 2 {
        return lists;
    }
    if lists.iter().any(|list| list.iter().any(|recipient| recipient.outside.is_some())) {
        return vec![merged(&lists, hash)];
    }
    let longest = (0..lists.len()).max_by_key(|at| lists[*at].len()).expect("there are two lists");
    let longest = lists.swap_remove(longest);
    let mut alone = HashSet::with_hasher(hash);
    alone.extend(lists.iter().flat_map(|list| list.iter()).map(|recipient| recipient.slot.id()));
    for recipient in &*longest {
        alone.remove(&recipient.slot.id());
    }
    let mut rest = vec![longest];
    for list in lists {
        let list: Vec<_> = list
            .iter()
            .filter(|recipient| alone.remove(&recipient.slot.id()))
            .map(|recipient| Recipient::plain(&recipient.slot))
            .collect();
        if !list.is_empty() {
            rest.push(list.into());
        }
    }
    rest
}

/// Merges lists into one that has every session once, under its outside name if it has one.
fn merged<T>(lists: &[Arc<[Recipient<T>]>], hash: Seeded) -> Arc<[Recipient<T>]> {
    let mut recipients: Vec<Recipient<T>> = Vec::new();
    let mut places = HashMap::with_hasher(hash);
    for recipient in lists.iter().flat_map(|list| list.iter()) {
        let copy = Recipient { slot: Arc::clone(&recipient.slot), outside: recipient.outside.clone() };
        match places.get(&recipient.slot.id()) {
            None => {
                places.insert(recipient.slot.id(), recipients.len());
                recipients.push(copy);
            }
            Some(place) if recipients[*place].outside.is_none() => recipients[*place] = copy,
            Some(_) => {}
        }
    }
    recipients.into()
}
