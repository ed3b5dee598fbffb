//! The actor of one instance: takes requests from the mailbox, one at a time, and never waits for the disk.
//!
//! ractor gives it its task, its supervisor and its end. What it is to do it learns from the mailbox, on which it waits
//! as long as it lives: a ractor message for every command would cost as much as all that is done for one here.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use annals_persistence::planted::{Fault, planted};
use annals_persistence::{EventId, Timestamp, Version};
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::checkpoint::make;
use crate::decide::{Decision, decide, doubt};
use crate::error::{Failure, with_sources};
use crate::instance::Instance;
use crate::mailbox::{Call, Request};
use crate::memory::CommandMemory;
use crate::replay::{Checkpoints, Replayed, load};
use crate::{Aggregate, StateError};

/// How many requests are handled before the actors beside this one get a turn.
const TURN_REQUESTS: usize = 64;

/// Of how many turns one is measured.
const TURNS_PER_SAMPLE: u32 = 16;

/// An instance that cannot be brought up is tried again after this, doubled with every failure.
const PARKED_MIN: Duration = Duration::from_millis(500);
const PARKED_MAX: Duration = Duration::from_secs(60);

/// What the actor is told when it starts, and nothing after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Serve;

/// A state that decides. It may be ahead of the disk.
#[derive(Debug)]
pub(crate) struct Live<A> {
    pub(crate) state: A,
    pub(crate) version: Version,
    pub(crate) time: Timestamp,
    pub(crate) last_event: Option<EventId>,
    /// The version of the last snapshot taken.
    pub(crate) snapshot: Version,
    pub(crate) checkpoint: Checkpoints,
    /// The version at which the last checkpoint was asked for.
    pub(crate) asked: Version,
    /// The version at which there is something to be done beside commands.
    pub(crate) due: Version,
}

impl<A> Live<A> {
    /// Whether this is the version it has, or one that only checkpoints have come behind: whoever has seen the state then
    /// has seen the state of now.
    pub(crate) fn is_at(&self, version: Version) -> bool {
        version == self.version
            || version < self.version && version >= self.checkpoint.unchanged_since(self.version)
    }
}

struct Parked {
    reason: String,
    code: &'static str,
    until: Timestamp,
    wait: Duration,
}

/// The actor's own state.
pub(crate) struct Worker<A: Aggregate> {
    instance: Arc<Instance<A>>,
    live: Option<Live<A>>,
    parked: Option<Box<Parked>>,
    /// What was taken from the mailbox in this turn; empty between turns, and kept for its room.
    taken: VecDeque<Request<A>>,
    /// Whether the next request waits until what was decided is durable.
    settling: bool,
    /// How many turns there were, modulo 2^32.
    turns: u32,
    /// How many requests were handled since the actors beside this one had their turn.
    since_rest: usize,
}

/// The ractor side of it.
pub(crate) struct InstanceActor<A>(pub(crate) PhantomData<fn() -> A>);

impl<A: Aggregate> Actor for InstanceActor<A> {
    type Msg = Serve;
    type State = Worker<A>;
    type Arguments = Arc<Instance<A>>;

    async fn pre_start(
        &self,
        _myself: ActorRef<Serve>,
        instance: Arc<Instance<A>>,
    ) -> Result<Worker<A>, ActorProcessingErr> {
        Ok(Worker {
            instance,
            live: None,
            parked: None,
            taken: VecDeque::new(),
            settling: false,
            turns: 0,
            since_rest: 0,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Serve>,
        Serve: Serve,
        worker: &mut Worker<A>,
    ) -> Result<(), ActorProcessingErr> {
        while worker.serve().await.is_continue() {}
        // Nothing is in the mailbox any more, and nothing gets into it.
        myself.stop(None);
        Ok(())
    }
}

impl<A: Aggregate> Worker<A> {
    /// Waits for something to do, and does it; breaks off when it has left.
    async fn serve(&mut self) -> ControlFlow<()> {
        match poll_fn(|cx| self.instance.mailbox.poll_call(cx)).await {
            Call::Work => self.work().await,
            Call::Passivate => self.leave_if_idle(),
            Call::Drain => Box::pin(self.drain()).await,
        }
    }

    async fn work(&mut self) -> ControlFlow<()> {
        self.turn().await;
        if self.since_rest >= TURN_REQUESTS {
            // The actors beside this one get their turn.
            self.since_rest = 0;
            tokio::task::yield_now().await;
        }
        match &self.live {
            // An instance without events is not worth an actor; whoever asks again pays next to nothing.
            Some(live) if live.version == Version::NONE => self.leave_if_idle(),
            _ => ControlFlow::Continue(()),
        }
    }

    /// Handles at most [`TURN_REQUESTS`] requests.
    async fn turn(&mut self) {
        if std::mem::take(&mut self.settling) {
            self.instance.commits.idle().await;
        }
        let before = self.instance.last_used.load(Ordering::Relaxed);
        match self.bring_up().await {
            Ok(()) => self.handle_sampled(),
            Err(failure) => self.refuse_waiting(&failure),
        }
        // A parked instance that is asked is in use as well: if it left, it would forget how long it has to wait.
        let last_event = self.live.as_ref().map(|live| live.time).filter(|time| time.0 > before);
        let now = last_event.unwrap_or_else(|| self.instance.kind.clock.now());
        self.instance.last_used.store(now.0, Ordering::Relaxed);
    }

    /// Handles some, and measures now and then how long that takes: asking for the time costs as much as some commands.
    fn handle_sampled(&mut self) {
        let sampled = self.turns.is_multiple_of(TURNS_PER_SAMPLE).then(Instant::now);
        self.turns = self.turns.wrapping_add(1);
        let handled = self.handle_some();
        self.since_rest += handled as usize;
        self.instance.turn.ends();
        if let Some(began) = sampled
            && handled > 0
        {
            self.instance.kind.metrics.handling.record(began.elapsed() / handled);
        }
    }

    /// Answers how many. Nothing here awaits, so no request that was taken can get lost between two polls.
    fn handle_some(&mut self) -> u32 {
        let Self { instance, live: state, taken, settling, .. } = self;
        let mut handled = 0;
        let mut next = instance.mailbox.take(TURN_REQUESTS, taken);
        while let Some(request) = next {
            let Some(live) = state.as_mut().filter(|_| !instance.commits.failed()) else {
                *state = None;
                instance.mailbox.put_back(request, taken);
                return handled;
            };
            instance.turn.begins(request.name(), taken.len() + 1);
            handled += 1;
            match request {
                Request::Command(request) => {
                    if decide(instance, live, request) == Decision::Rebuild {
                        *state = None;
                    }
                }
                Request::Read(request) => instance.commits.answer((request.look)(live)),
                Request::Checkpoint(order) => {
                    // What has just become durable may have failed as well.
                    if !instance.commits.is_idle() || instance.commits.failed() {
                        *settling = true;
                        instance.mailbox.put_back(Request::Checkpoint(order), taken);
                        return handled;
                    }
                    make(instance, live, *order);
                }
            }
            next = taken.pop_front();
        }
        handled
    }

    /// Makes the state live, from the journal where it is not.
    async fn bring_up(&mut self) -> Result<(), Failure> {
        if self.live.is_some() && !self.instance.commits.failed() {
            return Ok(());
        }
        self.live = None;
        self.still_parked()?;
        // Boxed: what replay needs on its way would otherwise be kept room for in every live instance's task.
        Box::pin(self.rebuild()).await
    }

    /// Replays. It begins only when every append of an earlier incarnation is answered.
    async fn rebuild(&mut self) -> Result<(), Failure> {
        self.instance.commits.idle().await;
        match Self::load(Arc::clone(&self.instance)).await {
            Ok(replayed) => {
                self.parked = None;
                self.go_live(replayed);
                Ok(())
            }
            Err(error) => Err(self.park(&error)),
        }
    }

    /// Not a method: a worker holds requests, which no other thread may look at while this one waits.
    async fn load(instance: Arc<Instance<A>>) -> Result<Replayed<A>, StateError> {
        let kind = &instance.kind;
        // The semaphore is never closed; a permit that cannot be had caps nothing.
        let _permit = kind.recoveries.acquire().await.ok();
        load(&kind.journal, kind.snapshots.as_ref(), &instance.stream, kind.options.command_ids_max).await
    }

    fn go_live(&mut self, mut replayed: Replayed<A>) {
        if planted(Fault::IdsLostAtActivation) {
            replayed.memory = CommandMemory::default();
        }
        self.instance.begin(replayed.memory);
        self.instance.kind.metrics.activations.increment(1);
        let mut live = Live {
            state: replayed.state,
            version: replayed.version,
            time: replayed.time,
            last_event: replayed.last_event,
            snapshot: replayed.snapshot,
            checkpoint: replayed.checkpoint,
            asked: Version::NONE,
            due: Version::NONE,
        };
        live.due = self.instance.due(&live);
        self.live = Some(live);
    }

    fn still_parked(&self) -> Result<(), Failure> {
        match &self.parked {
            Some(parked) if self.instance.kind.clock.now() < parked.until => Err(parked.failure()),
            _ => Ok(()),
        }
    }

    fn park(&mut self, error: &StateError) -> Failure {
        let wait = self.parked.as_ref().map_or(PARKED_MIN, |parked| (parked.wait * 2).min(PARKED_MAX));
        let parked = Parked {
            reason: with_sources(error),
            code: error.code(),
            until: self.instance.kind.clock.now().plus(wait),
            wait,
        };
        let (stream, reason) = (&self.instance.stream, &parked.reason);
        tracing::error!(%stream, code = parked.code, reason, "the instance cannot be brought up and is parked");
        self.instance.kind.metrics.parked.increment(1);
        let failure = parked.failure();
        self.parked = Some(Box::new(parked));
        failure
    }

    fn refuse_waiting(&self, failure: &Failure) {
        // What a command repeats may be on a disk that has failed, whatever else keeps the instance down.
        let of_commands = doubt(&self.instance).err();
        while let Some(request) = self.instance.mailbox.next() {
            let own = of_commands.as_ref().filter(|_| matches!(request, Request::Command(_)));
            request.refuse(own.unwrap_or(failure).clone());
        }
    }

    /// Passivates, unless there is something to do or to wait for: a parked instance that left would forget how long it
    /// has to wait, and be replayed again by whoever asks next.
    fn leave_if_idle(&mut self) -> ControlFlow<()> {
        let commits = &self.instance.commits;
        if self.still_parked().is_ok() && self.instance.mailbox.close_if_empty(|| commits.is_idle()) {
            self.leave();
            return ControlFlow::Break(());
        }
        self.instance.kind.registry.stays(&self.instance);
        ControlFlow::Continue(())
    }

    async fn drain(&mut self) -> ControlFlow<()> {
        loop {
            while !self.instance.mailbox.is_empty() {
                self.turn().await;
            }
            let instance = Arc::clone(&self.instance);
            instance.commits.idle().await;
            if instance.mailbox.close_if_empty(|| instance.commits.is_idle()) {
                self.leave();
                return ControlFlow::Break(());
            }
        }
    }

    fn leave(&mut self) {
        if let Some(live) = self.live.take() {
            self.instance.snapshot_on_leaving(&live);
        }
        self.instance.kind.metrics.passivations.increment(1);
        self.instance.kind.remove(&self.instance);
    }
}

impl Parked {
    fn failure(&self) -> Failure {
        Failure::Parked { reason: self.reason.clone(), code: self.code }
    }
}
