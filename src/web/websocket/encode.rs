//! Frames of the server: never masked, never fragmented.

use super::CloseCode;

/// First byte of a whole text message.
const TEXT: u8 = 0x81;
/// First byte of a whole text message that is compressed: the first reserved bit says so (RFC 7692, 6).
pub(super) const DEFLATED_TEXT: u8 = 0xc1;
/// First byte of a close frame.
const CLOSE: u8 = 0x88;
/// First byte of a pong.
const PONG: u8 = 0x8a;

/// The longest payload of a control frame (RFC 6455, 5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// Builds the header of a text frame with `len` bytes of payload: the bytes, and how many of them count (2, 4 or 10).
#[must_use]
pub const fn frame_header(len: usize) -> ([u8; 10], usize) {
    frame_header_of(TEXT, len)
}

/// Builds the header of a frame that begins with the byte `first`.
pub(super) const fn frame_header_of(first: u8, len: usize) -> ([u8; 10], usize) {
    let mut header = [0; 10];
    header[0] = first;
    let length = (len as u64).to_be_bytes();
    match len {
        0..=125 => {
            header[1] = length[7];
            (header, 2)
        }
        126..=0xffff => {
            header[1] = 126;
            header[2] = length[6];
            header[3] = length[7];
            (header, 4)
        }
        _ => {
            header[1] = 127;
            let mut i = 0;
            while i < 8 {
                header[2 + i] = length[i];
                i += 1;
            }
            (header, 10)
        }
    }
}

/// Appends a text frame with `payload`, which must be UTF-8.
pub fn encode_text(out: &mut Vec<u8>, payload: &[u8]) {
    let (header, size) = frame_header(payload.len());
    out.reserve(size + payload.len());
    out.extend_from_slice(&header[..size]);
    out.extend_from_slice(payload);
}

/// Appends a close frame; `None` sends no code, which answers a close that had none.
///
/// The reason is cut at a character boundary to what a control frame holds. A code that may not stand in a frame (1005,
/// 1006, 1015, reserved ones) is left out together with the reason.
pub fn encode_close(out: &mut Vec<u8>, code: Option<CloseCode>, reason: &str) {
    let Some(code) = code.filter(|code| code.is_allowed()) else {
        out.extend_from_slice(&[CLOSE, 0]);
        return;
    };
    let mut end = reason.len().min(CONTROL_BYTES_MAX - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let reason = &reason[..end];
    out.extend_from_slice(&[CLOSE, control_length(reason.len() + 2)]);
    out.extend_from_slice(&u16::from(code).to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// Appends a pong; `payload` is that of the ping, and is cut to 125 bytes.
pub fn encode_pong(out: &mut Vec<u8>, payload: &[u8]) {
    let payload = &payload[..payload.len().min(CONTROL_BYTES_MAX)];
    out.extend_from_slice(&[PONG, control_length(payload.len())]);
    out.extend_from_slice(payload);
}

/// The length byte of a control frame, whose payload was cut before.
fn control_length(len: usize) -> u8 {
    u8::try_from(len).expect("the payload of a control frame has at most 125 bytes")
}
