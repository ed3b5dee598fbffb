use std::sync::Arc;

use annals_persistence::MemoryJournal;
use tokio::task::JoinSet;

use super::*;
use crate::doc::AccountEvent;
use crate::testing::{EventsLock, GoldenEvents};

const NOW: Timestamp = Timestamp(1);

fn account(aggregate: &'static str) -> AggregateSchemas {
    AggregateSchemas { aggregate, schemas: AccountEvent::SCHEMAS }
}

async fn records(journal: &Arc<dyn Journal>) -> Records {
    read(journal, &StreamId::internal(STREAM).unwrap()).await.unwrap()
}

#[tokio::test]
async fn what_is_new_is_recorded_once() {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    for _ in 0..3 {
        agree(&journal, NOW, &[account("account")]).await.unwrap();
        let found = records(&journal).await;
        assert_eq!((found.version, found.schemas.len()), (Version(1), 2));
    }
    agree(&journal, NOW, &[account("account"), account("purse")]).await.unwrap();
    let found = records(&journal).await;
    assert_eq!(
        (found.version, found.schemas.len()),
        (Version(2), 4),
        "two aggregates may have events of one name"
    );
}

#[tokio::test]
async fn a_node_without_aggregates_records_nothing() {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    agree(&journal, NOW, &[]).await.unwrap();
    assert_eq!(records(&journal).await.version, Version::NONE);
}

#[tokio::test]
async fn nodes_that_start_at_once_agree() {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let mut starting = JoinSet::new();
    for aggregate in ["a", "b", "c", "d"] {
        let journal = Arc::clone(&journal);
        starting.spawn(async move { agree(&journal, NOW, &[account(aggregate)]).await });
    }
    while let Some(started) = starting.join_next().await {
        started.unwrap().unwrap();
    }
    assert_eq!(records(&journal).await.schemas.len(), 8);
}

/// What nodes have recorded stays readable.
#[test]
fn the_record_itself_is_held_to_what_was_released() {
    let directory = env!("CARGO_MANIFEST_DIR");
    EventsLock::beside(directory).events::<SchemasEvent>("schemas").check();
    let schema = RecordedSchema {
        aggregate: "account".into(),
        event: "money-deposited".into(),
        version: 2,
        fingerprint: "00c0ffee00c0ffee".into(),
        shape: "struct{amount:i64;}".into(),
    };
    let sample = SchemasEvent::Recorded { schemas: vec![schema] };
    GoldenEvents::beside(directory).events("schemas", [sample]).check();
}
