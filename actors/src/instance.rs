//! One live instance: its mailbox, the answers that wait, and the actor that works on them.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use annals_persistence::planted::{Fault, planted};
use annals_persistence::{
    AppendResult, BINCODE_BYTES_MAX, CodecId, Completes, EventId, Snapshot, StreamId, Timestamp, Version,
};
use ractor::ActorRuntime;

use crate::Aggregate;
use crate::checkpoint::by_policy;
use crate::commits::Commits;
use crate::error::catch;
use crate::kind::Kind;
use crate::mailbox::{Mailbox, Refused, Requests};
use crate::memory::CommandMemory;
use crate::replay::{Checkpoints, SnapshotBody};
use crate::snapshots::Job;
use crate::supervisor::Restart;
use crate::turn::Turn;
use crate::worker::{InstanceActor, Live, Serve};

/// One incarnation of an instance in memory.
///
/// The order of the fields is that of their use: what a command touches lies together. With thousands of live instances
/// hardly anything of one is in the processor's cache when its next command comes, and each line of it costs as much as
/// the command's own work.
#[repr(C)]
pub(crate) struct Instance<A: Aggregate> {
    pub(crate) mailbox: Mailbox<A>,
    pub(crate) commits: Commits<A>,
    /// Whether an append of the state that is live was refused. A new state begins when nothing of the one before is
    /// under way, so one flag serves all of them.
    lineage: AtomicBool,
    /// Whether it was told to make room; kept by the registry, which counts these.
    pub(crate) going: AtomicBool,
    /// When it last handled something, in microseconds; what passivation goes by.
    pub(crate) last_used: AtomicI64,
    /// What its actor is at.
    pub(crate) turn: Turn,
    pub(crate) kind: Arc<Kind<A>>,
    pub(crate) stream: StreamId,
}

impl<A: Aggregate> Instance<A> {
    pub(crate) fn new(kind: &Arc<Kind<A>>, stream: StreamId) -> Arc<Self> {
        Arc::new(Self {
            mailbox: Mailbox::new(),
            commits: Commits::new(kind.options.command_ids_max),
            lineage: AtomicBool::new(false),
            going: AtomicBool::new(false),
            last_used: AtomicI64::new(kind.clock.now().0),
            turn: Turn::default(),
            kind: Arc::clone(kind),
            stream,
        })
    }

    /// Begins anew with the memory of a rebuilt state. Only when nothing is under way.
    pub(crate) fn begin(&self, memory: CommandMemory) {
        self.lineage.store(false, Ordering::Release);
        self.commits.reset(memory);
    }

    /// Starts the actor, after such a wait if it is not the first.
    pub(crate) fn spawn(self: &Arc<Self>, waited: Duration) {
        let spawned = ActorRuntime::<InstanceActor<A>>::spawn_linked_instant(
            None,
            InstanceActor(PhantomData),
            Arc::clone(self),
            self.kind.supervisor.cell(),
        );
        match spawned {
            Ok((actor, _start)) => {
                self.kind.supervisor.watch(actor.get_id(), Arc::downgrade(self) as _, waited);
                // It is its only message: an actor that has ended before it is the supervisor's to replace.
                drop(actor.send_message(Serve));
            }
            // Only a name that is taken can fail a spawn, and instances have no ractor names.
            Err(error) => tracing::error!(stream = %self.stream, %error, "the actor could not be started"),
        }
    }

    /// Admits a request and tells the actor of it. What is decided and waits for the disk counts as well: a disk
    /// that stands still must not let answers pile up without end.
    pub(crate) fn admit<T: Requests<A>>(&self, request: T) -> Result<(), Refused<T>> {
        let capacity = self.kind.options.mailbox_capacity.saturating_sub(self.commits.waiting());
        self.mailbox.admit(request, capacity)
    }

    /// Does what is to be done after so many events, when there are as many.
    pub(crate) fn after_events(&self, live: &mut Live<A>) {
        if live.version >= live.due {
            self.do_due(live);
        }
    }

    #[cold]
    fn do_due(&self, live: &mut Live<A>) {
        if live.version >= self.snapshot_due(live) {
            live.snapshot = live.version;
            self.snapshot(live);
        }
        if let Some((due, keep)) = self.checkpoint_due(live)
            && live.version >= due
        {
            // Asked for, not made: should it come to nothing, it is tried again after as many events.
            live.asked = live.version;
            by_policy(&self.kind, &self.stream, keep);
        }
        live.due = self.due(live);
    }

    /// The version at which there is something to be done.
    pub(crate) fn due(&self, live: &Live<A>) -> Version {
        let snapshot = self.snapshot_due(live);
        self.checkpoint_due(live).map_or(snapshot, |(checkpoint, _)| checkpoint.min(snapshot))
    }

    fn snapshot_due(&self, live: &Live<A>) -> Version {
        Version(live.snapshot.0.saturating_add(self.kind.options.snapshot_every_events))
    }

    fn checkpoint_due(&self, live: &Live<A>) -> Option<(Version, Option<u64>)> {
        let policy = self.kind.checkpoints?;
        let last = live.checkpoint.at.max(live.asked);
        Some((Version(last.0.saturating_add(policy.every_events.get())), policy.keep_events))
    }

    /// Takes a snapshot on passivation, if it is worth one. Everything is durable then.
    pub(crate) fn snapshot_on_leaving(&self, live: &Live<A>) {
        if live.version.0 >= live.snapshot.0 + self.kind.options.snapshot_on_passivation_events {
            self.snapshot(live);
        }
    }

    fn snapshot(&self, live: &Live<A>) {
        if let Some(draft) = self.draft(live) {
            let writer = self.kind.snapshot_writer.clone();
            self.commits.snapshot(Box::new(move |memory| draft.hand_over(writer.as_ref(), memory)));
        }
    }

    fn draft(&self, live: &Live<A>) -> Option<Draft> {
        let fingerprint = self.kind.snapshots.as_ref()?.fingerprint;
        let event_id = live.last_event?;
        match catch(|| CodecId::Bincode.encode(&live.state).map_err(|error| error.to_string())).flatten() {
            Ok(state) => Some(Draft {
                stream: self.stream.clone(),
                journal: self.kind.journal.id(),
                version: live.version,
                time: live.time,
                checkpoint: live.checkpoint,
                event_id,
                fingerprint,
                state,
            }),
            Err(reason) => {
                left_out(&self.stream, &reason);
                None
            }
        }
    }
}

/// Says that a snapshot is none: every activation replays what it would have spared.
fn left_out(stream: &StreamId, reason: &str) {
    metrics::counter!("annals_snapshots_failed_total").increment(1);
    tracing::warn!(%stream, reason, "the state cannot be kept as a snapshot");
}

/// A snapshot that lacks only the memory of commands.
struct Draft {
    stream: StreamId,
    journal: annals_persistence::JournalId,
    version: Version,
    time: Timestamp,
    checkpoint: Checkpoints,
    event_id: EventId,
    fingerprint: u64,
    state: Vec<u8>,
}

impl Draft {
    fn hand_over(self, writer: Option<&crate::snapshots::SnapshotWriter>, memory: CommandMemory) {
        let body = SnapshotBody { state: self.state, time: self.time, memory, checkpoint: self.checkpoint };
        let Some(writer) = writer else { return };
        let state = match CodecId::Bincode.encode(&body) {
            Ok(state) if state.len() <= BINCODE_BYTES_MAX => state,
            Ok(state) => return left_out(&self.stream, &format!("it has {} bytes", state.len())),
            Err(error) => return left_out(&self.stream, &error.to_string()),
        };
        let snapshot = Snapshot {
            journal: self.journal,
            version: self.version,
            event_id: self.event_id,
            fingerprint: self.fingerprint,
            state,
        };
        writer.write(Job { stream: self.stream, snapshot });
    }
}

impl<A: Aggregate> Completes for Instance<A> {
    fn complete(&self, number: u64, result: AppendResult) {
        self.commits.complete(number, result);
    }

    fn complete_all(&self, outcomes: &mut dyn Iterator<Item = (u64, AppendResult)>) {
        self.commits.complete_all(outcomes);
    }

    fn lineage(&self) -> Option<&AtomicBool> {
        Some(&self.lineage).filter(|_| !planted(Fault::LineageNeverEnds))
    }
}

impl<A: Aggregate> Restart for Instance<A> {
    fn stream(&self) -> &StreamId {
        &self.stream
    }

    fn has_left(&self) -> bool {
        self.mailbox.is_closed()
    }

    fn restart(self: Arc<Self>, waited: Duration) {
        self.spawn(waited);
        // The actor before may have taken the word to drain with it.
        if self.kind.registry.is_closed() {
            self.mailbox.drain();
        }
    }
}

#[cfg(test)]
mod tests;
