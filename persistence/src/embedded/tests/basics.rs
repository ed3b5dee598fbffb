use super::*;
use crate::{Appended, CommandId};

#[tokio::test]
async fn what_was_appended_is_read_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), EmbeddedOptions::default());
    let mut full = event(b"{\"a\":1}");
    full.codec = CodecId::Bincode;
    full.schema_version = 700;
    full.tags = vec!["red".into(), "größe".into()];
    full.command.actor = Some("alice".into());
    full.command.trace = Some(TraceContext { trace_id: u128::MAX - 1, span_id: 7, flags: 1 });
    full.command.correlation_id = CommandId::generate().into();
    full.command.causation_id = EventId::generate().into();
    full.command.time = Timestamp(-5);
    let plain = event(b"");
    let uuid = stream("0190e6a0-7b7c-7000-8000-00000000abcd");
    let batch = Batch::of(uuid.clone(), Expected::NoStream, [full.clone(), plain.clone()]);
    let appended = journal.append(batch).await.unwrap();
    let expected = Appended { first: Position(1), last: Position(2), versions: smallvec![Version(2)] };
    assert_eq!(appended, expected);
    let events = journal.stream_page(&uuid, Version(1), Direction::Forward, 10).await.unwrap().events;
    assert_eq!(events.iter().map(|e| e.event.clone()).collect::<Vec<_>>(), [full, plain]);
    assert_eq!(events, everything(&journal).await);
    assert!(events.iter().all(|e| e.stream == uuid));
}

#[tokio::test]
async fn names_that_look_like_uuids_stay_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), EmbeddedOptions::default());
    let names = [
        "order-0190E6A0-7B7C-7000-8000-00000000ABCD",
        "order-0190e6a07b7c7000800000000000abcd",
        "order-{0190e6a0-7b7c-7000-8000-00000000abcd}",
        "$timers-0190e6a0-7b7c-7000-8000-00000000abcd",
        "order-0190e6a0-7b7c-7000-8000-00000000abcd",
    ];
    for name in names {
        let id = StreamId::parse(name).unwrap();
        journal.append(Batch::of(id, Expected::NoStream, [event(b"1")])).await.unwrap();
    }
    let read: Vec<String> = everything(&journal).await.iter().map(|e| e.stream.to_string()).collect();
    assert_eq!(read, names);
}

#[tokio::test]
async fn a_stream_is_read_both_ways_from_anywhere() {
    let (dir, events) = prepared(small(), 120).await;
    let journal = open(dir.path(), small());
    let id = stream("1");
    for (from, limit) in [(0, 5), (1, 200), (60, 7), (120, 1), (121, 4), (999, 3), (5, 0)] {
        let forward =
            journal.stream_page(&id, Version(from), Direction::Forward, limit).await.unwrap().events;
        let wanted: Vec<_> = events.iter().filter(|e| e.version.0 >= from).take(limit).cloned().collect();
        assert_eq!(forward, wanted, "forward from {from}, {limit} at most");
        let backward =
            journal.stream_page(&id, Version(from), Direction::Backward, limit).await.unwrap().events;
        let wanted: Vec<_> =
            events.iter().rev().filter(|e| e.version.0 <= from).take(limit).cloned().collect();
        assert_eq!(backward, wanted, "backward from {from}, {limit} at most");
    }
    let unknown = journal.stream_page(&stream("no"), Version(1), Direction::Forward, 9).await.unwrap().events;
    assert_eq!(unknown, []);
}

#[tokio::test]
async fn large_and_small_records_mix() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), EmbeddedOptions { segment_bytes: 1 << 20, ..small() });
    let sizes = [0, 1, 900, 1100, 5000, 300_000, 3, 2_000_000, 70_000, 8];
    for size in sizes {
        append(&journal, "1", Expected::Any, &vec![b'x'; size]).await.unwrap();
    }
    let events = everything(&journal).await;
    assert_eq!(events.iter().map(|e| e.payload.len()).collect::<Vec<_>>(), sizes);
    assert_eq!(events, whole_stream(&journal, "1").await);
    journal.close().await;
    let journal = open(dir.path(), small());
    assert_eq!(events, everything(&journal).await);
}

#[tokio::test]
async fn a_batch_over_several_streams_is_taken_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), small());
    append(&journal, "2", Expected::NoStream, b"1").await.unwrap();
    let batch = Batch::of(stream("1"), Expected::NoStream, [event(b"1")]).and(
        stream("2"),
        Expected::NoStream,
        [event(b"2")],
    );
    let error = journal.append(batch).await.unwrap_err();
    assert!(matches!(error, AppendError::Conflict { actual: Version(1), .. }), "{error}");
    let batch = Batch::of(stream("1"), Expected::NoStream, [event(b"1"), event(b"2")]).and(
        stream("2"),
        Expected::Version(Version(1)),
        [event(b"2")],
    );
    let appended = journal.append(batch).await.unwrap();
    assert_eq!(appended.versions.as_slice(), [Version(2), Version(2)]);
    assert_eq!((appended.first, appended.last), (Position(2), Position(4)));
}

#[tokio::test]
async fn batches_of_one_caller_are_decided_and_answered_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), small());
    let answered = Arc::new(Mutex::new(Vec::new()));
    for number in 0..200_u64 {
        // Every third names a version that is not there yet, or not any more.
        let expected = if number % 3 == 2 { number + 7 } else { number - number / 3 };
        let batch = Batch::of(stream("1"), Expected::Version(Version(expected)), [event(b"1")]);
        let answered = Arc::clone(&answered);
        journal.submit(batch, Completion::new(move |result| answered.lock().push((number, result.is_ok()))));
    }
    journal.close().await;
    let wanted: Vec<(u64, bool)> = (0..200).map(|number| (number, number % 3 != 2)).collect();
    assert_eq!(*answered.lock(), wanted);
}

#[tokio::test]
async fn what_can_never_be_appended_is_invalid() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), EmbeddedOptions { batch_bytes_max: 10_000, ..small() });
    let huge = event(&[b'x'; 10_000]);
    for batch in [
        Batch::default(),
        Batch::of(stream("1"), Expected::Any, []),
        Batch::of(stream("1"), Expected::Any, [huge]),
    ] {
        let error = journal.append(batch).await.unwrap_err();
        assert_eq!(error.code(), "invalid_batch", "{error}");
    }
    assert_eq!(journal.durable().borrow().position, Position(0));
}

#[tokio::test]
async fn a_full_queue_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), EmbeddedOptions { queue_bytes_max: 2000, ..small() });
    let tickets: Vec<_> = (0..500).map(|_| append(&journal, "1", Expected::Any, &[b'x'; 900])).collect();
    let (mut taken, mut busy) = (0, 0);
    for ticket in tickets {
        match ticket.await {
            Ok(_) => taken += 1,
            Err(AppendError::Busy { .. }) => busy += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(taken > 0 && busy > 0, "{taken} taken, {busy} refused");
    assert_eq!(everything(&journal).await.len(), taken);
    append(&journal, "1", Expected::Any, b"room again").await.unwrap();
}

#[tokio::test]
async fn streams_are_listed_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), small());
    for id in ["b", "a", "c", "ab"] {
        append(&journal, id, Expected::Any, b"1").await.unwrap();
    }
    let internal = StreamId::internal("cursor").unwrap();
    journal.append(Batch::of(internal, Expected::Any, [event(b"1")])).await.unwrap();
    let names = async |prefix: &str, after: Option<&StreamId>, limit| -> Vec<String> {
        let page = journal.streams_page(prefix, after, limit).await.unwrap();
        page.iter().map(|info| info.stream.to_string()).collect()
    };
    assert_eq!(names("", None, 9).await, ["$cursor", "order-a", "order-ab", "order-b", "order-c"]);
    assert_eq!(names("order-a", None, 9).await, ["order-a", "order-ab"]);
    assert_eq!(names("order-", Some(&stream("a")), 2).await, ["order-ab", "order-b"]);
    assert_eq!(names("order-b", Some(&stream("a")), 2).await, ["order-b"]);
    append(&journal, "aa", Expected::Any, b"1").await.unwrap();
    assert_eq!(names("order-a", None, 2).await, ["order-a", "order-aa"]);
    let info = journal.stream_info(&stream("a")).await.unwrap().unwrap();
    assert_eq!(info.version, Version(1));
    assert_eq!(journal.stream_info(&stream("x")).await.unwrap(), None);
}

#[tokio::test]
async fn the_runtimes_own_streams_do_not_move_the_external_position() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), small());
    let internal = StreamId::internal("cursor").unwrap();
    append(&journal, "1", Expected::Any, b"1").await.unwrap();
    journal.append(Batch::of(internal.clone(), Expected::Any, [event(b"1")])).await.unwrap();
    let wanted = Durable { position: Position(2), external: Position(1) };
    assert_eq!(*journal.durable().borrow(), wanted);
    journal.close().await;
    let journal = open(dir.path(), small());
    assert_eq!(*journal.durable().borrow(), wanted);
    let page = journal.all_page(Position(1), &Filter::default(), 9).await.unwrap();
    assert_eq!((page.events.len(), page.next), (1, Position(3)));
    let none = Filter::default().category("nothing");
    let page = journal.all_page(Position(1), &none, 9).await.unwrap();
    assert_eq!((page.events.len(), page.next), (0, Position(3)), "it goes on though nothing matches");
}

#[tokio::test]
async fn a_directory_is_opened_once_also_within_a_process() {
    let (dir, _) = prepared(small(), 1).await;
    let first = EmbeddedJournal::open(dir.path(), small()).unwrap();
    assert_eq!(refused(dir.path()).code(), "journal_in_use");
    let verified = EmbeddedJournal::verify(dir.path(), Arc::new(RealVfs), |_| {});
    assert_eq!(verified.unwrap_err().code(), "journal_in_use");
    drop(first);
    EmbeddedJournal::open(dir.path(), small()).unwrap();
}

#[tokio::test]
async fn a_closed_journal_answers_that_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), small());
    let mut live = journal.subscribe(Position(1), Filter::default());
    let pending: Vec<_> = (0..50).map(|_| append(&journal, "1", Expected::Any, b"1")).collect();
    journal.close().await;
    journal.close().await;
    for ticket in pending {
        ticket.await.unwrap();
    }
    assert_eq!(append(&journal, "1", Expected::Any, b"1").await.unwrap_err().code(), "journal_closed");
    assert_eq!(journal.health(), JournalHealth::Closed);
    let error = journal.stream_page(&stream("1"), Version(1), Direction::Forward, 1).await.unwrap_err();
    assert_eq!(error.code(), "journal_closed");
    let end = futures_util::StreamExt::next(&mut live).await.unwrap();
    assert_eq!(end.unwrap_err().code(), "journal_closed");
}

#[tokio::test]
async fn the_journal_may_be_dropped_by_its_own_writer() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), small());
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let last = Arc::clone(&journal);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let done = Completion::new(move |result| {
        wait.recv().unwrap();
        drop(last);
        sender.send(result).unwrap();
    });
    journal.submit(Batch::of(stream("1"), Expected::Any, [event(b"1")]), done);
    drop(journal);
    go.send(()).unwrap();
    receiver.await.unwrap().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(error) = EmbeddedJournal::open(dir.path(), small()) {
        assert!(error.code() == "journal_in_use" && Instant::now() < deadline, "{error}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_callback_that_panics_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), small());
    let batch = Batch::of(stream("1"), Expected::Any, [event(b"1")]);
    journal.submit(batch, Completion::new(|_| panic!("on purpose")));
    append(&journal, "1", Expected::Version(Version(1)), b"2").await.unwrap();
    assert_eq!(journal.health(), JournalHealth::Healthy);
}

#[tokio::test]
async fn read_only_changes_nothing() {
    let (dir, events) = prepared(small(), 3).await;
    let file = log_file(dir.path(), 1);
    let end = frames(&file).last().map(|(at, _, bytes)| *at as usize + bytes).unwrap();
    spoil(&file, |bytes| bytes[end] = 1);
    let before = fs::read(&file).unwrap();
    let read_only = EmbeddedOptions { read_only: true, ..small() };
    let journal = open(dir.path(), read_only.clone());
    assert_eq!(everything(&journal).await, events);
    let error = append(&journal, "1", Expected::Any, b"1").await.unwrap_err();
    assert_eq!(error.code(), "invalid_batch");
    journal.close().await;
    assert_eq!(fs::read(&file).unwrap(), before);
    let empty = tempfile::tempdir().unwrap();
    for nowhere in [empty.path().to_owned(), empty.path().join("missing")] {
        let error = EmbeddedJournal::open(nowhere, read_only.clone()).unwrap_err();
        assert_eq!(error.code(), "journal_unreadable");
    }
}

#[tokio::test]
async fn a_history_keeps_its_id() {
    let (dir, _) = prepared(small(), 1).await;
    let first = open(dir.path(), small()).id();
    assert_eq!(open(dir.path(), small()).id(), first);
    assert_ne!(open(tempfile::tempdir().unwrap().path(), small()).id(), first);
}

/// Marks are far apart in bytes where events are large; what lies between the mark and the place counts for nothing.
#[tokio::test]
async fn everything_is_read_past_large_events_from_every_place() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), EmbeddedOptions { segment_bytes: 64 << 20, ..small() });
    for _ in 0..5 {
        append(&journal, "1", Expected::Any, &vec![b'x'; 2_200_000]).await.unwrap();
    }
    for from in 1..=5 {
        let (mut next, mut read) = (Position(from), 0);
        while next <= Position(5) {
            let page = journal.all_page(next, &Filter::everything(), 100).await.unwrap();
            assert!(page.next > next, "a page from {next} must go on");
            next = page.next;
            read += page.events.len() as u64;
        }
        assert_eq!(read, 6 - from);
    }
}
