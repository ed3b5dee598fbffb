//! Bringing a state up from its events: the one place where recorded events meet `apply`.

use std::sync::Arc;

use annals_persistence::planted::{Fault, planted};
use annals_persistence::{
    CodecId, Event, EventId, EventView, Journal, JournalExt, ShapeWriter, Snapshot, SnapshotStore, StreamId,
    Timestamp, Version, ViewStream, fingerprint, shape_fingerprint,
};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};

use crate::error::catch;
use crate::loader::{Loader, Wanted};
use crate::memory::CommandMemory;
use crate::{Aggregate, Checkpoint, StateError};

/// How many events are applied before other tasks get a turn.
const TURN_EVENTS: usize = 1024;
/// How many events are read at first from a snapshot on, the one that it names included: as a rule, all there are.
const TAIL_EVENTS: usize = 128;

/// A moment in an instance's past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// After this event.
    Version(Version),
    /// After everything that happened up to and at this time; never between the events of one command.
    Time(Timestamp),
}

impl From<Version> for Moment {
    fn from(version: Version) -> Self {
        Self::Version(version)
    }
}

impl From<Timestamp> for Moment {
    fn from(time: Timestamp) -> Self {
        Self::Time(time)
    }
}

impl Moment {
    fn includes(self, event: &EventView<'_>) -> bool {
        match self {
            Self::Version(version) => event.version <= version,
            Self::Time(time) => event.time <= time,
        }
    }

    /// Of a state that came to be with one event and stood until another, which is not included: the version to tell of
    /// it; `None` when the moment is before it.
    fn within(self, version: Version, time: Timestamp) -> Option<Version> {
        match self {
            Self::Version(wanted) => Some(wanted).filter(|wanted| *wanted >= version),
            Self::Time(wanted) => (wanted >= time).then_some(version),
        }
    }
}

/// A state and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current<A> {
    /// The state.
    pub state: A,
    /// The version it has.
    pub version: Version,
    /// The time of the event that made it so.
    pub time: Timestamp,
}

/// A state with all that an incarnation needs to go on from it.
#[derive(Debug, Clone)]
pub(crate) struct Replayed<A> {
    pub(crate) state: A,
    pub(crate) version: Version,
    pub(crate) time: Timestamp,
    pub(crate) last_event: Option<EventId>,
    pub(crate) memory: CommandMemory,
    /// The version of the snapshot that replay began with.
    pub(crate) snapshot: Version,
    pub(crate) checkpoint: Checkpoints,
    /// The first event that there is nothing to apply to: those in front of it are gone. It and those after it are passed
    /// over until a checkpoint says what they come to.
    pub(crate) gap: Option<Version>,
}

/// Where an instance's last checkpoint is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoints {
    /// Its version; none where there is none.
    pub(crate) at: Version,
    /// The version of the last event in it: nothing but checkpoints has come between.
    of: Version,
}

impl Checkpoints {
    /// With one at this version, directly behind the event before it.
    pub(crate) fn followed_by(self, at: Version) -> Self {
        let before = Version(at.0.saturating_sub(1));
        Self { at, of: self.unchanged_since(before) }
    }

    /// Of an instance at this version, the version that its state has had since its last event.
    pub(crate) fn unchanged_since(self, version: Version) -> Version {
        if self.at == version { self.of } else { version }
    }
}

impl<A: Aggregate> Replayed<A> {
    fn empty() -> Self {
        Self {
            state: A::default(),
            version: Version::NONE,
            time: Timestamp::default(),
            last_event: None,
            memory: CommandMemory::default(),
            snapshot: Version::NONE,
            checkpoint: Checkpoints::default(),
            gap: None,
        }
    }

    async fn apply_pages(mut self, mut pages: ViewStream, replay: &Replay<'_>) -> Result<Self, StateError> {
        while let Some(page) = pages.try_next().await? {
            if !self.apply_page(page.iter(), replay).await? {
                break;
            }
        }
        self.whole(replay)
    }

    /// Unless there is nothing to apply the last events to.
    fn whole(self, replay: &Replay<'_>) -> Result<Self, StateError> {
        match self.gap {
            Some(first) => Err(StateError::NoCheckpoint { stream: replay.stream.to_string(), first }),
            None => Ok(self),
        }
    }

    /// Applies what is wanted; `false` at what came later.
    async fn apply_page(
        &mut self,
        page: impl Iterator<Item = EventView<'_>> + Send,
        replay: &Replay<'_>,
    ) -> Result<bool, StateError> {
        for (nth, event) in page.enumerate() {
            if event.version != self.version.next() {
                if !self.bridge(&event, replay)? {
                    return Ok(false);
                }
            } else if replay.until.is_some_and(|moment| !moment.includes(&event)) {
                return Ok(false);
            } else {
                self.apply(&event, replay)?;
            }
            if nth % TURN_EVENTS == TURN_EVENTS - 1 {
                // A long replay must not starve other instances.
                tokio::task::yield_now().await;
            }
        }
        Ok(true)
    }

    fn apply(&mut self, event: &EventView<'_>, replay: &Replay<'_>) -> Result<(), StateError> {
        if event.is_checkpoint() {
            // What it says is known from the events themselves.
            self.checkpoint = self.checkpoint.followed_by(event.version);
        } else {
            apply_recorded(&mut self.state, replay.stream, event)?;
            self.memory.replay(event, replay.memory_capacity);
        }
        self.is_at(event);
        Ok(())
    }

    fn is_at(&mut self, event: &EventView<'_>) {
        self.version = event.version;
        self.time = event.time;
        self.last_event = Some(event.id);
    }

    /// Goes on behind events that are gone: from a checkpoint, as soon as one comes; `false` when the checkpoint came
    /// later than what is wanted.
    fn bridge(&mut self, event: &EventView<'_>, replay: &Replay<'_>) -> Result<bool, StateError> {
        if !event.is_checkpoint() {
            self.gap.get_or_insert(event.version);
            return Ok(true);
        }
        let stream = || replay.stream.to_string();
        let restored = Checkpoint::restore(event, replay.memory_capacity)
            .map_err(|source| StateError::Checkpoint { stream: stream(), version: event.version, source })?;
        self.state = restored.state;
        self.memory = restored.memory;
        self.checkpoint = Checkpoints { at: event.version, of: restored.version };
        self.gap = None;
        self.is_at(event);
        let Some(moment) = replay.until.filter(|moment| !moment.includes(event)) else { return Ok(true) };
        let available = restored.version;
        let told = moment.within(available, restored.time);
        self.version = told.ok_or_else(|| StateError::Truncated { stream: stream(), available })?;
        self.time = restored.time;
        Ok(false)
    }
}

/// What is replayed, and how far.
struct Replay<'a> {
    stream: &'a StreamId,
    until: Option<Moment>,
    memory_capacity: usize,
}

/// What a snapshot holds: the state in its own bytes, so that they can be made before the rest is known.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotBody {
    #[serde(with = "annals_persistence::as_bytes")]
    pub(crate) state: Vec<u8>,
    pub(crate) time: Timestamp,
    pub(crate) memory: CommandMemory,
    pub(crate) checkpoint: Checkpoints,
}

/// Where an aggregate type's snapshots are, and how to tell its shape from others.
#[derive(Debug, Clone)]
pub(crate) struct Snapshots {
    pub(crate) fingerprint: u64,
    origin: Origin,
}

/// Where snapshots come from.
#[derive(Debug, Clone)]
enum Origin {
    /// A store that never waits for a disk.
    InPlace(Arc<dyn SnapshotStore>),
    /// One that may.
    Beside(Arc<Loader>),
}

impl Snapshots {
    /// None for a state that bincode writes and reads back as another: it has no place for what serde's attributes leave
    /// out.
    pub(crate) fn of<A: Aggregate>(
        store: Arc<dyn SnapshotStore>,
        memory_capacity: usize,
        in_place: bool,
    ) -> Option<Self> {
        const BODY_LAYOUT: u64 = 2;
        let mut shape = ShapeWriter::default();
        A::describe(&mut shape);
        if let Some(attribute) = shape.self_describing() {
            let aggregate = A::TYPE;
            tracing::warn!(
                aggregate,
                attribute,
                "no snapshots are kept of this state: bincode cannot keep it so"
            );
            return None;
        }
        // The aggregate's own shape, ours by its number, and how many commands are remembered: a memory that was
        // cut to another length is not the one that replay would give.
        let memory = (memory_capacity as u64).rotate_left(32);
        let folded = u64::from(A::STATE_VERSION).rotate_left(16);
        let layout = BODY_LAYOUT.rotate_left(56);
        let fingerprint = fingerprint::<A>() ^ layout ^ memory ^ folded ^ reading::<A::Event>();
        let origin = if in_place { Origin::InPlace(store) } else { Origin::Beside(Loader::new(store)) };
        Some(Self { fingerprint, origin })
    }

    /// What is kept of a stream. A store that may wait for a disk does so where no other task waits for it.
    async fn kept(&self, stream: &StreamId, wanted: Wanted) -> Vec<Snapshot> {
        let loaded = match &self.origin {
            Origin::InPlace(store) => return wanted.of(&**store, stream),
            Origin::Beside(loader) => loader.load(stream, wanted).await,
        };
        loaded.unwrap_or_else(|reason| {
            tracing::error!(%stream, reason, "the snapshot store panicked; all events are replayed");
            Vec::new()
        })
    }
}

/// A number for which records can be read, and as what: a state that was folded from records that this release cannot read,
/// or reads as other events, is not the one that replay would give.
fn reading<E: Event>() -> u64 {
    let mut all: Vec<_> = E::SCHEMAS.iter().map(|schema| (schema.name, schema.version)).collect();
    all.sort_unstable();
    let text: String = all.iter().map(|(name, version)| format!("{name} {version};")).collect();
    shape_fingerprint(&text)
}

/// The latest state of an instance, from a snapshot that can be trusted and the events after it.
pub(crate) async fn load<A: Aggregate>(
    journal: &Arc<dyn Journal>,
    snapshots: Option<&Snapshots>,
    stream: &StreamId,
    memory_capacity: usize,
) -> Result<Replayed<A>, StateError> {
    let replay = Replay { stream, until: None, memory_capacity };
    let from_snapshot = match snapshots {
        Some(snapshots) => load_from_any(journal, snapshots, &replay).await?,
        None => None,
    };
    match from_snapshot {
        Some(replayed) => Ok(replayed),
        None => fold(journal, stream, None, memory_capacity).await,
    }
}

/// From the latest snapshot; where there is any doubt about it, from the one before.
async fn load_from_any<A: Aggregate>(
    journal: &Arc<dyn Journal>,
    snapshots: &Snapshots,
    replay: &Replay<'_>,
) -> Result<Option<Replayed<A>>, StateError> {
    let Some(latest) = snapshots.kept(replay.stream, Wanted::Latest).await.pop() else { return Ok(None) };
    if let Some(replayed) = load_undoubted(journal, snapshots, &latest, replay).await? {
        return Ok(Some(replayed));
    }
    for before in snapshots.kept(replay.stream, Wanted::All).await {
        if before != latest
            && let Some(replayed) = load_undoubted(journal, snapshots, &before, replay).await?
        {
            return Ok(Some(replayed));
        }
    }
    Ok(None)
}

/// From a snapshot of this journal and of this shape that nothing else speaks against; `None` from another.
async fn load_undoubted<A: Aggregate>(
    journal: &Arc<dyn Journal>,
    snapshots: &Snapshots,
    snapshot: &Snapshot,
    replay: &Replay<'_>,
) -> Result<Option<Replayed<A>>, StateError> {
    let same_shape = snapshot.fingerprint == snapshots.fingerprint;
    if snapshot.journal != journal.id() || !(same_shape || planted(Fault::SnapshotOfAnotherShape)) {
        return Ok(None);
    }
    match load_from(journal, snapshot, replay).await {
        // A state that an earlier release folded otherwise may be what `apply` cannot stand.
        Err(StateError::ApplyPanicked { .. }) => {
            let (stream, version) = (replay.stream, snapshot.version);
            tracing::warn!(%stream, %version, "a snapshot that `apply` panics behind was discarded");
            Ok(None)
        }
        loaded => loaded,
    }
}

/// Replays from a snapshot; `None` when there is any doubt about it.
async fn load_from<A: Aggregate>(
    journal: &Arc<dyn Journal>,
    snapshot: &Snapshot,
    replay: &Replay<'_>,
) -> Result<Option<Replayed<A>>, StateError> {
    let stream = replay.stream;
    // The event that the snapshot names, and those after it, are read together.
    let page = journal.view_page(stream, snapshot.version, TAIL_EVENTS).await?;
    let names = |event: EventView<'_>| event.version == snapshot.version && event.id == snapshot.event_id;
    if !page.iter().next().is_some_and(names) && !planted(Fault::SnapshotOfAnotherEvent) {
        tracing::warn!(%stream, version = %snapshot.version, "a snapshot of another history was discarded");
        return Ok(None);
    }
    let Some((state, body)) = decode_body::<A>(&snapshot.state) else {
        tracing::warn!(%stream, version = %snapshot.version, "an undecodable snapshot was discarded");
        return Ok(None);
    };
    let mut replayed = Replayed {
        state,
        version: snapshot.version,
        time: body.time,
        last_event: Some(snapshot.event_id),
        memory: if planted(Fault::IdsNotFromSnapshot) { CommandMemory::default() } else { body.memory },
        snapshot: snapshot.version,
        checkpoint: body.checkpoint,
        gap: None,
    };
    replayed.apply_page(page.iter().skip(1), replay).await?;
    match page.next {
        Some(next) => replayed.apply_pages(journal.view_stream(stream, next), replay).await.map(Some),
        None => replayed.whole(replay).map(Some),
    }
}

fn decode_body<A: Aggregate>(bytes: &[u8]) -> Option<(A, SnapshotBody)> {
    let body = CodecId::Bincode.decode::<SnapshotBody>(bytes).ok()?;
    let state = catch(|| CodecId::Bincode.decode(&body.state)).ok()?.ok()?;
    Some((state, body))
}

/// The state at a moment; `None` before the first event and, for a version, above the last.
pub(crate) async fn state_at<A: Aggregate>(
    journal: &Arc<dyn Journal>,
    stream: &StreamId,
    moment: Option<Moment>,
) -> Result<Option<Current<A>>, StateError> {
    if moment == Some(Moment::Version(Version::NONE)) {
        return Ok(None);
    }
    let replayed = fold::<A>(journal, stream, moment, 1).await?;
    let found = replayed.version > Version::NONE
        && !matches!(moment, Some(Moment::Version(version)) if version != replayed.version);
    Ok(found.then_some(Current { state: replayed.state, version: replayed.version, time: replayed.time }))
}

async fn fold<A: Aggregate>(
    journal: &Arc<dyn Journal>,
    stream: &StreamId,
    until: Option<Moment>,
    memory_capacity: usize,
) -> Result<Replayed<A>, StateError> {
    let pages = journal.view_stream(stream, Version(1));
    Replayed::empty().apply_pages(pages, &Replay { stream, until, memory_capacity }).await
}

/// Decodes a recorded event and applies it: as several events or as none, where an upcaster says so. It is one recorded
/// event all the same, and one version.
fn apply_recorded<A: Aggregate>(
    state: &mut A,
    stream: &StreamId,
    recorded: &EventView<'_>,
) -> Result<(), StateError> {
    let stream = || stream.to_string();
    // Decoding may run the author's code too.
    catch(|| {
        let events = recorded.decode::<A::Event>()?;
        events.into_iter().for_each(|event| state.apply(event));
        Ok(())
    })
    .map_err(|message| StateError::ApplyPanicked { stream: stream(), version: recorded.version, message })?
    .map_err(|source| StateError::Event { stream: stream(), version: recorded.version, source })
}
