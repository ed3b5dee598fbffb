//! The bus's own events in the journal.

use annals_persistence::{
    CodecError, CommandMetadata, Event, EventError, EventId, NewEvent, RecordedEvent, Timestamp,
};

/// An event of the bus, ready to append.
pub(crate) fn record<E: Event>(event: &E, time: Timestamp) -> Result<NewEvent, CodecError> {
    let event_type = event.event_type();
    Ok(NewEvent {
        id: EventId::generate_at(time),
        type_name: event_type.name.into(),
        schema_version: event_type.version,
        codec: event.codec(),
        payload: event.encode()?.into(),
        command: CommandMetadata::internal(time),
        tags: Vec::new(),
    })
}

/// An event of the bus, read back.
pub(crate) fn read<E: Event>(recorded: &RecordedEvent) -> Result<E, EventError> {
    // None of them was ever split.
    let unknown = |_| E::unknown(&recorded.type_name, recorded.schema_version);
    recorded.decode::<E>()?.into_inner().map(|[event]| event).map_err(unknown)
}

#[cfg(test)]
mod tests;
