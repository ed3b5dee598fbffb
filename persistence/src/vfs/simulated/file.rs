//! A file's content: what is durable, what was changed since, and what a loss of power makes of the two.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::Survival;

/// Something done to a file.
#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    durable: Vec<u8>,
    /// As it reads.
    current: Vec<u8>,
    /// What was done since the last sync, in order.
    unsynced: Vec<Change>,
    /// How many changes there were before these.
    synced: u64,
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes: written } => {
                let start = at(*offset);
                let end = start + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[start..end].copy_from_slice(written);
            }
            Self::SetLen(len) => bytes.resize(at(*len), 0),
        }
    }

    /// The first half of it; a length is changed or not.
    pub(super) fn half(self) -> Self {
        match self {
            Self::Write { offset, mut bytes } => {
                bytes.truncate(bytes.len() / 2);
                Self::Write { offset, bytes }
            }
            whole @ Self::SetLen(_) => whole,
        }
    }

    /// The beginning of it, as far as it was done when the power went.
    fn begun(&self, random: &mut StdRng) -> Option<Self> {
        match self {
            Self::Write { offset, bytes } => {
                let done = random.random_range(0..=bytes.len());
                Some(Self::Write { offset: *offset, bytes: bytes[..done].to_vec() })
            }
            Self::SetLen(_) => random.random::<bool>().then(|| self.clone()),
        }
    }

    /// Its sectors, each a change of its own.
    fn sectors(&self, bytes_each: usize) -> Vec<Self> {
        let Self::Write { offset, bytes } = self else { return vec![self.clone()] };
        let mut sectors = Vec::new();
        let mut from = 0;
        while from < bytes.len() {
            let place = offset + from as u64;
            let rest = bytes_each - at(place) % bytes_each;
            let to = (from + rest).min(bytes.len());
            sectors.push(Self::Write { offset: place, bytes: bytes[from..to].to_vec() });
            from = to;
        }
        sectors
    }
}

/// The disk is in memory, so that every offset is an index.
fn at(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl Content {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.current
    }

    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> usize {
        let rest = self.current.get(at(offset)..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        count
    }

    pub(super) fn change(&mut self, change: Change) {
        change.apply(&mut self.current);
        self.unsynced.push(change);
    }

    /// How many changes there have been.
    pub(super) fn changes(&self) -> u64 {
        self.synced + self.unsynced.len() as u64
    }

    /// Makes as many changes durable, of which other syncs may have made some already.
    pub(super) fn sync(&mut self, changes: u64) {
        let count = at(changes.saturating_sub(self.synced));
        for change in self.unsynced.drain(..count) {
            change.apply(&mut self.durable);
        }
        self.synced += count as u64;
    }

    /// Some of it becomes durable; the rest never will, though it reads well: the system thinks it written.
    pub(super) fn sync_in_vain(&mut self, random: &mut StdRng) {
        self.synced = self.changes();
        for change in self.unsynced.drain(..) {
            if random.random() {
                change.apply(&mut self.durable);
            }
        }
    }

    pub(super) fn spoil(&mut self, change: impl FnOnce(&mut Vec<u8>)) {
        change(&mut self.durable);
        self.current = self.durable.clone();
        self.synced = self.changes();
        self.unsynced.clear();
    }

    /// What is found when there is power again.
    pub(super) fn after_crash(&self, survival: Survival, random: &mut StdRng) -> Self {
        let mut durable = self.durable.clone();
        self.surviving(survival, random).iter().for_each(|change| change.apply(&mut durable));
        Self { current: durable.clone(), durable, ..Self::default() }
    }

    fn surviving(&self, survival: Survival, random: &mut StdRng) -> Vec<Change> {
        match survival {
            Survival::Nothing => Vec::new(),
            Survival::Everything => self.unsynced.clone(),
            Survival::Prefix => {
                let whole = random.random_range(0..=self.unsynced.len());
                let begun = self.unsynced.get(whole).and_then(|change| change.begun(random));
                self.unsynced[..whole].iter().cloned().chain(begun).collect()
            }
            Survival::Sectors(bytes_each) => {
                let all = self.unsynced.iter().flat_map(|change| change.sectors(bytes_each.max(1)));
                let mut kept: Vec<_> = all.filter(|_| random.random()).collect();
                kept.shuffle(random);
                kept
            }
        }
    }
}
