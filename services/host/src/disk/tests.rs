use annals_persistence::{
    Batch, CodecId, CommandMetadata, EmbeddedOptions, EventId, Expected, JournalExt, NewEvent, StreamId,
    Timestamp,
};

use super::*;
use crate::health::{Health, Watched};

fn some_event() -> NewEvent {
    NewEvent {
        id: EventId::generate(),
        type_name: "of-a-later-release".into(),
        schema_version: 1,
        codec: CodecId::Json,
        payload: b"{}".to_vec().into(),
        command: CommandMetadata::internal(Timestamp::now()),
        tags: Vec::new(),
    }
}

#[tokio::test]
async fn space_that_is_never_given_back_degrades_the_service() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Arc::new(EmbeddedJournal::open(dir.path(), EmbeddedOptions::default()).unwrap());
    let journal = Arc::clone(&embedded) as Arc<dyn Journal>;
    let cursor = StreamId::internal("cursor-x").unwrap();
    journal.append(Batch::of(cursor, Expected::NoStream, [some_event()])).await.unwrap();
    let every = Some(Duration::from_millis(1));
    let disk = Disk::look_after(
        "notes",
        &embedded,
        &DiskOptions { scavenge_every: every, ..DiskOptions::default() },
    );
    let health = {
        let (journal, read_models, disk) = (Arc::clone(&journal), Vec::new(), Some(disk.clone()));
        Health::new("none", vec![Watched { service: "notes", bus: None, journal, read_models, disk }])
    };
    let shown = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            let shown = serde_json::to_string(&health.readiness()).unwrap();
            if shown.contains("degraded") {
                return shown;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let shown = shown.await.unwrap();
    assert!(shown.contains("cursors_unreadable") && shown.contains("in a row"), "{shown}");
    assert!(!shown.contains("reasons\":[\"notes"), "it is ready all the same: {shown}");
    disk.measure();
    disk.stop().await;
    journal.close().await;
}

#[tokio::test]
async fn where_it_is_switched_off_nothing_runs() {
    let dir = tempfile::tempdir().unwrap();
    let embedded = Arc::new(EmbeddedJournal::open(dir.path(), EmbeddedOptions::default()).unwrap());
    let options = DiskOptions { scavenge_every: None, ..DiskOptions::default() };
    let disk = Disk::look_after("notes", &embedded, &options);
    assert!(disk.scavenger.is_none() && disk.trouble().is_none());
    disk.measure();
    disk.stop().await;
    embedded.close().await;
}
