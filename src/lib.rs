//! Mirant: a CometD/Bayeux push server, and the protocol engine it is made of.
//!
//! [`bayeux`] is the engine, pure and embeddable: with `default-features = false` it is all there is. The feature
//! `server` adds the layers that touch the world, each of which imports only what stands after it here:
//! `cli`, `server`, then `transport`, `policy` and `admin`, then `web` and `node`, then `bayeux`.
//! `docs/architecture.md` is the map.
#![warn(missing_docs)]

#[cfg(feature = "server")]
pub mod admin;
pub mod bayeux;
#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod client;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod node;
#[cfg(feature = "server")]
pub mod pages;
#[cfg(feature = "server")]
pub mod policy;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
pub mod transport;
#[cfg(feature = "server")]
pub mod web;
