//! Giving back the space of what is no longer kept: sealed segments are written anew without it, one after the other,
//! beside whatever else goes on. Each takes the place of the old one whole, so stopping anywhere leaves a whole log.

use std::collections::{HashMap, HashSet};
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::files::{Files, new_path, remove_if_there};
use super::format::Header;
use super::hash::StreamKey;
use super::index::{Chain, FileStream, IndexFile, Link, MemoryPart, Sealed, SealedPart};
use super::recover::part_of;
use super::segment::Segment;
use super::writer::is_no_space;
use super::{Shared, Unread};
use crate::planted::{Fault, off_by, unless};
use crate::{AppendError, JournalHealth, Position, ReadError, Retention, Timestamp, Version};

mod rewrite;

/// How many streams are forgotten without letting others at the index in between.
const FORGOTTEN_AT_ONCE: usize = 1024;

use rewrite::Rewrite;

/// How to scavenge.
#[derive(Debug, Clone)]
pub struct ScavengeOptions {
    /// Only what lies below this position goes, see [`ScavengeOptions::below`].
    pub below: Position,
    /// The same for what no reader of the order of all events looks at unless it asks for it: streams of which so many
    /// events are kept, or those of a certain age, and those of [`ScavengeOptions::expiring`]. All of them are the
    /// runtime's own. As `below` by default; it may be above.
    pub own_below: Position,
    /// Streams that go as a whole once they are old.
    pub expiring: Vec<ExpiringStreams>,
    /// What ages are counted back from.
    pub now: Timestamp,
    /// How many of a hundred records of a segment must go for it to be written anew; 0 for any.
    pub percent_min: u8,
    /// How much of the time it works, in percent, and leaves the rest to others; 1 to 100.
    pub duty_percent: u8,
    /// What ends it before its end.
    pub stop: ScavengeStop,
}

impl ScavengeOptions {
    /// Only what lies below this position goes, and only segments that lie below it as a whole are written anew. It must
    /// not be above the lowest position that anybody who reads everything (a relay, a subscription, a projection) has
    /// still to come to, or they will never see what went: [`cursors`](crate::cursors) has those that they wrote down.
    #[must_use]
    pub fn below(position: Position) -> Self {
        Self {
            below: position,
            own_below: position,
            expiring: Vec::new(),
            now: Timestamp::now(),
            percent_min: 10,
            duty_percent: 25,
            stop: ScavengeStop::default(),
        }
    }
}

/// Streams of the runtime's own that are of use for a while only, and then go as a whole, as if they had never been: an
/// append that expects no stream finds none. A stream goes when it lies in one segment as a whole and nothing is set of
/// what is to be kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiringStreams {
    /// What the streams' full names begin with. Only those of the runtime's own go, which begin with `$`.
    pub prefix: String,
    /// How old a stream's last event must be.
    pub after: Duration,
}

/// Ends a scavenging under way, within milliseconds. Cloning is cheap; all clones are the same.
#[derive(Debug, Clone, Default)]
pub struct ScavengeStop(Arc<AtomicBool>);

impl ScavengeStop {
    /// Ends it. The segment under way stays as it was.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it is to end.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
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
    /// About how many bytes could go and were left, since they are too few in their segments.
    pub left_bytes: u64,
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
    let mut scavenging = Scavenging::new(shared, options);
    for number in numbers {
        if told(progress).is_break() || options.stop.is_asked() {
            break;
        }
        progress.segments += 1;
        match scavenging.segment(number)? {
            Done::Left { bytes } => progress.left_bytes += bytes,
            Done::Stopped => break,
            Done::Saved { events, bytes } => {
                progress.rewritten += 1;
                progress.events += events;
                progress.bytes += bytes;
            }
        }
    }
    if progress.segments == progress.segments_total {
        shared.garbage.store(progress.left_bytes, Ordering::Relaxed);
    }
    if progress.rewritten > 0 {
        shared.renew_table().map_err(|error| shared.poisoned_by(error))?;
    }
    Ok(progress)
}

/// Segments that have no record of a stream of which not everything is kept, as of when so many were: they need not be
/// looked at again until more are.
#[derive(Debug, Default)]
pub(super) struct CleanSegments {
    retained: usize,
    /// By number and generation.
    pub(super) segments: HashSet<(u64, u64)>,
}

impl CleanSegments {
    /// Whether the segment is one of them, and of that many streams not everything is kept now.
    fn has(&mut self, header: &Header, retained: usize) -> bool {
        if self.retained != retained {
            *self = Self { retained, segments: HashSet::new() };
        }
        self.segments.contains(&(header.number, header.generation))
    }

    fn add(&mut self, header: &Header, retained: usize) {
        if self.retained == retained {
            self.segments.insert((header.number, header.generation));
        }
    }
}

/// What became of a segment.
enum Done {
    /// It was not written anew, though about so many bytes of it could go.
    Left { bytes: u64 },
    /// It was not written to its end.
    Stopped,
    /// It was written anew.
    Saved { events: u64, bytes: u64 },
}

/// Scavenging under way.
pub(super) struct Scavenging<'a> {
    shared: &'a Shared,
    options: &'a ScavengeOptions,
    /// Of streams with a bound on age, the first version that is still there.
    aged: HashMap<StreamKey, Version>,
    /// Those of the streams of the segment under way of which something may go, in order, as they were when it was begun:
    /// what is set meanwhile is for the next time, or there would be gaps.
    known: Vec<Known>,
    /// The streams of the segment under way that go as a whole.
    expired: HashSet<StreamKey>,
    /// Whether of the segment under way only records of the runtime's own streams may go.
    own_only: bool,
}

/// What is known of a stream when one of its records is looked at. There may be as many as a segment has records.
#[derive(Debug, Clone, Copy)]
struct Known {
    key: StreamKey,
    first_kept: Version,
    max_age: Option<Duration>,
    last: Version,
    last_in: Link,
}

impl<'a> Scavenging<'a> {
    fn new(shared: &'a Shared, options: &'a ScavengeOptions) -> Self {
        let (aged, known, expired) = (HashMap::new(), Vec::new(), HashSet::new());
        Self { shared, options, aged, known, expired, own_only: false }
    }

    /// Writes a segment anew, if enough of it goes.
    fn segment(&mut self, number: u64) -> Result<Done, ScavengeError> {
        self.shared.may_scavenge()?;
        let (began, shared) = (Instant::now(), self.shared);
        let retained = shared.index.read().retention().len();
        let header = self.settled(number).map(|sealed| sealed.segment.header.clone());
        if header.as_ref().is_some_and(|header| shared.clean.lock().has(header, retained)) {
            return Ok(Done::Left { bytes: 0 });
        }
        // Asked for anew each time: where its index file has to be mended, it is not settled until that is written.
        let going = shared
            .mending(|| self.settled(number).map_or_else(|| Ok(Going::default()), |s| self.going(&s)))?;
        self.rest(began);
        let Some(sealed) = self.settled(number) else { return Ok(Done::Left { bytes: 0 }) };
        if going.is_clean {
            shared.clean.lock().add(&sealed.segment.header, retained);
        }
        if going.count == 0 || going.count * 100 < u64::from(self.options.percent_min) * going.records {
            let bytes = sealed.end.saturating_mul(going.count) / going.records.max(1);
            return Ok(Done::Left { bytes });
        }
        let path = sealed.segment.path.clone();
        match self.write_anew(&sealed) {
            Err(error @ ScavengeError::Failed { .. }) => Err(self.shared.poisoned_by(error)),
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "a segment was not written anew");
                Err(error)
            }
            Ok(done) => Ok(done),
        }
    }

    /// The segment, if it has its index file and lies below what may go.
    fn settled(&mut self, number: u64) -> Option<Sealed> {
        let index = self.shared.index.read();
        let at = super::Index::sealed_at(&index.sealed, number)?;
        let next = index.sealed.get(at + 1).map(|next| &next.segment);
        let end = next.or_else(|| index.active.as_ref().map(|active| &active.segment))?.header.base;
        let sealed = &index.sealed[at];
        let ScavengeOptions { below, own_below, .. } = *self.options;
        self.own_only = end > below;
        let is_settled = matches!(sealed.part, SealedPart::File(_)) && end <= below.max(own_below);
        is_settled.then(|| sealed.clone())
    }

    /// How many records of a segment go.
    fn going(&mut self, sealed: &Sealed) -> Result<Going, Unread> {
        let mut going = Going::default();
        let SealedPart::File(file) = &sealed.part else { return Ok(going) };
        self.known.clear();
        self.expired.clear();
        let expiring = self.expiring(file)?;
        going.is_clean = expiring.is_empty();
        file.each_stream(|stream| {
            going.records += u64::from(stream.count);
            going.is_clean &= self.kept(stream.key).is_none();
            going.count += match expiring.get(&stream.key) {
                Some(after) if self.expires(stream, sealed, *after) => u64::from(stream.count),
                _ => self.known(stream.key).map_or(0, |known| self.going_of(stream, known)),
            };
        })?;
        Ok(going)
    }

    /// Whether a stream of a segment that is of use for so long goes as a whole; it is noted then.
    fn expires(&mut self, stream: FileStream, sealed: &Sealed, after: Duration) -> bool {
        let expires =
            self.is_older(stream.last_time, after) && self.is_whole(stream.key, sealed.segment.header.number);
        expires && self.expired.insert(stream.key)
    }

    /// About how many of a stream's records in a segment go; what is known of it is noted.
    fn going_of(&mut self, stream: FileStream, known: Known) -> u64 {
        self.known.push(known);
        let first = known.first_kept.0.saturating_sub(1 + stream.before.0);
        let by_version = first.min(u64::from(stream.count));
        let is_aged = known.max_age.is_some_and(|age| self.is_older(stream.last_time, age));
        let last_here = u64::from(known.last == stream.last());
        let by_age = if is_aged { u64::from(stream.count) - last_here } else { 0 };
        by_version.max(by_age)
    }

    /// The streams that begin in a segment and are of use for a while only, with how long that is.
    fn expiring(&self, file: &IndexFile) -> Result<HashMap<StreamKey, Duration>, Unread> {
        let mut expiring = HashMap::new();
        for ExpiringStreams { prefix, after } in &self.options.expiring {
            // The names are in order, so those wanted lie together.
            let (mut low, mut high) = (0, file.name_count());
            while low < high {
                let middle = low + (high - low) / 2;
                if file.name(middle)?.as_str() < prefix.as_str() { low = middle + 1 } else { high = middle }
            }
            for at in low..file.name_count() {
                let name = file.name(at)?;
                if !name.starts_with(prefix.as_str()) || !name.starts_with('$') {
                    break;
                }
                expiring.insert(self.key(&name), *after);
            }
        }
        Ok(expiring)
    }

    /// Whether all there is of a stream is in this segment, and nothing is set of what is kept of it.
    fn is_whole(&self, key: StreamKey, segment: u64) -> bool {
        let index = self.shared.index.read();
        index.kept(key).is_none()
            && index.streams.get(key).is_some_and(|entry| u64::from(entry.last.segment) == segment)
    }

    fn is_older(&self, time: Timestamp, age: Duration) -> bool {
        time.plus(age) < self.options.now
    }

    fn known(&self, key: StreamKey) -> Option<Known> {
        let index = self.shared.index.read();
        let (kept, entry) = (index.kept(key)?, index.streams.get(key)?);
        // Nothing is kept by count or age of an aggregate's stream.
        if self.own_only && kept.max_count.is_none() && kept.max_age.is_none() {
            return None;
        }
        let (last, last_in) = (entry.version, entry.last);
        Some(Known { key, first_kept: kept.first_kept(last), max_age: kept.max_age, last, last_in })
    }

    /// Whether a record goes. To be asked of all records of a segment, in order.
    pub(super) fn goes(
        &mut self,
        key: StreamKey,
        version: Version,
        time: Timestamp,
    ) -> Result<bool, ReadError> {
        if self.expired.contains(&key) {
            return Ok(true);
        }
        let Ok(at) = self.known.binary_search_by_key(&key, |known| known.key) else { return Ok(false) };
        let known = self.known[at];
        if version < known.first_kept.plus(off_by(Fault::ScavengedTooMuch)) {
            if known.max_age.is_some() {
                self.aged.insert(key, version.next());
            }
            return Ok(true);
        }
        let Some(age) = known.max_age else { return Ok(false) };
        if version >= known.last || !self.is_older(time, age) {
            return Ok(false);
        }
        // Only from the front, so that what is left has no gap.
        let first = self.first_there(known)?;
        if version != first {
            return Ok(false);
        }
        self.aged.insert(key, version.next());
        Ok(true)
    }

    fn first_there(&self, Known { key, last_in, .. }: Known) -> Result<Version, ReadError> {
        if let Some(first) = self.aged.get(&key) {
            return Ok(*first);
        }
        self.shared.mending(|| {
            let mut chain = Chain::new(&self.shared.index.read(), key, last_in, 0, 1);
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

    /// Whether the stream is still there when its records are gone.
    pub(super) fn stays(&self, key: StreamKey) -> bool {
        !self.expired.contains(&key) && !self.kept(key).is_some_and(|kept| kept.tombstone)
    }

    /// Whether it is to end before its end.
    pub(super) fn is_stopped(&self) -> bool {
        self.options.stop.is_asked()
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

    fn write_anew(&mut self, sealed: &Sealed) -> Result<Done, ScavengeError> {
        let files = self.shared.files.clone();
        let path = &sealed.segment.path;
        let new = new_path(path);
        let in_vain = |_: &ScavengeError| remove_remains(&files, &new);
        let Some(written) = self.write_new(sealed, &files, &new).inspect_err(in_vain)? else {
            remove_remains(&files, &new);
            return Ok(Done::Stopped);
        };
        let New { segment, part, end, gone } = written;
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
        self.forget_expired(sealed.segment.header.number);
        Ok(Done::Saved { events: gone, bytes: sealed.end.saturating_sub(end) })
    }

    /// Forgets the streams that went as a whole, few at a time: the writer waits meanwhile.
    fn forget_expired(&mut self, segment: u64) {
        let expired: Vec<StreamKey> = self.expired.drain().collect();
        for some in expired.chunks(FORGOTTEN_AT_ONCE) {
            let mut index = self.shared.index.write();
            some.iter().for_each(|key| index.forget(*key, segment));
        }
    }

    /// Writes the file that is to take the segment's place; `None` when it was stopped.
    fn write_new(
        &mut self,
        sealed: &Sealed,
        files: &Files,
        new: &std::path::Path,
    ) -> Result<Option<New>, ScavengeError> {
        let path = &sealed.segment.path;
        let failed = |source| failure(path, source);
        remove_if_there(&*files.vfs, new).map_err(failed)?;
        let file = files.vfs.create(new).map_err(failed)?;
        let mut header = sealed.segment.header.clone();
        header.generation += 1;
        let written = match Rewrite::new(self, sealed, &*file, &header).run() {
            Ok(written) => written,
            Err(rewrite::Stopped::Asked) => return Ok(None),
            Err(rewrite::Stopped::Io(source)) => return Err(failure(path, source)),
            Err(rewrite::Stopped::Read(error)) => return Err(ScavengeError::Read(error)),
        };
        unless(Fault::ScavengedNotSynced, || file.sync_data()).map_err(failed)?;
        let segment = Arc::new(Segment::new(path.clone(), header, file));
        // Read back before anything is given up for it.
        let part = part_of(&segment, written.end).map_err(super::read_error)?;
        Ok(Some(New { segment, part, end: written.end, gone: written.gone }))
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
    /// Whether it has no record of a stream of which not everything is kept.
    is_clean: bool,
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
    /// Writes the table of all streams again behind the last sealed segment: those from before do not count any more.
    fn renew_table(&self) -> Result<(), ScavengeError> {
        let _no_other_is_written = self.rebuilding.lock();
        let last = self.index.read().sealed.last().cloned();
        let Some(Sealed { segment, part: SealedPart::File(_), .. }) = last else { return Ok(()) };
        let written = self.files.write_table(&segment, &self.index).map(drop);
        written.map_err(|source| fatal(&segment.path, source))
    }

    /// A disk that fails here is not trusted with events either.
    fn poisoned_by(&self, error: ScavengeError) -> ScavengeError {
        if let ScavengeError::Failed { path, source } = &error {
            let reason = format!("writing \"{}\" anew failed: {source}", path.display());
            self.poison(&AppendError::OutcomeUnknown { reason, source: Some(Arc::clone(source)) });
        }
        error
    }

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
