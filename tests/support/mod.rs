//! What several test programs share: conversations and their replay.
#![allow(dead_code)] // No test program uses all of it.

pub(crate) mod deviation;
pub(crate) mod fixtures;
pub(crate) mod pattern;
pub(crate) mod replay;
pub(crate) mod subject;
pub(crate) mod timing;
pub(crate) mod transcript;
