//! The engine alone, in virtual time: no runtime, no socket, no clock.
//!
//! Start reading at [`world::World`]. Scenarios are in one module for each part of `bayeux-spec-notes.md`; `model` does
//! random things and compares with a few lines of naive code, `races` does the same things on many threads.
#![allow(clippy::unwrap_used, reason = "a test that does not find what it expects has failed")]

mod client;
mod random;
mod world;

mod acknowledge;
mod browsers;
mod callback_polling;
mod connect;
mod disconnect;
mod envelope;
mod event_stream;
mod extensions;
mod handshake;
mod hooks;
mod lazy;
mod lifecycle;
mod lossy;
mod model;
mod moving;
mod names;
mod publish;
mod queues;
mod races;
mod services;
mod subscribe;
