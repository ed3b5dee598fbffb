//! Bringing up cold instances: from their events, and from snapshots with a tail of events.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals::persistence::{
    CodecId, CommandId, Direction, EventId, JournalId, Position, SledSnapshots, Snapshot, SnapshotOptions,
    SnapshotStore, Timestamp,
};
use annals::prelude::*;
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::scenarios::commands::OURS;
use crate::scenarios::repeat;
use crate::workload::{Order, apply, instance_id, stream};
use crate::{Failure, Measurement, System, Workshop, alternate, journals};

const CLIENTS: usize = 64;
/// What bringing up from snapshots is to reach of doing so by hand.
const GOAL: f64 = 1.0 / 3.0;
const BY_HAND: &str = "reading + applying by hand";
const UNIT: &str = "instances/s";
const EVENTS_EACH: usize = 20;
const SNAPSHOT_VERSION: usize = 100;
const TAIL_EVENTS: usize = 10;
/// Instances that one node takes snapshots of: few enough that its writer leaves none out.
const SNAPSHOTS_EACH: usize = 100;

/// Each way beside the same done by hand.
pub(super) fn activation(workshop: &Workshop) -> Result<Vec<Measurement>, Failure> {
    Ok(vec![from_events(workshop)?, from_snapshots(workshop)?, from_snapshots_alone(workshop)?])
}

fn from_events(workshop: &Workshop) -> Result<Measurement, Failure> {
    let Workshop { runtime, plan, .. } = workshop;
    let (dir, count) = (workshop.dir()?, plan.cold_instances);
    let journal = journals::open(dir.path())?;
    runtime.block_on(journals::fill_many(&journal, count, EVENTS_EACH))?;
    let systems = vec![
        System::new(OURS, |window| {
            repeat(window, count, || runtime.block_on(activate(&journal, None, count, EVENTS_EACH)))
        }),
        System::new(BY_HAND, |window| {
            repeat(window, count, || runtime.block_on(by_hand(&journal, None, count, EVENTS_EACH)))
        }),
    ];
    let measured =
        alternate(format!("activation from {EVENTS_EACH} events, {CLIENTS} clients"), UNIT, plan, systems)?;
    runtime.block_on(journal.close());
    Ok(measured)
}

fn from_snapshots(workshop: &Workshop) -> Result<Measurement, Failure> {
    let Workshop { runtime, plan, .. } = workshop;
    let (dir, count) = (workshop.dir()?, plan.cold_instances);
    let (theirs, ours) = (dir.path().join("by-hand"), dir.path().join("snapshots"));
    let journal = journals::open(&dir.path().join("journal"))?;
    let ours = open_snapshots(&ours)?;
    runtime.block_on(take_snapshots(&journal, &ours, count))?;
    runtime.block_on(journals::fill_many(&journal, count, TAIL_EVENTS))?;
    let plain = plain_snapshots(&theirs, count)?;
    let expected = SNAPSHOT_VERSION + TAIL_EVENTS;
    let systems = vec![
        System::new(OURS, |window| {
            repeat(window, count, || runtime.block_on(activate(&journal, Some(&ours), count, expected)))
        }),
        System::new(BY_HAND, |window| {
            repeat(window, count, || runtime.block_on(by_hand(&journal, Some(&plain), count, expected)))
        }),
    ];
    let name = format!("activation from a snapshot + {TAIL_EVENTS} events, {CLIENTS} clients");
    let measured = alternate(name, UNIT, plan, systems)?;
    runtime.block_on(journal.close());
    Ok(measured.with_goal(BY_HAND, GOAL))
}

/// Without a tail, beside the bare snapshot: what is looked up in sled and decoded, with no look at the journal. Ours looks
/// there for the event that the snapshot names, and for what has come since.
fn from_snapshots_alone(workshop: &Workshop) -> Result<Measurement, Failure> {
    const BARE: &str = "sled's get + decoding";
    let Workshop { runtime, plan, .. } = workshop;
    let (dir, count) = (workshop.dir()?, plan.cold_instances);
    let journal = journals::open(&dir.path().join("journal"))?;
    let ours = open_snapshots(&dir.path().join("snapshots"))?;
    runtime.block_on(take_snapshots(&journal, &ours, count))?;
    let bare = bare_snapshots(&dir.path().join("bare"), count)?;
    let systems = vec![
        System::new(OURS, |window| {
            repeat(window, count, || {
                runtime.block_on(activate(&journal, Some(&ours), count, SNAPSHOT_VERSION))
            })
        }),
        System::new(BARE, |window| repeat(window, count, || runtime.block_on(decode_bare(&bare, count)))),
    ];
    let measured =
        alternate(format!("activation from a snapshot alone, {CLIENTS} clients"), UNIT, plan, systems)?;
    runtime.block_on(journal.close());
    Ok(measured.with_goal(BARE, GOAL))
}

/// The same bodies, without our envelope, in sled alone.
fn bare_snapshots(dir: &Path, count: usize) -> Result<sled::Db, Failure> {
    let bare = sled::open(dir)?;
    let version = SNAPSHOT_VERSION as u64;
    let body = by_hand_body(&Order { items: 2 * version, total_cents: 2590 * version })?;
    for instance in 0..count {
        bare.insert(stream(instance)?.as_str(), body.as_slice())?;
    }
    Ok(bare)
}

async fn decode_bare(bare: &sled::Db, count: usize) -> Result<Duration, Failure> {
    let bare = bare.clone();
    share(count, SNAPSHOT_VERSION, move |instance| {
        let bare = bare.clone();
        async move {
            let bytes = bare.get(stream(instance)?.as_str())?.ok_or("a snapshot is missing")?;
            let body = CodecId::Bincode.decode::<ByHand>(&bytes)?;
            let order: Order = CodecId::Bincode.decode(&body.state)?;
            std::hint::black_box((&body.time, &body.first, &order));
            Ok(body.latest.back().map_or(Version::NONE, |last| last.version))
        }
    })
    .await
}

/// A store that outlives the nodes that use it, as warm as it is by hand: a node closes its store when it stops.
#[derive(Debug)]
struct Warm(Arc<dyn SnapshotStore>);

impl SnapshotStore for Warm {
    fn load(&self, stream: &StreamId) -> Vec<Snapshot> {
        self.0.load(stream)
    }

    fn load_latest(&self, stream: &StreamId) -> Option<Snapshot> {
        self.0.load_latest(stream)
    }

    fn save(&self, stream: &StreamId, snapshot: &Snapshot) {
        self.0.save(stream, snapshot);
    }

    fn remove(&self, stream: &StreamId) {
        self.0.remove(stream);
    }

    fn close(&self) {}
}

fn open_snapshots(dir: &Path) -> Result<Arc<dyn SnapshotStore>, Failure> {
    Ok(Arc::new(SledSnapshots::open(dir, SnapshotOptions::default())?))
}

async fn node(
    journal: &Arc<dyn Journal>,
    snapshots: Option<&Arc<dyn SnapshotStore>>,
) -> Result<Node, Failure> {
    let mut builder = Node::builder().journal(Arc::clone(journal)).options(journals::options());
    if let Some(snapshots) = snapshots {
        builder = builder.snapshots(Arc::new(Warm(Arc::clone(snapshots))));
    }
    Ok(builder.aggregate::<Order>().start().await?)
}

/// Instances leave their snapshots behind when their node stops.
async fn take_snapshots(
    journal: &Arc<dyn Journal>,
    snapshots: &Arc<dyn SnapshotStore>,
    count: usize,
) -> Result<(), Failure> {
    journals::fill_many(journal, count, SNAPSHOT_VERSION).await?;
    for first in (0..count).step_by(SNAPSHOTS_EACH) {
        let node = node(journal, Some(snapshots)).await?;
        for instance in first..count.min(first + SNAPSHOTS_EACH) {
            node.aggregate::<Order>(instance_id(instance)).state().await?;
        }
        node.shutdown().await;
    }
    for instance in 0..count {
        let kept = snapshots.load(&stream(instance)?);
        if kept.first().is_none_or(|snapshot| snapshot.version != Version(SNAPSHOT_VERSION as u64)) {
            return Err(format!("instance {instance} left no snapshot behind").into());
        }
    }
    Ok(())
}

/// What a snapshot holds beside the state: the commands that appended the last events.
#[derive(Serialize, Deserialize)]
struct Remembered {
    command_id: CommandId,
    hash: u64,
    version: Version,
    events: u32,
    position: Position,
}

/// The same that a snapshot of ours holds, as a service would keep it by hand.
#[derive(Serialize, Deserialize)]
struct ByHand {
    state: Vec<u8>,
    time: Timestamp,
    first: Option<Box<Remembered>>,
    latest: VecDeque<Remembered>,
}

fn by_hand_body(order: &Order) -> Result<Vec<u8>, Failure> {
    let remembered = |number: u64| Remembered {
        command_id: CommandId::generate(),
        hash: number,
        version: Version(number),
        events: 1,
        position: Position(number),
    };
    let body = ByHand {
        state: CodecId::Bincode.encode(order)?,
        time: Timestamp::now(),
        first: Some(Box::new(remembered(1))),
        latest: (1..=SNAPSHOT_VERSION as u64).map(remembered).collect(),
    };
    Ok(CodecId::Bincode.encode(&body)?)
}

/// The same snapshots in a store of their own.
fn plain_snapshots(dir: &Path, count: usize) -> Result<Arc<dyn SnapshotStore>, Failure> {
    let store = open_snapshots(dir)?;
    let version = Version(SNAPSHOT_VERSION as u64);
    let order = Order { items: 2 * version.0, total_cents: 2590 * version.0 };
    let (journal, event_id) = (JournalId::generate(), EventId::generate());
    let state = by_hand_body(&order)?;
    for instance in 0..count {
        let snapshot = Snapshot { journal, version, event_id, fingerprint: 0, state: state.clone() };
        store.save(&stream(instance)?, &snapshot);
    }
    Ok(store)
}

/// Each time with a node of its own, so that nothing is live yet.
async fn activate(
    journal: &Arc<dyn Journal>,
    snapshots: Option<&Arc<dyn SnapshotStore>>,
    count: usize,
    expected: usize,
) -> Result<Duration, Failure> {
    let node = node(journal, snapshots).await?;
    let bring_up = {
        let node = node.clone();
        move |instance| {
            let order = node.aggregate::<Order>(instance_id(instance));
            async move { Ok(order.state().await?.version) }
        }
    };
    let elapsed = share(count, expected, bring_up).await;
    node.shutdown().await;
    elapsed
}

async fn by_hand(
    journal: &Arc<dyn Journal>,
    snapshots: Option<&Arc<dyn SnapshotStore>>,
    count: usize,
    expected: usize,
) -> Result<Duration, Failure> {
    let (journal, snapshots) = (Arc::clone(journal), snapshots.cloned());
    share(count, expected, move |instance| {
        let (journal, snapshots) = (Arc::clone(&journal), snapshots.clone());
        async move { load(&journal, snapshots.as_deref(), &stream(instance)?).await }
    })
    .await
}

async fn load(
    journal: &Arc<dyn Journal>,
    snapshots: Option<&dyn SnapshotStore>,
    stream: &StreamId,
) -> Result<Version, Failure> {
    let snapshot = snapshots.and_then(|store| store.load(stream).into_iter().next());
    let (mut order, mut version) = match snapshot {
        Some(snapshot) => {
            let body = CodecId::Bincode.decode::<ByHand>(&snapshot.state)?;
            std::hint::black_box((&body.time, &body.first, &body.latest));
            (CodecId::Bincode.decode(&body.state)?, snapshot.version)
        }
        None => (Order::default(), Version::NONE),
    };
    let mut events = journal.read_stream(stream, version.next(), Direction::Forward);
    while let Some(event) = events.try_next().await? {
        apply(&mut order, &event)?;
        version = event.version;
    }
    std::hint::black_box(&order);
    Ok(version)
}

/// Shares the instances out among the clients; answers how long they took. Each must come up at the expected version.
async fn share<F>(
    count: usize,
    expected: usize,
    bring_up: impl Fn(usize) -> F + Clone + Send + 'static,
) -> Result<Duration, Failure>
where
    F: Future<Output = Result<Version, Failure>> + Send,
{
    let begin = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let bring_up = bring_up.clone();
        clients.spawn(async move {
            for instance in (client..count).step_by(CLIENTS) {
                let version = bring_up(instance).await?;
                if version != Version(expected as u64) {
                    return Err(format!("version {version} came up, expected was {expected}").into());
                }
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok(begin.elapsed())
}
