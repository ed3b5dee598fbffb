//! A [`Retention`] as the log has it.

use std::time::Duration;

use super::format::{array_at, u64_at};
use super::hash::StreamKey;
use crate::{Retention, Version};

/// How many bytes a stream's key and its retention take.
pub(super) const KEPT_BYTES: usize = StreamKey::BYTES + 32;

const TOMBSTONE: u64 = 1;

pub(super) fn kept_bytes(key: StreamKey, kept: Retention) -> [u8; KEPT_BYTES] {
    let max_age = kept.max_age.map_or(0, |age| u64::try_from(age.as_micros()).unwrap_or(u64::MAX).max(1));
    let flags = if kept.tombstone { TOMBSTONE } else { 0 };
    let max_count = kept.max_count.map_or(0, |count| count.max(1));
    let numbers = [kept.truncate_before.0, max_count, max_age, flags];
    let mut bytes = [0; KEPT_BYTES];
    bytes[..StreamKey::BYTES].copy_from_slice(&key.to_bytes());
    for (chunk, number) in bytes[StreamKey::BYTES..].chunks_mut(8).zip(numbers) {
        chunk.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

pub(super) fn kept_from(bytes: &[u8; KEPT_BYTES]) -> (StreamKey, Retention) {
    let number = |at: usize| u64_at(bytes, StreamKey::BYTES + 8 * at);
    let bound = |number: u64| (number != 0).then_some(number);
    let kept = Retention {
        truncate_before: Version(number(0)),
        max_count: bound(number(1)),
        max_age: bound(number(2)).map(Duration::from_micros),
        tombstone: number(3) & TOMBSTONE != 0,
    };
    (StreamKey::from_bytes(array_at(bytes, 0)), kept)
}
