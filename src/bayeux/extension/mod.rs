//! The protocol's own extensions: what clients may ask for in `ext`.
//!
//! The central type is [`Extensions`](super::config::Extensions), which says which of them are on. Each has a file, and
//! is called by the engine where a message comes in and where a reply goes out.
//!
//! **Must not know**: what the whole engine must not know, the system's clock and time zones above all.
//!
//! Start reading at `timestamp.rs`.

mod timestamp;

pub use timestamp::{InvalidPattern, Pattern, ZoneOffset};
