//! What the files are called.

use std::fmt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use crate::StreamId;

const WHOLE: &str = "snapshot";
const UNFINISHED: &str = "unfinished";

/// A file's name: generation, hash of the stream's name, slot. Two streams with one hash overwrite each other's
/// snapshots, whose checksums cover the streams' names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) generation: u64,
    /// Whether it is the name of a file that was written to the end.
    pub(super) is_whole: bool,
    hash: u128,
    slot: u8,
}

impl Name {
    pub(super) fn of(stream: &StreamId, generation: u64, slot: u8) -> Self {
        Self { generation, is_whole: true, hash: xxh3_128(stream.as_str().as_bytes()), slot }
    }

    pub(super) fn parse(path: &Path) -> Option<Self> {
        let (stem, ending) = path.to_str()?.split_once('.')?;
        let mut parts = stem.split('-');
        let name = Self {
            generation: parts.next()?.parse().ok()?,
            hash: u128::from_str_radix(parts.next()?, 16).ok()?,
            slot: parts.next()?.parse().ok()?,
            is_whole: ending == WHOLE,
        };
        (parts.next().is_none() && [WHOLE, UNFINISHED].contains(&ending)).then_some(name)
    }

    /// The file of a snapshot.
    pub(super) fn file(&self) -> PathBuf {
        format!("{self}.{WHOLE}").into()
    }

    /// The file that it is written in first.
    pub(super) fn unfinished(&self) -> PathBuf {
        format!("{self}.{UNFINISHED}").into()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:032x}-{}", self.generation, self.hash, self.slot)
    }
}
