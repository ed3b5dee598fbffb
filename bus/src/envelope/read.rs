//! Reading envelopes, our own and others'.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use annals_persistence::Timestamp;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{Envelope, parse_trace};
use crate::Topic;

/// Why bytes are no event that can be handled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Not a CloudEvents envelope in JSON.
    #[error("not a CloudEvents envelope: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// The content type is not JSON.
    #[error("content type \"{content_type}\" is not JSON")]
    ContentType {
        /// What it is.
        content_type: String,
    },
    /// There is no content.
    #[error("the envelope has no JSON data")]
    NoData,
    /// The content is not what its type says.
    #[error("the data cannot be decoded: {reason}")]
    Data {
        /// What the decoder said.
        reason: String,
    },
}

impl EnvelopeError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed_envelope",
            Self::ContentType { .. } => "unsupported_content_type",
            Self::NoData => "envelope_without_data",
            Self::Data { .. } => "undecodable_integration_event",
        }
    }
}

/// An envelope's attributes by name.
pub(crate) type Attributes = BTreeMap<String, Box<RawValue>>;

impl Envelope {
    /// Reads an envelope as a broker delivers it: with its content type, whatever parameters that has.
    ///
    /// # Errors
    /// [`EnvelopeError`] when the type is not JSON or the body is no envelope.
    pub fn from_body(content_type: &str, body: &[u8], topic: &Topic) -> Result<Self, EnvelopeError> {
        match essence(content_type).as_str() {
            "application/json" | "application/cloudevents+json" => Self::from_json(body, topic),
            _ => Err(EnvelopeError::ContentType { content_type: content_type.to_owned() }),
        }
    }

    /// Reads an envelope from JSON. `topic` is where it arrived, for envelopes that do not say.
    ///
    /// # Errors
    /// [`EnvelopeError::Malformed`] when it is no JSON object, lacks an id, a source or a type, or an attribute is
    /// of the wrong kind.
    pub fn from_json(json: &[u8], topic: &Topic) -> Result<Self, EnvelopeError> {
        let attributes = serde_json::from_slice(json).map_err(|error| malformed(error.to_string()))?;
        Self::from_attributes(attributes, topic)
    }

    /// Reads an envelope whose attributes came one by one.
    pub(crate) fn from_attributes(mut attributes: Attributes, topic: &Topic) -> Result<Self, EnvelopeError> {
        check_version(&mut attributes)?;
        let envelope = Self {
            id: required(&mut attributes, "id")?,
            source: required(&mut attributes, "source")?,
            event_type: required(&mut attributes, "type")?,
            topic: take(&mut attributes, "topic")?.unwrap_or_else(|| topic.clone()),
            subject: take(&mut attributes, "subject")?,
            partition_key: take(&mut attributes, "partitionkey")?,
            sequence: number(&mut attributes, "sequence"),
            previous: number(&mut attributes, "prevsequence"),
            position: None,
            time: time(&mut attributes)?,
            data_schema: take(&mut attributes, "dataschema")?,
            trace: trace(&mut attributes)?,
            correlation_id: lenient(&mut attributes, "correlationid"),
            causation_id: lenient(&mut attributes, "causationid"),
            data: content(&mut attributes)?,
            extensions: BTreeMap::new(),
        };
        Ok(Self { extensions: attributes, ..envelope })
    }
}

/// A content type without its parameters.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The content as JSON text: as it stands, or out of base64, which is how bytes travel that must arrive as they are.
fn content(attributes: &mut Attributes) -> Result<Option<Arc<RawValue>>, EnvelopeError> {
    if let Some(content_type) = take::<String>(attributes, "datacontenttype")? {
        let essence = essence(&content_type);
        // The standard counts every type that ends so as JSON.
        if !(essence.is_empty() || essence.ends_with("/json") || essence.ends_with("+json")) {
            return Err(EnvelopeError::ContentType { content_type });
        }
    }
    let encoded = take::<String>(attributes, "data_base64")?;
    match (attributes.remove("data"), encoded) {
        (Some(data), _) => Ok(Some(Arc::from(data))),
        (None, Some(encoded)) => decoded(&encoded).map(Some),
        (None, None) => Ok(None),
    }
}

fn decoded(encoded: &str) -> Result<Arc<RawValue>, EnvelopeError> {
    let bad = |reason: String| malformed(format!("\"data_base64\": {reason}"));
    let bytes = BASE64.decode(encoded).map_err(|error| bad(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|error| bad(error.to_string()))?;
    RawValue::from_string(text).map(Arc::from).map_err(|error| bad(error.to_string()))
}

fn malformed(reason: impl Into<String>) -> EnvelopeError {
    EnvelopeError::Malformed { reason: reason.into() }
}

fn check_version(attributes: &mut Attributes) -> Result<(), EnvelopeError> {
    match take::<String>(attributes, "specversion")? {
        Some(version) if version == "1.0" => Ok(()),
        Some(other) => Err(malformed(format!("specversion is \"{other}\", not \"1.0\""))),
        None => Err(malformed("it has no \"specversion\"")),
    }
}

/// Takes an attribute out; `null` counts as absent.
fn take<T: DeserializeOwned>(attributes: &mut Attributes, name: &str) -> Result<Option<T>, EnvelopeError> {
    let Some(raw) = attributes.remove(name) else { return Ok(None) };
    serde_json::from_str(raw.get()).map_err(|error| malformed(format!("\"{name}\": {error}")))
}

fn required(attributes: &mut Attributes, name: &str) -> Result<Arc<str>, EnvelopeError> {
    match take::<Arc<str>>(attributes, name)? {
        Some(text) if !text.is_empty() => Ok(text),
        _ => Err(malformed(format!("it has no \"{name}\""))),
    }
}

/// An extension of ours that another publisher may use for something else: then it is none of ours.
fn lenient<T: DeserializeOwned>(attributes: &mut Attributes, name: &str) -> Option<T> {
    let value = attributes.get(name).and_then(|raw| serde_json::from_str(raw.get()).ok())?;
    attributes.remove(name);
    Some(value)
}

/// A sequence is a decimal number as text; others' sequences may be anything.
fn number(attributes: &mut Attributes, name: &str) -> Option<u64> {
    let text: String = attributes.get(name).and_then(|raw| serde_json::from_str(raw.get()).ok())?;
    let number = u64::from_str(&text).ok()?;
    attributes.remove(name);
    Some(number)
}

fn time(attributes: &mut Attributes) -> Result<Option<Timestamp>, EnvelopeError> {
    let Some(text) = take::<String>(attributes, "time")? else { return Ok(None) };
    let time = jiff::Timestamp::from_str(&text).map_err(|error| malformed(format!("\"time\": {error}")))?;
    Ok(Some(Timestamp(time.as_microsecond())))
}

fn trace(attributes: &mut Attributes) -> Result<Option<annals_persistence::TraceContext>, EnvelopeError> {
    let parent = take::<String>(attributes, "traceparent")?;
    let id = take::<String>(attributes, "traceid")?;
    Ok(parent.or(id).as_deref().and_then(parse_trace))
}
