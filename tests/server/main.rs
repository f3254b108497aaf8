//! The server over real sockets: every case of the protocol's black-box list, and what it does with bad input.
//!
//! A test's name is the rule; the numbers in it (`case_12_`, `cases_13_14_`) are those of the list. Each test starts a
//! server of its own on a free port, so all may run at once. Nothing sleeps for luck: a connect counts as held when
//! nothing has arrived before a later observable event, a hold is measured only from below.

mod acknowledge;
mod bad_frames;
mod bad_input;
mod callback_polling;
mod compression;
mod connect;
mod disconnect;
mod duplicates;
mod envelope;
mod event_source;
mod extensions;
mod faye;
mod handshake;
mod http;
mod lifecycle;
mod publish;
mod reference_services;
mod security;
mod services;
mod subscribe;
mod websocket;

#[allow(dead_code)] // Shared with the other tests over sockets.
#[path = "../support/sockets.rs"]
mod support;
