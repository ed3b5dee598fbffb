//! Random histories against a node on a real log: every recorded state can be read again, from snapshots and the events
//! after them, and from events alone. `ANNALS_CASES` says how many histories, `ANNALS_SEED` makes the same ones again.

use std::collections::HashMap;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals::actors::{Node, VirtualClock};
use annals::persistence::{
    EmbeddedJournal, EmbeddedOptions, SledSnapshots, Snapshot, SnapshotOptions, SnapshotStore, StreamId,
};
use annals::prelude::{Aggregate, Current, Journal, Moment, NodeOptions, Timestamp, Version};
use annals_reference::Address;
use annals_reference::customer::{Customer, CustomerChange, CustomerCommand, CustomerDetails};
use annals_reference::order::{Order, OrderCommand, OrderDetails};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use uuid::Uuid;

use crate::process::{count, seed};

fn address(random: &mut StdRng) -> Address {
    Address { street: format!("{} Elm", random.random_range(0..4)), ..Address::default() }
}

fn customer_command(random: &mut StdRng) -> CustomerCommand {
    let shipping_address = address(random);
    match random.random_range(0..6) {
        0 => CustomerCommand::Remove,
        1 | 2 => CustomerCommand::Create(CustomerDetails { shipping_address, ..CustomerDetails::default() }),
        _ => CustomerCommand::Change(CustomerChange {
            first_name: "Anna".into(),
            last_name: format!("Nr {}", random.random_range(0..100)),
            shipping_address,
            credit_available: None,
        }),
    }
}

fn order_command(random: &mut StdRng) -> OrderCommand {
    let shipping_address = address(random);
    let customer_id = Uuid::from_u128(random.random_range(1..3));
    let details = OrderDetails { customer_id, shipping_address, ..OrderDetails::default() };
    match random.random_range(0..9) {
        0 => OrderCommand::Remove,
        1 => OrderCommand::Ship,
        2 => OrderCommand::Cancel,
        3 | 4 => OrderCommand::Create(details),
        5 | 6 => OrderCommand::Change(details),
        _ => OrderCommand::FollowCustomer {
            customer_id,
            sequence: Some(random.random_range(1..20)),
            shipping_address: details.shipping_address,
        },
    }
}

/// A snapshot is taken after so many events.
const SNAPSHOT_EVERY: u64 = 4;

/// Snapshots on sled that note which of them were loaded.
#[derive(Debug)]
struct Watched {
    sled: SledSnapshots,
    /// The version that replay begins with, by stream.
    loaded: Mutex<HashMap<StreamId, Version>>,
}

impl Watched {
    fn open(directory: PathBuf) -> Self {
        let sled = SledSnapshots::open(directory, SnapshotOptions::default()).expect("snapshots");
        Self { sled, loaded: Mutex::default() }
    }
}

impl SnapshotStore for Watched {
    fn load(&self, stream: &StreamId) -> Vec<Snapshot> {
        let found = self.sled.load(stream);
        if let Some(first) = found.first() {
            self.loaded.lock().expect("no panic").insert(stream.clone(), first.version);
        }
        found
    }

    fn save(&self, stream: &StreamId, snapshot: &Snapshot) {
        self.sled.save(stream, snapshot);
    }

    fn remove(&self, stream: &StreamId) {
        self.sled.remove(stream);
    }

    fn close(&self) {
        self.sled.close();
    }
}

/// A node on what is on the disk.
struct Running {
    node: Node,
    journal: Arc<dyn Journal>,
    snapshots: Arc<Watched>,
}

impl Running {
    /// Lets go of everything; answers which snapshots were loaded.
    async fn stop(self) -> HashMap<StreamId, Version> {
        self.node.shutdown().await;
        self.journal.close().await;
        std::mem::take(&mut *self.snapshots.loaded.lock().expect("no panic"))
    }
}

/// The states of an instance while it was live, the last one last.
struct History<A> {
    id: String,
    recorded: Vec<Current<A>>,
}

/// Where the journal and the snapshots are while nothing runs.
struct World {
    clock: VirtualClock,
    data: TempDir,
}

impl World {
    fn new() -> Self {
        Self { clock: VirtualClock::default(), data: TempDir::new().expect("a directory") }
    }

    fn snapshots(&self) -> PathBuf {
        self.data.path().join("snapshots")
    }

    async fn start<A: Aggregate>(&self) -> Running {
        // Short segments, so that histories go over many of them.
        let options = EmbeddedOptions { segment_bytes: 1 << 20, ..EmbeddedOptions::default() };
        let journal = EmbeddedJournal::open(self.data.path().join("journal"), options).expect("a journal");
        let journal: Arc<dyn Journal> = Arc::new(journal);
        let snapshots = Arc::new(Watched::open(self.snapshots()));
        // Snapshots so often that most states come from one, and many of these need some events after it.
        let options = NodeOptions {
            snapshot_every_events: SNAPSHOT_EVERY,
            snapshot_on_passivation_events: SNAPSHOT_EVERY - 1,
            ..NodeOptions::default()
        };
        let node = Node::builder()
            .journal(Arc::clone(&journal))
            .snapshots(Arc::clone(&snapshots) as Arc<dyn SnapshotStore>)
            .clock(Arc::new(self.clock.clone()))
            .options(options)
            .aggregate::<A>()
            .start()
            .await
            .expect("a node");
        Running { node, journal, snapshots }
    }

    /// Histories of many instances, each checked against what was recorded while it was made.
    async fn check<A: Aggregate + Debug + PartialEq>(
        &self,
        random: &mut StdRng,
        histories: usize,
        command: impl Fn(&mut StdRng) -> A::Command,
    ) {
        let running = self.start::<A>().await;
        let mut all = Vec::new();
        for _ in 0..histories {
            let id = Uuid::from_u128(random.random()).to_string();
            let recorded = self.record::<A>(&running.node, &id, random, &command).await;
            all.push(History { id, recorded });
        }
        running.stop().await;
        most_come_from_snapshots(&all, &self.replayed(&all).await);
        std::fs::remove_dir_all(self.snapshots()).expect("snapshots to delete");
        assert_eq!(self.replayed(&all).await, HashMap::new(), "all snapshots were deleted");
    }

    /// Starts, compares everything with what was recorded, stops; answers which snapshots were loaded.
    async fn replayed<A: Aggregate + Debug + PartialEq>(
        &self,
        all: &[History<A>],
    ) -> HashMap<StreamId, Version> {
        let running = self.start::<A>().await;
        for History { id, recorded } in all {
            let now = running.node.aggregate::<A>(id).state().await.expect("a state");
            assert_eq!(Some(&now), recorded.last(), "{} {id}", A::TYPE);
            look_back(&running.node, id, recorded).await;
        }
        running.stop().await
    }

    async fn record<A: Aggregate>(
        &self,
        node: &Node,
        id: &str,
        random: &mut StdRng,
        command: impl Fn(&mut StdRng) -> A::Command,
    ) -> Vec<Current<A>> {
        let instance = node.aggregate::<A>(id);
        let mut recorded = Vec::new();
        for _ in 0..random.random_range(1..16) {
            // Often no time passes between two commands.
            self.clock.advance(Duration::from_micros(random.random_range(0..3)));
            // That a rule says no is part of life.
            let accepted = instance.send(command(random)).await;
            if accepted.is_ok_and(|receipt| receipt.events > 0) {
                recorded.push(instance.state().await.expect("a state"));
            }
        }
        recorded.push(instance.state().await.expect("a state"));
        recorded
    }
}

impl<A: Aggregate> History<A> {
    fn version(&self) -> Version {
        self.recorded.last().map_or(Version::NONE, |last| last.version)
    }

    fn snapshot(&self, loaded: &HashMap<StreamId, Version>) -> Option<Version> {
        loaded.get(&StreamId::aggregate(A::TYPE, &self.id).expect("a stream")).copied()
    }
}

/// Every recorded state, by its version and by its time: of those at one time the last is meant.
async fn look_back<A: Aggregate + Debug + PartialEq>(node: &Node, id: &str, recorded: &[Current<A>]) {
    let instance = node.aggregate::<A>(id);
    for (index, then) in recorded.iter().enumerate().filter(|(_, then)| then.version > Version::NONE) {
        let found = instance.state_at(then.version).await.expect("a state");
        assert_eq!(found.as_ref(), Some(then));
        let last = recorded[index..].iter().take_while(|later| later.time == then.time).last();
        let found = instance.state_at(Moment::Time(then.time)).await.expect("a state");
        assert_eq!(found.as_ref(), last);
    }
    if let Some(first) = recorded.first().filter(|first| first.version > Version::NONE) {
        let before = Moment::Time(Timestamp(first.time.0 - 1));
        assert_eq!(instance.state_at(before).await.expect("no state"), None);
    }
}

/// One may be left out when many wait to be written, but not half of them; of the states that they stand for, some
/// are whole and some need the events that came after.
fn most_come_from_snapshots<A: Aggregate>(all: &[History<A>], loaded: &HashMap<StreamId, Version>) {
    let long = |history: &&History<A>| history.version() >= Version(SNAPSHOT_EVERY);
    let with_tail = |history: &&History<A>| history.snapshot(loaded).is_some_and(|at| at < history.version());
    let long: Vec<_> = all.iter().filter(long).collect();
    let found = long.iter().filter(|history| history.snapshot(loaded).is_some()).count();
    let tails = long.iter().copied().filter(with_tail).count();
    println!(
        "{}: {} histories, {} long, {found} from snapshots, {tails} with a tail",
        A::TYPE,
        all.len(),
        long.len()
    );
    assert!(found * 2 >= long.len(), "of {} long histories only {found} came from snapshots", long.len());
    assert!(tails > 0 || long.len() < 20, "of {} long histories none needed a tail", long.len());
}

#[tokio::test]
async fn every_recorded_state_can_be_read_again() {
    let histories = count("ANNALS_CASES", 100);
    let mut random = StdRng::seed_from_u64(seed());
    let world = World::new();
    world.check::<Customer>(&mut random, histories.div_ceil(2), customer_command).await;
    world.check::<Order>(&mut random, histories / 2, order_command).await;
}
