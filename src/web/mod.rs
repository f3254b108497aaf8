//! HTTP and WebSocket as this server uses them: requests under limits, responses, cookies, origins, frames.
//!
//! Everything that serves HTTP is written against this layer; besides it only `server`, which runs the connections, sees
//! hyper. A request arrives as a [`Request`], leaves as a [`Response`] with a [`Body`](response::Body), and finds its
//! handler through a [`Router`] or the caller's own choice. A connection that turns into a WebSocket goes through
//! [`upgrade`], which hands the bare socket back, and is from then on read through a
//! [`FrameDecoder`](websocket::FrameDecoder).
//!
//! **Must not know** Bayeux: no session, no engine, no node, no configuration file. Limits and names come in as
//! arguments.
//!
//! Start reading at [`request`] and [`response`], then [`websocket`].

pub mod body;
pub mod charset;
pub mod cookie;
pub mod form;
pub mod listener;
pub mod origin;
pub mod progress;
pub mod request;
pub mod response;
pub mod router;
pub mod throttle;
pub mod upgrade;
pub mod websocket;

pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
pub use request::{Request, Scheme};
pub use response::Response;
pub use router::Router;
