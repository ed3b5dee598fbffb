//! Checkpoints and truncation: what is given up is missed by nobody.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use annals_actors::testing::TestNode;
use annals_actors::{
    Aggregate, AggregateOptions, AggregateRef, Checkpoint, CheckpointError, CheckpointPolicy, Context, Held,
    Moment, NodeOptions, Reader, Receipt, SendError, Shape, StateError,
};
use annals_persistence::{
    AppendError, Batch, Expected, JournalExt, MemorySnapshots, Position, RecordedEvent, Retention, StreamId,
    Version, cursor_stream,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rand::Rng;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use crate::support::{
    Command, Happened, Kept, Ledger, Refused, answer, calm, cases, events_of, eventually, id, ledger,
    passivate_all, raw_event, sent, start, test_node, write_past,
};

const CHECKPOINT: &str = "$checkpoint";

async fn add(one: &AggregateRef<Ledger>, number: u128) -> Receipt {
    one.send(Command::Add(number as i64)).command_id(id(number)).await.unwrap()
}

fn shown(events: &[RecordedEvent]) -> Vec<(u64, &str)> {
    events.iter().map(|event| (event.version.0, &*event.type_name)).collect()
}

/// The node that a crash leaves.
async fn again(node: &TestNode) -> TestNode {
    node.crashed().aggregate::<Ledger>().options(calm()).start().await.unwrap()
}

#[tokio::test]
async fn invariant_5_what_is_given_up_is_in_the_checkpoint_first() {
    let node = start().await;
    let one = ledger(&node, "a");
    let first = add(&one, 1).await;
    for number in 2..=9 {
        add(&one, number).await;
    }
    let before = one.state().await.unwrap();
    let receipt = one.checkpoint().and_truncate().by("anna").await.unwrap();
    assert_eq!((receipt.version, receipt.kept_from, receipt.held), (Version(10), Version(10), None));
    let events = events_of(&*node.journal, "a").await;
    assert_eq!(shown(&events), [(10, CHECKPOINT)]);
    assert_eq!((events[0].position, events[0].command.actor.as_deref()), (receipt.position, Some("anna")));

    add(&one, 10).await;
    let live = one.state().await.unwrap();
    let after = again(&node).await;
    let one = ledger(&after, "a");
    let replayed = one.state().await.unwrap();
    assert_eq!(replayed, live);
    assert_eq!(live.state.count, before.state.count + 1, "a checkpoint is nothing that happens");
    assert_eq!(live.version, Version(11));
    // The creating command never leaves the memory, wherever its event has gone.
    let repeated = add(&one, 1).await;
    assert_eq!(repeated, Receipt { duplicate: true, ..first });
    let reused = one.send(Command::Add(99)).command_id(id(1)).await.unwrap_err();
    assert_eq!(reused.code(), "command_id_reused");
    assert_eq!(add(&one, 11).await.version, Version(12), "versions go on without gaps");
}

#[tokio::test]
async fn a_checkpoint_without_truncation_changes_nothing() {
    let node = start().await;
    let one = ledger(&node, "a");
    for number in 1..=3 {
        add(&one, number).await;
    }
    let receipt = one.checkpoint().await.unwrap();
    assert_eq!((receipt.version, receipt.kept_from), (Version(4), Version(1)));
    add(&one, 4).await;
    let events = events_of(&*node.journal, "a").await;
    assert_eq!(shown(&events), [(1, "added"), (2, "added"), (3, "added"), (4, CHECKPOINT), (5, "added")]);
    let live = one.state().await.unwrap();
    assert_eq!(ledger(&again(&node).await, "a").state().await.unwrap(), live);
    // What it says is what the events come to.
    let at = one.state_at(Version(3)).await.unwrap().unwrap();
    let said = Checkpoint::of(&events[3]).unwrap().unwrap();
    assert_eq!((said.version, said.state::<Ledger>().unwrap()), (Version(3), at.state));
}

#[tokio::test]
async fn some_events_in_front_of_it_may_stay() {
    let node = start().await;
    let one = ledger(&node, "a");
    for number in 1..=9 {
        add(&one, number).await;
    }
    let receipt = one.checkpoint().keeping(2).await.unwrap();
    assert_eq!((receipt.version, receipt.kept_from), (Version(10), Version(8)));
    assert_eq!(shown(&events_of(&*node.journal, "a").await), [(8, "added"), (9, "added"), (10, CHECKPOINT)]);
    let live = one.state().await.unwrap();
    assert_eq!(ledger(&again(&node).await, "a").state().await.unwrap(), live);
    // As many as there are: nothing goes.
    let receipt = one.checkpoint().keeping(100).await.unwrap();
    assert_eq!((receipt.version, receipt.kept_from), (Version(11), Version(1)));
    assert_eq!(events_of(&*node.journal, "a").await.len(), 4);
}

#[tokio::test]
async fn states_are_told_from_the_checkpoint_on_and_asked_for_before_it_say_so() {
    let node = start().await;
    let one = ledger(&node, "a");
    let mut states = HashMap::new();
    for number in 1..=6 {
        node.clock.advance(Duration::from_secs(1));
        add(&one, number).await;
    }
    let sixth = one.state().await.unwrap();
    let early = one.state_at(Version(2)).await.unwrap().unwrap().time;
    node.clock.advance(Duration::from_secs(1));
    one.checkpoint().keeping(1).await.unwrap();
    for number in 7..=9 {
        let now = one.state().await.unwrap();
        states.insert(now.version, now);
        node.clock.advance(Duration::from_secs(1));
        add(&one, number).await;
    }
    for (version, then) in &states {
        assert_eq!(one.state_at(*version).await.unwrap().as_ref(), Some(then));
        assert_eq!(one.state_at(then.time).await.unwrap().as_ref(), Some(then));
    }
    assert_eq!(states.len(), 3);
    // The checkpoint has the state of the event in front of it.
    assert_eq!(one.state_at(Version(6)).await.unwrap().as_ref(), Some(&sixth));
    assert_eq!(one.state_at(sixth.time).await.unwrap().as_ref(), Some(&sixth));
    for gone in [Moment::Version(Version(1)), Moment::Version(Version(5)), Moment::Time(early)] {
        let error = one.state_at(gone).await.unwrap_err();
        assert_eq!(error.code(), "state_truncated");
        assert!(matches!(error, StateError::Truncated { available: Version(6), .. }), "{error:?}");
        assert!(error.to_string().contains("from version 6 on"), "{error}");
    }
    assert_eq!(one.state_at(Version(0)).await.unwrap(), None);
    assert_eq!(one.state_at(Version(99)).await.unwrap(), None);
}

#[tokio::test]
async fn it_takes_its_turn_and_knows_the_place_of_everything_before_it() {
    let node = start().await;
    let one = ledger(&node, "a");
    add(&one, 1).await;
    node.journal.hold();
    let before: Vec<_> = (2..=4).map(|n| sent(one.send(Command::Add(n)).command_id(id(n as u128)))).collect();
    eventually("they are submitted", || node.journal.held() == 3).await;
    let checkpoint = tokio::spawn(async move { one.checkpoint().await });
    let one = ledger(&node, "a");
    eventually("it waits", || node.node.kind("ledger").unwrap().load().waiting > 0).await;
    let behind = sent(one.send(Command::Add(5)).command_id(id(5)));
    tokio::task::yield_now().await;
    assert_eq!(node.journal.held(), 3, "nothing overtakes it");
    node.journal.release();
    let receipts: Vec<_> = {
        let mut all = Vec::new();
        for command in before {
            all.push(answer(command).await.unwrap());
        }
        all
    };
    assert_eq!(answer(checkpoint).await.unwrap().version, Version(5));
    assert_eq!(answer(behind).await.unwrap().version, Version(6));
    let after = again(&node).await;
    ledger(&after, "a").checkpoint().and_truncate().await.unwrap();
    let after = again(&after).await;
    for (number, receipt) in (2..).zip(receipts) {
        assert_eq!(add(&ledger(&after, "a"), number).await, Receipt { duplicate: true, ..receipt });
    }
}

#[tokio::test]
async fn whoever_has_seen_the_state_before_it_has_seen_the_state_of_now() {
    let node = start().await;
    let one = ledger(&node, "a");
    add(&one, 1).await;
    add(&one, 2).await;
    one.checkpoint().await.unwrap();
    one.checkpoint().and_truncate().await.unwrap();
    let conflict = one.send(Command::Add(1)).expecting(Version(1)).await.unwrap_err();
    assert!(matches!(conflict, SendError::Conflict { actual: Version(4), .. }));
    let after = again(&node).await;
    let one = ledger(&after, "a");
    assert_eq!(one.send(Command::Add(3)).expecting(Version(2)).await.unwrap().version, Version(5));
    assert_eq!(one.send(Command::Add(3)).expecting(Version(4)).await.unwrap_err().code(), "version_conflict");
    assert_eq!(one.send(Command::Add(3)).expecting(Version(6)).await.unwrap_err().code(), "version_conflict");
}

#[tokio::test]
async fn snapshots_and_the_events_after_them_agree_with_it() {
    let kept = Arc::new(Kept::default());
    let options = NodeOptions { snapshot_every_events: 4, ..calm() };
    let node = test_node().snapshots(kept.clone()).options(options.clone()).start().await.unwrap();
    let one = ledger(&node, "a");
    for number in 1..=3 {
        add(&one, number).await;
    }
    one.checkpoint().and_truncate().await.unwrap();
    eventually("the checkpoint counts as an event", || kept.versions("a") == [4]).await;
    for number in 4..=5 {
        add(&one, number).await;
    }
    let live = one.state().await.unwrap();
    let restart = || node.crashed().aggregate::<Ledger>().snapshots(kept.clone()).options(options.clone());
    let after = restart().start().await.unwrap();
    assert_eq!(ledger(&after, "a").state().await.unwrap(), live);
    assert_eq!(add(&ledger(&after, "a"), 2).await.version, Version(2));
    // One from before what was given up is of another history.
    kept.spoil(|snapshot| snapshot.version = Version(3));
    let after = restart().start().await.unwrap();
    assert_eq!(ledger(&after, "a").state().await.unwrap(), live);
}

#[tokio::test]
async fn a_checkpoint_that_is_refused_takes_down_what_was_decided_on_it() {
    let node = start().await;
    let one = ledger(&node, "a");
    add(&one, 1).await;
    node.journal.hold();
    node.journal.fail_append(1, AppendError::Busy { bytes: 1 });
    let checkpoint = tokio::spawn({
        let one = one.clone();
        async move { one.checkpoint().await }
    });
    eventually("it is submitted", || node.journal.held() == 1).await;
    let behind = sent(one.send(Command::Add(2)).command_id(id(2)));
    eventually("so is the command", || node.journal.held() == 2).await;
    node.journal.release();
    assert_eq!(answer(checkpoint).await.unwrap_err().code(), "journal_busy");
    assert!(answer(behind).await.is_err());
    assert_eq!(add(&one, 3).await.version, Version(2), "and the state is rebuilt without both");
}

/// An instance whose events in front of this checkpoint are gone.
async fn with_checkpoint(payload: &'static str) -> TestNode {
    let node = start().await;
    add(&ledger(&node, "a"), 1).await;
    let stream = StreamId::aggregate("ledger", "a").unwrap();
    let batch = Batch::of(stream.clone(), Expected::Version(Version(1)), [raw_event(CHECKPOINT, 1, payload)]);
    let retention = Retention { truncate_before: Version(2), ..Retention::default() };
    node.node.journal().append(batch.retaining(stream, retention)).await.unwrap();
    again(&node).await
}

#[tokio::test]
async fn an_instance_whose_checkpoint_cannot_be_used_is_parked_and_never_empty() {
    let good = r#"{"stateVersion":1,"version":1,"time":1,"state":{"sum":1,"count":1,"trail":8},"keptFrom":2,"commands":{"latest":[]}}"#;
    let node = with_checkpoint(good).await;
    assert_eq!(ledger(&node, "a").state().await.unwrap().state.sum, 1);
    for (payload, code) in [
        (r#"{"stateVersion":1,"#, "undecodable_checkpoint"),
        (
            r#"{"stateVersion":1,"version":1,"time":1,"state":{"sum":1},"keptFrom":2,"commands":{"latest":[]}}"#,
            "undecodable_checkpoint",
        ),
        (
            r#"{"stateVersion":9,"version":1,"time":1,"state":{"sum":1,"count":1,"trail":8},"keptFrom":2,"commands":{"latest":[]}}"#,
            "checkpoint_of_other_version",
        ),
    ] {
        let node = with_checkpoint(payload).await;
        let one = ledger(&node, "a");
        let sent = one.send(Command::Add(1)).await.unwrap_err();
        assert!(matches!(&sent, SendError::Parked { code: found, .. } if *found == code), "{sent:?}");
        assert_eq!(one.state_at(Version(2)).await.unwrap_err().code(), code);
        assert_eq!(one.checkpoint().await.unwrap_err().code(), "instance_parked");
    }
}

#[tokio::test]
async fn of_what_stands_in_front_of_a_checkpoint_no_state_is_told() {
    let node = with_checkpoint("{}").await;
    write_past(&node, "a", raw_event("added", 1, r#"{"amount":1}"#)).await;
    let stream = StreamId::aggregate("ledger", "a").unwrap();
    let lost = Batch::of(stream.clone(), Expected::Version(Version(3)), [raw_event(CHECKPOINT, 1, "{}")]);
    let before = Retention { truncate_before: Version(3), ..Retention::default() };
    node.node.journal().append(lost.retaining(stream, before)).await.unwrap();
    for version in [1, 3, 4] {
        let error = ledger(&node, "a").state_at(Version(version)).await.unwrap_err();
        assert_eq!(error.code(), "undecodable_checkpoint", "{error}");
    }
}

/// A reader that is told how far it is.
struct At(Option<u64>);

impl Reader for At {
    fn name(&self) -> String {
        "a report".to_owned()
    }

    fn needs_behind<'a>(&'a self, _: &'a StreamId) -> BoxFuture<'a, Result<Option<Position>, String>> {
        std::future::ready(Ok(self.0.map(Position))).boxed()
    }

    fn knows_published(&self) -> bool {
        self.0.is_none()
    }
}

async fn cursor(node: &TestNode, name: &str, position: u64) {
    let payload = format!(r#"{{"position":{position}}}"#);
    let moved = raw_event("cursor-moved", 1, payload.leak());
    let stream = cursor_stream(name).unwrap();
    node.node.journal().append(Batch::of(stream, Expected::Any, [moved])).await.unwrap();
}

#[tokio::test]
async fn invariant_5_retention_never_passes_the_lowest_durable_cursor() {
    let node = start().await;
    let reader: Arc<dyn Reader> = Arc::new(At(None));
    node.node.readers().add(&reader);
    let one = ledger(&node, "a");
    let mut positions = Vec::new();
    for number in 1..=5 {
        positions.push(add(&one, number).await.position.unwrap().0);
    }
    cursor(&node, "far", 1000).await;
    cursor(&node, "near", positions[0] - 1).await;
    let refused = one.checkpoint().and_truncate().await.unwrap_err();
    let held = Held { by: "$cursor-near".to_owned(), position: Position(positions[0] - 1) };
    assert!(matches!(&refused, CheckpointError::Held(by) if *by == held), "{refused:?}");
    assert_eq!(refused.code(), "truncation_held");
    assert_eq!(events_of(&*node.journal, "a").await.len(), 5, "nothing is appended in vain");
    assert!(one.checkpoint().await.is_ok(), "a checkpoint alone holds up nobody");

    cursor(&node, "near", positions[2]).await;
    let receipt = one.checkpoint().and_truncate().await.unwrap();
    let held = Held { by: "$cursor-near".to_owned(), position: Position(positions[2]) };
    assert_eq!((receipt.version, receipt.kept_from, receipt.held), (Version(7), Version(4), Some(held)));
    assert_eq!(one.state().await.unwrap(), ledger(&again(&node).await, "a").state().await.unwrap());

    cursor(&node, "near", 1000).await;
    let receipt = one.checkpoint().and_truncate().await.unwrap();
    assert_eq!((receipt.version, receipt.kept_from, receipt.held), (Version(8), Version(8), None));
}

#[tokio::test]
async fn a_reader_that_runs_has_a_say_as_long_as_it_does() {
    let node = start().await;
    let one = ledger(&node, "a");
    add(&one, 1).await;
    let reader: Arc<dyn Reader> = Arc::new(At(Some(0)));
    node.node.readers().add(&reader);
    let refused = one.checkpoint().and_truncate().await.unwrap_err();
    assert!(refused.to_string().contains("\"a report\" needs the events from the first on"), "{refused}");
    drop(reader);
    assert!(one.checkpoint().and_truncate().await.is_ok());
}

#[tokio::test]
async fn what_was_read_elsewhere_is_kept_where_none_of_its_readers_runs() {
    let node = start().await;
    let reader: Arc<dyn Reader> = Arc::new(At(Some(1000)));
    node.node.readers().add(&reader);
    let one = ledger(&node, "a");
    add(&one, 1).await;
    cursor(&node, "elsewhere", 1000).await;
    let refused = one.checkpoint().and_truncate().await.unwrap_err();
    assert_eq!(refused.code(), "truncation_held", "what they published is not known");
}

fn every(every_events: u64, keep_events: Option<u64>) -> AggregateOptions {
    let every_events = NonZeroU64::new(every_events).unwrap();
    AggregateOptions { checkpoints: Some(CheckpointPolicy { every_events, keep_events }) }
}

#[tokio::test]
async fn a_type_may_make_checkpoints_by_itself() {
    let start = async |node: annals_actors::testing::TestNodeBuilder| {
        node.aggregate_with::<Ledger>(every(10, Some(2))).options(calm()).start().await.unwrap()
    };
    let node = start(TestNode::builder()).await;
    let one = ledger(&node, "a");
    let front = async |node: &TestNode| events_of(&*node.journal, "a").await[0].version.0;
    for number in 1..=10 {
        add(&one, number).await;
    }
    let made = async |node: &TestNode, versions: &[u64]| {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        loop {
            let events = events_of(&*node.journal, "a").await;
            let found: Vec<_> =
                events.iter().filter(|event| event.is_checkpoint()).map(|event| event.version.0).collect();
            if found == versions {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{found:?} instead of {versions:?}");
            tokio::task::yield_now().await;
        }
    };
    made(&node, &[11]).await;
    assert_eq!(front(&node).await, 9);
    // How many it has been since the last one survives a passivation, and a restart.
    for number in 11..=15 {
        add(&one, number).await;
    }
    passivate_all(&node).await;
    let after = start(node.crashed()).await;
    for number in 16..=19 {
        add(&ledger(&after, "a"), number).await;
    }
    made(&after, &[11]).await;
    add(&ledger(&after, "a"), 20).await;
    made(&after, &[22]).await;
    assert_eq!(front(&after).await, 20);
    assert_eq!(ledger(&after, "a").state().await.unwrap().state.count, 20);
}

/// A state that JSON does not keep.
#[derive(Debug, Clone, Default, Serialize, Deserialize, Shape)]
struct Endless {
    much: f64,
    text: String,
}

impl Aggregate for Endless {
    const TYPE: &'static str = "endless";
    type Command = Command;
    type Event = Happened;
    type Rejection = Refused;

    fn handle(&self, command: Command, _: &Context) -> Result<Vec<Happened>, Refused> {
        let Command::Add(amount) = command else { return Ok(vec![]) };
        Ok(vec![Happened::Added { amount }])
    }

    fn apply(&mut self, event: Happened) {
        match event {
            Happened::Added { amount: 0 } => self.much = f64::INFINITY,
            _ => {
                self.much = 0.0;
                self.text = "x".repeat(17 << 20);
            }
        }
    }
}

#[tokio::test]
async fn a_state_that_cannot_be_kept_is_refused_and_the_instance_goes_on() {
    let node = TestNode::builder().aggregate::<Endless>().start().await.unwrap();
    let one = node.node.aggregate::<Endless>("a");
    one.send(Command::Add(0)).await.unwrap();
    assert_eq!(one.checkpoint().and_truncate().await.unwrap_err().code(), "state_not_read_back");
    one.send(Command::Add(1)).await.unwrap();
    let large = one.checkpoint().and_truncate().await.unwrap_err();
    assert!(matches!(large, CheckpointError::TooLarge { .. }), "{large:?}");
    assert_eq!(one.send(Command::Add(0)).await.unwrap().version, Version(3));
    assert_eq!(one.state_at(Version(1)).await.unwrap().unwrap().version, Version(1), "nothing is gone");
}

/// What an instance does that gives nothing up; versions count the checkpoints that the other makes.
#[derive(Default)]
struct Model {
    state: Ledger,
    version: u64,
    receipts: Vec<(u128, i64, Receipt)>,
}

impl Model {
    fn remembers(&self, number: usize, capacity: usize) -> bool {
        number == 0 || number + capacity >= self.receipts.len()
    }
}

/// `ANNALS_CASES` times.
#[tokio::test]
async fn invariant_5_with_truncation_or_without_everybody_is_told_the_same() {
    cases(40, told_the_same).await;
}

async fn told_the_same(mut random: StdRng) {
    let capacity = random.random_range(1..6);
    let options =
        NodeOptions { command_ids_max: capacity, snapshot_every_events: random.random_range(1..8), ..calm() };
    let snapshots = Arc::new(MemorySnapshots::new());
    let mut node = test_node().snapshots(snapshots.clone()).options(options.clone()).start().await.unwrap();
    let mut model = Model::default();
    for step in 0..120_u128 {
        let one = ledger(&node, "a");
        match random.random_range(0..10) {
            0..5 => {
                let amount = random.random_range(-100..100);
                let receipt = one.send(Command::Add(amount)).command_id(id(step)).await.unwrap();
                model.state.apply(Happened::Added { amount });
                model.version += 1;
                assert_eq!((receipt.version.0, receipt.duplicate), (model.version, false));
                model.receipts.push((step, amount, receipt));
            }
            5 if model.version > 0 => {
                let request = one.checkpoint();
                let receipt = match random.random_range(0..3) {
                    0 => request.await,
                    1 => request.and_truncate().await,
                    _ => request.keeping(random.random_range(0..10)).await,
                };
                model.version += 1;
                assert_eq!(receipt.unwrap().version.0, model.version);
            }
            6 if !model.receipts.is_empty() => {
                let number = random.random_range(0..model.receipts.len());
                let (step, amount, receipt) = model.receipts[number];
                let again =
                    one.send(Command::Add(amount)).command_id(id(step)).expecting(Version(u64::MAX)).await;
                if model.remembers(number, capacity) {
                    assert_eq!(again.unwrap(), Receipt { duplicate: true, ..receipt });
                } else {
                    assert_eq!(again.unwrap_err().code(), "version_conflict");
                }
            }
            7 => {
                let builder = node.crashed().aggregate::<Ledger>().options(options.clone());
                let builder = match random.random_range(0..3) {
                    0 => builder,
                    _ => builder.snapshots(snapshots.clone()),
                };
                node = builder.start().await.unwrap();
            }
            _ => {
                let now = one.state().await.unwrap();
                assert_eq!((now.state, now.version.0), (model.state.clone(), model.version));
            }
        }
    }
}
