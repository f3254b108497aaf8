//! [`OutboundQueue`]: the publications that wait for one session, in order and under limits.

use std::collections::VecDeque;

use super::publication::Shared;

/// Entries a drained queue keeps room for; a queue that once was longer gives the rest back in [`OutboundQueue::shrink`].
const CAPACITY_AT_REST: usize = 8;

/// One FIFO of shared publications with its size in messages and bytes.
#[derive(Debug, Default)]
pub(super) struct OutboundQueue {
    entries: VecDeque<Shared>,
    bytes: usize,
    /// How many entries may not wait for other traffic.
    prompt: usize,
}

impl OutboundQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether something waits that is not lazy.
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
        self.prompt -= usize::from(!publication.is_lazy());
        Some(publication)
    }

    /// Moves the oldest publications to `out` until the next one would pass `bytes_max`; at least one moves.
    pub(super) fn take(&mut self, bytes_max: usize, out: &mut Vec<Shared>) {
        let mut taken = 0;
        while let Some(next) = self.entries.front() {
            taken += next.size();
            if taken > bytes_max && !out.is_empty() {
                return;
            }
            out.extend(self.pop());
        }
    }

    /// Puts publications that could not be written back at the head, in their order.
    pub(super) fn put_back(&mut self, publications: impl DoubleEndedIterator<Item = Shared>) {
        for publication in publications.rev() {
            self.count_in(&publication);
            self.entries.push_front(publication);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Gives memory of a past burst back.
    pub(super) fn shrink(&mut self) {
        if self.entries.is_empty() && self.entries.capacity() > CAPACITY_AT_REST {
            self.entries = VecDeque::new();
        }
    }

    fn count_in(&mut self, publication: &Shared) {
        self.bytes += publication.size();
        self.prompt += usize::from(!publication.is_lazy());
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
