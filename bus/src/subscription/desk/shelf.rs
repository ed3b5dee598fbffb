//! Which early events are kept in the journal, which are to be, and what their stream still has of others.

use std::collections::{BTreeMap, VecDeque};

use annals_persistence::Version;
use annals_persistence::planted::{Fault, planted};

use crate::identity::KeyMap;
use crate::inbox::{Early, Restored, Writing};

/// How many records of events that are done with the stream may have beyond as many as there are others.
const SLACK_RECORDS: usize = 256;
/// The same in bytes.
const SLACK_BYTES: usize = 1 << 20;
/// How many events are written at a time at the most.
const WRITE_RECORDS: usize = 256;
/// How many bytes those have, unless it is one event.
const WRITE_BYTES: usize = 4 << 20;

/// How much may be kept.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Room {
    pub(in super::super) events: usize,
    pub(in super::super) bytes: usize,
}

/// An event that is in the journal and waits, or runs.
struct Kept {
    early: Early,
    version: Version,
    /// How often it could not be handled.
    failures: u32,
}

/// What the stream has at a version.
#[derive(Clone, Copy)]
struct Record {
    weight: usize,
    /// The event that waits and stands here.
    event: Option<u128>,
}

pub(super) struct Shelf {
    room: Room,
    kept: KeyMap<u128, Kept>,
    /// To be written when the write under way is answered.
    wanted: VecDeque<Early>,
    /// What is wanted or being written, by its weight.
    claimed: KeyMap<u128, usize>,
    is_writing: bool,
    /// All records that the stream has.
    records: BTreeMap<Version, Record>,
    /// What all of them take, and what those take that are needed.
    weights: (usize, usize),
    claimed_weight: usize,
    last: Version,
    /// Whether somebody else has written to the stream: then nothing of it is given up before it is read anew.
    is_shared: bool,
    /// Whether all that is not needed is to be given up.
    thorough: bool,
    /// How many events are written at a time: fewer after a failure, so that one that no journal takes does not keep others
    /// from it.
    together: usize,
    /// After a failure, how many records there must be that are not needed before it is tried again.
    patience: usize,
}

impl Shelf {
    pub(super) fn new(room: Room) -> Self {
        Self {
            room,
            kept: KeyMap::default(),
            wanted: VecDeque::new(),
            claimed: KeyMap::default(),
            is_writing: false,
            records: BTreeMap::new(),
            weights: (0, 0),
            claimed_weight: 0,
            last: Version::NONE,
            is_shared: false,
            thorough: false,
            together: WRITE_RECORDS,
            patience: 0,
        }
    }

    /// Takes note of what was read back; answers what waits, in the order in which it was kept.
    pub(super) fn restore(&mut self, restored: Restored) -> Vec<Early> {
        let mut waits = Vec::new();
        for (version, weight, early) in restored.records {
            self.note(version, weight);
            if let Some(early) = early {
                // One that was written twice counts where it stands last.
                self.hold(version, early.clone());
                waits.push((version, early));
            }
        }
        waits.retain(|(version, early)| {
            self.kept.get(&early.event()).is_some_and(|it| it.version == *version)
        });
        waits.into_iter().map(|(_, early)| early).collect()
    }

    /// How many events are kept.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Whether the event is in the journal and not done with.
    pub(super) fn holds(&self, event: u128) -> bool {
        self.kept.contains_key(&event)
    }

    /// Whether it is, or will be unless the write fails.
    pub(super) fn has(&self, event: u128) -> bool {
        self.holds(event) || self.claimed.contains_key(&event)
    }

    /// Takes an event to be written down; whether there is room for it.
    pub(super) fn claim(&mut self, early: Early) -> bool {
        let (event, weight) = (early.event(), early.weight());
        let events = self.kept.len() + self.claimed.len();
        let bytes = self.weights.1 + self.claimed_weight;
        if events >= self.room.events || bytes + weight > self.room.bytes {
            return false;
        }
        self.claimed.insert(event, weight);
        self.claimed_weight += weight;
        self.wanted.push_back(early);
        true
    }

    fn unclaim(&mut self, event: u128) {
        self.claimed_weight -= self.claimed.remove(&event).unwrap_or(0);
    }

    /// Writes down nothing more of what it was to.
    pub(super) fn refuse(&mut self) {
        for early in std::mem::take(&mut self.wanted) {
            self.unclaim(early.event());
        }
    }

    /// The next write, where there is something to write and nothing being written. What does not wait any more need not
    /// be.
    pub(super) fn due(&mut self, waits: impl Fn(&Early) -> bool) -> Option<Writing> {
        if self.is_writing {
            return None;
        }
        let writing = if self.has_surplus() { self.tidying() } else { self.keeping(waits)? };
        self.is_writing = true;
        Some(writing)
    }

    fn keeping(&mut self, waits: impl Fn(&Early) -> bool) -> Option<Writing> {
        let (mut events, mut bytes) = (Vec::new(), 0);
        while let Some(early) = self.wanted.pop_front() {
            if !waits(&early) {
                self.unclaim(early.event());
                continue;
            }
            bytes += early.weight();
            if events.len() >= self.together || (bytes > WRITE_BYTES && !events.is_empty()) {
                self.wanted.push_front(early);
                break;
            }
            events.push(early);
        }
        (!events.is_empty()).then_some(Writing { events, truncate_before: None })
    }

    fn unneeded(&self) -> usize {
        self.records.len().saturating_sub(self.kept.len())
    }

    /// Whether the stream has much that nobody needs. Its last record stays, whatever is given up.
    fn has_surplus(&self) -> bool {
        let (all, needed) = self.weights;
        let unneeded = self.unneeded();
        let is_much = self.thorough
            || unneeded > self.kept.len() + SLACK_RECORDS
            || all.saturating_sub(needed) > needed + SLACK_BYTES;
        is_much
            && !self.is_shared
            && unneeded > usize::from(self.kept.is_empty())
            && unneeded >= self.patience
    }

    /// Gives up the oldest records, and has those of them written once more that are needed.
    fn tidying(&mut self) -> Writing {
        self.thorough = false;
        let mut until = if self.kept.is_empty() { self.last } else { self.last.next() };
        let (mut events, mut bytes) = (Vec::new(), 0);
        for (version, record) in &self.records {
            let Some(kept) = record.event.and_then(|event| self.kept.get(&event)) else { continue };
            if planted(Fault::KeptNotCarried) {
                continue;
            }
            bytes += record.weight;
            if events.len() >= self.together || (bytes > WRITE_BYTES && !events.is_empty()) {
                until = *version;
                break;
            }
            events.push(kept.early.clone());
        }
        Writing { events, truncate_before: Some(until) }
    }

    /// Has all given up that nobody needs.
    pub(super) fn tidy(&mut self) {
        self.thorough = true;
    }

    /// Takes note that it is durable up to this version; answers where each event of it stands.
    pub(super) fn written(&mut self, writing: Writing, last: Version) -> Vec<(Version, Early)> {
        self.is_writing = false;
        self.together = (2 * self.together).min(WRITE_RECORDS);
        let first = Version((last.0 + 1).saturating_sub(writing.events.len() as u64));
        self.is_shared |= !writing.events.is_empty() && first != self.last.next();
        let mut places = Vec::new();
        for (early, version) in writing.events.into_iter().zip(first.0..) {
            self.note(Version(version), early.weight());
            places.push((Version(version), early));
        }
        let Some(until) = writing.truncate_before else { return places };
        self.patience = 0;
        for (version, early) in places {
            // What was done with meanwhile is needed no more.
            if self.holds(early.event()) {
                self.hold(version, early);
            }
        }
        self.forget_before(until);
        Vec::new()
    }

    /// Takes note that nothing of it was written; answers the events that it was to keep.
    pub(super) fn not_written(&mut self, writing: Writing) -> Vec<Early> {
        self.is_writing = false;
        self.together = (writing.events.len() / 2).max(1);
        if writing.truncate_before.is_some() {
            self.patience = self.unneeded() + SLACK_RECORDS;
            return Vec::new();
        }
        writing.events.iter().for_each(|early| self.unclaim(early.event()));
        writing.events
    }

    fn note(&mut self, version: Version, weight: usize) {
        self.last = version;
        self.weights.0 += weight;
        self.records.insert(version, Record { weight, event: None });
    }

    fn forget_before(&mut self, until: Version) {
        let kept = self.records.split_off(&until);
        let given_up = std::mem::replace(&mut self.records, kept);
        self.weights.0 -= given_up.values().map(|record| record.weight).sum::<usize>();
    }

    /// The event waits, and stands at this version.
    pub(super) fn hold(&mut self, version: Version, early: Early) {
        let event = early.event();
        self.unclaim(event);
        let failures = self.release(event).map_or(0, |before| before.failures);
        if let Some(record) = self.records.get_mut(&version) {
            record.event = Some(event);
            self.weights.1 += record.weight;
        }
        self.kept.insert(event, Kept { early, version, failures });
    }

    /// The event does not wait, though it is written down.
    pub(super) fn leave(&mut self, event: u128) {
        self.unclaim(event);
    }

    /// The event is done with.
    pub(super) fn done(&mut self, event: u128) {
        if !self.kept.is_empty() {
            self.release(event);
        }
    }

    fn release(&mut self, event: u128) -> Option<Kept> {
        let kept = self.kept.remove(&event)?;
        if let Some(record) = self.records.get_mut(&kept.version) {
            record.event = None;
            self.weights.1 -= record.weight;
        }
        Some(kept)
    }

    /// Takes note that an event could not be handled; answers how often that was.
    pub(super) fn fail(&mut self, event: u128) -> u32 {
        let Some(kept) = self.kept.get_mut(&event) else { return 1 };
        kept.failures = kept.failures.saturating_add(1);
        kept.failures
    }

    /// How many records the stream has.
    #[cfg(test)]
    pub(super) fn records(&self) -> usize {
        self.records.len()
    }
}
