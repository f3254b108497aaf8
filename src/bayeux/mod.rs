//! The Bayeux engine.
pub mod config;
pub mod peer;
