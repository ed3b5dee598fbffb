//! Giving back what is no longer kept.

use std::ops::ControlFlow;
use std::time::Duration;

use super::*;
use crate::Retention;

fn concrete(dir: &Path, options: EmbeddedOptions) -> (Arc<EmbeddedJournal>, Arc<dyn Journal>) {
    let journal = Arc::new(EmbeddedJournal::open(dir, options).unwrap());
    (Arc::clone(&journal), journal)
}

fn whole(journal: &Arc<EmbeddedJournal>) -> ScavengeOptions {
    let end = journal.durable().borrow().position.next();
    ScavengeOptions { percent_min: 0, duty_percent: 100, ..ScavengeOptions::below(end) }
}

fn on(_: ScavengeProgress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Waits until every sealed segment has its index file.
async fn settled(journal: &EmbeddedJournal) {
    let is_settled = |sealed: &index::Sealed| matches!(sealed.part, SealedPart::File(_));
    faults::eventually("all is settled", || journal.shared.index.read().sealed.iter().all(is_settled)).await;
}

async fn all_events(journal: &Arc<dyn Journal>) -> Vec<RecordedEvent> {
    let (mut events, mut next) = (Vec::new(), Position(1));
    while next <= journal.durable().borrow().position {
        let page = journal.all_page(next, &Filter::everything(), 7).await.unwrap();
        assert!(page.next > next, "a page must go on");
        next = page.next;
        events.extend(page.events);
    }
    events
}

/// `$`-streams with events in turn, and a stream of an order with many.
async fn mixed(journal: &Arc<dyn Journal>, rounds: usize) {
    for round in 0..rounds {
        for name in ["counted", "aged", "truncated", "kept"] {
            let stream = StreamId::internal(name).unwrap();
            let mut event = event(format!("{round}").as_bytes());
            event.command.time = Timestamp(1_000_000 * round as i64);
            journal.append(Batch::of(stream, Expected::Any, [event])).await.unwrap();
        }
        append(journal, &format!("of-{}", round % 9), Expected::Any, b"{}").await.unwrap();
    }
}

async fn retain(journal: &Arc<dyn Journal>, stream: StreamId, retention: Retention) {
    journal.append(Batch::default().retaining(stream, retention)).await.unwrap();
}

async fn set_all(journal: &Arc<dyn Journal>) {
    let internal = |name| StreamId::internal(name).unwrap();
    let none = Retention::default();
    retain(journal, internal("counted"), Retention { max_count: Some(3), ..none }).await;
    retain(journal, internal("aged"), Retention { max_age: Some(Duration::from_secs(10)), ..none }).await;
    retain(journal, internal("truncated"), Retention { truncate_before: Version(30), ..none }).await;
    retain(journal, stream("of-0"), Retention::gone()).await;
}

/// What must be left of these events.
fn left(events: &[RecordedEvent], rounds: u64, active_from: Position) -> Vec<RecordedEvent> {
    let stays = |event: &&RecordedEvent| match event.stream.as_str() {
        _ if event.position >= active_from => true,
        "$counted" => event.version.0 + 3 > rounds,
        "$aged" => event.version.0 == rounds || event.command.time >= Timestamp(1_000_000 * 40),
        "$truncated" => event.version.0 >= 30,
        "order-of-0" => false,
        _ => true,
    };
    events.iter().filter(stays).cloned().collect()
}

#[tokio::test]
async fn what_is_not_kept_goes_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, dynamic) = concrete(dir.path(), small());
    mixed(&dynamic, 60).await;
    set_all(&dynamic).await;
    settled(&journal).await;
    let before = all_events(&dynamic).await;
    let active_from = journal.shared.index.read().active.as_ref().unwrap().segment.header.base;
    let options = ScavengeOptions { now: Timestamp(1_000_000 * 50), ..whole(&journal) };
    let done = journal.scavenge(&options, on).unwrap();
    let wanted = left(&before, 60, active_from);
    assert_eq!(done.events as usize, before.len() - wanted.len());
    assert!(done.rewritten > 2 && done.bytes > 0, "{done:?}");
    reads_what_is_left(&dynamic, &wanted, "at once").await;
    assert_eq!(journal.scavenge(&options, on).unwrap().rewritten, 0, "there is nothing left to do");
    dynamic.close().await;
    drop((journal, dynamic));
    let report = EmbeddedJournal::verify(dir.path(), Arc::new(RealVfs), |_| {}).unwrap();
    assert_eq!((report.damage, report.index_faults), (vec![], vec![]));
    assert_eq!(report.events as usize, wanted.len());
    let (journal, dynamic) = concrete(dir.path(), small());
    reads_what_is_left(&dynamic, &wanted, "opened anew").await;
    assert_eq!(journal.scavenge(&options, on).unwrap().rewritten, 0, "there is nothing left to do");
    append(&dynamic, "of-1", Expected::Exists, b"{}").await.unwrap();
    assert_eq!(append(&dynamic, "of-0", Expected::Any, b"{}").await.unwrap_err().code(), "stream_gone");
    dynamic.close().await;
    drop((journal, dynamic));
    let (_, dynamic) = concrete(dir.path(), small());
    assert_eq!(all_events(&dynamic).await.len(), wanted.len() + 1);
}

async fn reads_what_is_left(journal: &Arc<dyn Journal>, wanted: &[RecordedEvent], case: &str) {
    assert_eq!(all_events(journal).await, wanted, "{case}");
    for name in ["$counted", "$aged", "$truncated", "$kept", "order-of-0", "order-of-1"] {
        let stream = StreamId::parse(name).unwrap();
        let gone = name == "order-of-0";
        let own: Vec<_> = wanted.iter().filter(|event| event.stream == stream && !gone).cloned().collect();
        let page = journal.stream_page(&stream, Version(1), Direction::Forward, 1000).await.unwrap();
        assert_eq!(page.events, own, "{name}, {case}");
        let mut back =
            journal.stream_page(&stream, Version(u64::MAX), Direction::Backward, 1000).await.unwrap();
        back.events.reverse();
        assert_eq!(back.events, own, "{name} backward, {case}");
    }
    let listed = journal.streams_page("", None, 100).await.unwrap();
    assert_eq!(listed.len(), 4 + 8, "all but the one with a tombstone, {case}");
    let aged = journal.stream_info(&StreamId::internal("aged").unwrap()).await.unwrap();
    assert_eq!(aged.unwrap().version, Version(60), "{case}");
}

#[tokio::test]
async fn without_its_indexes_a_scavenged_log_reads_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, dynamic) = concrete(dir.path(), small());
    mixed(&dynamic, 60).await;
    set_all(&dynamic).await;
    settled(&journal).await;
    journal.scavenge(&whole(&journal), on).unwrap();
    let events = all_events(&dynamic).await;
    let listed = dynamic.streams_page("", None, 100).await.unwrap();
    dynamic.close().await;
    let all = indexes::derived(dir.path());
    for gone in [&all[..1], &all[1..3], &all[..]] {
        gone.iter().for_each(|path| fs::remove_file(path).unwrap());
        let (_, dynamic) = concrete(dir.path(), small());
        assert_eq!(all_events(&dynamic).await, events);
        assert_eq!(dynamic.streams_page("", None, 100).await.unwrap(), listed);
        let counted = StreamId::internal("counted").unwrap();
        let page = dynamic.stream_page(&counted, Version(1), Direction::Forward, 9).await.unwrap();
        assert_eq!(page.events.iter().map(|event| event.version.0).collect::<Vec<_>>(), [58, 59, 60]);
        dynamic.close().await;
    }
    assert_eq!(EmbeddedJournal::verify(dir.path(), Arc::new(RealVfs), |_| {}).unwrap().damage, []);
}

#[tokio::test]
async fn nothing_goes_that_somebody_has_still_to_see() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, dynamic) = concrete(dir.path(), small());
    mixed(&dynamic, 60).await;
    set_all(&dynamic).await;
    settled(&journal).await;
    let before = all_events(&dynamic).await;
    let below = Position(150);
    let options = ScavengeOptions { percent_min: 0, duty_percent: 100, ..ScavengeOptions::below(below) };
    assert!(journal.scavenge(&options, on).unwrap().events > 0);
    let after = all_events(&dynamic).await;
    let rest = |events: &[RecordedEvent]| -> Vec<_> {
        events.iter().filter(|event| event.position >= below).cloned().collect()
    };
    assert_eq!(rest(&after), rest(&before));
}

#[tokio::test]
async fn it_can_be_stopped_and_goes_on_later() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, dynamic) = concrete(dir.path(), small());
    mixed(&dynamic, 60).await;
    set_all(&dynamic).await;
    settled(&journal).await;
    let mut done = 0;
    let mut rounds = 0;
    loop {
        let stop = |progress: ScavengeProgress| {
            if progress.rewritten == 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let progress = journal.scavenge(&whole(&journal), stop).unwrap();
        assert!(progress.rewritten <= 1);
        if progress.rewritten == 0 {
            break;
        }
        done += progress.events;
        rounds += 1;
    }
    assert!(rounds > 2 && done > 100, "{rounds} rounds, {done} events");
    assert_eq!(
        EmbeddedJournal::verify(dir.path(), Arc::new(RealVfs), |_| {}).unwrap_err().code(),
        "journal_in_use"
    );
    dynamic.close().await;
    assert_eq!(EmbeddedJournal::verify(dir.path(), Arc::new(RealVfs), |_| {}).unwrap().damage, []);
}

#[tokio::test]
async fn readers_and_writers_go_on_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, dynamic) = concrete(dir.path(), small());
    mixed(&dynamic, 60).await;
    set_all(&dynamic).await;
    settled(&journal).await;
    let kept = StreamId::internal("kept").unwrap();
    let wanted = dynamic.stream_page(&kept, Version(1), Direction::Forward, 1000).await.unwrap().events;
    let scavenging = {
        let (journal, options) = (Arc::clone(&journal), whole(&journal));
        tokio::task::spawn_blocking(move || journal.scavenge(&options, on).unwrap())
    };
    let mut appended = 0;
    while !scavenging.is_finished() || appended < 20 {
        append(&dynamic, "beside", Expected::Version(Version(appended)), b"{}").await.unwrap();
        appended += 1;
        let page = dynamic.stream_page(&kept, Version(1), Direction::Forward, 1000).await.unwrap();
        assert_eq!(page.events, wanted);
        all_events(&dynamic).await;
    }
    assert!(scavenging.await.unwrap().rewritten > 0);
}

#[tokio::test]
async fn what_the_runtime_keeps_for_itself_goes_though_somebody_has_still_to_see_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, dynamic) = concrete(dir.path(), small());
    mixed(&dynamic, 60).await;
    set_all(&dynamic).await;
    settled(&journal).await;
    let before = all_events(&dynamic).await;
    let options = ScavengeOptions { below: Position(1), ..whole(&journal) };
    assert!(journal.scavenge(&options, on).unwrap().events > 0);
    let after = all_events(&dynamic).await;
    let of = |events: &[RecordedEvent], name: &str| {
        events.iter().filter(|event| event.stream.as_str() == name).count()
    };
    for name in ["order-of-0", "$truncated", "$kept"] {
        assert_eq!(of(&after, name), of(&before, name), "{name}");
    }
    for name in ["$counted", "$aged"] {
        assert!(of(&after, name) < of(&before, name), "{name}");
    }
    assert_eq!(journal.scavenge(&options, on).unwrap().rewritten, 0, "there is nothing left to do");
}

#[tokio::test]
async fn it_ends_in_the_middle_of_a_segment_when_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, dynamic) = concrete(dir.path(), small());
    mixed(&dynamic, 60).await;
    set_all(&dynamic).await;
    settled(&journal).await;
    let before = all_events(&dynamic).await;
    let options = whole(&journal);
    let stop = options.stop.clone();
    let asked = |_| {
        stop.ask();
        ControlFlow::Continue(())
    };
    let done = journal.scavenge(&options, asked).unwrap();
    assert_eq!((done.rewritten, done.events), (0, 0));
    assert_eq!(all_events(&dynamic).await, before);
    let left = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    assert_eq!(left.filter(|path| path.extension().is_some_and(|end| end == "new")).count(), 0);
    assert!(journal.scavenge(&whole(&journal), on).unwrap().rewritten > 0, "the next one does it");
}

#[tokio::test]
async fn what_could_go_and_is_too_little_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, dynamic) = concrete(dir.path(), small());
    mixed(&dynamic, 60).await;
    set_all(&dynamic).await;
    settled(&journal).await;
    assert_eq!(journal.disk_usage().garbage_bytes, 0);
    let picky = ScavengeOptions { percent_min: 99, ..whole(&journal) };
    let done = journal.scavenge(&picky, on).unwrap();
    assert_eq!(done.rewritten, 0);
    let usage = journal.disk_usage();
    assert!(usage.garbage_bytes > 0 && usage.garbage_bytes == done.left_bytes, "{usage:?}");
    assert!(usage.log_bytes > usage.garbage_bytes && usage.segments > 2, "{usage:?}");
    assert!(usage.free_bytes.is_some_and(|free| free > 0), "{usage:?}");
    journal.scavenge(&whole(&journal), on).unwrap();
    let after = journal.disk_usage();
    assert!(after.garbage_bytes == 0 && after.log_bytes < usage.log_bytes, "{after:?}");
}

fn expiring(journal: &Arc<EmbeddedJournal>, seconds: u64) -> ScavengeOptions {
    let streams = ExpiringStreams { prefix: "$key-".into(), after: Duration::from_secs(seconds) };
    let now = Timestamp(1_000_000 * 100);
    ScavengeOptions { expiring: vec![streams], now, below: Position(1), ..whole(journal) }
}

/// A stream for each of these seconds, among others.
async fn keys(journal: &Arc<dyn Journal>, seconds: std::ops::Range<i64>) {
    for second in seconds {
        let mut event = event(b"{}");
        event.command.time = Timestamp(1_000_000 * second);
        let key = StreamId::internal(&format!("key-{second:03}")).unwrap();
        let batch = Batch::of(key, Expected::NoStream, [event]);
        let batch = batch.and(stream("1"), Expected::Any, [super::event(b"{}")]);
        journal.append(batch).await.unwrap();
    }
}

async fn names(journal: &Arc<dyn Journal>) -> Vec<String> {
    let listed = journal.streams_page("$key-", None, 1000).await.unwrap();
    listed.iter().map(|info| info.stream.as_str().to_owned()).collect()
}

#[tokio::test]
async fn streams_that_expire_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, dynamic) = concrete(dir.path(), small());
    keys(&dynamic, 0..60).await;
    // What is set of one is heeded.
    let kept = StreamId::internal("key-001").unwrap();
    retain(&dynamic, kept.clone(), Retention { max_count: Some(5), ..Retention::default() }).await;
    append_groups(&dynamic, "2", 60).await;
    settled(&journal).await;
    let (known, bytes) = (journal.shared.index.read().streams.len(), journal.disk_usage().log_bytes);
    let done = journal.scavenge(&expiring(&journal, 60), on).unwrap();
    // Those of the seconds 0 to 39 but the one.
    assert_eq!(done.events, 39, "{done:?}");
    assert_eq!(known - journal.shared.index.read().streams.len(), 39, "memory is given back too");
    assert!(journal.disk_usage().log_bytes < bytes);
    forgotten(&dynamic, &kept, "at once").await;
    dynamic.close().await;
    drop((journal, dynamic));
    let (_, dynamic) = concrete(dir.path(), small());
    forgotten(&dynamic, &kept, "opened anew").await;
}

async fn forgotten(journal: &Arc<dyn Journal>, kept: &StreamId, case: &str) {
    assert_eq!(names(journal).await.len(), 21, "{case}");
    let gone = StreamId::internal("key-007").unwrap();
    assert_eq!(journal.stream_info(&gone).await.unwrap(), None, "{case}");
    let page = journal.stream_page(&gone, Version(1), Direction::Forward, 9).await.unwrap();
    assert_eq!(page.events, [], "{case}");
    assert!(journal.stream_info(kept).await.unwrap().is_some(), "{case}");
}

#[tokio::test]
async fn a_stream_that_has_expired_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, dynamic) = concrete(dir.path(), small());
    keys(&dynamic, 0..60).await;
    append_groups(&dynamic, "2", 60).await;
    settled(&journal).await;
    journal.scavenge(&expiring(&journal, 60), on).unwrap();
    keys(&dynamic, 0..30).await;
    let events = all_events(&dynamic).await;
    assert_eq!(names(&dynamic).await.len(), 50);
    dynamic.close().await;
    drop((journal, dynamic));
    let all = indexes::derived(dir.path());
    for derived in [&[][..], &all[..]] {
        derived.iter().for_each(|path| fs::remove_file(path).unwrap());
        let report = EmbeddedJournal::verify(dir.path(), Arc::new(RealVfs), |_| {}).unwrap();
        assert_eq!((report.damage, report.index_faults), (vec![], vec![]));
        let (_, dynamic) = concrete(dir.path(), small());
        assert_eq!(all_events(&dynamic).await, events);
        assert_eq!(names(&dynamic).await.len(), 50);
        dynamic.close().await;
    }
}

#[tokio::test]
async fn a_table_from_before_a_scavenging_brings_nothing_back() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, dynamic) = concrete(dir.path(), small());
    keys(&dynamic, 0..60).await;
    append_groups(&dynamic, "2", 60).await;
    settled(&journal).await;
    let table = |path: &PathBuf| path.extension().is_some_and(|end| end == "tbl");
    let written: Vec<_> = indexes::derived(dir.path()).into_iter().filter(table).collect();
    let before: Vec<_> = written.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(!before.is_empty());
    journal.scavenge(&expiring(&journal, 60), on).unwrap();
    dynamic.close().await;
    drop((journal, dynamic));
    // As a loss of power leaves them between a segment's new file and the new table.
    indexes::derived(dir.path())
        .iter()
        .filter(|path| table(path))
        .for_each(|path| fs::remove_file(path).unwrap());
    written.iter().zip(&before).for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
    let (_, dynamic) = concrete(dir.path(), small());
    assert_eq!(dynamic.stream_info(&StreamId::internal("key-007").unwrap()).await.unwrap(), None);
    keys(&dynamic, 0..10).await;
    dynamic.close().await;
    drop(dynamic);
    assert_eq!(EmbeddedJournal::verify(dir.path(), Arc::new(RealVfs), |_| {}).unwrap().damage, []);
}

#[tokio::test]
async fn an_append_to_a_stream_meets_its_expiry_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, dynamic) = concrete(dir.path(), small());
    keys(&dynamic, 0..60).await;
    append_groups(&dynamic, "2", 60).await;
    settled(&journal).await;
    let scavenging = {
        let (journal, options) = (Arc::clone(&journal), expiring(&journal, 60));
        tokio::task::spawn_blocking(move || journal.scavenge(&options, on).unwrap())
    };
    for round in 0..40 {
        let key = StreamId::internal(&format!("key-{round:03}")).unwrap();
        let appended = dynamic.append(Batch::of(key.clone(), Expected::Any, [event(b"{}")])).await.unwrap();
        let info = dynamic.stream_info(&key).await.unwrap().unwrap();
        assert_eq!(appended.versions[0], info.version, "{key}");
        let page = dynamic.stream_page(&key, Version(u64::MAX), Direction::Backward, 1).await.unwrap();
        assert_eq!(page.events.len(), 1, "{key}");
    }
    scavenging.await.unwrap();
    let (events, listed) = (all_events(&dynamic).await, names(&dynamic).await);
    dynamic.close().await;
    drop((journal, dynamic));
    assert_eq!(EmbeddedJournal::verify(dir.path(), Arc::new(RealVfs), |_| {}).unwrap().damage, []);
    let (_, dynamic) = concrete(dir.path(), small());
    assert_eq!((all_events(&dynamic).await, names(&dynamic).await), (events, listed));
}

#[tokio::test]
async fn segments_in_which_nothing_can_go_are_not_looked_at_again() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, dynamic) = concrete(dir.path(), small());
    append_groups(&dynamic, "1", 100).await;
    settled(&journal).await;
    let clean = || journal.shared.clean.lock().segments.len();
    let sealed = journal.shared.index.read().sealed.len();
    for _ in 0..2 {
        assert_eq!(journal.scavenge(&whole(&journal), on).unwrap().rewritten, 0);
        assert_eq!(clean(), sealed);
    }
    retain(&dynamic, stream("1"), Retention::gone()).await;
    assert!(journal.scavenge(&whole(&journal), on).unwrap().rewritten > 0, "they are looked at anew");
    // A segment without records has nothing more to give.
    journal.scavenge(&whole(&journal), on).unwrap();
    assert!(clean() > 0);
}
