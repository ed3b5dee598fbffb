//! A batch made ready for the writer on the thread that submits it: hashed and encoded, but for the numbers that only
//! the writer knows. The writer is one for all, its submitters are many.

use std::cell::Cell;

use smallvec::SmallVec;

use super::format::{FRAME_HEADER_BYTES, FRAME_PADDING_MAX};
use super::hash::{NameSecret, StreamKey};
use super::record::{self, NUMBERS_BYTES_MAX, StreamForm};
use super::retention::{KEPT_BYTES, kept_bytes, kept_from};
use crate::{Batch, Expected, Lineage, NewEvent, Retention, StreamAppend, StreamId, Timestamp};

/// What a record takes beside its encoded parts.
const EVENT_OVERHEAD_MAX: usize = FRAME_HEADER_BYTES + FRAME_PADDING_MAX + NUMBERS_BYTES_MAX;

/// What a setting of retention takes.
const RETENTION_BYTES: usize = FRAME_HEADER_BYTES + KEPT_BYTES;

/// A batch whose records are encoded, in its order, one behind the other, in bytes that are kept elsewhere.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    pub(super) appends: SmallVec<[PreparedAppend; 1]>,
    pub(super) lineage: Option<Lineage>,
    pub(super) retention: Option<Box<[(StreamKey, Retention)]>>,
}

/// Events for one stream.
#[derive(Debug)]
pub(super) struct PreparedAppend {
    pub(super) stream: StreamId,
    pub(super) key: StreamKey,
    pub(super) expected: Expected,
    pub(super) events: SmallVec<[PreparedEvent; 1]>,
}

/// One event: how many of the bytes are its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct PreparedEvent {
    pub(super) time: Timestamp,
    head: u32,
    tail: u32,
}

impl Prepared {
    /// Prepares a batch that was checked, and hands `then` the bytes with it.
    pub(super) fn with<R>(batch: Batch, secret: NameSecret, then: impl FnOnce(Self, &[u8]) -> R) -> R {
        thread_local! {
            static ENCODED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
        }
        let mut encoded = ENCODED.take();
        encoded.clear();
        let retention = retention(&batch, secret);
        let appends =
            batch.streams.into_iter().map(|append| PreparedAppend::new(append, secret, &mut encoded));
        let prepared = Self { appends: appends.collect(), lineage: batch.lineage, retention };
        let result = then(prepared, &encoded);
        encoded.shrink_to(64 * 1024);
        ENCODED.set(encoded);
        result
    }

    /// How many of the bytes are its own.
    pub(super) fn encoded_bytes(&self) -> usize {
        self.events().map(PreparedEvent::bytes).sum()
    }

    /// At least as many bytes as its records take in the log.
    pub(super) fn bytes_max(&self) -> usize {
        let retention = self.retention().len() * RETENTION_BYTES;
        retention + self.events().map(|event| EVENT_OVERHEAD_MAX + event.bytes()).sum::<usize>()
    }

    pub(super) fn retention(&self) -> &[(StreamKey, Retention)] {
        self.retention.as_deref().unwrap_or_default()
    }

    fn events(&self) -> impl Iterator<Item = &PreparedEvent> {
        self.appends.iter().flat_map(|append| &append.events)
    }
}

fn retention(batch: &Batch, secret: NameSecret) -> Option<Box<[(StreamKey, Retention)]>> {
    let set = batch.retention().iter();
    // As the log will have it, so that what is in memory is what is read again.
    let set = set.map(|set| kept_from(&kept_bytes(secret.key(set.stream.as_str()), set.retention)));
    (!batch.retention().is_empty()).then(|| set.collect())
}

impl PreparedAppend {
    fn new(append: StreamAppend, secret: NameSecret, encoded: &mut Vec<u8>) -> Self {
        let name = StreamForm::of(&append.stream);
        let events = append.events.iter().map(|event| PreparedEvent::new(&name, event, encoded)).collect();
        Self {
            key: secret.key(append.stream.as_str()),
            expected: append.expected,
            events,
            stream: append.stream,
        }
    }
}

impl PreparedEvent {
    #[expect(clippy::cast_possible_truncation, reason = "a batch that was checked is far below 4 GiB")]
    fn new(stream: &StreamForm<'_>, event: &NewEvent, encoded: &mut Vec<u8>) -> Self {
        let start = encoded.len();
        record::encode_head(encoded, stream, event);
        let middle = encoded.len();
        record::encode_tail(encoded, event);
        Self {
            time: event.command.time,
            head: (middle - start) as u32,
            tail: (encoded.len() - middle) as u32,
        }
    }

    fn bytes(&self) -> usize {
        self.head as usize + self.tail as usize
    }

    /// Its bytes, in two parts, from the front of what is left of the batch's.
    pub(super) fn split<'a>(&self, encoded: &mut &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let (own, rest) = encoded.split_at(self.bytes());
        *encoded = rest;
        own.split_at(self.head as usize)
    }
}
