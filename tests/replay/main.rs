//! The replay of conversations itself: the format, the comparison, and the recordings played back to themselves.

#[path = "../support/mod.rs"]
mod support;

#[allow(dead_code, reason = "the tests of the server use the rest")]
#[path = "../support/http.rs"]
mod http;
#[allow(dead_code, reason = "the tests of the server use the rest")]
#[path = "../support/websocket.rs"]
mod websocket;

mod comparison;
mod deviations;
mod engine;
mod format;
mod hosted;
mod line;
mod playback;
mod recordings;
mod sockets;
