//! What a batch must be to be taken at all, whatever the engine: the limits of the formats, checked in one place.

use std::collections::HashSet;

use crate::{AppendError, Batch, NewEvent, StreamAppend, StreamId, StreamRetention};

/// The most bytes that one batch may take: payloads, names, tags and metadata together.
pub const BATCH_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The most events that one batch may have, and the most streams that it may say what is kept of.
pub const BATCH_EVENTS_MAX: usize = 65_535;
/// The longest name of an event type, in bytes.
pub const EVENT_TYPE_BYTES_MAX: usize = 255;
/// The most tags that one event may have.
pub const TAGS_MAX: usize = 255;
/// The longest tag, in bytes.
pub const TAG_BYTES_MAX: usize = 255;
/// The longest name of an actor (who sent a command), in bytes.
pub const ACTOR_BYTES_MAX: usize = 255;

/// What the fields of fixed width may take per event: ids, times, lengths, trace context, checksums.
const EVENT_OVERHEAD_BYTES: usize = 192;
/// The same for what is to be kept of a stream.
const SETTING_BYTES: usize = 96;

/// Checks everything about a batch that does not depend on what the journal holds. Every engine calls it first, so
/// that a batch refused by one is refused by all.
///
/// # Errors
/// [`AppendError::Invalid`] saying what is wrong.
pub fn validate_batch(batch: &Batch) -> Result<(), AppendError> {
    check(!batch.streams.is_empty() || !batch.retention().is_empty(), || "it has no streams".to_owned())?;
    check_streams(&batch.streams)?;
    super::retention::validate_retention(batch)?;
    check(batch.event_count() <= BATCH_EVENTS_MAX, || {
        format!("it has {} events, the most is {BATCH_EVENTS_MAX}", batch.event_count())
    })?;
    check(batch.retention().len() <= BATCH_EVENTS_MAX, || {
        format!("it sets what is kept of {} streams, the most is {BATCH_EVENTS_MAX}", batch.retention().len())
    })?;
    batch.streams.iter().try_for_each(check_events)?;
    let bytes = batch_bytes(batch);
    check(bytes <= BATCH_BYTES_MAX, || format!("it takes {bytes} bytes, the most is {BATCH_BYTES_MAX}"))
}

/// How many bytes a batch takes at most, as counted against [`BATCH_BYTES_MAX`].
#[must_use]
pub fn batch_bytes(batch: &Batch) -> usize {
    let of_stream = |append: &StreamAppend| -> usize {
        append.events.iter().map(|event| event_bytes(&append.stream, event)).sum()
    };
    let of_setting = |set: &StreamRetention| SETTING_BYTES + set.stream.as_str().len();
    let settings: usize = batch.retention().iter().map(of_setting).sum();
    settings + batch.streams.iter().map(of_stream).sum::<usize>()
}

fn event_bytes(stream: &StreamId, event: &NewEvent) -> usize {
    let tags: usize = event.tags.iter().map(|tag| tag.len() + 2).sum();
    let actor = event.command.actor.as_ref().map_or(0, |actor| actor.len());
    EVENT_OVERHEAD_BYTES + stream.as_str().len() + event.type_name.len() + event.payload.len() + tags + actor
}

fn check_streams(streams: &[StreamAppend]) -> Result<(), AppendError> {
    if let Some(empty) = streams.iter().find(|append| append.events.is_empty()) {
        return invalid(format!("it has no events for stream \"{}\"", empty.stream));
    }
    match first_repeated(streams) {
        Some(stream) => invalid(format!("stream \"{stream}\" stands in it twice")),
        None => Ok(()),
    }
}

/// Most batches have one stream, for which no set is built.
fn first_repeated(streams: &[StreamAppend]) -> Option<&StreamId> {
    if streams.len() < 2 {
        return None;
    }
    let mut seen = HashSet::with_capacity(streams.len());
    streams.iter().map(|append| &append.stream).find(|stream| !seen.insert(*stream))
}

fn check_events(append: &StreamAppend) -> Result<(), AppendError> {
    append.events.iter().try_for_each(check_event)
}

fn check_event(event: &NewEvent) -> Result<(), AppendError> {
    check_name("the name of an event type", &event.type_name, EVENT_TYPE_BYTES_MAX)?;
    check(event.schema_version > 0, || format!("event \"{}\" has schema version 0", event.type_name))?;
    check(event.tags.len() <= TAGS_MAX, || {
        format!("event \"{}\" has {} tags, the most is {TAGS_MAX}", event.type_name, event.tags.len())
    })?;
    event.tags.iter().try_for_each(|tag| check_name("a tag", tag, TAG_BYTES_MAX))?;
    event.command.actor.iter().try_for_each(|actor| check_name("the actor", actor, ACTOR_BYTES_MAX))
}

fn check_name(what: &str, name: &str, bytes_max: usize) -> Result<(), AppendError> {
    check(!name.is_empty(), || format!("{what} is empty"))?;
    check(name.len() <= bytes_max, || format!("{what} has {} bytes, the most is {bytes_max}", name.len()))
}

fn check(holds: bool, reason: impl FnOnce() -> String) -> Result<(), AppendError> {
    if holds { Ok(()) } else { invalid(reason()) }
}

fn invalid(reason: String) -> Result<(), AppendError> {
    Err(AppendError::Invalid { reason })
}

#[cfg(test)]
mod tests;
