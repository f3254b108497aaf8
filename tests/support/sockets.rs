//! What the tests over real sockets share: a server of one's own, raw clients, and Bayeux clients on top of them.

pub(crate) mod application;
pub(crate) mod client;
pub(crate) mod deflate;
pub(crate) mod http;
pub(crate) mod reference;
pub(crate) mod server;
pub(crate) mod websocket;
pub(crate) mod witness;
