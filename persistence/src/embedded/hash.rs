//! Hashing of stream names: 128 bits of SipHash under the journal's own secret. Nobody who chooses names can make two of
//! them meet, and by chance it does not happen: so a key stands for its stream, here and on the disk.

use siphasher::sip128::SipHasher13;

use super::format::array_at;

/// What a journal hashes names with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct NameSecret(pub(super) [u8; 16]);

/// A stream's name, hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct StreamKey {
    high: u64,
    low: u64,
}

impl NameSecret {
    pub(super) fn generate() -> Self {
        Self(*uuid::Uuid::new_v4().as_bytes())
    }

    pub(super) fn key(&self, name: &str) -> StreamKey {
        let hash = SipHasher13::new_with_key(&self.0).hash(name.as_bytes());
        StreamKey { high: hash.h1, low: hash.h2 }
    }
}

impl StreamKey {
    pub(super) const BYTES: usize = 16;

    pub(super) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self { high: u64::from_be_bytes(array_at(&bytes, 0)), low: u64::from_be_bytes(array_at(&bytes, 8)) }
    }

    /// In the order of the keys themselves.
    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.high.to_be_bytes());
        bytes[8..].copy_from_slice(&self.low.to_be_bytes());
        bytes
    }

    /// What a table in memory finds it by.
    pub(super) const fn table_hash(self) -> u64 {
        self.low
    }

    /// Where about it stands among `count` keys in their order.
    pub(super) fn guess(self, count: u64) -> u64 {
        ((u128::from(self.high) * u128::from(count)) >> 64) as u64
    }
}
