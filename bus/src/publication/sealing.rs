//! From a domain event to the envelopes that leave the service.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_persistence::{EventError, EventId, Journal, ReadError, RecordedEvent};
use uuid::Uuid;

use super::{Outgoing, Publications, Sequences, TranslationError};
use crate::identity::derived;
use crate::inbox::RecordError;
use crate::schema::SchemaError;
use crate::{Envelope, Topic};

/// Why the envelopes of an event could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    #[error(transparent)]
    Translation(#[from] TranslationError),
    #[error(transparent)]
    Checkpoint(#[from] EventError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// The envelopes of one domain event.
pub(crate) type Sealed = Vec<Arc<Envelope>>;

/// Translates an event and makes the envelopes for the topics wanted. A pure function of the journal: `sequences`
/// only saves looking again.
pub(crate) async fn seal(
    publications: &Publications,
    journal: &Arc<dyn Journal>,
    sequences: &mut Sequences,
    recorded: &RecordedEvent,
    wanted: Option<&Topic>,
) -> Result<Sealed, SealError> {
    let mut sealed = Vec::new();
    for (index, outgoing) in publications.outgoing(recorded)?.into_iter().enumerate() {
        if wanted.is_some_and(|wanted| *wanted != outgoing.topic) {
            continue;
        }
        let previous = match outgoing.subject {
            None => Some(sequences.previous(publications, journal, recorded, &outgoing.topic).await?),
            Some(_) => None,
        };
        let name = match publications.schemas() {
            Some(schemas) => schemas.name_of(&outgoing).await?,
            None => None,
        };
        sealed.push(Arc::new(envelope(publications, recorded, outgoing, (index, previous), name)));
    }
    Ok(sealed)
}

/// The first keeps the domain event's id; further ones get ids derived from it.
fn id(recorded: &RecordedEvent, topic: &Topic, index: usize) -> Arc<str> {
    let id = match index {
        0 => recorded.id,
        _ => EventId::derive(derived(&[&recorded.id.to_string()]), topic.as_str()),
    };
    (&*id.as_uuid().hyphenated().encode_lower(&mut Uuid::encode_buffer())).into()
}

fn envelope(
    publications: &Publications,
    recorded: &RecordedEvent,
    outgoing: Outgoing,
    (index, previous): (usize, Option<u64>),
    schema: Option<Arc<str>>,
) -> Envelope {
    let about_instance = outgoing.subject.is_none();
    Envelope {
        id: id(recorded, &outgoing.topic, index),
        source: Arc::clone(publications.source()),
        data_schema: Some(schema.unwrap_or(outgoing.schema_name)),
        event_type: outgoing.event_type,
        subject: Some(outgoing.subject.unwrap_or_else(|| recorded.stream.instance().into())),
        // Instances of two aggregate types may share an id, so the key is the stream.
        partition_key: about_instance.then(|| recorded.stream.as_str().into()),
        sequence: about_instance.then_some(recorded.version.0),
        previous,
        position: Some(recorded.position),
        time: Some(recorded.command.time),
        trace: recorded.command.trace,
        correlation_id: Some(recorded.command.correlation_id),
        causation_id: Some(recorded.command.causation_id),
        data: outgoing.data.ok(),
        extensions: BTreeMap::new(),
        topic: outgoing.topic,
    }
}
