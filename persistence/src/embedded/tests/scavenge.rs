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
