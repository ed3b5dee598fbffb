//! Where a stream's snapshots lie in a store that keeps values under keys: two slots, so that a save overwrites one
//! snapshot and leaves the other.

use std::cmp::Reverse;

use super::Snapshot;
use super::envelope::{Envelope, EnvelopeError};
use crate::{StreamId, Version};

/// How many snapshots of a stream are kept.
const KEPT: usize = 2;

/// What lies in the slots of a stream; what cannot be trusted is as good as not there.
pub(super) type Slots = [Option<Envelope>; KEPT];

pub(super) fn slot_key(stream: &StreamId, slot: u8) -> Vec<u8> {
    // No stream's name contains a zero byte.
    [stream.as_str().as_bytes(), &[0, slot]].concat()
}

/// What was stored, if it can be trusted.
pub(super) fn trusted(stream: &StreamId, value: &[u8]) -> Option<Envelope> {
    let doubt = |error: &EnvelopeError| {
        tracing::warn!(stream = stream.as_str(), %error, "snapshot discarded");
    };
    Envelope::decode(stream, value).inspect_err(doubt).ok()
}

/// The snapshot saved last among these values of a stream's slots: an older one is looked at only where that cannot be
/// trusted.
pub(super) fn latest<V: AsRef<[u8]>>(stream: &StreamId, mut values: [Option<V>; KEPT]) -> Option<Snapshot> {
    values.sort_by_key(|value| Reverse(value.as_ref().and_then(|value| Envelope::serial_of(value.as_ref()))));
    let latest = values.iter().flatten().find_map(|value| trusted(stream, value.as_ref()));
    latest.map(|envelope| envelope.snapshot)
}

/// The slot to overwrite: an empty one first, then that of the same version as the new snapshot, then the older one.
pub(super) fn next_slot(slots: &Slots, version: Version) -> u8 {
    let same = |slot: &Option<Envelope>| slot.as_ref().is_some_and(|e| e.snapshot.version == version);
    match slots {
        [first, _] if same(first) => 0,
        [_, second] if same(second) => 1,
        [None, _] => 0,
        [_, None] => 1,
        [Some(first), Some(second)] => u8::from(second.serial < first.serial),
    }
}

/// The serial number of the next snapshot of a stream that has these.
pub(super) fn next_serial<'a>(all: impl IntoIterator<Item = &'a Envelope>) -> u64 {
    all.into_iter().map(|envelope| envelope.serial).max().map_or(1, |last| last.saturating_add(1))
}

/// The snapshots that count among those found, the one saved last first.
pub(super) fn newest(found: impl IntoIterator<Item = Envelope>) -> Vec<Snapshot> {
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by_key(|envelope| Reverse(envelope.serial));
    let mut kept: Vec<Snapshot> = Vec::with_capacity(KEPT);
    for Envelope { snapshot, .. } in found {
        if kept.len() < KEPT && kept.iter().all(|newer| newer.version != snapshot.version) {
            kept.push(snapshot);
        }
    }
    kept
}

#[cfg(test)]
mod tests;
