//! The one that writes, as a rule on a thread of its own: it takes all that waits, decides it, writes it as one group with one sync, and answers.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use smallvec::SmallVec;

use super::Shared;
use super::format::{self, CLOSING_BYTES, Commit, HEADER_BYTES, Header, Kind, SEAL_BYTES, Seal};
use super::hash::StreamKey;
use super::index::{Index, Staging};
use super::keeper::{Keeping, Next, Spare};
use super::observe::observed;
use super::prepared::{Prepared, PreparedAppend};
use super::queue::{Backlog, Taken};
use super::record::{self, Base, Place};
use super::retention;
use super::segment::{Room, Segment, next_wanted_from, segment_bytes};
use crate::planted::{Fault, once, only, planted, unless};
use crate::{
    AppendError, AppendResult, Appended, Completion, JournalHealth, Position, Retention, Timestamp, Version,
    Vfs, VfsFile,
};

/// The most bytes written with one sync, unless a single batch is larger.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// How often it is looked whether there is space again.
const LOOK_FOR_SPACE_EVERY: Duration = Duration::from_secs(1);
/// The file that it is looked with.
const SPACE_PROBE: &str = "space-probe";

/// Why a group could not be written.
enum Failure {
    /// There is no space for another segment; nothing was written.
    NoSpace(io::Error),
    /// What is on the disk is not known.
    Fatal(AppendError),
}

/// What a turn of the writer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// A group was written, or refused.
    Committed,
    /// Nothing waits.
    Idle,
    /// Nothing waits, and nothing will.
    Closed,
    /// The disk failed, and everybody who waited was told.
    Poisoned,
}

/// The segment that groups are appended to.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    /// Where the next group begins.
    pub(super) end: u64,
    /// How long the file is.
    pub(super) capacity: u64,
}

impl Active {
    /// Whether the last so many bytes were the ones with which the next segment is wanted.
    fn now_wants_next(&self, bytes: usize) -> bool {
        let from = next_wanted_from(self.capacity);
        self.end > from && self.end - bytes as u64 <= from
    }

    fn fits(&self, bytes: usize) -> bool {
        self.end + (bytes + CLOSING_BYTES) as u64 <= self.capacity
    }
}

/// The writer's own state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    keeper: Keeping,
    active: Active,
    /// The last group written.
    group: u64,
    backlog: Backlog,
    /// How many of the backlog's bytes are behind those of its submissions.
    encoded: usize,
    buffer: Vec<u8>,
    staged: Staging,
    answers: Vec<(Completion, AppendResult)>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, keeper: Keeping, active: Active, group: u64) -> Self {
        Self {
            shared,
            keeper,
            active,
            group,
            backlog: Backlog::default(),
            encoded: 0,
            buffer: Vec::new(),
            staged: Staging::default(),
            answers: Vec::new(),
        }
    }

    /// Writes until the journal is closed or poisoned.
    pub(super) fn run(mut self) {
        let _last = LastWords(Arc::clone(&self.shared));
        loop {
            let patience = self.shared.patience();
            if matches!(self.turn(patience), Turn::Closed | Turn::Poisoned) {
                return;
            }
        }
    }

    /// Commits the next group of what was taken off the queue, or of what is taken now when all of that is done.
    fn turn(&mut self, patience: Option<Duration>) -> Turn {
        if self.backlog.submissions.is_empty() {
            match self.shared.queue.take(&mut self.backlog, patience) {
                Taken::Submissions => self.encoded = 0,
                Taken::Nothing => {
                    self.shared.look_for_space();
                    return Turn::Idle;
                }
                Taken::Closed => {
                    self.keeper.finish();
                    return Turn::Closed;
                }
            }
        }
        match self.commit_group() {
            Ok(()) => {
                self.keeper.after_group();
                Turn::Committed
            }
            Err(error) => {
                self.poison(&error);
                self.keeper.finish();
                Turn::Poisoned
            }
        }
    }

    /// Takes submissions off the backlog, as many as go into one group, decides, writes and answers them.
    fn commit_group(&mut self) -> Result<(), AppendError> {
        let (count, bytes) = self.next_group();
        let written = self.write_group(count, bytes);
        self.staged.clear();
        self.buffer.clear();
        self.buffer.shrink_to(2 * GROUP_BYTES_MAX);
        match written {
            Ok(()) => {}
            Err(Failure::NoSpace(source)) => self.refuse(count, source),
            Err(Failure::Fatal(error)) if planted(Fault::FailureForgiven) && !self.answers.is_empty() => {
                self.answers.iter_mut().for_each(|(_, answer)| *answer = Err(error.clone()));
            }
            Err(Failure::Fatal(error)) => return Err(error),
        }
        self.shared.queue.release(bytes);
        self.answer();
        Ok(())
    }

    fn next_group(&self) -> (usize, usize) {
        let mut bytes = 0;
        let count = self.backlog.submissions.iter().take_while(|submission| {
            let may_share = !planted(Fault::BatchInTwoGroups);
            let fits = bytes == 0 || may_share && bytes + submission.bytes <= GROUP_BYTES_MAX;
            bytes += if fits { submission.bytes } else { 0 };
            fits
        });
        (count.count(), bytes)
    }

    fn write_group(&mut self, count: usize, bytes: usize) -> Result<(), Failure> {
        self.shared.still_writes().map_err(Failure::Fatal)?;
        if !self.active.fits(bytes) {
            self.rotate(bytes)?;
        }
        self.decide(count);
        if self.staged.is_empty() {
            return Ok(());
        }
        if planted(Fault::AcknowledgedBeforeSync) {
            self.answer();
        }
        self.write().map_err(|source| self.fatal("appending to", source))?;
        // The keeper may have found meanwhile that the disk fails.
        self.shared.still_writes().map_err(Failure::Fatal)?;
        self.publish();
        let late = only(Fault::ShownBeforeSync, || self.active.segment.file.sync_data());
        late.map_err(|source| self.fatal("appending to", source))
    }

    /// Decides as many submissions, in order, each on top of those before it.
    fn decide(&mut self, count: usize) {
        let shared = Arc::clone(&self.shared);
        let index = shared.index.read();
        self.answers.reserve(count);
        let all = self.backlog.encoded.len();
        let mut encoded = &self.backlog.encoded[self.encoded..];
        for submission in self.backlog.submissions.drain(..count) {
            let (own, rest) = encoded.split_at(submission.batch.encoded_bytes());
            encoded = rest;
            let mut group = Group {
                index: &index,
                staged: &mut self.staged,
                buffer: &mut self.buffer,
                active: &self.active,
                number: self.group + 1,
                base: self.active.segment.base(),
            };
            let batch = &submission.batch;
            let answer = submission.done.decide(batch.lineage.as_ref(), || match submission.invalid {
                Some(error) => Err(*error),
                None => group.decide(batch, own),
            });
            self.answers.push((submission.done, answer));
        }
        self.encoded = all - encoded.len();
        if !self.staged.is_empty() {
            self.append_commit(&index);
        }
    }

    fn append_commit(&mut self, index: &Index) {
        let durable = index.durable.position;
        let commit = Commit {
            group: self.group + 1,
            first: durable.next(),
            count: self.staged.position_count(),
            durable,
        };
        commit.append_to(&mut self.buffer, self.active.segment.seed, self.active.end);
    }

    fn write(&self) -> io::Result<()> {
        let file = &self.active.segment.file;
        let observer = self.shared.options.observer.as_deref();
        let (write, sync) = (|| file.write_all_at(&self.buffer, self.active.end), || sync(&**file));
        observed(observer, self.staged.record_count(), self.buffer.len(), write, sync)
    }

    /// The group is durable: shows it to readers.
    fn publish(&mut self) {
        self.group += 1;
        self.active.end += self.buffer.len() as u64;
        let durable = {
            let mut index = self.shared.index.write();
            index.publish(&mut self.staged, self.active.end, self.group);
            index.durable
        };
        self.shared.bell.grown();
        if self.active.now_wants_next(self.buffer.len()) {
            self.shared.bell.ring();
        }
        self.shared.announce(durable);
        self.shared.recovered();
    }

    /// Goes on in a new segment, which is durable before this one is sealed, and this one before the new is used.
    fn rotate(&mut self, first_group: usize) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        // Until the seal is durable the keeper names no file: behind a segment that is not used yet none may stand.
        let mut ahead = shared.next.lock();
        let (next, capacity) = self.create_next(first_group, &mut ahead)?;
        let ahead = (!planted(Fault::SpareNamedBeforeSeal)).then_some(ahead);
        if let Err(source) = self.seal() {
            let failure = self.fatal("sealing", source);
            if let Failure::Fatal(error) = &failure {
                shared.poison(error);
            }
            return Err(failure);
        }
        drop(ahead);
        let end = HEADER_BYTES as u64;
        {
            let mut index = self.shared.index.write();
            index.seal(self.active.end + SEAL_BYTES as u64);
            index.begin(Arc::clone(&next), end);
        }
        self.active = Active { segment: next, end, capacity };
        self.shared.bell.ring();
        Ok(())
    }

    fn create_next(&self, first_group: usize, next: &mut Next) -> Result<(Arc<Segment>, u64), Failure> {
        let shared = &self.shared;
        let before = &self.active.segment.header;
        let header = Header {
            number: before.number + 1,
            base: shared.index.read().durable.position.next(),
            base_group: self.group,
            salt: new_salt(),
            previous_salt: before.salt,
            journal: before.journal,
            created: Timestamp::now(),
            secret: before.secret,
            generation: 0,
            forked_from: None,
        };
        let bytes = segment_bytes(shared.options.segment_bytes, first_group);
        let made = match next.spare_of(bytes).map_err(|error| self.not_made(error))? {
            Some(Spare { file, bytes }) => {
                let begun = Segment::from_spare(&shared.files.dir, header, file);
                (begun.map_err(|error| self.fatal("making the segment after", error))?, bytes)
            }
            None => {
                // Whoever waits for this segment does not wait until it is filled.
                let room = Room { bytes, filled: 0 };
                let made = Segment::create(&*shared.options.vfs, &shared.files.dir, header, room);
                (made.map_err(|error| self.not_made(error))?, bytes)
            }
        };
        next.number += 1;
        Ok(made)
    }

    fn not_made(&self, error: io::Error) -> Failure {
        match error {
            error if is_no_space(&error) => Failure::NoSpace(error),
            error => self.fatal("making the segment after", error),
        }
    }

    fn seal(&self) -> io::Result<()> {
        let Active { segment, end, .. } = &self.active;
        let seal = {
            let index = self.shared.index.read();
            let part = index.active.as_ref().map(|active| &active.part);
            Seal {
                next: segment.header.number + 1,
                last: index.durable,
                group: self.group,
                count: part.map_or(0, |part| part.records),
                latest: part.map(|part| part.latest).unwrap_or_default(),
            }
        };
        segment.file.write_all_at(&seal.encode(segment.seed, *end), *end)?;
        unless(Fault::SealNotSynced, || segment.file.sync_data())
    }

    fn fatal(&self, what: &str, source: io::Error) -> Failure {
        let file = self.active.segment.path.display();
        let reason = format!("{what} \"{file}\" failed: {source}");
        Failure::Fatal(AppendError::OutcomeUnknown { reason, source: Some(Arc::new(source)) })
    }

    /// There is no space for these submissions, and nothing of them was written.
    fn refuse(&mut self, count: usize, source: io::Error) {
        let error = AppendError::DiskFull { path: self.shared.files.dir.clone(), source: Arc::new(source) };
        self.shared.disk_full(&error);
        let refused = self.backlog.submissions.drain(..count).map(|submission| {
            self.encoded += submission.batch.encoded_bytes();
            let refused = submission.done.decide(submission.batch.lineage.as_ref(), || Err(error.clone()));
            (submission.done, refused)
        });
        self.answers.extend(refused);
    }

    fn answer(&mut self) {
        if planted(Fault::AnswersReversed) {
            self.answers.reverse();
        }
        Completion::complete_each(self.answers.drain(..));
        self.answers.shrink_to(4096);
    }

    /// Ends the writing for good: everybody who waits, and everybody who comes, is told that the outcome is unknown.
    fn poison(&mut self, error: &AppendError) {
        self.shared.poison(error);
        let decided = self.answers.drain(..).map(|(done, _)| done);
        let backlog = self.backlog.submissions.drain(..).map(|submission| submission.done);
        let queued = self.shared.queue.drain().into_iter().map(|submission| submission.done);
        let pending = decided.chain(backlog).chain(queued);
        Completion::complete_each(pending.map(|done| (done, Err(error.clone()))));
    }
}

impl Next {
    /// Takes the file that was made ahead, if there is one, and has it be this long at least.
    fn spare_of(&mut self, bytes: u64) -> io::Result<Option<Spare>> {
        if let Some(spare) = self.spare.as_mut().filter(|spare| spare.bytes < bytes) {
            spare.file.reserve(bytes)?;
            spare.bytes = bytes;
        }
        Ok(self.spare.take())
    }
}

/// Makes a group durable.
fn sync(file: &dyn VfsFile) -> io::Result<()> {
    if planted(Fault::GroupNotSynced) || planted(Fault::ShownBeforeSync) {
        return Ok(());
    }
    once(Fault::FailedSyncTriedAgain, || file.sync_data())
}

/// The writer of a journal whose owner says when it writes ([`Driver::Manual`](super::Driver::Manual)).
pub(super) struct Driven(Mutex<Option<(Writer, LastWords)>>);

impl Driven {
    /// None at all, where the journal has a thread or is only read.
    pub(super) fn nobody() -> Self {
        Self(Mutex::default())
    }

    pub(super) fn by_hand(writer: Writer) -> Self {
        let last = LastWords(Arc::clone(&writer.shared));
        Self(Mutex::new(Some((writer, last))))
    }

    /// Gives the writer its turn; answers whether there was anything for it to do. Where it panics or ends, it is gone.
    pub(super) fn turn(&self) -> bool {
        let mut place = self.0.lock();
        let Some((mut writer, last)) = place.take() else { return false };
        let turn = writer.turn(Some(Duration::ZERO));
        if matches!(turn, Turn::Committed | Turn::Idle) {
            *place = Some((writer, last));
        }
        matches!(turn, Turn::Committed | Turn::Poisoned)
    }
}

/// A group being put together.
struct Group<'a> {
    index: &'a Index,
    staged: &'a mut Staging,
    buffer: &'a mut Vec<u8>,
    active: &'a Active,
    number: u64,
    base: Base,
}

impl Group<'_> {
    fn decide(&mut self, batch: &Prepared, mut encoded: &[u8]) -> AppendResult {
        let staged = |append: &PreparedAppend| self.staged.stream(self.index, &append.stream, append.key);
        let streams: SmallVec<[u32; 4]> = batch.appends.iter().map(staged).collect();
        for (append, stream) in batch.appends.iter().zip(&streams) {
            self.check(append, *stream)?;
        }
        let first = self.staged.next_position(self.index);
        let placed = batch.appends.iter().zip(&streams);
        let versions = placed.map(|(append, stream)| self.put(append, *stream, &mut encoded));
        let versions = versions.collect();
        batch.retention().iter().for_each(|(key, kept)| self.retain(*key, *kept));
        Ok(Appended { first, last: Position(self.staged.next_position(self.index).0 - 1), versions })
    }

    fn check(&self, append: &PreparedAppend, stream: u32) -> Result<(), AppendError> {
        if self.staged.kept(self.index, append.key).is_some_and(|kept| kept.tombstone) {
            return Err(AppendError::StreamGone { stream: append.stream.clone() });
        }
        let actual = self.staged.version(stream);
        if append.expected.allows(actual) || planted(Fault::ExpectationUnchecked) {
            return Ok(());
        }
        Err(AppendError::Conflict { stream: append.stream.clone(), expected: append.expected, actual })
    }

    /// Writes a stream's events, which are first among the encoded ones; answers its version after them.
    fn put(&mut self, append: &PreparedAppend, stream: u32, encoded: &mut &[u8]) -> Version {
        let segment = &self.active.segment;
        for event in &append.events {
            let position = self.staged.next_position(self.index);
            let start = format::begin_frame(self.buffer);
            let offset = self.active.end + start as u64;
            let version = self.staged.record(self.index, stream, offset, event.time);
            let place = Place { position, version, time: event.time };
            record::put(self.buffer, self.base, place, event.split(encoded));
            format::finish_frame(self.buffer, start, Kind::Record, self.number, segment.seed, offset);
        }
        self.staged.version(stream)
    }

    fn retain(&mut self, key: StreamKey, kept: Retention) {
        let kept = kept.after(self.staged.kept(self.index, key));
        let start = format::begin_frame(self.buffer);
        let offset = self.active.end + start as u64;
        self.buffer.extend_from_slice(&retention::kept_bytes(key, kept));
        format::finish_frame(
            self.buffer,
            start,
            Kind::Retention,
            self.number,
            self.active.segment.seed,
            offset,
        );
        self.staged.retain(key, kept);
    }
}

/// Runs when the writer ends, whatever the reason: nobody must wait for a thread that is gone.
pub(super) struct LastWords(Arc<Shared>);

impl Drop for LastWords {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poison(&AppendError::unknown("the journal's writer panicked"));
            drop(self.0.queue.drain());
        }
        self.0.writer_stopped();
    }
}

/// Removes the file that space was looked for with, where there is one.
pub(super) fn remove_space_probe(vfs: &dyn Vfs, dir: &Path) -> io::Result<()> {
    let there = vfs.list(dir)?.iter().any(|name| name == Path::new(SPACE_PROBE));
    if there { vfs.remove(&dir.join(SPACE_PROBE)) } else { Ok(()) }
}

pub(super) fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// A number that no other segment has.
pub(super) fn new_salt() -> u64 {
    loop {
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        let salt = high.rotate_left(32) ^ low;
        // 0 means "none" in the header of the first segment.
        if salt != 0 {
            return salt;
        }
    }
}

impl Shared {
    fn patience(&self) -> Option<Duration> {
        (*self.health.lock() == JournalHealth::DiskFull).then_some(LOOK_FOR_SPACE_EVERY)
    }

    /// Whether there is space again: nobody should have to risk a command to find out, and where nothing is sent to who
    /// is not ready, nobody would.
    fn look_for_space(&self) {
        if *self.health.lock() != JournalHealth::DiskFull {
            return;
        }
        let path = self.files.dir.join(SPACE_PROBE);
        let vfs = &*self.options.vfs;
        let reserved = vfs.create(&path).and_then(|file| file.reserve(self.options.segment_bytes));
        match reserved.and(remove_space_probe(vfs, &self.files.dir)) {
            Ok(()) => self.recovered(),
            Err(error) => tracing::debug!(%error, "still no space for the journal"),
        }
    }

    /// Whether nothing has failed on the disk yet.
    fn still_writes(&self) -> Result<(), AppendError> {
        match &*self.health.lock() {
            JournalHealth::Poisoned { reason } => Err(AppendError::unknown(reason)),
            _ => Ok(()),
        }
    }

    fn disk_full(&self, error: &AppendError) {
        let mut health = self.health.lock();
        if *health == JournalHealth::Healthy {
            tracing::warn!(error = %error, "no space for the journal; appends are refused until there is");
            *health = JournalHealth::DiskFull;
        }
    }

    fn recovered(&self) {
        let mut health = self.health.lock();
        if *health == JournalHealth::DiskFull {
            tracing::info!(dir = %self.files.dir.display(), "there is space for the journal again");
            *health = JournalHealth::Healthy;
        }
    }

    pub(super) fn poison(&self, error: &AppendError) {
        tracing::error!(dir = %self.files.dir.display(), error = %error, "the journal takes no more appends");
        // First, so that whoever is refused finds it there. What is closed stays closed.
        let mut health = self.health.lock();
        if *health != JournalHealth::Closed {
            *health = JournalHealth::Poisoned { reason: error.to_string() };
        }
        drop(health);
        self.queue.close(error.clone());
    }
}
