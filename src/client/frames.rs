//! [`FrameReader`]: cuts a stream of bytes into WebSocket messages; [`frame`] builds what a client sends.

/// Opcodes of RFC 6455, 5.2.
pub mod opcode {
    /// Continuation of a fragmented message.
    pub const CONTINUATION: u8 = 0;
    /// Text.
    pub const TEXT: u8 = 1;
    /// Binary.
    pub const BINARY: u8 = 2;
    /// Close.
    pub const CLOSE: u8 = 8;
    /// Ping.
    pub const PING: u8 = 9;
    /// Pong.
    pub const PONG: u8 = 10;
}

/// The masking key of all frames that a client of ours sends: nothing is to be hidden from proxies here.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The stream is no sequence of frames that this understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a WebSocket's frames: {0}")]
pub struct FrameError(&'static str);

/// A whole message, or a control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Binary, of so many bytes.
    Binary(usize),
    /// Longer than is kept, in all its fragments.
    TooLong,
    /// A close frame with its code, if any, and its reason.
    Close(Option<u16>, String),
    /// A ping with what its pong must say.
    Ping(Vec<u8>),
    /// A pong.
    Pong,
}

/// Cuts one direction of a WebSocket into messages.
#[derive(Debug)]
pub struct FrameReader {
    buffer: Vec<u8>,
    longest: usize,
    /// Bytes of a payload that are dropped as they come.
    to_drop: u64,
    /// Opcode and text of the fragments so far.
    fragments: Option<(u8, Vec<u8>)>,
    /// Whether a fragment was dropped.
    is_cut: bool,
}

/// First byte, length of the payload, masking key, and where the payload begins.
type FrameHead = (u8, u64, Option<[u8; 4]>, usize);

impl FrameReader {
    /// Makes a reader that keeps messages up to this many bytes.
    #[must_use]
    pub const fn new(longest: usize) -> Self {
        Self { buffer: Vec::new(), longest, to_drop: 0, fragments: None, is_cut: false }
    }

    /// Takes bytes as they arrive.
    pub fn push(&mut self, bytes: &[u8]) {
        let count = usize::try_from(self.to_drop).unwrap_or(usize::MAX).min(bytes.len());
        self.to_drop -= count as u64;
        self.buffer.extend_from_slice(&bytes[count..]);
    }

    /// Takes the next message, if it has arrived.
    ///
    /// # Errors
    ///
    /// The stream is not what a WebSocket without extensions carries.
    pub fn next_message(&mut self) -> Result<Option<Message>, FrameError> {
        while let Some((first, length, mask, start)) = self.head()? {
            let (is_final, code) = (first & 0x80 != 0, first & 0x0f);
            if first & 0x70 != 0 {
                return Err(FrameError("a reserved bit is set, as in a compressed frame"));
            }
            let kept = self.fragments.as_ref().map_or(0, |(_, text)| text.len() as u64);
            if code < opcode::CLOSE && length + kept > self.longest as u64 {
                self.drop_payload(start, length);
                self.is_cut = true;
            } else {
                let end = start + usize::try_from(length).map_err(|_| FrameError("a frame is too long"))?;
                if self.buffer.len() < end {
                    return Ok(None);
                }
                let mut payload: Vec<u8> = self.buffer.drain(..end).skip(start).collect();
                if let Some(mask) = mask {
                    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
                }
                if code >= opcode::CLOSE {
                    return control(code, payload).map(Some);
                }
                self.fragments.get_or_insert_with(|| (code, Vec::new())).1.extend(payload);
            }
            if is_final {
                return self.message(code).map(Some);
            }
            self.fragments.get_or_insert_with(|| (code, Vec::new()));
        }
        Ok(None)
    }

    fn head(&self) -> Result<Option<FrameHead>, FrameError> {
        let bytes = &self.buffer;
        let (Some(&first), Some(&second)) = (bytes.first(), bytes.get(1)) else { return Ok(None) };
        let (length, start) = match second & 0x7f {
            126 => (bytes.get(2..4).map(|bytes| u64::from(u16::from_be_bytes([bytes[0], bytes[1]]))), 4),
            127 => (bytes.get(2..10).map(|bytes| bytes.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))), 10),
            short => (Some(u64::from(short)), 2),
        };
        let Some(length) = length else { return Ok(None) };
        if first & 0x0f >= opcode::CLOSE && length > 125 {
            return Err(FrameError("a control frame is too long"));
        }
        if length > u64::MAX / 2 {
            return Err(FrameError("a frame is too long"));
        }
        if second & 0x80 == 0 {
            return Ok(Some((first, length, None, start)));
        }
        let mask = bytes.get(start..start + 4).and_then(|mask| mask.try_into().ok());
        Ok(mask.map(|mask| (first, length, Some(mask), start + 4)))
    }

    fn drop_payload(&mut self, start: usize, length: u64) {
        let there = self.buffer.len() - start;
        let count = usize::try_from(length).unwrap_or(usize::MAX).min(there);
        self.buffer.drain(..start + count);
        self.to_drop = length - count as u64;
    }

    fn message(&mut self, code: u8) -> Result<Message, FrameError> {
        let (code, bytes) = self.fragments.take().unwrap_or((code, Vec::new()));
        if std::mem::take(&mut self.is_cut) {
            return Ok(Message::TooLong);
        }
        match code {
            opcode::TEXT => String::from_utf8(bytes).map(Message::Text).map_err(|_| FrameError("a text is not UTF-8")),
            opcode::BINARY => Ok(Message::Binary(bytes.len())),
            _ => Err(FrameError("a frame has an unknown opcode")),
        }
    }
}

fn control(code: u8, payload: Vec<u8>) -> Result<Message, FrameError> {
    Ok(match (code, payload.as_slice()) {
        (opcode::PING, _) => Message::Ping(payload),
        (opcode::PONG, _) => Message::Pong,
        (opcode::CLOSE, []) => Message::Close(None, String::new()),
        (opcode::CLOSE, [high, low, reason @ ..]) => {
            Message::Close(Some(u16::from_be_bytes([*high, *low])), String::from_utf8_lossy(reason).into_owned())
        }
        _ => return Err(FrameError("a frame has an unknown opcode")),
    })
}

/// Returns the bytes of a whole frame of a client.
#[must_use]
pub fn frame(code: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80 | code];
    let length = payload.len();
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => bytes.push(0x80 | short),
        (_, Ok(length)) => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(stream: &[u8], step: usize, longest: usize) -> Result<Vec<Message>, FrameError> {
        let mut reader = FrameReader::new(longest);
        let mut messages = Vec::new();
        for part in stream.chunks(step) {
            reader.push(part);
            while let Some(message) = reader.next_message()? {
                messages.push(message);
            }
        }
        Ok(messages)
    }

    #[test]
    fn frames_are_found_however_they_arrive() {
        let mut stream = Vec::new();
        let long = "x".repeat(70_000);
        for payload in ["", "short", &"m".repeat(300), &long] {
            stream.extend(frame(opcode::TEXT, payload.as_bytes()));
        }
        stream.extend(frame(opcode::CLOSE, b"\x03\xe8Bye"));
        let text = |text: &str| Message::Text(text.to_owned());
        let last = Message::Close(Some(1000), "Bye".to_owned());
        for step in [1, 5, 100_000] {
            let expected = [text(""), text("short"), text(&"m".repeat(300)), text(&long), last.clone()];
            assert_eq!(read(&stream, step, 70_000).unwrap(), expected);
            let expected = [text(""), text("short"), text(&"m".repeat(300)), Message::TooLong, last.clone()];
            assert_eq!(read(&stream, step, 69_999).unwrap(), expected);
        }
    }

    #[test]
    fn fragments_make_one_message_with_control_frames_between_them() {
        let stream = b"\x01\x03abc\x89\x01p\x00\x01d\x80\x01e\x82\x02xx\x8a\x00\x88\x00";
        let expected = [
            Message::Ping(b"p".to_vec()),
            Message::Text("abcde".to_owned()),
            Message::Binary(2),
            Message::Pong,
            Message::Close(None, String::new()),
        ];
        assert_eq!(read(stream, 1, 100).unwrap(), expected);
        assert_eq!(read(stream, 3, 4).unwrap()[1], Message::TooLong);
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for stream in [&b"\xc1\x01a"[..], b"\x81\x01\xff", b"\x83\x00", b"\x89\x7e\x00\x7e", b"\x88\x01a"] {
            assert!(read(stream, 1, 100).is_err(), "{stream:?}");
        }
        assert!(read(b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", 1, 100).is_err());
    }
}
