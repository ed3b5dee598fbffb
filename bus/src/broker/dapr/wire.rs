//! Events as they go over the sidecar's wire.

use std::collections::{BTreeMap, HashMap};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use dapr::dapr::proto::runtime::v1::TopicEventRequest;
use prost_types::value::Kind;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Number, Value};

use crate::envelope::Attributes;
use crate::identity::derived;
use crate::{Envelope, EnvelopeError, Topic};

/// The content type of envelopes that we make ourselves: the sidecar keeps them as they are.
pub(super) const ENVELOPE_TYPE: &str = "application/cloudevents+json";

/// The most digits that every decimal number keeps in a double, which is what the sidecar makes of numbers.
const DIGITS_KEPT: usize = 15;

/// An envelope as bytes to publish.
pub(super) fn body(envelope: &Envelope) -> Result<Vec<u8>, EnvelopeError> {
    let kept = envelope.data.as_ref().is_none_or(|data| survives_doubles(data.get()));
    let json = if kept { envelope.to_json()? } else { envelope.to_json_with_base64()? };
    Ok(Box::<str>::from(json).into_string().into_bytes())
}

/// What goes along for the broker: Kafka chooses the partition by it.
pub(super) fn metadata(envelope: &Envelope) -> HashMap<String, String> {
    let key = envelope.key();
    // The sidecar makes headers of it, and a delivery with a header that is not ASCII never arrives.
    let plain = key.bytes().all(|byte| byte.is_ascii_graphic());
    let key = if plain { key.to_owned() } else { derived(&[key]).to_string() };
    HashMap::from([("partitionKey".to_owned(), key)])
}

/// Whether all numbers of a JSON text are the same after having been doubles.
fn survives_doubles(json: &str) -> bool {
    let mut bytes = json.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
            b'-' | b'0'..=b'9' => {
                let mut digits = usize::from((b'1'..=b'9').contains(&byte));
                while let Some(next) =
                    bytes.next_if(|next| matches!(next, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'))
                {
                    match next {
                        b'e' | b'E' => return false,
                        // Leading zeros mean nothing.
                        b'0' if digits == 0 => {}
                        b'0'..=b'9' => digits += 1,
                        _ => {}
                    }
                }
                if digits > DIGITS_KEPT {
                    return false;
                }
            }
            _ => {}
        }
    }
    true
}

fn skip_string(bytes: &mut impl Iterator<Item = u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
}

/// A delivery over gRPC, as the envelope that it was: the sidecar has taken it apart.
pub(super) fn envelope(request: TopicEventRequest, topic: &Topic) -> Result<Envelope, Unreadable> {
    let attributes = attributes(request);
    let kept = attributes.clone();
    Envelope::from_attributes(attributes, topic).map_err(|error| Unreadable {
        body: serde_json::to_vec(&kept).unwrap_or_default(),
        reason: error.to_string(),
    })
}

/// A delivery that is no event, put together again as far as that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) body: Vec<u8>,
    pub(super) reason: String,
}

fn attributes(request: TopicEventRequest) -> Attributes {
    let TopicEventRequest {
        id,
        source,
        r#type,
        spec_version,
        data_content_type,
        data,
        topic,
        extensions,
        ..
    } = request;
    let fields = extensions.map(|extensions| extensions.fields).unwrap_or_default();
    let mut attributes: Attributes = fields
        .into_iter()
        .filter_map(|(name, value)| Some((name, to_raw_value(&json(value)).ok()?)))
        .collect();
    for (name, text) in [
        ("id", id),
        ("source", source),
        ("type", r#type),
        ("specversion", spec_version),
        ("datacontenttype", data_content_type),
        ("topic", topic),
    ] {
        attributes.extend(to_raw_value(&text).ok().map(|text| (name.to_owned(), text)));
    }
    attributes.extend(content(data));
    attributes
}

/// JSON as it is, text as a string, bytes in base64: whatever it is, it is kept for who looks at the dead letter.
fn content(data: Vec<u8>) -> Option<(String, Box<RawValue>)> {
    if data.is_empty() {
        return None;
    }
    let (name, value) = match String::from_utf8(data) {
        Ok(text) => ("data", RawValue::from_string(text.clone()).or_else(|_| to_raw_value(&text))),
        Err(error) => ("data_base64", to_raw_value(&BASE64.encode(error.as_bytes()))),
    };
    Some((name.to_owned(), value.ok()?))
}

fn json(value: prost_types::Value) -> Value {
    match value.kind {
        Some(Kind::BoolValue(truth)) => Value::Bool(truth),
        Some(Kind::NumberValue(number)) => decimal(number),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::ListValue(list)) => list.values.into_iter().map(json).collect(),
        Some(Kind::StructValue(fields)) => Value::Object(object(fields.fields)),
        Some(Kind::NullValue(_)) | None => Value::Null,
    }
}

fn object(fields: BTreeMap<String, prost_types::Value>) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name, json(value))).collect()
}

/// Whole numbers as such: 5 was not 5.0 before the sidecar made it a double.
fn decimal(number: f64) -> Value {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "only whole numbers that a double holds exactly are cast"
    )]
    let whole = (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then_some(number as i64);
    whole.map_or_else(|| Number::from_f64(number).map_or(Value::Null, Value::Number), Value::from)
}

#[cfg(test)]
mod tests;
