//! [`OutboundQueue`]: the publications that wait for one session, in order and under limits.

use std::collections::VecDeque;

use super::publication::Shared;

/// Entries a drained queue keeps room for; a queue that once was longer gives the rest back in [`OutboundQueue::shrink`].
const CAPACITY_AT_REST: usize = 8;

/// Batches remembered for one client that acknowledges none of them, 1 KiB; whoever acknowledges an older one gets all
/// since then again.
const BATCHES_MAX: usize = 64;

/// Largest number of a batch: what JavaScript can count to.
const BATCH_MAX: u64 = (1 << 53) - 1;

/// One FIFO of shared publications with its size in messages and bytes.
///
/// Where the client acknowledges, entries stay at the head after they have left, until a number that covers them comes
/// back ([AK-5]). They count against the limits like those that have not left.
#[derive(Debug, Default)]
pub(super) struct OutboundQueue {
    entries: VecDeque<Shared>,
    bytes: usize,
    /// How many entries have not left and may not wait for other traffic.
    prompt: usize,
    /// What a client that acknowledges has been sent; boxed, because most do not.
    sent: Option<Box<Sent>>,
}

/// What a client has been sent that acknowledges it.
///
/// Each batch begins at the head of the queue, so that its number stands for everything up to where it ended.
#[derive(Debug, Default)]
struct Sent {
    /// The number of the last batch.
    last: u64,
    /// How many entries at the head the last batch carried.
    count: usize,
    /// How many entries have left the queue for good.
    removed: u64,
    /// Batches and where they ended, counted in entries since the beginning, oldest first. One that ended where the
    /// batch before did is left out.
    ends: VecDeque<(u64, u64)>,
}

impl OutboundQueue {
    /// From now on entries stay until they are acknowledged.
    pub(super) fn keep_until_acknowledged(&mut self) {
        self.sent.get_or_insert_default();
    }

    /// Whether entries stay until they are acknowledged.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.sent.is_some()
    }

    /// Whether anything has not left yet.
    pub(super) fn has_unsent(&self) -> bool {
        self.entries.len() > self.unacknowledged()
    }

    /// How many entries have left and are not acknowledged.
    pub(super) fn unacknowledged(&self) -> usize {
        self.sent.as_ref().map_or(0, |sent| sent.count)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether something that is not lazy has not left yet.
    pub(super) fn has_prompt(&self) -> bool {
        self.prompt > 0
    }

    /// Whether one more publication of `size` bytes keeps the queue within both limits. An empty queue takes one of any
    /// size that its message limit allows.
    pub(super) fn has_room(&self, size: usize, messages_max: usize, bytes_max: usize) -> bool {
        self.entries.len() < messages_max && (self.entries.is_empty() || self.bytes + size <= bytes_max)
    }

    pub(super) fn push(&mut self, publication: Shared) {
        self.count_in(&publication);
        self.entries.push_back(publication);
    }

    /// Removes and returns the oldest publication.
    pub(super) fn pop(&mut self) -> Option<Shared> {
        let publication = self.entries.pop_front()?;
        self.bytes -= publication.size();
        let was_sent = self.sent.as_mut().is_some_and(|sent| sent.remove_oldest());
        self.prompt -= usize::from(!publication.is_lazy() && !was_sent);
        Some(publication)
    }

    /// Moves the oldest publications to `out` until the next one would pass `bytes_max`; at least one moves.
    ///
    /// Where the client acknowledges, they are copied and stay, those that it has not acknowledged since the last time
    /// among them; the number of this batch is returned.
    pub(super) fn take(&mut self, bytes_max: usize, out: &mut Vec<Shared>) -> Option<u64> {
        if self.is_acknowledged() {
            return self.copy(bytes_max, out);
        }
        let mut taken = 0;
        while let Some(next) = self.entries.front() {
            taken += next.size();
            if taken > bytes_max && !out.is_empty() {
                break;
            }
            out.extend(self.pop());
        }
        None
    }

    /// Copies the oldest publications to `out` and numbers them.
    fn copy(&mut self, bytes_max: usize, out: &mut Vec<Shared>) -> Option<u64> {
        let count = self.fitting(bytes_max);
        out.extend(self.entries.range(..count).cloned());
        self.number(count)
    }

    /// How many of the oldest entries fit into a batch.
    fn fitting(&self, bytes_max: usize) -> usize {
        let mut bytes = 0;
        let fits = |next: &&Shared| {
            let is_first = bytes == 0;
            bytes += next.size();
            is_first || bytes <= bytes_max
        };
        self.entries.iter().take_while(fits).count()
    }

    /// Numbers a batch of the oldest `count` entries. What the batch before carried and this one does not counts as unsent
    /// again: whoever acknowledges this one has not seen it in there ([AK-8]).
    fn number(&mut self, count: usize) -> Option<u64> {
        let sent = self.sent.as_mut()?;
        let (from, to) = (sent.count.min(count), sent.count.max(count));
        let prompt = self.entries.range(from..to).filter(|publication| !publication.is_lazy()).count();
        if count > sent.count {
            self.prompt -= prompt;
        } else {
            self.prompt += prompt;
        }
        Some(sent.add(count))
    }

    /// Numbers a batch of nothing, for a reply that brings nothing although something may wait.
    pub(super) fn number_nothing(&mut self) -> Option<u64> {
        self.sent.as_mut().map(|sent| sent.add_until(sent.removed))
    }

    /// Drops what the client has received in the batch `number` and before. A number that was never given empties the
    /// queue, as it does in CometD; then false.
    pub(super) fn acknowledge(&mut self, number: u64) -> bool {
        let Some(sent) = &mut self.sent else { return true };
        let was_given = number <= sent.last;
        let received = if was_given { sent.acknowledge(number) } else { self.entries.len() };
        (0..received).for_each(|_| drop(self.pop()));
        was_given
    }

    /// Puts publications that could not be written back at the head, in their order.
    pub(super) fn put_back(&mut self, publications: impl DoubleEndedIterator<Item = Shared>) {
        for publication in publications.rev() {
            self.count_in(&publication);
            self.entries.push_front(publication);
        }
    }

    /// Drops everything; the numbers of batches go on.
    pub(super) fn clear(&mut self) {
        let sent = self.sent.take().map(|sent| Box::new(Sent { last: sent.last, ..Sent::default() }));
        *self = Self { sent, ..Self::default() };
    }

    /// Gives memory of a past burst back.
    pub(super) fn shrink(&mut self) {
        if self.entries.is_empty() && self.entries.capacity() > CAPACITY_AT_REST {
            self.entries = VecDeque::new();
        }
        if let Some(sent) = self.sent.as_mut().filter(|sent| sent.ends.is_empty()) {
            sent.ends = VecDeque::new();
        }
    }

    fn count_in(&mut self, publication: &Shared) {
        self.bytes += publication.size();
        self.prompt += usize::from(!publication.is_lazy());
    }
}

impl Sent {
    /// Adds a batch of the oldest `count` entries; returns its number.
    fn add(&mut self, count: usize) -> u64 {
        self.count = count;
        self.add_until(self.removed + count as u64)
    }

    fn add_until(&mut self, end: u64) -> u64 {
        self.last = BATCH_MAX.min(self.last + 1);
        if self.ends.back().is_none_or(|(_, last)| *last != end) {
            self.ends.push_back((self.last, end));
        }
        if self.ends.len() > BATCHES_MAX {
            self.ends.pop_front();
        }
        self.last
    }

    /// Forgets the batch `number` and those before it; returns how many entries of the queue they have brought.
    fn acknowledge(&mut self, number: u64) -> usize {
        let mut end = 0;
        while let Some((_, its_end)) = self.ends.front().filter(|(batch, _)| *batch <= number) {
            end = *its_end;
            self.ends.pop_front();
        }
        usize::try_from(end.saturating_sub(self.removed)).expect("a queue has no more entries than memory")
    }

    /// Forgets the oldest entry; whether the last batch carried it.
    fn remove_oldest(&mut self) -> bool {
        let was_sent = self.count > 0;
        self.count -= usize::from(was_sent);
        self.removed += 1;
        was_sent
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::channel::ChannelName;
    use super::super::publication::Publication;
    use super::*;

    fn publication(data: u8, lazy: bool) -> Shared {
        let channel = ChannelName::parse("/a").unwrap();
        Arc::new(Publication::from_object(&channel, "/a", lazy, |out| out.push(data)))
    }

    fn drain(queue: &mut OutboundQueue, bytes_max: usize) -> Vec<u8> {
        let mut out = Vec::new();
        queue.take(bytes_max, &mut out);
        out.iter().map(|publication| publication.json()[15]).collect()
    }

    #[test]
    fn what_is_put_back_comes_first_again() {
        let mut queue = OutboundQueue::default();
        (b'a'..=b'd').for_each(|data| queue.push(publication(data, false)));
        let mut out = Vec::new();
        queue.take(42, &mut out);
        assert_eq!(out.len(), 2);
        queue.put_back(out.into_iter());
        assert_eq!(drain(&mut queue, usize::MAX), b"abcd");
        assert_eq!((queue.bytes(), queue.has_prompt()), (0, false));
    }

    /// A queue of a client that acknowledges.
    fn acknowledged(data: &[u8]) -> OutboundQueue {
        let mut queue = OutboundQueue::default();
        queue.keep_until_acknowledged();
        data.iter().for_each(|data| queue.push(publication(*data, false)));
        queue
    }

    /// [AK-5] [AK-6]
    #[test]
    fn what_is_sent_stays_until_its_number_or_a_later_one_comes_back() {
        let mut queue = acknowledged(b"ab");
        assert_eq!(drain(&mut queue, usize::MAX), b"ab");
        assert!(!queue.has_unsent() && !queue.has_prompt());
        queue.push(publication(b'c', true));
        queue.push(publication(b'd', false));
        assert!(queue.has_unsent() && queue.has_prompt());
        assert_eq!((queue.unacknowledged(), queue.len(), queue.bytes()), (2, 4, 4 * 21));
        assert_eq!(drain(&mut queue, usize::MAX), b"abcd");
        queue.acknowledge(1);
        assert_eq!((queue.unacknowledged(), queue.len(), queue.bytes()), (2, 2, 2 * 21));
        queue.acknowledge(0);
        assert_eq!(drain(&mut queue, usize::MAX), b"cd");
        // Batch 2 had the two, and so had every batch since.
        queue.acknowledge(2);
        assert_eq!((queue.unacknowledged(), queue.len(), queue.bytes()), (0, 0, 0));
        assert_eq!(queue.take(usize::MAX, &mut Vec::new()), Some(4));
    }

    /// [AK-8]
    #[test]
    fn what_a_smaller_batch_leaves_out_is_unsent_again() {
        let mut queue = acknowledged(b"ab");
        assert_eq!(drain(&mut queue, usize::MAX), b"ab");
        queue.push(publication(b'c', false));
        assert_eq!(drain(&mut queue, usize::MAX), b"abc");
        assert_eq!(drain(&mut queue, 42), b"ab");
        assert!(queue.has_prompt());
        assert_eq!(drain(&mut queue, 1), b"a");
        queue.acknowledge(4);
        assert_eq!(drain(&mut queue, 42), b"bc");
        assert!(!queue.has_unsent() && !queue.has_prompt());
        queue.acknowledge(4);
        assert_eq!(queue.unacknowledged(), 2);
        queue.acknowledge(5);
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
    }

    /// [AK-8]
    #[test]
    fn a_larger_batch_that_did_arrive_is_acknowledged_though_a_smaller_one_was_sent_since() {
        let mut queue = acknowledged(b"abc");
        assert_eq!(drain(&mut queue, usize::MAX), b"abc");
        assert_eq!(drain(&mut queue, 21), b"a");
        queue.push(publication(b'd', false));
        queue.acknowledge(1);
        assert_eq!(drain(&mut queue, 21), b"d");
        queue.acknowledge(2);
        assert_eq!(queue.len(), 1, "that batch ended before it");
        queue.acknowledge(3);
        assert_eq!((queue.len(), queue.has_prompt()), (0, false));
    }

    /// [AK-4]
    #[test]
    fn the_number_of_nothing_acknowledges_nothing() {
        let mut queue = acknowledged(b"ab");
        assert_eq!(drain(&mut queue, 21), b"a");
        assert_eq!(queue.number_nothing(), Some(2));
        queue.acknowledge(2);
        assert_eq!((queue.len(), queue.unacknowledged()), (2, 1));
        assert_eq!(OutboundQueue::default().number_nothing(), None);
    }

    #[test]
    fn of_very_many_batches_that_are_not_acknowledged_only_the_last_are_told_apart() {
        let mut queue = acknowledged(b"");
        for _ in 0..2 * BATCHES_MAX {
            queue.push(publication(b'a', false));
            queue.take(usize::MAX, &mut Vec::new());
        }
        assert_eq!(queue.sent.as_ref().unwrap().ends.len(), BATCHES_MAX);
        queue.acknowledge(BATCHES_MAX as u64);
        assert_eq!(queue.len(), 2 * BATCHES_MAX);
        queue.acknowledge(BATCHES_MAX as u64 + 1);
        assert_eq!(queue.len(), BATCHES_MAX - 1);
    }

    /// [AK-9]
    #[test]
    fn a_number_that_was_never_given_empties_the_queue() {
        let mut queue = acknowledged(b"ab");
        assert_eq!(drain(&mut queue, 21), b"a");
        queue.acknowledge(99);
        assert!(queue.len() == 0 && !queue.has_prompt());
        assert_eq!(queue.take(usize::MAX, &mut Vec::new()), Some(2));
    }

    #[test]
    fn the_oldest_may_be_dropped_whether_it_has_left_or_not() {
        let mut queue = acknowledged(b"abc");
        assert_eq!(drain(&mut queue, 42), b"ab");
        (0..3).for_each(|_| drop(queue.pop()));
        assert!(!queue.has_unsent() && !queue.has_prompt() && queue.pop().is_none());
        queue.push(publication(b'd', false));
        queue.acknowledge(1);
        assert_eq!(drain(&mut queue, 42), b"d");
        queue.clear();
        assert_eq!(queue.take(42, &mut Vec::new()), Some(3), "numbers never go back");
    }

    #[test]
    fn numbers_end_where_javascript_stops_counting() {
        let mut queue = acknowledged(b"");
        queue.sent.as_mut().unwrap().last = BATCH_MAX - 1;
        assert_eq!(queue.take(42, &mut Vec::new()), Some(9_007_199_254_740_991));
        assert_eq!(queue.take(42, &mut Vec::new()), Some(9_007_199_254_740_991));
    }

    #[test]
    fn limits_are_exact() {
        let mut queue = OutboundQueue::default();
        assert!(queue.has_room(1_000, 1, 30));
        queue.push(publication(b'a', true));
        assert!(!queue.has_prompt());
        assert!(queue.has_room(9, 2, 30));
        assert!(!queue.has_room(10, 2, 30));
        assert!(!queue.has_room(9, 1, 30));
    }
}
