use annals_actors::VirtualClock;
use annals_persistence::MemoryJournal;

use super::*;

#[tokio::test]
async fn of_all_positions_only_the_last_is_kept() {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let stream = StreamId::internal("relay-dots").unwrap();
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::default());
    let cursor = CursorStream { journal: Arc::clone(&journal), stream: stream.clone(), clock };
    assert_eq!(cursor.load().await, Ok(None));
    cursor.keep_last().await.unwrap();
    for position in 1..4 {
        cursor.save(Position(position)).await.unwrap();
    }
    assert_eq!(cursor.load().await, Ok(Some(Position(3))));
    let page = journal.stream_page(&stream, Version(1), Direction::Forward, 10).await.unwrap();
    assert_eq!(page.events.iter().map(|event| event.version).collect::<Vec<_>>(), [Version(3)]);
}
