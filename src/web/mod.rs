//! HTTP and WebSocket as this server uses them: frames.
//!
//! **Must not know** Bayeux: no session, no engine, no node, no configuration file. Limits and names come in as
//! arguments.
//!
//! Start reading at [`websocket`].

pub mod websocket;
