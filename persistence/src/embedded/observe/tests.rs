use std::sync::Arc;

use parking_lot::Mutex;
use tempfile::TempDir;

use super::*;
use crate::conformance::run;
use crate::{
    Batch, CodecId, CommandMetadata, EmbeddedJournal, EmbeddedOptions, EventId, Expected, Journal,
    JournalExt, NewEvent, StreamId, Timestamp,
};

#[derive(Debug, Default)]
struct Groups(Mutex<Vec<CommittedGroup>>);

impl JournalObserver for Groups {
    fn group_committed(&self, group: CommittedGroup) {
        self.0.lock().push(group);
        assert!(group.events < 4, "a panic on purpose");
    }
}

fn event() -> NewEvent {
    NewEvent {
        id: EventId::generate(),
        type_name: "noted".into(),
        schema_version: 1,
        codec: CodecId::Json,
        payload: vec![b'1'; 100].into(),
        command: CommandMetadata::internal(Timestamp(1)),
        tags: Vec::new(),
    }
}

#[test]
fn every_group_is_told_of_once_and_a_panic_harms_nobody() {
    run(async {
        let home = TempDir::new().unwrap();
        let groups = Arc::new(Groups::default());
        let observer = Some(Arc::clone(&groups) as Arc<dyn JournalObserver>);
        let options = EmbeddedOptions { observer, ..EmbeddedOptions::default() };
        let journal: Arc<dyn Journal> = Arc::new(EmbeddedJournal::open(home.path(), options).unwrap());
        let stream = StreamId::aggregate("order", "1").unwrap();
        for count in [1, 3, 4, 2] {
            let events = (0..count).map(|_| event());
            journal.append(Batch::of(stream.clone(), Expected::Any, events)).await.unwrap();
        }
        let groups = groups.0.lock().clone();
        assert_eq!(groups.iter().map(|group| group.events).collect::<Vec<_>>(), [1, 3, 4, 2]);
        for group in &groups {
            assert!(group.bytes > 100 * usize::try_from(group.events).unwrap(), "{group:?}");
            assert!(group.sync_time > Duration::ZERO, "{group:?}");
        }
        journal.close().await;
    });
}
