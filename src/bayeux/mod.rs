//! The Bayeux engine: the whole protocol as values in and values out.
//!
//! The central type is [`Engine`]. A shell decodes bytes with [`decode`], begins an [`Exchange`] for each request or
//! frame, handles its messages one by one, finishes it, and writes what [`Batch`] holds; afterwards it flushes every
//! session on the [`Dirty`] list. Time comes in as an argument, randomness from an [`IdSource`], so that the same inputs
//! give the same outputs.
//!
//! **Must not know**: sockets, clocks, tasks, threads, files, the environment, and every other folder of this crate.
//!
//! Start reading at [`Engine::handle`], then `session.rs` for the state of one client, `channels.rs` for who gets what,
//! and `publish.rs` for how it gets there. Rules like `[CN-4]` are those of `bayeux-spec-notes.md`.
#![deny(clippy::disallowed_methods)]

pub mod config;
pub mod extension;

mod advice;
mod browsers;
mod call;
mod channel;
mod channels;
mod codec;
mod context;
mod counters;
mod deadlines;
mod directory;
mod engine;
mod event_stream;
mod exchange;
mod hash;
mod hooks;
mod ids;
mod inspect;
mod lifecycle;
mod message;
mod meta;
mod peer;
mod publication;
mod publish;
mod queue;
mod rejection;
mod reply;
mod session;
mod template;
mod time;
mod verdict;

pub use advice::{Advice, Reconnect};
pub use call::Call;
pub use channel::{ChannelKind, ChannelName, InvalidChannel};
pub use channels::ChannelOptions;
pub use codec::{DecodeError, decode};
pub use context::Context;
pub use counters::Totals;
pub use engine::{Dirty, Engine, Release, is_protocol_channel};
pub use event_stream::{NoStream, Streaming};
pub use exchange::{Accepted, Batch, Binding, Exchange, Fault, Finished, Handled};
pub use hooks::{
    Authorization, Authorizer, ChannelListener, Ended, Extension, Flow, Listener, Naming, Operation, PlainNames,
    Rename, Route, SessionView,
};
pub use ids::{IdSource, SessionId, SessionPrefix};
pub use inspect::SessionReport;
pub use lifecycle::Took;
pub use message::{Client, Json, Message};
pub use peer::{HttpVersion, MountId, Peer, Transport};
pub use publication::{Position, Publication, Shared, text_frame_header};
pub use rejection::{BY_LIMIT, BY_NOT_GRANTING, BY_POLICY, Reason, Rejection};
pub use reply::{Handshake, Reply, ReplyAdvice};
pub use session::{SessionTimes, Slot};
pub use template::ChannelTemplate;
pub use time::Time;
pub use verdict::{Denial, Verdict};
