//! The header of a client frame.

use tokio_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::decode::CloseReason;
use super::deflate::Deflate;

/// Bytes of the longest header: two, eight of length, four of mask.
pub(super) const HEADER_BYTES_MAX: usize = 14;

/// The longest payload of a control frame (RFC 6455, 5.5).
const CONTROL_BYTES_MAX: u64 = 125;

/// What the header of a masked frame says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// Whether this frame ends its message.
    pub(super) fin: bool,
    /// Whether the message that begins with this frame is compressed.
    pub(super) compressed: bool,
    /// What the frame is; never a reserved code.
    pub(super) opcode: OpCode,
    /// Bytes of payload announced; nothing may be allocated by it before it is compared with the limit.
    pub(super) payload: u64,
    /// The mask of the payload.
    pub(super) mask: [u8; 4],
    /// Bytes of the header itself.
    pub(super) size: usize,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` while it is incomplete.
    ///
    /// # Errors
    ///
    /// Whatever RFC 6455 forbids a client to send, as soon as it can be seen.
    pub(super) fn parse(bytes: &[u8], deflate: Deflate) -> Result<Option<Self>, CloseReason> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let fin = first & 0x80 != 0;
        let opcode = OpCode::from(first & 0x0f);
        let compressed = match first & 0x70 {
            0 => false,
            0x40 if deflate == Deflate::On && matches!(opcode, OpCode::Data(Data::Text | Data::Binary)) => true,
            0x40 if deflate == Deflate::On => {
                return Err(CloseReason::protocol("compression is marked elsewhere than where a message begins"));
            }
            _ => return Err(CloseReason::protocol("reserved bit set without an extension")),
        };
        if let OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) = opcode {
            return Err(CloseReason::protocol("unknown opcode"));
        }
        if second & 0x80 == 0 {
            return Err(CloseReason::protocol("client frame is not masked"));
        }
        let short = u64::from(second & 0x7f);
        if let OpCode::Control(_) = opcode {
            if !fin {
                return Err(CloseReason::protocol("control frame is fragmented"));
            }
            if short > CONTROL_BYTES_MAX {
                return Err(CloseReason::protocol("control frame is too long"));
            }
        }
        let Some((payload, rest)) = parse_length(short, rest)? else { return Ok(None) };
        let Some((mask, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        Ok(Some(Self { fin, compressed, opcode, payload, mask: *mask, size: bytes.len() - rest.len() }))
    }
}

/// Reads the length that `short`, the seven bits of the second byte, stands for; `None` while it is incomplete.
fn parse_length(short: u64, bytes: &[u8]) -> Result<Option<(u64, &[u8])>, CloseReason> {
    let (length, least, rest) = match short {
        126 => {
            let Some((field, rest)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*field)), 126, rest)
        }
        127 => {
            let Some((field, rest)) = bytes.split_first_chunk::<8>() else { return Ok(None) };
            (u64::from_be_bytes(*field), 0x1_0000, rest)
        }
        short => (short, 0, bytes),
    };
    if length < least {
        return Err(CloseReason::protocol("length is not encoded in the fewest bytes"));
    }
    if length > i64::MAX as u64 {
        return Err(CloseReason::protocol("length has its highest bit set"));
    }
    Ok(Some((length, rest)))
}
