//! What a delivery costs and what it survives: write calls and polls per message, publishers that vanish in the middle
//! of a fan-out, readers that stop, sessions that move, answers that get lost.
//!
//! Every test counts every message at every subscriber: one that is missing, comes twice or comes late to its own
//! publisher's order is a failure, whatever the test is about.
#![allow(clippy::unwrap_used)] // Functions that tests share panic like the tests themselves.

mod compression;
mod cut;
mod fan_out;
mod frames;
mod held;
mod host;
mod moving;
mod stuck;
mod unacknowledged;

#[allow(dead_code)] // Shared with the other tests over sockets.
#[path = "../support/sockets.rs"]
mod support;
