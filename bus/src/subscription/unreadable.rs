//! What arrived and is no event: kept as it came, so that somebody can look at it.

use std::collections::BTreeMap;

use crate::identity::derived;
use crate::{Envelope, Topic};

/// An envelope around bytes that are none. The same bytes make the same envelope, so a redelivery is a duplicate.
pub(super) fn envelope(topic: &Topic, content_type: &str, body: &[u8]) -> Envelope {
    let text = String::from_utf8_lossy(body);
    let id = derived(&[topic.as_str(), content_type, &text]).to_string();
    Envelope {
        id: id.into(),
        source: "unreadable".into(),
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
        data: serde_json::value::to_raw_value(&text).ok().map(Into::into),
        extensions: BTreeMap::new(),
    }
}
