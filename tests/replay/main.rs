//! The replay of conversations itself: the format, the comparison, and the recordings played back to themselves.

#[path = "../support/mod.rs"]
mod support;

mod comparison;
mod deviations;
mod engine;
mod format;
mod hosted;
mod playback;
mod recordings;
mod settings;
mod sockets;
