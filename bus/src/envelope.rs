//! The envelope of an integration event: CloudEvents 1.0 as JSON, made and read by us.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use annals_persistence::{CausationId, CorrelationId, Position, Timestamp, TraceContext};
#[cfg(feature = "dapr")]
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::de::DeserializeOwned;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::Topic;
use crate::identity::derived;

mod read;
mod trace;

#[cfg(feature = "dapr")]
pub(crate) use read::Attributes;
pub use read::EnvelopeError;
pub(crate) use trace::{parse_trace, trace_id_text, trace_text};

/// An integration event on its way: its content and all that is known of it.
///
/// What the CloudEvents standard does not name is in extension attributes that every broker carries along.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The event's id: unique for its source, the same on every delivery.
    pub id: Arc<str>,
    /// The service that published it.
    pub source: Arc<str>,
    /// What it is: `<name>.v<version>` for our own.
    pub event_type: Arc<str>,
    /// Where it was published.
    pub topic: Topic,
    /// What it is about: the aggregate instance's id, unless the publisher says otherwise.
    pub subject: Option<Arc<str>>,
    /// What keeps its place in the order: the stream it came from. Events with the same key arrive in order.
    pub partition_key: Option<Arc<str>>,
    /// Its place in that order: the stream's version. Without it, events run as they come.
    pub sequence: Option<u64>,
    /// The sequence of the key's event before it on this topic; 0 when it is the first.
    pub previous: Option<u64>,
    /// Where it stands in its publisher's journal; `None` once it came over a wire, which does not say.
    pub position: Option<Position>,
    /// When it happened.
    pub time: Option<Timestamp>,
    /// Where its schema is described.
    pub data_schema: Option<Arc<str>>,
    /// The trace it is part of.
    pub trace: Option<TraceContext>,
    /// The outside request behind it.
    pub correlation_id: Option<CorrelationId>,
    /// What caused the event itself.
    pub causation_id: Option<CausationId>,
    /// The content, as JSON text.
    pub data: Option<Arc<RawValue>>,
    /// Every attribute that is none of the above.
    pub extensions: BTreeMap<String, Box<RawValue>>,
}

impl Envelope {
    /// The content as a Rust value.
    ///
    /// # Errors
    /// [`EnvelopeError`] when there is no content, or it is no such value.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, EnvelopeError> {
        let data = self.data.as_ref().ok_or(EnvelopeError::NoData)?;
        serde_json::from_str(data.get()).map_err(|error| EnvelopeError::Data { reason: error.to_string() })
    }

    /// The envelope as JSON, as it goes over the wire (`application/cloudevents+json`).
    ///
    /// # Errors
    /// [`EnvelopeError`] when an extension attribute cannot be written.
    pub fn to_json(&self) -> Result<Box<RawValue>, EnvelopeError> {
        serde_json::value::to_raw_value(self)
            .map_err(|error| EnvelopeError::Malformed { reason: error.to_string() })
    }

    /// As [`Envelope::to_json`], with the content in base64: whoever carries it cannot change a digit of it.
    #[cfg(feature = "dapr")]
    pub(crate) fn to_json_with_base64(&self) -> Result<Box<RawValue>, EnvelopeError> {
        serde_json::value::to_raw_value(&InBase64(self))
            .map_err(|error| EnvelopeError::Malformed { reason: error.to_string() })
    }

    /// What events must share to be kept in order.
    #[must_use]
    pub fn key(&self) -> &str {
        self.shared_key()
    }

    pub(crate) fn shared_key(&self) -> &Arc<str> {
        self.partition_key.as_ref().or(self.subject.as_ref()).unwrap_or(&self.id)
    }

    /// What commands that it causes name as their cause: its id, or for an id that is no UUID one derived from it.
    #[must_use]
    pub fn as_cause(&self) -> CausationId {
        let id = Uuid::from_str(&self.id).unwrap_or_else(|_| derived(&[&self.source, &self.id]));
        CausationId::from(id)
    }

    /// The outside request behind it; an event that names none is its own.
    #[must_use]
    pub fn correlation(&self) -> CorrelationId {
        self.correlation_id.unwrap_or_else(|| CorrelationId::from(self.as_cause().as_uuid()))
    }

    /// The trace it is part of, as text, for logs.
    pub(crate) fn trace_id(&self) -> Option<String> {
        self.trace.as_ref().map(trace_id_text)
    }

    /// Whether it was published by a runtime like this one, so that its sequence and type mean what ours mean.
    pub(crate) fn is_ours(&self) -> bool {
        self.sequence.is_some() && self.previous.is_some()
    }
}

impl Serialize for Envelope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.serialize_attributes(&mut map)?;
        if let Some(data) = &self.data {
            map.serialize_entry("datacontenttype", "application/json")?;
            map.serialize_entry("data", data)?;
        }
        map.end()
    }
}

#[cfg(feature = "dapr")]
struct InBase64<'a>(&'a Envelope);

#[cfg(feature = "dapr")]
impl Serialize for InBase64<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.0.serialize_attributes(&mut map)?;
        if let Some(data) = &self.0.data {
            map.serialize_entry("datacontenttype", "application/json")?;
            map.serialize_entry("data_base64", &BASE64.encode(data.get()))?;
        }
        map.end()
    }
}

impl Envelope {
    /// Everything but the content.
    fn serialize_attributes<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("specversion", "1.0")?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("source", &self.source)?;
        map.serialize_entry("type", &self.event_type)?;
        map.serialize_entry("topic", &self.topic)?;
        let time = self.time.map(time_text);
        entry(map, "subject", self.subject.as_ref())?;
        entry(map, "partitionkey", self.partition_key.as_ref())?;
        entry(map, "sequence", self.sequence.map(|n| n.to_string()).as_ref())?;
        entry(map, "prevsequence", self.previous.map(|n| n.to_string()).as_ref())?;
        entry(map, "time", time.as_ref())?;
        entry(map, "dataschema", self.data_schema.as_ref())?;
        self.serialize_origin(map)?;
        self.extensions.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))
    }

    fn serialize_origin<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let trace = self.trace.as_ref().map(trace_text);
        // Dapr overwrites the trace of an envelope that does not have it under both names.
        entry(map, "traceparent", trace.as_ref())?;
        entry(map, "traceid", trace.as_ref())?;
        entry(map, "correlationid", self.correlation_id.as_ref())?;
        entry(map, "causationid", self.causation_id.as_ref())
    }
}

fn entry<M: SerializeMap, T: Serialize>(map: &mut M, name: &str, value: Option<&T>) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(name, value))
}

/// RFC 3339, in UTC, to the microsecond. A time that no calendar has becomes the nearest that it has.
pub(crate) fn time_text(time: Timestamp) -> String {
    let bound = if time.0 < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    jiff::Timestamp::from_microsecond(time.0).unwrap_or(bound).to_string()
}

#[cfg(test)]
mod tests;
