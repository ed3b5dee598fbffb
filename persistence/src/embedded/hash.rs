//! Hashing of stream names: one pass of XXH3 with a seed that nobody outside can know.

use std::hash::{BuildHasher, RandomState};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What a journal's hashes of names begin with.
#[derive(Debug, Clone, Copy)]
pub(super) struct NameSeed(u64);

impl Default for NameSeed {
    fn default() -> Self {
        Self(RandomState::new().hash_one(0))
    }
}

impl NameSeed {
    pub(super) fn hash(self, name: &str) -> u64 {
        xxh3_64_with_seed(name.as_bytes(), self.0)
    }
}
