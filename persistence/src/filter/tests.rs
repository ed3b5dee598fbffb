use std::sync::Arc;

use super::*;
use crate::{CodecId, CommandMetadata, EventId, NewEvent, Position, StreamId, Timestamp, Version};

fn event(stream: &str, name: &'static str, tags: &[&str]) -> RecordedEvent {
    RecordedEvent {
        position: Position(1),
        stream: StreamId::parse(stream).unwrap(),
        version: Version(1),
        event: NewEvent {
            id: EventId::generate(),
            type_name: name.into(),
            schema_version: 1,
            codec: CodecId::Json,
            payload: bytes::Bytes::new(),
            command: CommandMetadata::internal(Timestamp(0)),
            tags: tags.iter().map(|tag| Arc::from(*tag)).collect(),
        },
    }
}

#[test]
fn the_default_wants_all_but_the_runtimes_own() {
    assert!(Filter::default().matches(&event("order-1", "opened", &[])));
    assert!(!Filter::default().matches(&event("$own-1", "opened", &[])));
    assert!(Filter::everything().matches(&event("$own-1", "opened", &[])));
}

#[test]
fn a_category_of_the_runtime_is_wanted_when_named() {
    let filter = Filter::default().category("$own");
    assert!(filter.wants_internal());
    assert!(filter.matches(&event("$own-1", "opened", &[])));
    assert!(!filter.matches(&event("$other-1", "opened", &[])));
    assert!(!filter.matches(&event("order-1", "opened", &[])));
}

#[test]
fn kinds_of_wishes_narrow_and_wishes_of_a_kind_widen() {
    let filter = Filter::default().category("order").category("invoice").event_type("opened").tag("eu");
    assert!(filter.matches(&event("order-1", "opened", &["big", "eu"])));
    assert!(filter.matches(&event("invoice-1", "opened", &["eu"])));
    assert!(!filter.matches(&event("invoice-1", "closed", &["eu"])));
    assert!(!filter.matches(&event("invoice-1", "opened", &["us"])));
    assert!(!filter.matches(&event("invoice-1", "opened", &[])));
    assert!(!filter.matches(&event("order_line-1", "opened", &["eu"])));
    assert!(filter.tag("us").matches(&event("invoice-1", "opened", &["us"])));
}
