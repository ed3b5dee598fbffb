use std::sync::Arc;

use annals_actors::Context;
use annals_macros::{Event, Shape};
use annals_persistence::{
    Batch, Expected, Filter, Journal, JournalExt, MemoryJournal, NewEvent, Position, StreamId, Timestamp,
    Upcast,
};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};

use super::sealing::SealError;
use super::*;
use crate::record;

#[derive(Debug, Default, Clone, Serialize, Deserialize, Shape)]
struct Thing;

#[derive(Debug, Event)]
#[event(retired("thing-split", 1 = SplitV1), retired("thing-doubled", 1 = DoubledV1))]
enum ThingEvent {
    #[event("thing-quiet")]
    Quiet,
    #[event("thing-one")]
    One,
    #[event("thing-both")]
    Both,
    #[event("thing-twice")]
    Twice,
    #[event("thing-other")]
    Other,
    #[event("thing-panic")]
    Panic,
}

/// Is a quiet one, one and another today.
#[derive(Serialize, Deserialize, Shape)]
struct SplitV1;

impl Upcast for SplitV1 {
    type Next = [ThingEvent; 3];

    fn upcast(self) -> [ThingEvent; 3] {
        [ThingEvent::Quiet, ThingEvent::One, ThingEvent::Other]
    }
}

/// Is the same twice today.
#[derive(Serialize, Deserialize, Shape)]
struct DoubledV1;

impl Upcast for DoubledV1 {
    type Next = Vec<ThingEvent>;

    fn upcast(self) -> Vec<ThingEvent> {
        vec![ThingEvent::One, ThingEvent::One]
    }
}

#[derive(Debug, thiserror::Error)]
#[error("no")]
struct No;

impl Aggregate for Thing {
    const TYPE: &'static str = "thing";
    type Command = ();
    type Event = ThingEvent;
    type Rejection = No;

    fn handle(&self, (): (), _: &Context) -> Result<Vec<ThingEvent>, No> {
        Ok(Vec::new())
    }

    fn apply(&mut self, _: ThingEvent) {}
}

#[derive(Serialize, Deserialize, crate::IntegrationEvent)]
struct First;

#[derive(Serialize, Deserialize, crate::IntegrationEvent)]
struct Second;

fn publications() -> Publications {
    Publications::new("things").translate::<Thing>(|event, _| match event {
        ThingEvent::Quiet => vec![],
        ThingEvent::One => vec![Outgoing::event(&First)],
        ThingEvent::Both => vec![Outgoing::event(&First), Outgoing::event(&Second)],
        ThingEvent::Twice => vec![Outgoing::event(&First), Outgoing::event(&First)],
        ThingEvent::Other => vec![Outgoing::event(&Second).subject("somebody")],
        ThingEvent::Panic => panic!("as told"),
    })
}

async fn journal(events: &[ThingEvent]) -> (Arc<dyn Journal>, Vec<RecordedEvent>) {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    for event in events {
        let stream = StreamId::aggregate("thing", "1").unwrap();
        let event = record::record(event, Timestamp(1)).unwrap();
        journal.append(Batch::of(stream, Expected::Any, [event])).await.unwrap();
    }
    let recorded = journal.read_all(Position(1), Filter::default()).try_collect().await.unwrap();
    (journal, recorded)
}

/// (topic, sequence, prevsequence) of everything published.
async fn places(sequences: &mut Sequences, events: &[ThingEvent], from: usize) -> Vec<(String, u64, u64)> {
    let (journal, recorded) = journal(events).await;
    let mut places = Vec::new();
    for event in &recorded[from..] {
        for envelope in seal(&publications(), &journal, sequences, event, None).await.unwrap() {
            places.push((envelope.topic.to_string(), envelope.sequence.unwrap(), envelope.previous.unwrap()));
        }
    }
    places
}

/// A record as a release before this one wrote it.
async fn old_record(name: &'static str) -> (Arc<dyn Journal>, RecordedEvent) {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let event =
        NewEvent { type_name: name.into(), ..record::record(&ThingEvent::Quiet, Timestamp(1)).unwrap() };
    let stream = StreamId::aggregate("thing", "1").unwrap();
    journal.append(Batch::of(stream, Expected::Any, [event])).await.unwrap();
    let recorded = journal.read_all(Position(1), Filter::default()).try_next().await.unwrap();
    (journal, recorded.unwrap())
}

#[tokio::test]
async fn a_record_that_is_several_events_today_is_published_as_one() {
    let (journal, recorded) = old_record("thing-split").await;
    let mut sequences = Sequences::new(100, true);
    let sealed = seal(&publications(), &journal, &mut sequences, &recorded, None).await.unwrap();
    let told: Vec<_> =
        sealed.iter().map(|one| (one.topic.as_str(), one.sequence, one.subject.as_deref())).collect();
    assert_eq!(told, [("v1.first", Some(1), Some("1")), ("v1.second", None, Some("somebody"))]);
    assert_eq!(sealed[0].id.to_string(), recorded.id.to_string());
}

#[tokio::test]
async fn a_record_whose_parts_meet_on_one_topic_is_refused() {
    let (journal, recorded) = old_record("thing-doubled").await;
    let mut sequences = Sequences::new(100, true);
    let refused = seal(&publications(), &journal, &mut sequences, &recorded, None).await.unwrap_err();
    let SealError::Translation(error) = refused else { panic!("{refused}") };
    assert_eq!(error.code(), "topic_published_twice");
}

#[tokio::test]
async fn sequences_are_a_pure_function_of_the_journal() {
    use ThingEvent::{Both, One, Quiet};
    let events = [Both, Quiet, One, Quiet, Quiet, Both, One];
    let expected: Vec<_> = [
        ("first", 1, 0),
        ("second", 1, 0),
        ("first", 3, 1),
        ("first", 6, 3),
        ("second", 6, 1),
        ("first", 7, 6),
    ]
    .map(|(name, sequence, previous)| (format!("v1.{name}"), sequence, previous))
    .into();
    // From the start, without any memory, and from the middle.
    assert_eq!(places(&mut Sequences::new(100, true), &events, 0).await, expected);
    assert_eq!(places(&mut Sequences::new(1, false), &events, 0).await, expected);
    assert_eq!(places(&mut Sequences::new(100, false), &events, 4).await, expected[3..]);
}

#[tokio::test]
async fn a_long_silence_is_looked_through() {
    let mut events: Vec<_> = (0..100).map(|_| ThingEvent::Quiet).collect();
    events.insert(0, ThingEvent::One);
    events.push(ThingEvent::One);
    let places = places(&mut Sequences::new(100, false), &events, 50).await;
    assert_eq!(places, [("v1.first".to_owned(), 102, 1)]);
}

#[tokio::test]
async fn the_first_keeps_the_id_and_further_ones_get_their_own() {
    let (journal, recorded) = journal(&[ThingEvent::Both]).await;
    let ids = async || -> Vec<_> {
        let mut sequences = Sequences::new(100, true);
        let sealed = seal(&publications(), &journal, &mut sequences, &recorded[0], None).await.unwrap();
        sealed.iter().map(|envelope| envelope.id.to_string()).collect()
    };
    let first = ids().await;
    assert_eq!(first[0], recorded[0].id.to_string());
    assert_ne!(first[1], first[0]);
    assert_eq!(ids().await, first);
}

#[tokio::test]
async fn one_topic_alone_has_the_same_ids() {
    let (journal, recorded) = journal(&[ThingEvent::Both]).await;
    let mut sequences = Sequences::new(100, true);
    let all = seal(&publications(), &journal, &mut sequences, &recorded[0], None).await.unwrap();
    let second = Topic::of::<Second>();
    let mut sequences = Sequences::new(100, true);
    let one = seal(&publications(), &journal, &mut sequences, &recorded[0], Some(&second)).await.unwrap();
    assert_eq!((one.len(), &one[0].id), (1, &all[1].id));
}

#[tokio::test]
async fn another_subject_has_no_sequence() {
    let (journal, recorded) = journal(&[ThingEvent::Other]).await;
    let mut sequences = Sequences::new(100, true);
    let sealed = seal(&publications(), &journal, &mut sequences, &recorded[0], None).await.unwrap();
    assert_eq!((sealed[0].key(), sealed[0].sequence, sealed[0].previous), ("somebody", None, None));
}

#[tokio::test]
async fn mistakes_have_codes() {
    for (event, code) in
        [(ThingEvent::Twice, "topic_published_twice"), (ThingEvent::Panic, "translation_panicked")]
    {
        let (journal, recorded) = journal(&[event]).await;
        let mut sequences = Sequences::new(100, true);
        let error = seal(&publications(), &journal, &mut sequences, &recorded[0], None).await.unwrap_err();
        let SealError::Translation(error) = error else { panic!("{error}") };
        assert_eq!(error.code(), code);
    }
    let (_, recorded) = journal(&[ThingEvent::Both]).await;
    let declared = publications().publishes::<First>();
    assert_eq!(declared.outgoing(&recorded[0]).unwrap_err().code(), "topic_not_declared");
    assert!(declared.may_publish(&Topic::of::<First>()) && !declared.may_publish(&Topic::of::<Second>()));
}

#[derive(Serialize, Deserialize)]
struct Unwell {}

impl crate::IntegrationEvent for Unwell {
    const NAME: &'static str = "unwell";
    const VERSION: u16 = 1;
    const TOPIC: crate::topic::TopicParts<'static> =
        crate::topic::TopicParts { topic: None, prefix: None, suffix: None };

    fn schema() -> schemars::Schema {
        panic!("an author's own fault")
    }
}

#[test]
fn a_type_that_panics_over_its_schema_is_an_error() {
    assert_eq!(Outgoing::event(&Unwell {}).schema().unwrap_err().code(), "schema_panicked");
}
