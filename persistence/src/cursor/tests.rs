use super::*;
use crate::{
    Batch, CodecId, CommandMetadata, EventId, Expected, JournalExt, MemoryJournal, NewEvent, Retention,
    Timestamp,
};

fn moved(payload: &'static str) -> NewEvent {
    NewEvent {
        id: EventId::generate(),
        type_name: "cursor-moved".into(),
        schema_version: 1,
        codec: CodecId::Json,
        payload: payload.into(),
        command: CommandMetadata::internal(Timestamp(1)),
        tags: Vec::new(),
    }
}

#[tokio::test]
async fn each_reader_is_where_it_last_said_and_one_that_says_nothing_clear_is_an_error() {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    assert_eq!(cursors(&journal).await.unwrap(), [], "nobody has written one down");
    let (one, other) = (cursor_stream("a").unwrap(), cursor_stream("b").unwrap());
    for (stream, payload) in [
        (&one, r#"{"position":3}"#),
        (&one, r#"{"position":7}"#),
        (&other, r#"{"place":7}"#),
        (&StreamId::internal("cursors-of-others").unwrap(), r#"{"position":1}"#),
    ] {
        journal.append(Batch::of(stream.clone(), Expected::Any, [moved(payload)])).await.unwrap();
    }
    let of = |stream: &StreamId, position| Cursor { stream: stream.clone(), position: Position(position) };
    let error = cursors(&journal).await.unwrap_err();
    assert!(matches!(&error, CursorError::Record { stream, .. } if *stream == other), "{error:?}");
    assert_eq!(error.code(), "cursors_unreadable");

    journal.append(Batch::default().retaining(other, Retention::gone())).await.unwrap();
    assert_eq!(cursors(&journal).await.unwrap(), [of(&one, 7)], "who is gone needs nothing");
}
