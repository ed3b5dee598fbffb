mod conformance {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use crate::conformance::JournalFactory;
    use crate::{Journal, MemoryJournal};

    /// A journal in memory is opened anew by taking what was durable over into another.
    #[derive(Default)]
    struct InMemory(Mutex<Arc<MemoryJournal>>);

    impl JournalFactory for InMemory {
        async fn open(&self) -> Arc<dyn Journal> {
            let journal = Arc::new(MemoryJournal::new());
            *self.0.lock() = Arc::clone(&journal);
            journal
        }

        async fn reopen(&self) -> Option<Arc<dyn Journal>> {
            let mut current = self.0.lock();
            *current = Arc::new(current.reopened());
            let journal = Arc::clone(&current);
            Some(journal)
        }
    }

    crate::journal_conformance!(InMemory::default());
}

use std::sync::Arc;

use futures_util::FutureExt;
use parking_lot::Mutex;

use super::*;
use crate::{
    Appended, CodecId, CommandMetadata, EventId, Expected, JournalExt, NewEvent, Outcome, Timestamp,
};

fn event() -> NewEvent {
    NewEvent {
        id: EventId::generate(),
        type_name: "noted".into(),
        schema_version: 1,
        codec: CodecId::Json,
        payload: bytes::Bytes::from_static(b"{}"),
        command: CommandMetadata::internal(Timestamp(0)),
        tags: Vec::new(),
    }
}

fn stream() -> StreamId {
    StreamId::aggregate("order", "1").unwrap()
}

fn at(version: u64) -> Batch {
    Batch::of(stream(), Expected::Version(Version(version)), [event()])
}

fn journal() -> (Arc<MemoryJournal>, Arc<dyn Journal>) {
    let memory = Arc::new(MemoryJournal::new());
    (Arc::clone(&memory), memory)
}

fn durable(journal: &Arc<dyn Journal>) -> u64 {
    journal.durable().borrow().position.0
}

#[test]
fn held_appends_are_decided_but_neither_answered_nor_read() {
    let (memory, journal) = journal();
    memory.hold();
    let mut tickets: Vec<_> = [0, 1, 1].map(at).into_iter().map(|batch| journal.append(batch)).collect();
    assert_eq!((memory.held(), durable(&journal)), (3, 0));
    assert!(tickets.iter_mut().all(|ticket| ticket.now_or_never().is_none()));
    assert_eq!(journal.stream_info(&stream()).now_or_never().unwrap().unwrap(), None);
    assert_eq!(journal.streams_page("", None, 9).now_or_never().unwrap().unwrap(), []);

    memory.release_next(1);
    assert_eq!((memory.held(), durable(&journal)), (2, 1));
    assert!(tickets.remove(0).now_or_never().unwrap().is_ok());
    assert!((&mut tickets[1]).now_or_never().is_none(), "a refusal waits for what it was decided on");

    memory.release();
    assert_eq!((memory.held(), durable(&journal)), (0, 2));
    assert!(tickets.remove(0).now_or_never().unwrap().is_ok());
    let error = tickets.remove(0).now_or_never().unwrap().unwrap_err();
    assert!(matches!(error, AppendError::Conflict { actual: Version(2), .. }), "{error}");
    assert!(journal.append(at(2)).now_or_never().unwrap().is_ok(), "nothing is held any more");
}

#[test]
fn the_append_named_fails_and_no_other() {
    let (memory, journal) = journal();
    memory.fail_append(2, AppendError::Busy { bytes: 7 });
    memory.lose_answer(3);
    let answer = |version| journal.append(at(version)).now_or_never().unwrap();
    assert!(answer(0).is_ok());
    assert!(matches!(answer(1), Err(AppendError::Busy { bytes: 7 })));
    assert_eq!(answer(1).unwrap_err().outcome(), Outcome::Unknown);
    assert_eq!(answer(2).unwrap().last, Position(3), "what lost its answer was appended");
}

#[test]
fn a_poisoned_journal_acknowledges_nothing_and_reads_what_is_durable() {
    let (memory, journal) = journal();
    journal.append(at(0)).now_or_never().unwrap().unwrap();
    memory.hold();
    let held = journal.append(at(1));
    memory.poison("the disk is gone");
    assert_eq!(held.now_or_never().unwrap().unwrap_err().outcome(), Outcome::Unknown);
    assert_eq!(journal.append(at(1)).now_or_never().unwrap().unwrap_err().outcome(), Outcome::Unknown);
    assert_eq!(journal.health(), JournalHealth::Poisoned { reason: "the disk is gone".into() });
    assert_eq!(durable(&journal), 1);
    let page = journal.stream_page(&stream(), Version(1), Direction::Forward, 9).now_or_never().unwrap();
    assert_eq!(page.unwrap().events.len(), 1);
}

#[test]
fn reopening_finds_what_was_durable() {
    let (memory, journal) = journal();
    journal.append(at(0)).now_or_never().unwrap().unwrap();
    memory.hold();
    let lost = journal.append(at(1));
    let reopened: Arc<dyn Journal> = memory.reopened().into();
    assert_eq!((reopened.id(), durable(&reopened)), (journal.id(), 1));
    assert!(reopened.append(at(1)).now_or_never().unwrap().is_ok());
    assert!(lost.now_or_never().is_none(), "the first goes its own way");
}

#[test]
fn answers_keep_their_order_and_do_not_nest() {
    let journal = Arc::new(MemoryJournal::new());
    let told = Arc::new(Mutex::new(Vec::new()));
    let (inner, inside) = (Arc::clone(&journal), Arc::clone(&told));
    let outer = Completion::new(move |result| {
        inside.lock().push(("begin", position(&result)));
        let told = Arc::clone(&inside);
        inner.submit(at(1), Completion::new(move |result| told.lock().push(("inner", position(&result)))));
        inside.lock().push(("end", position(&result)));
    });
    journal.submit(at(0), outer);
    assert_eq!(*told.lock(), [("begin", 1), ("end", 1), ("inner", 2)]);
}

fn position(result: &AppendResult) -> u64 {
    result.as_ref().map_or(0, |appended: &Appended| appended.last.0)
}

#[test]
fn an_answer_that_panics_does_not_silence_the_next() {
    let journal = Arc::new(MemoryJournal::new());
    let panicking = Arc::clone(&journal);
    let panicked = std::thread::spawn(move || {
        panicking.submit(at(0), Completion::new(|_| panic!("on purpose")));
    });
    assert!(panicked.join().is_err());
    let journal: Arc<dyn Journal> = journal;
    assert_eq!(journal.append(at(1)).now_or_never().unwrap().unwrap().last, Position(2));
}
