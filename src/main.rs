//! The `mirant` binary.
fn main() {}
