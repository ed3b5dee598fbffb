use std::sync::Arc;

use annals_persistence::{
    Batch, CodecId, CommandMetadata, EventError, EventId, Expected, Filter, Journal, JournalExt,
    MemoryJournal, NewEvent, RecordedEvent, StreamId, Timestamp,
};

use super::{Health, Watched};
use crate::read_model::Follows;
use crate::{Fold, HostError, ReadModel, ReadModelError};

struct Picky;

impl Fold for Picky {
    fn filter(&self) -> Filter {
        Filter::default()
    }

    fn apply(&mut self, event: &RecordedEvent) -> Result<(), EventError> {
        Err(EventError::UnknownType { name: event.type_name.to_string(), version: 1 })
    }
}

fn health(journal: &Arc<dyn Journal>) -> Health {
    let model: Arc<dyn Follows> = Arc::new(ReadModel::start("picky", Picky, Arc::clone(journal)));
    let (journal, read_models) = (Arc::clone(journal), vec![model]);
    Health::new("none", vec![Watched { service: "notes", bus: None, journal, read_models, disk: None }])
}

fn reasons(health: &Health) -> String {
    health.reasons().join("; ")
}

#[tokio::test]
async fn it_is_ready_between_start_and_drain() {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let health = health(&journal);
    assert!(reasons(&health).contains("read models"));
    health.start().await.unwrap();
    assert_eq!(reasons(&health), "");
    health.drain();
    assert!(reasons(&health).contains("shutting down"));
}

#[tokio::test]
async fn a_read_model_that_stopped_is_a_reason() {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let event = NewEvent {
        id: EventId::generate(),
        type_name: "unheard-of".into(),
        schema_version: 1,
        codec: CodecId::Json,
        payload: b"{}".to_vec().into(),
        command: CommandMetadata::internal(Timestamp::now()),
        tags: Vec::new(),
    };
    let stream = StreamId::aggregate("note", "1").unwrap();
    journal.append(Batch::of(stream, Expected::NoStream, [event])).await.unwrap();
    let health = health(&journal);
    let error = health.start().await.unwrap_err();
    assert_eq!((error.code(), error.is_about_data()), ("read_model_failed", false));
    assert!(reasons(&health).contains("unheard-of"), "{}", reasons(&health));
    assert!(reasons(&health).contains("rebuilt"), "it has not started");
}

#[tokio::test]
async fn a_closed_journal_is_a_reason() {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let health = health(&journal);
    health.start().await.unwrap();
    journal.close().await;
    assert!(reasons(&health).contains("notes: the journal is closed"));
}

#[tokio::test]
async fn a_poisoned_journal_is_a_reason_with_its_code() {
    let memory = Arc::new(MemoryJournal::new());
    let journal: Arc<dyn Journal> = memory.clone();
    let health = health(&journal);
    health.start().await.unwrap();
    memory.poison("the disk is on fire");
    let reasons = reasons(&health);
    assert!(reasons.contains("outcome_unknown") && reasons.contains("on fire"), "{reasons}");
}

#[test]
fn a_read_model_over_a_damaged_journal_is_trouble_of_the_journal() {
    let reason = "\"x.log\" is damaged at offset 7: a checksum".to_owned();
    let source = ReadModelError::Failed { name: "picky", reason, damaged: true };
    let error = HostError::ReadModel { service: "notes", source };
    assert_eq!((error.code(), error.is_about_data()), ("journal_damaged", true));
}
