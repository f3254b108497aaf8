//! [`Publication`]: a message serialised once, shared by every queue it waits in.

use std::sync::{Arc, OnceLock};

use super::channel::ChannelName;
use super::message::{Message, write_string};

/// A message on its way to subscribers: immutable, and already the bytes that leave.
///
/// The layout is one complete server WebSocket text frame, `header [ { … } ]`. A stream sends [`Publication::frame`]
/// as it is; everything that puts several messages into one array takes [`Publication::json`] out of it.
pub struct Publication {
    channel: ChannelName,
    frame: Box<[u8]>,
    header: u8,
    /// Bytes of the object up to the end of its channel; what follows is the same under every name.
    channel_end: u32,
    lazy: bool,
    position: Option<Position>,
    /// The frame compressed, once somebody has asked for it; nothing if it would be no shorter.
    compressed: OnceLock<Option<Box<[u8]>>>,
}

/// Where a durable log has put a publication; opaque to the engine, increasing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(pub u64);

impl Publication {
    /// Freezes a message; this is the only place where one is serialised for delivery ([PB-4]).
    ///
    /// `name` is the channel as subscribers read it, in the sender's spelling.
    pub(super) fn freeze(message: &Message<'_>, name: &str, routing: &ChannelName, lazy: bool) -> Self {
        Self::from_object(routing, name, lazy, |out| message.write_after_channel(out))
    }

    /// Returns the same publication under another name.
    pub(super) fn renamed(&self, name: &ChannelName) -> Self {
        let rest = &self.json()[self.channel_end as usize..self.json().len() - 1];
        let copy = Self::from_object(&self.channel, name.as_str(), self.lazy, |out| out.extend_from_slice(rest));
        copy.at(self.position)
    }

    /// Builds a publication; `write` appends the fields after `channel`, each behind a comma.
    pub(super) fn from_object(routing: &ChannelName, name: &str, lazy: bool, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        // The header's length is known only when the payload's is, so the payload is written behind the longest one.
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[0; FRAME_HEADER_MAX]);
        bytes.extend_from_slice(b"[{\"channel\":");
        write_string(name, &mut bytes);
        let channel_end = bytes.len() - FRAME_HEADER_MAX - 1;
        write(&mut bytes);
        bytes.extend_from_slice(b"}]");
        let payload = bytes.len() - FRAME_HEADER_MAX;
        let (header, length) = text_frame_header(payload);
        let unused = FRAME_HEADER_MAX - length;
        bytes[unused..FRAME_HEADER_MAX].copy_from_slice(&header[..length]);
        Self {
            channel: routing.clone(),
            frame: Box::from(&bytes[unused..]),
            header: u8::try_from(length).expect("a frame header has at most ten bytes"),
            channel_end: u32::try_from(channel_end).expect("channel names are far shorter than 4 GiB"),
            lazy,
            position: None,
            compressed: OnceLock::new(),
        }
    }

    /// Returns this publication with the position a durable log gave it.
    pub(super) fn at(mut self, position: Option<Position>) -> Self {
        self.position = position;
        self
    }

    /// The channel it was routed by, which subscribers may know under another name.
    #[must_use]
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// The whole WebSocket frame.
    #[must_use]
    pub fn frame(&self) -> &[u8] {
        &self.frame
    }

    /// The payload of the frame: an array of one message.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.frame[usize::from(self.header)..]
    }

    /// The whole WebSocket frame, compressed if that makes it shorter.
    ///
    /// `compress` makes a frame of the payload, or nothing if it would be no shorter than the plain one. It is called when
    /// the first connection wants it, and what it makes is for all: no other function may be passed later. Two that are the
    /// first at the same time both call it, because waiting for one another would cost more.
    pub fn compressed_frame(&self, compress: impl FnOnce(&[u8]) -> Option<Box<[u8]>>) -> &[u8] {
        let compressed = match self.compressed.get() {
            Some(compressed) => compressed,
            None => {
                let made = compress(self.payload()).filter(|frame| frame.len() < self.frame.len());
                self.compressed.get_or_init(|| made)
            }
        };
        compressed.as_deref().unwrap_or(&self.frame)
    }

    /// The message as one JSON object.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        &self.frame[usize::from(self.header) + 1..self.frame.len() - 1]
    }

    /// Whether it may wait for other traffic ([LZ-1]).
    #[must_use]
    pub const fn is_lazy(&self) -> bool {
        self.lazy
    }

    /// Where a durable log has put it.
    #[must_use]
    pub const fn position(&self) -> Option<Position> {
        self.position
    }

    /// What it counts for in the limits of queues and batches: the bytes it keeps alive.
    ///
    /// A compressed frame does not count, or the size would change while it is in queues; being shorter, it doubles them at
    /// most.
    #[must_use]
    pub fn size(&self) -> usize {
        self.frame.len()
    }
}

impl std::fmt::Debug for Publication {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Publication").field("channel", &self.channel).field("bytes", &self.size()).finish()
    }
}

/// A publication as queues hold it.
pub type Shared = Arc<Publication>;

/// Bytes of the longest header of an unmasked frame (RFC 6455, 5.2).
const FRAME_HEADER_MAX: usize = 10;

/// Builds the header of an unmasked, final text frame; returns it with its length of 2, 4 or 10 bytes.
#[must_use]
pub fn text_frame_header(payload: usize) -> ([u8; FRAME_HEADER_MAX], usize) {
    let mut header = [0; FRAME_HEADER_MAX];
    header[0] = 0x81;
    if let Ok(short) = u8::try_from(payload)
        && short < 126
    {
        header[1] = short;
        (header, 2)
    } else if let Ok(medium) = u16::try_from(payload) {
        header[1] = 126;
        header[2..4].copy_from_slice(&medium.to_be_bytes());
        (header, 4)
    } else {
        header[1] = 127;
        header[2..].copy_from_slice(&(payload as u64).to_be_bytes());
        (header, FRAME_HEADER_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::write_field;
    use super::*;

    #[test]
    fn the_frame_and_the_object_are_views_of_one_buffer() {
        let channel = ChannelName::parse("/a").unwrap();
        for size in [0usize, 60, 200, 70_000] {
            let data = "y".repeat(size);
            let publication = Publication::from_object(&channel, "/a", false, |out| write_field("data", "1", out));
            assert_eq!(publication.json(), br#"{"channel":"/a","data":1}"#);
            let long = Publication::from_object(&channel, "/a", false, |out| out.extend_from_slice(data.as_bytes()));
            let (header, length) = text_frame_header(long.json().len() + 2);
            assert_eq!(long.frame()[..length], header[..length]);
            assert_eq!(long.frame().len(), length + long.json().len() + 2);
        }
    }

    /// [PD-3]
    #[test]
    fn a_frame_is_compressed_once_and_kept_only_if_shorter() {
        let channel = ChannelName::parse("/a").unwrap();
        let publication = Publication::from_object(&channel, "/a", false, |out| write_field("data", "1", out));
        let frame = publication.compressed_frame(|payload| {
            assert_eq!(payload, br#"[{"channel":"/a","data":1}]"#);
            Some(Box::from(*b"short"))
        });
        assert_eq!(frame, b"short");
        assert_eq!(publication.compressed_frame(|_| panic!("it is there")), b"short");
        let publication = publication.renamed(&ChannelName::parse("/b").unwrap());
        assert_eq!(
            publication.compressed_frame(|payload| Some(Box::from([payload, b"++"].concat()))),
            publication.frame()
        );
        assert_eq!(publication.compressed_frame(|_| panic!("it was tried")), publication.frame());
    }

    #[test]
    fn another_name_changes_nothing_else() {
        let channel = ChannelName::parse("/sys/user/ann/chats").unwrap();
        let publication =
            Publication::from_object(&channel, "/sys/user/ann/chats", false, |out| write_field("data", "[1]", out));
        let renamed = publication.renamed(&ChannelName::parse("/v2/me/chats").unwrap());
        assert_eq!(renamed.json(), br#"{"channel":"/v2/me/chats","data":[1]}"#);
    }
}
