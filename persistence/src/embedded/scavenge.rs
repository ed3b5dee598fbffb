//! Giving back the space of what is no longer kept: sealed segments are written anew without it, one after the other,
//! beside whatever else goes on. Each takes the place of the old one whole, so stopping anywhere leaves a whole log.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::files::{Files, new_path, remove_if_there};
use super::hash::StreamKey;
use super::index::{Chain, MemoryPart, Sealed, SealedPart, StreamEntry};
use super::recover::part_of;
use super::segment::Segment;
use super::writer::is_no_space;
use super::{Shared, Unread};
use crate::planted::{Fault, off_by, unless};
use crate::{AppendError, JournalHealth, Position, ReadError, Retention, Timestamp, Version};

mod rewrite;

use rewrite::Rewrite;

/// How to scavenge.
#[derive(Debug, Clone)]
pub struct ScavengeOptions {
    /// Only what lies below this position goes, see [`ScavengeOptions::below`].
    pub below: Position,
    /// What ages are counted back from.
    pub now: Timestamp,
    /// How many of a hundred records of a segment must go for it to be written anew; 0 for any.
    pub percent_min: u8,
    /// How much of the time it works, in percent, and leaves the rest to others; 1 to 100.
    pub duty_percent: u8,
}

impl ScavengeOptions {
    /// Only what lies below this position goes, and only segments that lie below it as a whole are written anew. It must
    /// not be above the lowest position that anybody who reads everything (a relay, a subscription, a projection) has
    /// still to come to, or they will never see what went: [`cursors`](crate::cursors) has those that they wrote down.
    #[must_use]
    pub fn below(position: Position) -> Self {
        Self { below: position, now: Timestamp::now(), percent_min: 10, duty_percent: 25 }
    }
}

/// How far scavenging is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScavengeProgress {
    /// Segments looked at.
    pub segments: usize,
    /// Segments in all, but the one that is written to.
    pub segments_total: usize,
    /// Segments written anew.
    pub rewritten: usize,
    /// Records that are gone.
    pub events: u64,
    /// Bytes given back.
    pub bytes: u64,
}

/// Why scavenging ended early. What was done until then stays done.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ScavengeError {
    /// Another scavenging of the same journal is under way.
    #[error("the journal is being scavenged already")]
    UnderWay,
    /// The journal is closed, poisoned, or was opened for reading only.
    #[error("the journal does not take writes: {reason}")]
    NotWritable {
        /// Why not.
        reason: String,
    },
    /// There is no space for the new file beside the old one. Nothing of it was left.
    #[error("no space to write \"{}\" anew", path.display())]
    NoSpace {
        /// The segment.
        path: std::path::PathBuf,
    },
    /// A segment cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The disk failed. The journal takes no more appends until it is opened anew.
    #[error("writing \"{}\" anew failed", path.display())]
    Failed {
        /// The segment.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: Arc<io::Error>,
    },
}

impl ScavengeError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnderWay => "scavenging_under_way",
            Self::NotWritable { .. } => "journal_not_writable",
            Self::NoSpace { .. } => "disk_full",
            Self::Read(error) => error.code(),
            Self::Failed { .. } => "journal_unwritable",
        }
    }
}

/// See [`crate::EmbeddedJournal::scavenge`].
pub(super) fn scavenge(
    shared: &Shared,
    options: &ScavengeOptions,
    mut told: impl FnMut(ScavengeProgress) -> ControlFlow<()>,
) -> Result<ScavengeProgress, ScavengeError> {
    let Some(_one_at_a_time) = shared.scavenging.try_lock() else { return Err(ScavengeError::UnderWay) };
    shared.may_scavenge()?;
    let numbers: Vec<u64> =
        shared.index.read().sealed.iter().map(|sealed| sealed.segment.header.number).collect();
    let mut progress = ScavengeProgress { segments_total: numbers.len(), ..ScavengeProgress::default() };
    let mut scavenging = Scavenging { shared, options, aged: HashMap::new(), known: HashMap::new() };
    for number in numbers {
        if told(progress).is_break() {
            break;
        }
        progress.segments += 1;
        if let Some(Saved { events, bytes }) = scavenging.segment(number)? {
            progress.rewritten += 1;
            progress.events += events;
            progress.bytes += bytes;
        }
    }
    Ok(progress)
}

/// What writing a segment anew gave back.
struct Saved {
    events: u64,
    bytes: u64,
}

/// Scavenging under way.
pub(super) struct Scavenging<'a> {
    shared: &'a Shared,
    options: &'a ScavengeOptions,
    /// Of streams with a bound on age, the first version that is still there.
    aged: HashMap<StreamKey, Version>,
    /// Of the streams of the segment under way, what was known when it was begun: what is set meanwhile is for the next
    /// time, or there would be gaps.
    known: HashMap<StreamKey, Option<(Known, StreamEntry)>>,
}

/// What is known of a stream when one of its records is looked at.
#[derive(Debug, Clone, Copy)]
struct Known {
    kept: Retention,
    last: Version,
}

impl Scavenging<'_> {
    /// Writes a segment anew, if enough of it goes.
    fn segment(&mut self, number: u64) -> Result<Option<Saved>, ScavengeError> {
        self.shared.may_scavenge()?;
        self.known.clear();
        // Asked for anew each time: where its index file has to be mended, it is not settled until that is written.
        let going = self
            .shared
            .mending(|| self.settled(number).map_or_else(|| Ok(Going::default()), |s| self.going(&s)))?;
        let records = going.records.max(1);
        if going.count == 0 || going.count * 100 < u64::from(self.options.percent_min) * records {
            return Ok(None);
        }
        let Some(sealed) = self.settled(number) else { return Ok(None) };
        let path = sealed.segment.path.clone();
        match self.write_anew(&sealed) {
            Err(ScavengeError::Failed { path, source }) => {
                let reason = format!("writing \"{}\" anew failed: {source}", path.display());
                let error = AppendError::OutcomeUnknown { reason, source: Some(Arc::clone(&source)) };
                self.shared.poison(&error);
                Err(ScavengeError::Failed { path, source })
            }
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "a segment was not written anew");
                Err(error)
            }
            Ok(saved) => Ok(Some(saved)),
        }
    }

    /// The segment, if it has its index file and lies below what may go.
    fn settled(&self, number: u64) -> Option<Sealed> {
        let index = self.shared.index.read();
        let at = super::Index::sealed_at(&index.sealed, number)?;
        let next = index.sealed.get(at + 1).map(|next| &next.segment);
        let end = next.or_else(|| index.active.as_ref().map(|active| &active.segment))?.header.base;
        let sealed = &index.sealed[at];
        let is_settled = matches!(sealed.part, SealedPart::File(_)) && end <= self.options.below;
        is_settled.then(|| sealed.clone())
    }

    /// How many records of a segment go.
    fn going(&self, sealed: &Sealed) -> Result<Going, Unread> {
        let mut going = Going::default();
        let SealedPart::File(file) = &sealed.part else { return Ok(going) };
        let mut streams = Vec::new();
        file.each_stream(|stream| streams.push(stream))?;
        for stream in streams {
            going.records += u64::from(stream.count);
            let Some((known, entry)) = self.known(stream.key) else { continue };
            let first = known.kept.first_kept(known.last).0.saturating_sub(1 + stream.before.0);
            let by_version = first.min(u64::from(stream.count));
            let is_aged = known.kept.max_age.is_some_and(|age| self.is_older(stream.last_time, age));
            let last_here = u64::from(entry.version == stream.last());
            let by_age = if is_aged { u64::from(stream.count) - last_here } else { 0 };
            going.count += by_version.max(by_age);
        }
        Ok(going)
    }

    fn is_older(&self, time: Timestamp, age: Duration) -> bool {
        time.plus(age) < self.options.now
    }

    fn known(&self, key: StreamKey) -> Option<(Known, StreamEntry)> {
        let index = self.shared.index.read();
        let (kept, entry) = (index.kept(key)?, *index.streams.get(key)?);
        Some((Known { kept, last: entry.version }, entry))
    }

    /// Whether a record goes. To be asked of all records of a segment, in order.
    pub(super) fn goes(
        &mut self,
        key: StreamKey,
        version: Version,
        time: Timestamp,
    ) -> Result<bool, ReadError> {
        let known = match self.known.get(&key) {
            Some(known) => *known,
            None => {
                let known = self.known(key);
                self.known.insert(key, known);
                known
            }
        };
        let Some((known, entry)) = known else { return Ok(false) };
        let first_kept = known.kept.first_kept(known.last).plus(off_by(Fault::ScavengedTooMuch));
        if version < first_kept {
            if known.kept.max_age.is_some() {
                self.aged.insert(key, version.next());
            }
            return Ok(true);
        }
        let Some(age) = known.kept.max_age else { return Ok(false) };
        if version >= known.last || !self.is_older(time, age) {
            return Ok(false);
        }
        // Only from the front, so that what is left has no gap.
        let first = self.first_there(key, entry)?;
        if version != first {
            return Ok(false);
        }
        self.aged.insert(key, version.next());
        Ok(true)
    }

    fn first_there(&self, key: StreamKey, entry: StreamEntry) -> Result<Version, ReadError> {
        if let Some(first) = self.aged.get(&key) {
            return Ok(*first);
        }
        self.shared.mending(|| {
            let mut chain = Chain::new(&self.shared.index.read(), key, entry.last, 0, 1);
            let mut first = Version::NONE;
            while let Some(stretch) = chain.next()? {
                first = Version(stretch.before + 1);
            }
            Ok(first)
        })
    }

    /// What is kept of the stream now.
    pub(super) fn kept(&self, key: StreamKey) -> Option<Retention> {
        self.shared.index.read().kept(key)
    }

    pub(super) fn key(&self, name: &str) -> StreamKey {
        self.shared.names.key(name)
    }

    /// Gives others their share of the time.
    pub(super) fn rest(&self, since: Instant) {
        let duty = u32::from(self.options.duty_percent.clamp(1, 100));
        if duty < 100 {
            thread::sleep(since.elapsed() * (100 - duty) / duty);
        }
    }

    fn write_anew(&mut self, sealed: &Sealed) -> Result<Saved, ScavengeError> {
        let files = self.shared.files.clone();
        let path = &sealed.segment.path;
        let new = new_path(path);
        let in_vain = |_: &ScavengeError| remove_remains(&files, &new);
        let New { segment, part, end, gone } = self.write_new(sealed, &files, &new).inspect_err(in_vain)?;
        self.shared.may_scavenge().inspect_err(in_vain)?;
        let _nobody_mends = self.shared.rebuilding.lock();
        let renamed = files.vfs.rename(&new, path).map_err(|source| failure(path, source));
        renamed.inspect_err(in_vain)?;
        // From here on it is no matter of space: which of the two files has the name is not known.
        files.vfs.sync_dir(&files.dir).map_err(|source| fatal(path, source))?;
        let index = match files.write_index(&segment, &part) {
            // The keeper writes it when there is space.
            Err(error) if is_no_space(&error) => None,
            written => written.map_err(|source| fatal(path, source))?,
        };
        let anew = Sealed { segment, end, part: SealedPart::Memory(Arc::new(part)) };
        let anew = index.map_or_else(|| anew.clone(), |file| anew.with_file(file));
        self.shared.index.write().replace_sealed(anew);
        Ok(Saved { events: gone, bytes: sealed.end.saturating_sub(end) })
    }

    /// Writes the file that is to take the segment's place.
    fn write_new(
        &mut self,
        sealed: &Sealed,
        files: &Files,
        new: &std::path::Path,
    ) -> Result<New, ScavengeError> {
        let path = &sealed.segment.path;
        let failed = |source| failure(path, source);
        remove_if_there(&*files.vfs, new).map_err(failed)?;
        let file = files.vfs.create(new).map_err(failed)?;
        let mut header = sealed.segment.header.clone();
        header.generation += 1;
        let written = Rewrite::new(self, sealed, &*file, &header).run().map_err(|error| match error {
            rewrite::Stopped::Io(source) => failure(path, source),
            rewrite::Stopped::Read(error) => ScavengeError::Read(error),
        })?;
        unless(Fault::ScavengedNotSynced, || file.sync_data()).map_err(failed)?;
        let segment = Arc::new(Segment::new(path.clone(), header, file));
        // Read back before anything is given up for it.
        let part = part_of(&segment, written.end).map_err(super::read_error)?;
        Ok(New { segment, part, end: written.end, gone: written.gone })
    }
}

/// A segment written anew that has not taken the old one's place yet.
struct New {
    segment: Arc<Segment>,
    part: MemoryPart,
    end: u64,
    /// How many events it has no more.
    gone: u64,
}

/// How many records a segment has, and how many of them go.
#[derive(Debug, Default)]
struct Going {
    records: u64,
    count: u64,
}

fn failure(path: &std::path::Path, source: io::Error) -> ScavengeError {
    if is_no_space(&source) {
        return ScavengeError::NoSpace { path: path.to_owned() };
    }
    fatal(path, source)
}

fn fatal(path: &std::path::Path, source: io::Error) -> ScavengeError {
    ScavengeError::Failed { path: path.to_owned(), source: Arc::new(source) }
}

fn remove_remains(files: &Files, new: &std::path::Path) {
    if let Err(error) = remove_if_there(&*files.vfs, new) {
        tracing::warn!(file = %new.display(), %error, "cannot remove what was written in vain; the next start does");
    }
}

impl Shared {
    fn may_scavenge(&self) -> Result<(), ScavengeError> {
        let reason = match &*self.health.lock() {
            _ if self.options.read_only => "it was opened for reading only".to_owned(),
            JournalHealth::Healthy | JournalHealth::DiskFull => return Ok(()),
            JournalHealth::Poisoned { reason } => reason.clone(),
            JournalHealth::Closed => "it is closed".to_owned(),
        };
        Err(ScavengeError::NotWritable { reason })
    }
}
