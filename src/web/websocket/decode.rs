//! [`FrameDecoder`]: client frames to messages, incrementally.

use std::{borrow::Cow, mem};

use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::{
    CloseCode,
    deflate::{Deflate, inflate, wire_len_max},
    header::{HEADER_BYTES_MAX, Header},
    mask::unmask,
};

/// What a client sent, as soon as it is whole.
///
/// Payloads are borrowed from the read buffer where a frame stood there whole, and owned otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A text message.
    Text(Cow<'a, str>),
    /// A binary message; Bayeux has no use for it.
    Binary(Cow<'a, [u8]>),
    /// A ping, to be answered by a pong with the same payload of at most 125 bytes.
    Ping(Cow<'a, [u8]>),
    /// A pong, asked for or not.
    Pong(Cow<'a, [u8]>),
    /// The client closes; to be answered with the same code. The decoder ignores what follows.
    Close {
        /// The code, unless the frame was empty. Always one that may be sent back.
        code: Option<CloseCode>,
        /// The reason, often empty.
        reason: Cow<'a, str>,
    },
}

/// Why the server must end the connection: what to send in its close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text} ({code})")]
pub struct CloseReason {
    /// 1002, 1007 or 1009.
    pub code: CloseCode,
    /// A short sentence for the close frame and the log.
    pub text: &'static str,
}

impl CloseReason {
    /// The client broke a rule of the framing.
    pub(super) fn protocol(text: &'static str) -> Self {
        Self { code: CloseCode::Protocol, text }
    }

    /// A text was not UTF-8.
    fn not_utf8() -> Self {
        Self { code: CloseCode::Invalid, text: "text is not UTF-8" }
    }

    /// A compressed message cannot be inflated.
    pub(super) fn not_deflated() -> Self {
        Self { code: CloseCode::Invalid, text: "compressed message is broken" }
    }

    /// A message was longer than allowed.
    pub(super) fn too_big() -> Self {
        Self { code: CloseCode::Size, text: "message is too big" }
    }
}

/// Takes client frames apart, in whatever pieces they arrive.
///
/// Between messages it holds no buffer: it is a few words, whatever was received before. While a message is incomplete
/// it keeps at most `max_message_size` bytes of it, and 125 of a control frame, allocated as they arrive and never by
/// the length that a header announces.
#[derive(Debug)]
pub struct FrameDecoder {
    max_message_size: usize,
    /// Whether messages may be compressed.
    deflate: Deflate,
    /// What has not arrived whole. Boxed, so that a quiet connection does not pay for it.
    partial: Option<Box<Partial>>,
    /// Nothing more is read after a close or a violation.
    ended: bool,
}

/// A message of which some bytes are missing.
#[derive(Debug, Default)]
struct Partial {
    /// The first `head_len` bytes of an incomplete header.
    head: [u8; HEADER_BYTES_MAX],
    head_len: usize,
    /// The frame whose payload is arriving.
    frame: Option<Frame>,
    /// What the message is whose fragments are collected in `data`; present from its first frame to its last.
    message: Option<Data>,
    /// Whether that message is compressed.
    compressed: bool,
    /// Payload of the message so far, unmasked.
    data: Vec<u8>,
    /// Payload so far of a control frame, which may stand between two fragments.
    control: Vec<u8>,
}

/// A frame whose payload is arriving.
#[derive(Debug)]
struct Frame {
    fin: bool,
    opcode: OpCode,
    /// The mask, turned so that it starts with the byte for the next byte of payload.
    mask: [u8; 4],
    /// Bytes of payload not yet seen.
    remaining: usize,
}

impl FrameDecoder {
    /// Creates a decoder for one connection; a message may have `max_message_size` bytes over all its fragments, and
    /// when it is inflated.
    #[must_use]
    pub fn new(max_message_size: usize, deflate: Deflate) -> Self {
        Self { max_message_size, deflate, partial: None, ended: false }
    }

    /// Takes the next message out of `input`, which becomes what was not looked at yet.
    ///
    /// To be called until it yields `None`: then `input` is empty, and the caller's buffer may be used again. The bytes
    /// are unmasked in place.
    ///
    /// # Errors
    ///
    /// What the connection must be closed for. From then on, and after [`Incoming::Close`], all input is thrown away.
    pub fn next<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Incoming<'a>>, CloseReason> {
        let outcome = if self.ended { Ok(None) } else { self.advance(input) };
        if matches!(outcome, Err(_) | Ok(Some(Incoming::Close { .. }))) {
            self.ended = true;
        }
        if self.ended {
            *input = &mut [];
            self.partial = None;
        } else if self.partial.as_ref().is_some_and(|partial| partial.is_over()) {
            self.partial = None;
        }
        outcome
    }

    /// Returns how many bytes of memory are held for what is incomplete; zero between messages.
    #[must_use]
    pub fn buffered(&self) -> usize {
        let heap = |partial: &Partial| size_of::<Partial>() + partial.data.capacity() + partial.control.capacity();
        self.partial.as_deref().map_or(0, heap)
    }

    fn advance<'a>(&mut self, input: &mut &'a mut [u8]) -> Result<Option<Incoming<'a>>, CloseReason> {
        loop {
            if let Some(partial) = self.partial.as_deref_mut().filter(|partial| partial.frame.is_some()) {
                let Some(frame) = partial.fill(input, self.max_message_size) else { return Ok(None) };
                if let Some(incoming) = partial.finish(&frame, self.max_message_size)? {
                    return Ok(Some(incoming));
                }
            }
            let Some(header) = self.read_header(input)? else { return Ok(None) };
            let remaining = self.check(&header)?;
            let Header { fin, opcode, mask, compressed, .. } = header;
            // The usual case: one message, one frame, one read. It leaves without a copy.
            if fin && opcode != OpCode::Data(Data::Continue) && remaining <= input.len() {
                let payload = split(input, remaining);
                unmask(payload, mask);
                let payload = match compressed {
                    false => Cow::Borrowed(&*payload),
                    true => Cow::Owned(inflate(payload, self.max_message_size)?),
                };
                return interpret(opcode, payload).map(Some);
            }
            let partial = self.partial.get_or_insert_default();
            if let OpCode::Data(kind @ (Data::Text | Data::Binary)) = opcode {
                partial.message = Some(kind);
                partial.compressed = compressed;
            }
            partial.frame = Some(Frame { fin, opcode, mask, remaining });
        }
    }

    /// Takes a header off the input, or keeps what there is of it.
    fn read_header(&mut self, input: &mut &mut [u8]) -> Result<Option<Header>, CloseReason> {
        if let Some(partial) = self.partial.as_deref_mut().filter(|partial| partial.head_len > 0) {
            return partial.complete_head(input, self.deflate);
        }
        let header = Header::parse(input, self.deflate)?;
        match &header {
            Some(header) => {
                split(input, header.size);
            }
            None if input.is_empty() => {}
            None => {
                let partial = self.partial.get_or_insert_default();
                partial.head[..input.len()].copy_from_slice(input);
                partial.head_len = input.len();
                *input = &mut [];
            }
        }
        Ok(header)
    }

    /// Checks whether the frame may come now, and returns the length of its payload, which is within the limit.
    fn check(&self, header: &Header) -> Result<usize, CloseReason> {
        let (in_message, compressed, collected) = self
            .partial
            .as_ref()
            .map_or((false, false, 0), |partial| (partial.message.is_some(), partial.compressed, partial.data.len()));
        let room = match header.opcode {
            // The header was refused if it announced more than 125.
            OpCode::Control(_) => usize::MAX,
            OpCode::Data(Data::Continue) if !in_message => {
                return Err(CloseReason::protocol("continuation of no message"));
            }
            OpCode::Data(Data::Continue) => on_wire(self.max_message_size, compressed) - collected,
            OpCode::Data(_) if in_message => {
                return Err(CloseReason::protocol("message begins inside another"));
            }
            OpCode::Data(_) => on_wire(self.max_message_size, header.compressed),
        };
        usize::try_from(header.payload).ok().filter(|&payload| payload <= room).ok_or_else(CloseReason::too_big)
    }
}

impl Partial {
    /// Whether nothing is missing any more.
    fn is_over(&self) -> bool {
        self.head_len == 0 && self.frame.is_none() && self.message.is_none()
    }

    /// Adds to the incomplete header, and returns it once it is whole.
    fn complete_head(&mut self, input: &mut &mut [u8], deflate: Deflate) -> Result<Option<Header>, CloseReason> {
        let known = self.head_len;
        let end = HEADER_BYTES_MAX.min(known + input.len());
        self.head[known..end].copy_from_slice(&input[..end - known]);
        let header = Header::parse(&self.head[..end], deflate)?;
        match &header {
            Some(header) => {
                self.head_len = 0;
                split(input, header.size - known);
            }
            None => {
                // A whole header of the longest kind parses, so all of the input was copied.
                self.head_len = end;
                *input = &mut [];
            }
        }
        Ok(header)
    }

    /// Collects payload of the current frame, and returns the frame once it is whole.
    fn fill(&mut self, input: &mut &mut [u8], max_message_size: usize) -> Option<Frame> {
        let frame = self.frame.as_mut()?;
        let count = frame.remaining.min(input.len());
        let payload = split(input, count);
        unmask(payload, frame.mask);
        frame.mask.rotate_left(count % 4);
        frame.remaining -= count;
        let (buffer, len_max) = match frame.opcode {
            OpCode::Control(_) => (&mut self.control, None),
            OpCode::Data(_) => (&mut self.data, (!frame.fin).then_some(on_wire(max_message_size, self.compressed))),
        };
        let len_max = len_max.unwrap_or(buffer.len() + count + frame.remaining);
        append(buffer, payload, len_max);
        self.frame.take_if(|frame| frame.remaining == 0)
    }

    /// Yields what a whole frame completes, if anything.
    fn finish(&mut self, frame: &Frame, max_message_size: usize) -> Result<Option<Incoming<'static>>, CloseReason> {
        let (opcode, payload) = match (frame.opcode, self.message) {
            (OpCode::Control(_), _) => (frame.opcode, mem::take(&mut self.control)),
            (OpCode::Data(_), Some(kind)) if frame.fin => {
                self.message = None;
                let data = mem::take(&mut self.data);
                let data = if self.compressed { inflate(&data, max_message_size)? } else { data };
                (OpCode::Data(kind), data)
            }
            (OpCode::Data(_), _) => return Ok(None),
        };
        interpret(opcode, Cow::Owned(payload)).map(Some)
    }
}

/// How many bytes of payload a message of at most `max_message_size` may have on the wire.
const fn on_wire(max_message_size: usize, compressed: bool) -> usize {
    if compressed { wire_len_max(max_message_size) } else { max_message_size }
}

/// Appends `bytes`, doubling the buffer as needed but never beyond `len_max`, the most that it can come to hold.
fn append(buffer: &mut Vec<u8>, bytes: &[u8], len_max: usize) {
    let needed = buffer.len() + bytes.len();
    if needed > buffer.capacity() {
        let wanted = buffer.capacity().saturating_mul(2).min(len_max).max(needed);
        buffer.reserve_exact(wanted - buffer.len());
    }
    buffer.extend_from_slice(bytes);
}

/// Cuts the first `count` bytes off `input`.
fn split<'a>(input: &mut &'a mut [u8], count: usize) -> &'a mut [u8] {
    let (first, rest) = mem::take(input).split_at_mut(count);
    *input = rest;
    first
}

/// Turns a whole payload into what it is.
fn interpret(opcode: OpCode, payload: Cow<'_, [u8]>) -> Result<Incoming<'_>, CloseReason> {
    match opcode {
        OpCode::Data(Data::Text) => utf8(payload).map(Incoming::Text),
        OpCode::Data(Data::Binary) => Ok(Incoming::Binary(payload)),
        OpCode::Control(Control::Ping) => Ok(Incoming::Ping(payload)),
        OpCode::Control(Control::Pong) => Ok(Incoming::Pong(payload)),
        OpCode::Control(Control::Close) => interpret_close(payload),
        OpCode::Data(Data::Continue | Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => {
            unreachable!("the header refuses reserved codes, and a continuation takes the kind of its message")
        }
    }
}

fn interpret_close(payload: Cow<'_, [u8]>) -> Result<Incoming<'_>, CloseReason> {
    let code = match *payload {
        [] => return Ok(Incoming::Close { code: None, reason: Cow::Borrowed("") }),
        [_] => return Err(CloseReason::protocol("close frame with half a code")),
        [high, low, ..] => CloseCode::from(u16::from_be_bytes([high, low])),
    };
    if !code.is_allowed() {
        return Err(CloseReason::protocol("close code may not be sent"));
    }
    let reason = match payload {
        Cow::Borrowed(payload) => Cow::Borrowed(&payload[2..]),
        Cow::Owned(payload) => Cow::Owned(payload[2..].to_vec()),
    };
    Ok(Incoming::Close { code: Some(code), reason: utf8(reason)? })
}

fn utf8(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, str>, CloseReason> {
    match bytes {
        Cow::Borrowed(bytes) => str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| CloseReason::not_utf8()),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| CloseReason::not_utf8()),
    }
}
