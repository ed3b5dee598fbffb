//! A node: the aggregates of a service over one journal.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use annals_persistence::{Event, Journal, SnapshotStore, check_type_name};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, Notify, Semaphore};
use tokio::task::JoinHandle;

use crate::kind::{AggregateKind, Kind, KindHandle, ManagedKind};
use crate::metrics::KindMetrics;
use crate::names::CommandNames;
use crate::passivation::sweep;
use crate::registry::Registry;
use crate::replay::Snapshots;
use crate::schemas::{self, AggregateSchemas};
use crate::snapshots::SnapshotWriter;
use crate::supervisor::Supervisor;
use crate::watch::{Wake, Watch, Watched};
use crate::{
    Aggregate, AggregateOptions, AggregateRef, Clock, NodeOptions, Readers, StartError, SystemClock,
};

/// The aggregates of a service over one journal. Cloning is cheap; all clones are the same node.
///
/// When the last clone is dropped the node stops as by [`Node::shutdown`], only that nobody waits for it: handles on its
/// instances do not keep it. Whoever must know that all is answered calls `shutdown`.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    readers: Readers,
    typed: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
    kinds: Vec<Arc<dyn ManagedKind>>,
    running: Mutex<Option<Running>>,
}

/// What has to be stopped, in this order.
struct Running {
    sweepers: Vec<JoinHandle<()>>,
    kinds: Vec<Arc<dyn ManagedKind>>,
    snapshot_writer: Option<SnapshotWriter>,
    watch: Watch,
    supervisor: Supervisor,
}

impl Running {
    async fn stop(&self) {
        self.sweepers.iter().for_each(JoinHandle::abort);
        for kind in &self.kinds {
            kind.drain().await;
        }
        if let Some(writer) = &self.snapshot_writer {
            writer.close().await;
        }
        self.watch.stop();
        self.supervisor.stop().await;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Without a runtime, or with one that ends, nothing of the node runs any more.
        if let (Some(running), Ok(runtime)) = (self.running.get_mut().take(), Handle::try_current()) {
            runtime.spawn(async move { running.stop().await });
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("journal", &self.0.journal).field("kinds", &self.0.kinds).finish()
    }
}

impl Node {
    /// Begins to describe a node.
    pub fn builder() -> NodeBuilder {
        NodeBuilder {
            journal: None,
            snapshots: None,
            snapshots_in_place: false,
            clock: Arc::new(SystemClock),
            options: NodeOptions::default(),
            readers: Readers::default(),
            registrations: Vec::new(),
        }
    }

    /// A handle on an instance.
    pub fn aggregate<A: Aggregate>(&self, id: impl AsRef<str>) -> AggregateRef<A> {
        let kind = self.0.typed.get(&TypeId::of::<A>()).and_then(|kind| kind.downcast_ref::<KindHandle<A>>());
        AggregateRef::of(kind.map(|kind| Arc::clone(&kind.0)), id.as_ref())
    }

    /// The journal under the node.
    #[must_use]
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.0.journal
    }

    /// The node's clock.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// Who reads the node's journal, and has a say in which of its events may go.
    #[must_use]
    pub fn readers(&self) -> &Readers {
        &self.0.readers
    }

    /// An aggregate type by its name.
    #[must_use]
    pub fn kind(&self, type_name: &str) -> Option<Arc<dyn AggregateKind>> {
        self.kinds().into_iter().find(|kind| kind.type_name() == type_name)
    }

    /// Every aggregate type, in the order of registration.
    #[must_use]
    pub fn kinds(&self) -> Vec<Arc<dyn AggregateKind>> {
        self.0.kinds.iter().map(|kind| Arc::clone(kind) as Arc<dyn AggregateKind>).collect()
    }

    /// Brings the gauges of every aggregate type up to date. The node does it itself about twice a second while
    /// instances are live; whoever is about to read the metrics need not wait for that.
    pub fn update_metrics(&self) {
        self.0.kinds.iter().for_each(|kind| drop(kind.load()));
    }

    /// Stops the node: no further command is admitted, those that were are answered, snapshots are written. The
    /// journal stays open; it is its owner's to close.
    pub async fn shutdown(&self) {
        // Whoever asks for it second waits as well; who gives up leaves it to be done.
        let mut running = self.0.running.lock().await;
        if let Some(parts) = &*running {
            parts.stop().await;
        }
        *running = None;
    }
}

type Registration = Box<dyn FnOnce(&Parts) -> Registered + Send>;

/// What every kind is made of.
struct Parts {
    journal: Arc<dyn Journal>,
    snapshots: Option<Arc<dyn SnapshotStore>>,
    snapshot_writer: Option<SnapshotWriter>,
    in_place: bool,
    clock: Arc<dyn Clock>,
    options: NodeOptions,
    readers: Readers,
    supervisor: Supervisor,
    recoveries: Arc<Semaphore>,
    wake: Wake,
}

struct Registered {
    type_id: TypeId,
    typed: Arc<dyn Any + Send + Sync>,
    managed: Arc<dyn ManagedKind>,
    sweeper: JoinHandle<()>,
}

/// Describes a node; [`NodeBuilder::start`] starts it.
#[must_use = "a node starts only with `start`"]
pub struct NodeBuilder {
    journal: Option<Arc<dyn Journal>>,
    snapshots: Option<Arc<dyn SnapshotStore>>,
    snapshots_in_place: bool,
    clock: Arc<dyn Clock>,
    options: NodeOptions,
    readers: Readers,
    registrations: Vec<(AggregateSchemas, Registration)>,
}

impl fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types: Vec<_> = self.registrations.iter().map(|(of, _)| of.aggregate).collect();
        f.debug_struct("NodeBuilder").field("journal", &self.journal).field("aggregates", &types).finish()
    }
}

impl NodeBuilder {
    /// Where the events are; the one thing that a node cannot do without.
    pub fn journal(mut self, journal: Arc<dyn Journal>) -> Self {
        self.journal = Some(journal);
        self
    }

    /// Where snapshots are kept; without it every activation replays from the first event.
    pub fn snapshots(mut self, store: Arc<dyn SnapshotStore>) -> Self {
        self.snapshots = Some(store);
        self
    }

    /// As [`NodeBuilder::snapshots`], without a thread that writes them: each is saved where its state becomes durable,
    /// which is for stores that never wait, and for tests in which one thing comes after the other.
    pub fn snapshots_in_place(mut self, store: Arc<dyn SnapshotStore>) -> Self {
        self.snapshots_in_place = true;
        self.snapshots(store)
    }

    /// Where the time comes from; the machine's clock by default.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Limits and habits.
    pub fn options(mut self, options: NodeOptions) -> Self {
        self.options = options;
        self
    }

    /// Who else reads the journal, and has a say in which of its events may go; those that are told of later too.
    pub fn readers(mut self, readers: Readers) -> Self {
        self.readers = readers;
        self
    }

    /// With this aggregate type.
    pub fn aggregate<A: Aggregate>(self) -> Self {
        self.aggregate_with::<A>(AggregateOptions::default())
    }

    /// With this aggregate type, and habits of its own.
    pub fn aggregate_with<A: Aggregate>(mut self, options: AggregateOptions) -> Self {
        let schemas = AggregateSchemas { aggregate: A::TYPE, schemas: A::Event::SCHEMAS };
        self.registrations.push((schemas, Box::new(move |parts| register::<A>(parts, &options))));
        self
    }

    /// Starts the node. What its events look like is compared with what the journal has on record, and recorded where
    /// it is new.
    ///
    /// # Errors
    /// [`StartError`], before anything runs.
    pub async fn start(self) -> Result<Node, StartError> {
        self.check()?;
        let journal = self.journal.ok_or(StartError::NoJournal)?;
        let known: Vec<_> = self.registrations.iter().map(|(schemas, _)| *schemas).collect();
        schemas::readable_again(&known)?;
        schemas::agree(&journal, self.clock.now(), &known).await?;
        let start = if self.snapshots_in_place { in_place } else { start_writer };
        let snapshot_writer = self.snapshots.clone().and_then(start);
        let parts = Parts {
            journal: Arc::clone(&journal),
            snapshots: self.snapshots.filter(|_| snapshot_writer.is_some()),
            snapshot_writer: snapshot_writer.clone(),
            in_place: self.snapshots_in_place,
            clock: Arc::clone(&self.clock),
            recoveries: Arc::new(Semaphore::new(self.options.recoveries_max.max(1))),
            options: self.options,
            readers: self.readers.clone(),
            supervisor: Supervisor::start(Arc::clone(&self.clock)).await?,
            wake: Wake::default(),
        };
        let registered: Vec<_> =
            self.registrations.into_iter().map(|(_, register)| register(&parts)).collect();
        let (mut typed, mut kinds, mut sweepers) = (HashMap::new(), Vec::new(), Vec::new());
        for one in registered {
            typed.insert(one.type_id, one.typed);
            kinds.push(one.managed);
            sweepers.push(one.sweeper);
        }
        let watch = Watch::start(&kinds, &parts.options, &parts.wake);
        let running =
            Running { sweepers, kinds: kinds.clone(), snapshot_writer, watch, supervisor: parts.supervisor };
        let (clock, readers, running) = (self.clock, self.readers, Mutex::new(Some(running)));
        Ok(Node(Arc::new(Inner { journal, clock, readers, typed, kinds, running })))
    }

    fn check(&self) -> Result<(), StartError> {
        for (at, (AggregateSchemas { aggregate: type_name, .. }, _)) in self.registrations.iter().enumerate()
        {
            check_type_name(type_name)?;
            if self.registrations[..at].iter().any(|(earlier, _)| earlier.aggregate == *type_name) {
                return Err(StartError::DuplicateType { type_name });
            }
        }
        Ok(())
    }
}

/// Starts the snapshot writer; without a thread for it the node does without snapshots.
fn start_writer(store: Arc<dyn SnapshotStore>) -> Option<SnapshotWriter> {
    SnapshotWriter::start(store)
        .inspect_err(
            |error| tracing::error!(%error, "no thread for the snapshot writer; going on without snapshots"),
        )
        .ok()
}

fn in_place(store: Arc<dyn SnapshotStore>) -> Option<SnapshotWriter> {
    Some(SnapshotWriter::in_place(store))
}

fn register<A: Aggregate>(parts: &Parts, options: &AggregateOptions) -> Registered {
    let kind = Arc::new(Kind::<A> {
        journal: Arc::clone(&parts.journal),
        snapshots: parts
            .snapshots
            .clone()
            .and_then(|store| Snapshots::of::<A>(store, parts.options.command_ids_max, parts.in_place)),
        snapshot_writer: parts.snapshot_writer.clone(),
        clock: Arc::clone(&parts.clock),
        options: parts.options.clone(),
        checkpoints: options.checkpoints,
        readers: parts.readers.clone(),
        supervisor: parts.supervisor.clone(),
        recoveries: Arc::clone(&parts.recoveries),
        metrics: KindMetrics::new(A::TYPE),
        names: CommandNames::new(),
        watched: Watched::new(parts.wake.clone()),
        registry: Registry::new(),
        crowded: Notify::new(),
    });
    Registered {
        type_id: TypeId::of::<A>(),
        sweeper: tokio::spawn(sweep(Arc::clone(&kind))),
        typed: Arc::new(KindHandle(Arc::clone(&kind))),
        managed: Arc::new(KindHandle(kind)),
    }
}
