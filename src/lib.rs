//! Mirant: a CometD/Bayeux push server, and the protocol engine it is made of.
#![warn(missing_docs)]
pub mod bayeux;
#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod config;
