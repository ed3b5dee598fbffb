//! What the bus has written stays readable: `events.lock` has the shapes of its own events, `tests/golden` their bytes.

use std::str::FromStr;
use std::sync::Arc;

use annals_actors::testing::{EventsLock, GoldenEvents};
use annals_persistence::{CommandId, Position};
use serde_json::json;

use super::*;
use crate::Topic;
use crate::dead_letter::{DeadLetterId, LetterEvent};
use crate::inbox::{CarriedKey, EarlyEvent, Gap, InboxEvent, Place, Rejection};
use crate::publication::BegunEvent;
use crate::reaction::Target;
use crate::relay::CursorEvent;

#[test]
fn events_lock() {
    EventsLock::beside(env!("CARGO_MANIFEST_DIR"))
        .events::<InboxEvent>("inbox")
        .events::<EarlyEvent>("early")
        .events::<LetterEvent>("dead-letters")
        .events::<CursorEvent>("cursor")
        .events::<BegunEvent>("topics")
        .check();
}

#[test]
fn golden_events() {
    GoldenEvents::beside(env!("CARGO_MANIFEST_DIR"))
        .events("inbox", inbox())
        .events("early", [None, Some("no".to_owned())].map(early))
        .events("dead-letters", letters())
        .events("cursor", [CursorEvent::Moved { position: Position(9_007_199_254_740_993) }])
        .events("topics", [begun()])
        .check();
}

fn inbox() -> Vec<InboxEvent> {
    let (source, event_id) = (|| Arc::from("customer"), || Arc::from("e-1"));
    let topic = Some(Topic::named("v1.customer-moved"));
    let place = Place { topic, key: Some("customer-1".into()), sequence: Some(3), gap_after: None };
    let target = Target { type_name: "order".into(), id: "1".into(), command: json!({ "Move": [1, null] }) };
    let rejection = Rejection { type_name: "order".into(), id: "1".into(), reason: "no".into() };
    let (nowhere, rejections) = (Place::default(), vec![rejection.clone()]);
    let answered = |rejection| InboxEvent::Answered {
        source: source(),
        event_id: event_id(),
        command_id: CommandId::from_u128(1),
        rejection,
    };
    vec![
        InboxEvent::Planned { source: source(), event_id: event_id(), targets: vec![target] },
        answered(None),
        answered(Some(rejection)),
        InboxEvent::Handled { source: source(), event_id: event_id(), place: place.clone(), rejections },
        InboxEvent::Handled { source: source(), event_id: event_id(), place: nowhere, rejections: vec![] },
        InboxEvent::DeadLettered { source: source(), event_id: event_id(), place },
        InboxEvent::Carried {
            topic: None,
            keys: vec![carried(None), carried(Some(Gap { after: 3, before: 7 }))],
        },
        InboxEvent::Carried { topic: Some(Topic::named("v1.customer-moved")), keys: vec![] },
    ]
}

fn begun() -> BegunEvent {
    let (category, event_type) = ("customer".into(), "customer-moved".into());
    BegunEvent::Begun {
        category,
        event_type,
        topic: Topic::named("v1.customer-moved"),
        position: Position(7),
    }
}

fn early(fault: Option<String>) -> EarlyEvent {
    let event = serde_json::value::to_raw_value(&json!({ "specversion": "1.0" })).unwrap();
    EarlyEvent::Kept { topic: Topic::named("v1.customer-moved"), since: Timestamp(1), fault, event }
}

fn carried(gap: Option<Gap>) -> CarriedKey {
    CarriedKey { source: "customer".into(), key: "customer-1".into(), sequence: 9, gap }
}

fn letters() -> Vec<LetterEvent> {
    let id = DeadLetterId::from_str("00000000-0000-0000-0000-000000000001").unwrap();
    vec![
        LetterEvent::Written {
            id,
            subscription: "address".into(),
            topic: Topic::named("v1.customer-moved"),
            event_id: "e-1".into(),
            reason: "no".into(),
            attempts: 3,
            first_time: Timestamp(1),
            last_time: Timestamp(2),
            event: serde_json::value::to_raw_value(&json!({ "specversion": "1.0" })).unwrap(),
        },
        LetterEvent::Replayed { id, error: None },
        LetterEvent::Replayed { id, error: Some("still no".into()) },
        LetterEvent::Discarded { id, reason: None },
        LetterEvent::Discarded { id, reason: Some("spam".into()) },
    ]
}
