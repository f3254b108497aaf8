//! The WebSocket codec of a served connection (RFC 6455), in both directions and without a socket.
//!
//! [`FrameDecoder`] turns what was read into messages; it borrows them from the read buffer where it can and keeps
//! bytes only of what has not arrived whole. The functions of [`encode`] append server frames to a buffer. The one
//! extension is permessage-deflate: `extensions.rs` agrees on it, `deflate.rs` does it. Without it a reserved bit is a
//! violation.
//!
//! The opening handshake is [`upgrade`](super::upgrade); who answers pings and closes is the caller.
//!
//! **Must not know** what a message means. Start reading at [`FrameDecoder::next`].

mod decode;
mod deflate;
pub mod encode;
pub(super) mod extensions;
mod header;
mod mask;
#[cfg(test)]
mod tests;

pub use decode::{CloseReason, FrameDecoder, Incoming};
pub use deflate::{Deflate, deflated_text};
pub use encode::{encode_close, encode_pong, encode_text, frame_header};
pub use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
