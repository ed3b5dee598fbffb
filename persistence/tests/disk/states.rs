//! States of streams: folded from events, kept as snapshots beside the journal on the same disk and in checkpoints, and
//! what must be true of them after whatever happened to the disk.

use std::ops::AddAssign;
use std::sync::Arc;

use annals_persistence::{
    CHECKPOINT_EVENT_TYPE, EventId, FileSnapshotOptions, FileSnapshots, JournalId, NewEvent, RecordedEvent,
    SimVfs, Snapshot, SnapshotStore, StreamId, Version,
};

use crate::support::event;

pub(crate) const SNAPSHOTS: &str = "/snapshots";
/// Room for a few of them, so that old ones go.
const BUDGET_BYTES: u64 = 3000;
/// As long as the states of real aggregates, so that a file has several sectors.
const REPEATED: usize = 40;

/// The store of snapshots on a disk.
pub(crate) fn snapshots(disk: &SimVfs) -> FileSnapshots {
    let options = FileSnapshotOptions { budget_bytes: BUDGET_BYTES, vfs: Arc::new(disk.clone()) };
    FileSnapshots::open(SNAPSHOTS, options).unwrap()
}

/// A state in which every event and its place shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Folded {
    version: u64,
    state: u128,
    last: Option<EventId>,
}

impl Folded {
    pub(crate) fn version(&self) -> Version {
        Version(self.version)
    }

    pub(crate) fn apply(&mut self, id: EventId) {
        self.version += 1;
        self.state = self.state.wrapping_mul(31).wrapping_add(u128::from_be_bytes(*id.as_bytes()));
        self.last = Some(id);
    }

    /// The state behind a stream's first events.
    pub(crate) fn of(ids: &[EventId]) -> Self {
        let mut folded = Self::default();
        ids.iter().for_each(|id| folded.apply(*id));
        folded
    }

    /// The state that these events alone tell, which are read from a stream up to its end: from the first event of all, or
    /// from a checkpoint; `None` where they hold neither.
    pub(crate) fn replayed(read: &[RecordedEvent], case: &str) -> Option<Self> {
        let tells = |event: &RecordedEvent| event.version == Version(1) || is_checkpoint(event);
        let from = read.iter().position(tells)?;
        Some(Self::default().with(&read[from..], case))
    }

    fn with(mut self, tail: &[RecordedEvent], case: &str) -> Self {
        for event in tail {
            if is_checkpoint(event) {
                let held = Self::from_bytes(&event.payload);
                assert!(
                    self.last.is_none() || self == held,
                    "{case}: {event:?} holds {held:?}, not {self:?}"
                );
                self = held;
            }
            self.apply(event.id);
        }
        self
    }

    /// An event that holds this state, so that what is in front of it need not be read.
    pub(crate) fn checkpoint(&self, id: EventId) -> NewEvent {
        event(id, CHECKPOINT_EVENT_TYPE, self.to_bytes())
    }

    /// `None` of a stream without events.
    pub(crate) fn snapshot(&self, journal: JournalId) -> Option<Snapshot> {
        Some(Snapshot {
            journal,
            version: self.version(),
            event_id: self.last?,
            fingerprint: 1,
            state: self.state.to_le_bytes().repeat(REPEATED),
        })
    }

    fn from_snapshot(snapshot: &Snapshot) -> Self {
        let state = u128::from_le_bytes(snapshot.state[..16].try_into().unwrap());
        Self { version: snapshot.version.0, state, last: Some(snapshot.event_id) }
    }

    fn to_bytes(self) -> Vec<u8> {
        let last = self.last.map_or([0; 16], |id| *id.as_bytes());
        [&self.version.to_le_bytes()[..], &self.state.to_le_bytes(), &last].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let (version, rest) = bytes.split_first_chunk().unwrap();
        let (state, last) = rest.split_first_chunk().unwrap();
        let version = u64::from_le_bytes(*version);
        let last = EventId::from_u128(u128::from_be_bytes(last.try_into().unwrap()));
        Self { version, state: u128::from_le_bytes(*state), last: (version > 0).then_some(last) }
    }
}

fn is_checkpoint(event: &RecordedEvent) -> bool {
    &*event.type_name == CHECKPOINT_EVENT_TYPE
}

/// How many snapshots were there, and what the log said of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) snapshots: usize,
    /// Those whose event is no longer kept.
    pub(crate) outlived: usize,
    /// Those that the log does not bear out.
    pub(crate) doubted: usize,
    /// Streams whose state no events tell, but a snapshot and those behind it.
    pub(crate) needed: usize,
}

impl AddAssign for Found {
    fn add_assign(&mut self, other: Self) {
        self.snapshots += other.snapshots;
        self.outlived += other.outlived;
        self.doubted += other.doubted;
        self.needed += other.needed;
    }
}

/// A stream as it is found.
#[derive(Debug)]
pub(crate) struct Stream<'a> {
    pub(crate) journal: JournalId,
    pub(crate) id: &'a StreamId,
    /// All its events, also those that are no longer kept.
    pub(crate) history: &'a [EventId],
    /// What is read of it.
    pub(crate) read: &'a [RecordedEvent],
    /// The first version that must still be there.
    pub(crate) kept_from: Version,
}

impl Stream<'_> {
    /// Holds every state of the stream that can be had against its history: from events alone, and from each snapshot that
    /// its events bear out.
    pub(crate) fn states_hold(&self, store: &FileSnapshots, case: &str) -> Found {
        let case = &format!("{case}: {}", self.id);
        let replayed = Folded::replayed(self.read, case);
        let whole = Folded::of(self.history);
        assert!(
            replayed.is_none_or(|state| state == whole),
            "{case}: {replayed:?} from events, not {whole:?}"
        );
        let is_told = replayed.is_some() || self.read.is_empty();
        assert!(
            is_told || self.id.is_internal(),
            "{case}: neither its first event nor a checkpoint is there"
        );
        let loaded = store.load(self.id);
        assert!(loaded.len() <= 2, "{case}: {loaded:?}");
        let mut found = Found { snapshots: loaded.len(), ..Found::default() };
        for snapshot in &loaded {
            match self.trusts(snapshot) {
                Trust::BorneOut(tail) => {
                    self.is_as_it_was(snapshot, case);
                    let state = Folded::from_snapshot(snapshot).with(tail, case);
                    assert_eq!(state, whole, "{case} from {:?}", snapshot.version);
                    found.needed += usize::from(!is_told);
                }
                Trust::Outlived => {
                    self.is_as_it_was(snapshot, case);
                    found.outlived += 1;
                }
                Trust::Doubted => found.doubted += 1,
            }
        }
        found
    }

    /// What whoever wakes the stream makes of a snapshot.
    fn trusts(&self, snapshot: &Snapshot) -> Trust<'_> {
        let known = self.history.get(usize::try_from(snapshot.version.0).unwrap() - 1);
        let is_known = snapshot.journal == self.journal && known == Some(&snapshot.event_id);
        match self.read.iter().position(|event| event.version == snapshot.version) {
            Some(at) if is_known => Trust::BorneOut(&self.read[at + 1..]),
            None if is_known && snapshot.version < self.kept_from => Trust::Outlived,
            _ => Trust::Doubted,
        }
    }

    fn is_as_it_was(&self, snapshot: &Snapshot, case: &str) {
        let version = usize::try_from(snapshot.version.0).unwrap();
        let then = Folded::of(&self.history[..version]);
        assert_eq!(Folded::from_snapshot(snapshot), then, "{case}: the snapshot at {version}");
    }
}

enum Trust<'a> {
    /// It stands at an event that is there; what comes after it.
    BorneOut(&'a [RecordedEvent]),
    Outlived,
    Doubted,
}
