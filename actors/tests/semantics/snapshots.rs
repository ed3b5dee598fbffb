//! Snapshots are a cache: never ahead of the disk, and any doubt means replay.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals_actors::testing::TestNode;
use annals_actors::{Aggregate, Context, NodeOptions, Shape};
use annals_persistence::{EventId, JournalId, Snapshot, SnapshotStore, StreamId, Version};
use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};

use crate::support::{
    Command, Happened, Kept, Ledger, Refused, answer, calm, eventually, ledger, let_run, passivate_all, sent,
    test_node,
};

fn every_ten() -> NodeOptions {
    NodeOptions { snapshot_every_events: 10, ..calm() }
}

async fn keeping(kept: &Arc<Kept>) -> TestNode {
    test_node().snapshots(kept.clone()).options(every_ten()).start().await.unwrap()
}

async fn again(node: &TestNode, kept: &Arc<Kept>) -> TestNode {
    node.crashed().aggregate::<Ledger>().snapshots(kept.clone()).options(every_ten()).start().await.unwrap()
}

#[tokio::test]
async fn one_is_taken_every_so_many_events() {
    let kept = Arc::new(Kept::default());
    let node = keeping(&kept).await;
    for _ in 0..35 {
        ledger(&node, "a").send(Command::Add(1)).await.unwrap();
    }
    eventually("they are written", || kept.versions("a") == [10, 20, 30]).await;
}

#[tokio::test]
async fn none_is_ahead_of_the_disk() {
    let kept = Arc::new(Kept::default());
    let node = keeping(&kept).await;
    node.journal.hold();
    let sends: Vec<_> = (0..25).map(|_| sent(ledger(&node, "a").send(Command::Add(1)))).collect();
    eventually("all are submitted", || node.journal.held() == 25).await;
    let_run().await;
    assert!(kept.versions("a").is_empty());
    node.journal.release_next(10);
    eventually("the first is written", || kept.versions("a") == [10]).await;
    node.journal.poison("the disk is gone");
    for command in sends {
        // The answers are the business of other tests.
        drop(answer(command).await);
    }
    node.node.shutdown().await;
    assert_eq!(kept.versions("a"), [10], "what failed is in no snapshot");
}

#[tokio::test]
async fn one_taken_under_load_knows_every_command_of_its_state() {
    let kept = Arc::new(Kept::default());
    let options = NodeOptions { command_ids_max: 5, ..every_ten() };
    let node = test_node().snapshots(kept.clone()).options(options.clone()).start().await.unwrap();
    node.journal.hold();
    let send = |number: u32| {
        sent(ledger(&node, "a").send(Command::Add(1)).command_id(crate::support::id(u128::from(number))))
    };
    let sends: Vec<_> = (1..=30).map(send).collect();
    eventually("all are submitted", || node.journal.held() == 30).await;
    node.journal.release_next(12);
    eventually("the first is written", || kept.versions("a") == [10]).await;
    let after = node.crashed().aggregate::<Ledger>().snapshots(kept).options(options).start().await.unwrap();
    for (number, known) in [(1, true), (7, false), (8, true), (10, true), (12, true), (13, false)] {
        let request = ledger(&after, "a").send(Command::Add(1)).command_id(crate::support::id(number));
        // No version is 99: unless the command is known, nothing comes of it.
        assert_eq!(request.expecting(Version(99)).await.is_ok(), known, "command {number}");
    }
    drop(sends);
}

#[tokio::test]
async fn on_passivation_one_is_taken_only_if_it_is_worth_it() {
    let kept = Arc::new(Kept::default());
    let options = NodeOptions { snapshot_every_events: 1000, ..calm() };
    let node = test_node().snapshots(kept.clone()).options(options).start().await.unwrap();
    let add = async |count: usize| {
        ledger(&node, "a").send(Command::AddMany(vec![1; count])).await.unwrap();
        passivate_all(&node).await;
    };
    add(19).await;
    assert!(kept.versions("a").is_empty());
    add(1).await;
    eventually("twenty are worth it", || kept.versions("a") == [20]).await;
    add(19).await;
    add(1).await;
    eventually("they count from the last one", || kept.versions("a") == [20, 40]).await;
}

/// Puts the state of another instance in the place of an instance's snapshots, spoils these, and tells whether the truth
/// is served all the same.
async fn is_doubted(spoil: impl Fn(&mut Snapshot)) -> bool {
    let kept = Arc::new(Kept::default());
    let node = keeping(&kept).await;
    for amount in 0..25 {
        ledger(&node, "a").send(Command::Add(amount)).await.unwrap();
        ledger(&node, "b").send(Command::Add(1000)).await.unwrap();
    }
    let live = ledger(&node, "a").state().await.unwrap();
    node.node.shutdown().await;
    assert_eq!((kept.versions("a"), kept.versions("b")), (vec![10, 20], vec![10, 20]));
    let lies = kept.load(&StreamId::aggregate("ledger", "b").unwrap());
    kept.spoil(|snapshot| {
        let lie = lies.iter().find(|lie| lie.version == snapshot.version).unwrap();
        snapshot.state.clone_from(&lie.state);
        spoil(snapshot);
    });
    let after = again(&node, &kept).await;
    let served = ledger(&after, "a").state().await.unwrap();
    assert_eq!(ledger(&after, "a").send(Command::Add(1)).await.unwrap().version, Version(26));
    served == live
}

#[tokio::test]
async fn only_the_journal_is_the_truth() {
    assert!(!is_doubted(|_| {}).await, "nothing but its state is wrong with it");
    assert!(is_doubted(|snapshot| snapshot.journal = JournalId::generate()).await);
    assert!(is_doubted(|snapshot| snapshot.event_id = EventId::generate()).await);
    assert!(is_doubted(|snapshot| snapshot.fingerprint ^= 1).await);
    assert!(is_doubted(|snapshot| snapshot.state.truncate(5)).await);
    assert!(is_doubted(|snapshot| snapshot.state.clear()).await);
    assert!(is_doubted(|snapshot| snapshot.state.push(0)).await);
    assert!(is_doubted(|snapshot| snapshot.version = Version(21)).await);
    assert!(is_doubted(|snapshot| snapshot.version = Version(2000)).await);
    assert!(is_doubted(|snapshot| snapshot.version = Version(0)).await);
}

#[tokio::test]
async fn where_the_latest_is_doubted_the_one_before_is_used() {
    let spoils: [fn(&mut Snapshot); 4] = [
        |snapshot| snapshot.journal = JournalId::generate(),
        |snapshot| snapshot.event_id = EventId::generate(),
        |snapshot| snapshot.fingerprint ^= 1,
        |snapshot| snapshot.state.truncate(5),
    ];
    for (nth, spoil) in spoils.into_iter().enumerate() {
        let (kept, fragile) = (Arc::new(Kept::default()), format!("behind the one before {nth}"));
        let node = keeping(&kept).await;
        ledger(&node, "a").send(Command::Fragile(fragile.clone())).await.unwrap();
        for _ in 0..22 {
            ledger(&node, "a").send(Command::Add(1)).await.unwrap();
        }
        node.node.shutdown().await;
        assert_eq!(kept.versions("a"), [10, 20]);
        kept.spoil(|snapshot| {
            if snapshot.version == Version(20) {
                spoil(snapshot)
            }
        });
        // From now on a full replay would panic.
        crate::support::arm(&fragile);
        let after = again(&node, &kept).await;
        assert_eq!(ledger(&after, "a").state().await.unwrap().state.sum, 22, "{nth}");
    }
}

#[tokio::test]
async fn a_good_one_is_used() {
    let kept = Arc::new(Kept::default());
    let node = keeping(&kept).await;
    crate::support::arm("behind the snapshot");
    crate::support::disarm("behind the snapshot");
    ledger(&node, "a").send(Command::Fragile("behind the snapshot".into())).await.unwrap();
    for _ in 0..12 {
        ledger(&node, "a").send(Command::Add(1)).await.unwrap();
    }
    node.node.shutdown().await;
    // From now on a full replay would panic.
    crate::support::arm("behind the snapshot");
    let after = again(&node, &kept).await;
    assert_eq!(ledger(&after, "a").state().await.unwrap().state.sum, 12);
}

#[tokio::test]
async fn one_that_remembers_another_number_of_commands_is_doubted() {
    let kept = Arc::new(Kept::default());
    let node = test_node()
        .snapshots(kept.clone())
        .options(NodeOptions { command_ids_max: 2, ..every_ten() })
        .start()
        .await
        .unwrap();
    for number in 1..=10 {
        ledger(&node, "a").send(Command::Add(1)).command_id(crate::support::id(number)).await.unwrap();
    }
    node.node.shutdown().await;
    assert_eq!(kept.versions("a"), [10]);
    let after = again(&node, &kept).await;
    let known = ledger(&after, "a").send(Command::Add(1)).command_id(crate::support::id(5)).await.unwrap();
    assert!(known.duplicate, "with room for more, replay remembers more");
}

/// A state that bincode writes without one field and reads with it: one value for another, and nothing is wrong with
/// either's bytes.
#[derive(Debug, Default, Clone, PartialEq, serde::Serialize, serde::Deserialize, annals_actors::Shape)]
struct Gappy {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    first: Option<u8>,
    second: u8,
    third: Option<u8>,
}

#[derive(Debug, annals_actors::Event)]
enum GappyEvent {
    #[event("gappy-set")]
    Set,
}

impl annals_actors::Aggregate for Gappy {
    const TYPE: &'static str = "gappy";
    type Command = ();
    type Event = GappyEvent;
    type Rejection = std::convert::Infallible;

    fn handle(&self, (): (), _: &annals_actors::Context) -> Result<Vec<GappyEvent>, Self::Rejection> {
        Ok(vec![GappyEvent::Set])
    }

    fn apply(&mut self, _: GappyEvent) {
        self.third = Some(0);
    }
}

#[tokio::test]
async fn none_is_kept_of_a_state_that_bincode_would_change() {
    let kept = Arc::new(Kept::default());
    let start = async |builder: annals_actors::testing::TestNodeBuilder| {
        builder.aggregate::<Gappy>().snapshots(kept.clone()).options(every_ten()).start().await.unwrap()
    };
    let node = start(TestNode::builder()).await;
    for _ in 0..15 {
        node.node.aggregate::<Gappy>("a").send(()).await.unwrap();
    }
    node.node.shutdown().await;
    assert!(kept.load(&StreamId::aggregate("gappy", "a").unwrap()).is_empty());
    let after = start(node.crashed()).await;
    let state = after.node.aggregate::<Gappy>("a").state().await.unwrap().state;
    assert_eq!(state, Gappy { first: None, second: 0, third: Some(0) });
}

/// A store that hangs over the first save until it is let go, and panics over every later one.
#[derive(Debug, Default)]
struct Bad {
    saves: AtomicUsize,
    goes_on: Mutex<bool>,
    told: Condvar,
}

impl Bad {
    fn saves(&self) -> usize {
        self.saves.load(Ordering::Relaxed)
    }

    fn let_go(&self) {
        *self.goes_on.lock() = true;
        self.told.notify_all();
    }
}

impl SnapshotStore for Bad {
    fn load(&self, _: &StreamId) -> Vec<Snapshot> {
        Vec::new()
    }

    fn save(&self, _: &StreamId, _: &Snapshot) {
        let before = self.saves.fetch_add(1, Ordering::Relaxed);
        self.told.wait_while(&mut self.goes_on.lock(), |goes_on| !*goes_on);
        assert_eq!(before, 0, "a bug in save");
    }

    fn remove(&self, _: &StreamId) {}

    fn close(&self) {}
}

/// Lets go at the end, also where the test fails: its runtime waits for what hangs.
struct LetGo(Arc<Bad>);

impl Drop for LetGo {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

/// On threads of its own, so that an instance that waits for the store does not hold up the test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_instance_answers_while_its_store_hangs_and_while_it_fails() {
    let store = Arc::new(Bad::default());
    let _let_go = LetGo(Arc::clone(&store));
    let options = NodeOptions { snapshot_every_events: 1, ..calm() };
    let node = test_node().snapshots(Arc::clone(&store) as _).options(options).start().await.unwrap();
    let add = async || answer(sent(ledger(&node, "a").send(Command::Add(1)))).await.unwrap();
    add().await;
    eventually("the store hangs", || store.saves() == 1).await;
    // More than may wait for the store.
    for _ in 0..600 {
        add().await;
    }
    assert_eq!(store.saves(), 1);
    store.let_go();
    eventually("the store fails", || store.saves() > 1).await;
    for _ in 0..100 {
        add().await;
    }
    assert_eq!(ledger(&node, "a").state().await.unwrap().state.sum, 701);
    let failed = store.saves();
    add().await;
    eventually("it is tried again", || store.saves() > failed).await;
}

/// A store that panics over the snapshots of one instance.
#[derive(Debug)]
struct Fragile {
    kept: Arc<Kept>,
    breaks_at: StreamId,
}

impl SnapshotStore for Fragile {
    fn load(&self, stream: &StreamId) -> Vec<Snapshot> {
        assert_ne!(*stream, self.breaks_at, "a bug in load");
        self.kept.load(stream)
    }

    fn save(&self, stream: &StreamId, snapshot: &Snapshot) {
        assert_ne!(*stream, self.breaks_at, "a bug in save");
        self.kept.save(stream, snapshot);
    }

    fn remove(&self, stream: &StreamId) {
        self.kept.remove(stream);
    }

    fn close(&self) {}
}

#[tokio::test]
async fn a_store_that_panics_over_one_keeps_the_others() {
    let kept = Arc::new(Kept::default());
    let breaks_at = StreamId::aggregate("ledger", "bad").unwrap();
    let store = Arc::new(Fragile { kept: Arc::clone(&kept), breaks_at });
    let node = test_node().snapshots(store).options(every_ten()).start().await.unwrap();
    for id in ["bad", "good"] {
        for _ in 0..10 {
            ledger(&node, id).send(Command::Add(1)).await.unwrap();
        }
    }
    eventually("the good one is kept", || kept.versions("good") == [10]).await;
    passivate_all(&node).await;
    for id in ["bad", "good"] {
        assert_eq!(ledger(&node, id).state().await.unwrap().state.sum, 10, "{id}");
    }
}

#[tokio::test]
async fn one_that_apply_panics_behind_gives_way_to_a_full_replay() {
    let kept = Arc::new(Kept::default());
    let node = keeping(&kept).await;
    for amount in [i64::MAX, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1] {
        ledger(&node, "a").send(Command::Add(amount)).await.unwrap();
    }
    let live = ledger(&node, "a").state().await.unwrap();
    node.node.shutdown().await;
    assert_eq!(kept.versions("a"), [10]);
    // As an earlier release might have folded it: one more, and the next event is too much.
    kept.spoil(|snapshot| {
        let sum = i64::MAX.to_le_bytes();
        let one_less = (i64::MAX - 1).to_le_bytes();
        let at = snapshot.state.windows(8).position(|bytes| bytes == one_less).unwrap();
        snapshot.state[at..at + 8].copy_from_slice(&sum);
    });
    let after = again(&node, &kept).await;
    assert_eq!(ledger(&after, "a").state().await.unwrap(), live);
}

/// A release that counts each amount as many times as its number says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Shape)]
struct Counted<const RELEASE: u16> {
    sum: i64,
}

impl<const RELEASE: u16> Aggregate for Counted<RELEASE> {
    const TYPE: &'static str = "ledger";
    const STATE_VERSION: u16 = RELEASE;
    type Command = i64;
    type Event = Happened;
    type Rejection = Refused;

    fn handle(&self, amount: i64, _: &Context) -> Result<Vec<Happened>, Refused> {
        Ok(vec![Happened::Added { amount }])
    }

    fn apply(&mut self, event: Happened) {
        if let Happened::Added { amount } = event {
            self.sum += amount * i64::from(RELEASE);
        }
    }
}

#[tokio::test]
async fn one_of_a_release_that_made_something_else_of_the_events_is_not_used() {
    let kept = Arc::new(Kept::default());
    let options = NodeOptions { snapshot_on_passivation_events: 1, ..calm() };
    let builder = TestNode::builder().aggregate::<Counted<1>>().options(options.clone());
    let first = builder.snapshots(kept.clone()).start().await.unwrap();
    first.node.aggregate::<Counted<1>>("a").send(7).await.unwrap();
    first.node.shutdown().await;
    assert_eq!(kept.versions("a"), [1]);
    let builder = first.crashed().aggregate::<Counted<2>>().options(options);
    let second = builder.snapshots(kept).start().await.unwrap();
    assert_eq!(second.node.aggregate::<Counted<2>>("a").state().await.unwrap().state.sum, 14);
}
