//! [`Seeded`]: hashing whose seed comes from the engine's [`IdSource`](super::ids::IdSource).
//!
//! The standard library's random state reads the operating system, which the engine must not; a fixed one would let
//! strangers choose names that collide.

use std::hash::{BuildHasher, DefaultHasher, Hasher};

/// Builds hashers that start from one secret.
#[derive(Clone, Copy)]
pub(super) struct Seeded(u128);

impl Seeded {
    pub(super) const fn new(seed: u128) -> Self {
        Self(seed)
    }
}

impl BuildHasher for Seeded {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u128(self.0);
        hasher
    }
}
