//! What several test programs share: conversations and their replay.
#![allow(dead_code, unused_imports)] // No test program uses all of it.

pub(crate) mod fixtures;

pub(crate) use mirant::client::{
    controls, cookies, deviation, differences, files, line, normalise, pattern, program, replay, services, subject,
    timing, transcript,
};
