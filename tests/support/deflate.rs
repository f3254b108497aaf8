//! permessage-deflate from the client's side: what it offers, compressed frames, and what they say.

use std::net::SocketAddr;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::websocket::{Frame, Socket, opcode, opening};

/// The bit that marks a compressed message.
pub(crate) const COMPRESSED: u8 = 0x40;

/// What Chromium and the npm package `ws` offer.
pub(crate) const OFFER: &str = "permessage-deflate; client_max_window_bits";

/// What is answered to an offer.
pub(crate) const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

const HEADER: &str = "Sec-WebSocket-Extensions";

/// Opens a WebSocket with this offer; the socket, and what was agreed on.
#[track_caller]
pub(crate) fn open(address: SocketAddr, offer: &str) -> (Socket, Option<String>) {
    let (socket, response) = Socket::open(address, &opening("/cometd").header(HEADER, offer)).expect("101");
    (socket, response.header(HEADER).map(str::to_owned))
}

/// Returns the bytes of a message compressed, as a sender that shares nothing between messages does it.
pub(crate) fn deflated(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() * 2 + 100);
    Compress::new(Compression::default(), false)
        .compress_vec(text, &mut bytes, FlushCompress::Sync)
        .expect("text can be compressed");
    assert!(bytes.ends_with(&[0, 0, 0xff, 0xff]), "no flush at the end");
    bytes.truncate(bytes.len() - 4);
    bytes
}

/// A text message compressed.
pub(crate) fn frame(text: &str) -> Frame {
    let plain = Frame::new(opcode::TEXT, deflated(text.as_bytes()));
    Frame { first: plain.first | COMPRESSED, ..plain }
}

/// The payload of a whole text frame, inflated if it is compressed; without anything known from earlier ones.
#[track_caller]
pub(crate) fn payload(frame: &Frame) -> Vec<u8> {
    if frame.first == 0x80 | opcode::TEXT {
        return frame.payload.clone();
    }
    assert_eq!(frame.first, 0x80 | COMPRESSED | opcode::TEXT, "{frame:?}");
    let bytes = [&frame.payload[..], &[0, 0, 0xff, 0xff]].concat();
    let mut text = Vec::new();
    let mut inflate = Decompress::new(false);
    while text.len() == text.capacity() {
        text.reserve(bytes.len() * 4);
        let rest = &bytes[usize::try_from(inflate.total_in()).expect("no more than there is")..];
        inflate.decompress_vec(rest, &mut text, FlushDecompress::Sync).expect("a compressed message");
    }
    assert_eq!(inflate.total_in(), bytes.len() as u64, "more than one message");
    text
}
