//! Conversations: what clients and servers said to one another, read, written, recorded and played.
//!
//! A [`Conversation`](transcript::Conversation) is a file in the format of `docs/fixtures.md`. [`replay`](replay::replay)
//! plays the client's part of it to a [`Subject`](subject::Subject), whoever that is, and compares what it answers.
//!
//! **Must not know** how this server serves: no node, no settings, no `server`. Connections go to the addresses that the
//! user names, on threads of their own, since neither a proxy for one user nor a replay is worth a runtime.
//!
//! Start reading at [`transcript`], then [`subject`] and [`replay`].

pub mod browsers;
pub mod clocks;
pub mod controls;
pub mod cookies;
pub mod deviation;
pub mod differences;
mod direction;
pub mod files;
pub mod frames;
pub mod http;
pub mod line;
pub mod normalise;
pub mod pattern;
pub mod player;
pub mod program;
pub mod recorder;
pub mod redaction;
pub mod relay;
pub mod remote;
pub mod replay;
pub mod services;
pub mod sink;
pub mod subject;
pub mod timing;
pub mod together;
pub mod transcript;
pub mod upstream;
