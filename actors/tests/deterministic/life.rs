//! One life of the node: from opening the journal to the end, however that comes.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::task::Poll;

use annals_actors::{
    AggregateOptions, AggregateRef, Node, NodeBuilder, NodeOptions, StartError, StateError, VirtualClock,
};
use annals_persistence::{
    AppendError, Driver, EmbeddedJournal, EmbeddedOptions, Filter, Journal, JournalExt, JournalHealth,
    OpenError, Position, ReadError, RecordedEvent, ScavengeError, ScavengeOptions, ScavengeProgress, SimVfs,
    StreamId, Version,
};
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

use crate::history::{Answer, Op};
use crate::snapshots::Snapshots;
use crate::tally::Tally;

pub(crate) const DIR: &str = "/journal";

/// More turns than anything needs.
const TURNS_MAX: usize = 20_000;

/// What the seed set for all lives.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) options: NodeOptions,
    pub(crate) aggregate: AggregateOptions,
    pub(crate) segment_bytes: u64,
    /// How many tasks the runtime polls at a stretch.
    pub(crate) polls: u32,
    pub(crate) clock: VirtualClock,
    pub(crate) snapshots: Snapshots,
}

/// Why a life did not begin: the disk failed, or the power went.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotBegun {
    #[error("the journal cannot be opened: {0}")]
    Open(#[from] OpenError),
    #[error("the node does not start: {0}")]
    Start(StartError),
}

impl NotBegun {
    /// Of what a start can fail with, only what the disk does to it may be.
    fn of_start(error: StartError) -> Self {
        match error {
            StartError::SchemasNotRecorded { source } if !matches!(source, AppendError::Conflict { .. }) => {
                Self::Start(StartError::SchemasNotRecorded { source })
            }
            StartError::Read(ReadError::Io { .. }) => Self::Start(error),
            other => panic!("no node starts like this: {other:?}"),
        }
    }
}

pub(crate) struct Life {
    runtime: Runtime,
    node: Node,
    journal: Arc<EmbeddedJournal>,
    answers: Arc<Mutex<Vec<(usize, Answer)>>>,
}

impl Life {
    pub(crate) fn begin(setup: &Setup, disk: &SimVfs) -> Result<Self, NotBegun> {
        let options = EmbeddedOptions {
            segment_bytes: setup.segment_bytes,
            vfs: Arc::new(disk.clone()),
            driver: Driver::Manual,
            ..EmbeddedOptions::default()
        };
        let journal = Arc::new(EmbeddedJournal::open(Path::new(DIR), options)?);
        // Without timers: whoever wants the time has to ask the node's clock.
        let runtime = Builder::new_current_thread().event_interval(setup.polls).build().unwrap();
        let node = Node::builder()
            .journal(Arc::clone(&journal) as _)
            .snapshots_in_place(Arc::new(setup.snapshots.clone()))
            .clock(Arc::new(setup.clock.clone()))
            .options(setup.options.clone())
            .aggregate_with::<Tally>(setup.aggregate.clone());
        match start(&runtime, &journal, node) {
            Ok(node) => Ok(Self { runtime, node, journal, answers: Arc::default() }),
            Err(error) => {
                drop(runtime);
                close_at_once(&journal);
                Err(NotBegun::of_start(error))
            }
        }
    }

    fn instance(&self, instance: usize) -> AggregateRef<Tally> {
        self.node.aggregate(instance.to_string())
    }

    pub(crate) fn send(&self, attempt: usize, op: &Op, expecting: Option<Version>) {
        let instance = self.instance(op.instance);
        let mut request = match &*op.commands {
            [command] => instance.send(*command),
            commands => instance.send_all(commands.to_vec()),
        };
        request = request.command_id(op.id);
        if let Some(version) = expecting {
            request = request.expecting(version);
        }
        let answers = Arc::clone(&self.answers);
        drop(self.runtime.spawn(async move {
            let answer = Answer::to_command(request.await);
            answers.lock().push((attempt, answer));
        }));
    }

    pub(crate) fn read(&self, attempt: usize, instance: usize) {
        let (instance, answers) = (self.instance(instance), Arc::clone(&self.answers));
        drop(self.runtime.spawn(async move {
            let state = instance.state().await.map(|current| (current.version, current.state));
            answers.lock().push((attempt, Answer::to_read(state)));
        }));
    }

    pub(crate) fn checkpoint(&self, attempt: usize, instance: usize, keep: Option<u64>) {
        let mut request = self.instance(instance).checkpoint();
        if let Some(events) = keep {
            request = request.keeping(events);
        }
        let answers = Arc::clone(&self.answers);
        drop(self.runtime.spawn(async move {
            let answer = Answer::to_checkpoint(request.await);
            answers.lock().push((attempt, answer));
        }));
    }

    /// Gives back the space of what is no longer kept, below a position.
    pub(crate) fn scavenge(&self, below: Position) -> Result<ScavengeProgress, ScavengeError> {
        let options = ScavengeOptions { percent_min: 0, duty_percent: 100, ..ScavengeOptions::below(below) };
        self.journal.scavenge(&options, |_| ControlFlow::Continue(()))
    }

    /// Lets the tasks go on for a while.
    pub(crate) fn run(&self, turns: usize) {
        self.runtime.block_on(async {
            for _ in 0..turns {
                yield_now().await;
            }
        });
    }

    /// Has the journal write a group.
    pub(crate) fn drive(&self) -> bool {
        let _inside = self.runtime.enter();
        self.journal.drive()
    }

    /// What was answered since the last time, in order.
    pub(crate) fn hear(&self) -> Vec<(usize, Answer)> {
        std::mem::take(&mut self.answers.lock())
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        matches!(self.journal.health(), JournalHealth::Poisoned { .. })
    }

    /// Every event; reading goes on even where nothing more is appended.
    pub(crate) fn log(&self) -> Vec<RecordedEvent> {
        let journal: Arc<dyn Journal> = Arc::clone(&self.journal) as _;
        let all: Vec<_> =
            self.runtime.block_on(journal.read_all(Position::START, Filter::everything()).collect());
        all.into_iter().map(|event| event.unwrap()).collect()
    }

    /// How far an instance is durable.
    pub(crate) fn version(&self, instance: usize) -> Version {
        let stream = StreamId::aggregate("tally", &instance.to_string()).unwrap();
        let info = self.runtime.block_on(self.journal.stream_info(&stream)).unwrap();
        info.map_or(Version::NONE, |info| info.version)
    }

    /// The state after each of its events, by the same replay that activation uses.
    pub(crate) fn state_at(&self, instance: usize, version: Version) -> Result<Option<Tally>, StateError> {
        let at = self.runtime.block_on(self.instance(instance).state_at(version));
        at.map(|at| at.map(|current| current.state))
    }

    /// Stops as a service does: what was taken is answered first.
    pub(crate) fn stop(&self) {
        let node = self.node.clone();
        let stopping = self.runtime.spawn(async move { node.shutdown().await });
        for _ in 0..TURNS_MAX {
            if stopping.is_finished() {
                // Whoever was answered gets to hear it.
                return self.run(100);
            }
            self.run(1);
            self.drive();
        }
        panic!("the node does not stop");
    }

    pub(crate) fn close(&self) {
        self.runtime.block_on(self.journal.close());
    }

    /// Ends it where it stands: the tasks first, as if the process were killed; then the journal, whose writer goes on
    /// with what it was given, as its thread would.
    pub(crate) fn end(self) {
        let Self { runtime, node, journal, answers: _ } = self;
        drop((runtime, node));
        // Instances that are live hold their node, and it the journal, so that it is not enough to let go of it.
        close_at_once(&journal);
    }
}

/// Starts the node, which on its first start writes down how the events look, so that the journal has to be driven.
fn start(runtime: &Runtime, journal: &EmbeddedJournal, node: NodeBuilder) -> Result<Node, StartError> {
    let mut start = Box::pin(node.start());
    runtime.block_on(std::future::poll_fn(|cx| {
        loop {
            match start.as_mut().poll(cx) {
                Poll::Pending if journal.drive() => {}
                polled => return polled,
            }
        }
    }))
}

fn close_at_once(journal: &EmbeddedJournal) {
    journal.close().now_or_never().expect("a journal without a thread closes at once");
}
