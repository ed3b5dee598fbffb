//! What arrived and is no event: kept as it came, so that somebody can look at it, and a release that can read it can
//! handle it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::value::to_raw_value;

use crate::identity::derived;
use crate::{Envelope, EnvelopeError, Topic};

/// Who is said to have published it.
const SOURCE: &str = "unreadable";
/// The attribute that says how bytes that are no text are kept.
const ENCODING: &str = "bodyencoding";

/// An envelope around bytes that are none. The same bytes make the same envelope, so a redelivery is a duplicate.
pub(super) fn envelope(topic: &Topic, content_type: &str, body: &[u8]) -> Envelope {
    let (text, is_text) = match std::str::from_utf8(body) {
        Ok(text) => (Cow::Borrowed(text), true),
        Err(_) => (Cow::Owned(BASE64.encode(body)), false),
    };
    let id = derived(&[topic.as_str(), content_type, &text]).to_string();
    let encoding = to_raw_value("base64").ok().filter(|_| !is_text);
    Envelope {
        id: id.into(),
        source: SOURCE.into(),
        event_type: content_type.into(),
        topic: topic.clone(),
        subject: None,
        partition_key: None,
        sequence: None,
        previous: None,
        position: None,
        time: None,
        data_schema: None,
        trace: None,
        correlation_id: None,
        causation_id: None,
        data: to_raw_value(&text).ok().map(Into::into),
        extensions: encoding
            .map(|encoding| (ENCODING.to_owned(), encoding))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
    }
}

/// What was kept, read once more; an event that could be read at once as it is.
pub(crate) fn read_again(envelope: Envelope) -> Result<Envelope, EnvelopeError> {
    if *envelope.source != *SOURCE || envelope.is_ours() {
        return Ok(envelope);
    }
    let text: String = envelope.decode()?;
    let body = if envelope.extensions.contains_key(ENCODING) {
        BASE64.decode(&text).map_err(|error| EnvelopeError::Data { reason: error.to_string() })?
    } else {
        text.into_bytes()
    };
    Envelope::from_body(&envelope.event_type, &body, &envelope.topic)
}

#[cfg(test)]
mod tests;
