//! What the journal says its events look like, and whether this release agrees.
//!
//! What a node may write it records first, in the journal itself: the fingerprint of every event type at its version. A
//! release in which one of them has changed without a new version would misread what is there, so it does not start.

use std::collections::HashMap;
use std::sync::Arc;

use annals_persistence::{
    AppendError, Batch, CodecId, CommandMetadata, Direction, Event, EventId, EventSchema, Expected, Journal,
    JournalExt, NewEvent, StreamId, Timestamp, Version,
};
use serde::{Deserialize, Serialize};

use crate::StartError;

#[cfg(test)]
mod tests;

/// The stream that has the records: `$schemas`.
const STREAM: &str = "schemas";
const PAGE_EVENTS: usize = 64;

/// An aggregate type and what its events look like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AggregateSchemas {
    pub(crate) aggregate: &'static str,
    pub(crate) schemas: &'static [EventSchema],
}

#[derive(Debug, annals_macros::Event)]
#[annals(crate = "crate")]
enum SchemasEvent {
    /// From here on, the journal may hold events that look like this.
    #[event("schemas-recorded")]
    Recorded { schemas: Vec<RecordedSchema> },
}

/// What an event of an aggregate looks like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, annals_macros::Shape)]
#[annals(crate = "crate")]
struct RecordedSchema {
    aggregate: String,
    event: String,
    version: u16,
    /// In hexadecimal digits: JSON's readers lose digits of large numbers.
    fingerprint: String,
    shape: String,
}

impl RecordedSchema {
    fn of(aggregate: &str, schema: &EventSchema) -> Self {
        Self {
            aggregate: aggregate.to_owned(),
            event: schema.name.to_owned(),
            version: schema.version,
            fingerprint: format!("{:016x}", schema.fingerprint()),
            shape: schema.shape(),
        }
    }

    fn key(&self) -> Key {
        (self.aggregate.clone(), self.event.clone(), self.version)
    }
}

/// The aggregate, the event and the version.
type Key = (String, String, u16);

/// Everything that the journal has on record.
#[derive(Debug, Default)]
struct Records {
    schemas: HashMap<Key, RecordedSchema>,
    version: Version,
}

/// Makes sure that what is to be written can be read back.
///
/// # Errors
/// [`StartError::NotForBincode`] for an event whose codec cannot have what its attributes ask for.
pub(crate) fn readable_again(aggregates: &[AggregateSchemas]) -> Result<(), StartError> {
    for AggregateSchemas { aggregate, schemas } in aggregates {
        let in_bincode = schemas.iter().filter(|schema| schema.written() == Some(CodecId::Bincode));
        for schema in in_bincode {
            if let Some(attribute) = schema.not_for_bincode() {
                let (event, version) = (schema.name, schema.version);
                return Err(StartError::NotForBincode { aggregate, event, version, attribute });
            }
        }
    }
    Ok(())
}

/// Makes sure that the journal and this release mean the same by every event type, and records what is new.
///
/// # Errors
/// [`StartError::SchemaChanged`] when they do not; what the journal said, when it could not be read or appended to.
pub(crate) async fn agree(
    journal: &Arc<dyn Journal>,
    now: Timestamp,
    aggregates: &[AggregateSchemas],
) -> Result<(), StartError> {
    let stream = StreamId::internal(STREAM)?;
    loop {
        let records = read(journal, &stream).await?;
        let new = records.compare(aggregates)?;
        if new.is_empty() {
            return Ok(());
        }
        match append(journal, &stream, records.version, now, new).await {
            // Another node over this journal was faster: look at what it recorded.
            Err(StartError::SchemasNotRecorded { source: AppendError::Conflict { .. } }) => {}
            done => return done,
        }
    }
}

async fn read(journal: &Arc<dyn Journal>, stream: &StreamId) -> Result<Records, StartError> {
    let mut records = Records::default();
    loop {
        let from = records.version.next();
        let page = journal.stream_page(stream, from, Direction::Forward, PAGE_EVENTS).await?;
        for recorded in &page.events {
            let events = recorded.decode().map_err(|source| StartError::SchemasUnreadable { source })?;
            for SchemasEvent::Recorded { schemas } in events {
                records.schemas.extend(schemas.into_iter().map(|schema| (schema.key(), schema)));
            }
            records.version = recorded.version;
        }
        if page.next.is_none() {
            return Ok(records);
        }
    }
}

impl Records {
    /// What is not on record and may be written from now on.
    fn compare(&self, aggregates: &[AggregateSchemas]) -> Result<Vec<RecordedSchema>, StartError> {
        let mut new = Vec::new();
        for AggregateSchemas { aggregate, schemas } in aggregates {
            for schema in *schemas {
                let now = RecordedSchema::of(aggregate, schema);
                match self.schemas.get(&now.key()) {
                    Some(recorded) if recorded.fingerprint != now.fingerprint => {
                        return Err(changed(recorded, now));
                    }
                    // What is only read was recorded by whoever wrote it.
                    None if schema.written().is_some() => new.push(now),
                    _ => {}
                }
            }
            self.warn_of_unreadable(aggregate, schemas);
        }
        Ok(new)
    }

    fn warn_of_unreadable(&self, aggregate: &str, schemas: &[EventSchema]) {
        let own = self.schemas.values().filter(|recorded| recorded.aggregate == aggregate);
        for RecordedSchema { event, version, .. } in own {
            let known = schemas.iter().any(|schema| schema.name == event && schema.version == *version);
            if !known {
                tracing::warn!(
                    aggregate,
                    event,
                    version,
                    "the journal may hold events that this release cannot read; an instance with one cannot be used"
                );
            }
        }
    }
}

fn changed(recorded: &RecordedSchema, now: RecordedSchema) -> StartError {
    StartError::SchemaChanged {
        aggregate: now.aggregate,
        event: now.event,
        version: now.version,
        recorded: recorded.shape.clone(),
        now: now.shape,
    }
}

async fn append(
    journal: &Arc<dyn Journal>,
    stream: &StreamId,
    version: Version,
    now: Timestamp,
    schemas: Vec<RecordedSchema>,
) -> Result<(), StartError> {
    let event = SchemasEvent::Recorded { schemas };
    let event_type = event.event_type();
    let payload = event.encode().map_err(|error| StartError::SchemasNotRecorded {
        source: AppendError::Invalid { reason: error.to_string() },
    })?;
    let record = NewEvent {
        id: EventId::generate_at(now),
        type_name: event_type.name.into(),
        schema_version: event_type.version,
        codec: event.codec(),
        payload: payload.into(),
        command: CommandMetadata::internal(now),
        tags: Vec::new(),
    };
    let expected = if version == Version::NONE { Expected::NoStream } else { Expected::Version(version) };
    let batch = Batch::of(stream.clone(), expected, [record]);
    journal.append(batch).await.map(drop).map_err(|source| StartError::SchemasNotRecorded { source })
}
