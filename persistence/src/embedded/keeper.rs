//! What is done beside the writing, so that writing never waits for it: the next segment is made ahead, index files and
//! tables are written, what a sealed segment did not use is given back, and how far the log goes is noted.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::Shared;
use super::files::{Files, remove_if_there};
use super::index::{Index, Sealed, SealedPart};
use super::open::trim;
use super::segment::{SPARE, Segment, fill_while, name_spare, next_wanted_from};
use super::watermark::{Mark, Watermark};
use super::writer::is_no_space;
use crate::planted::{Fault, off_by};
use crate::vfs::step_back;
use crate::{AppendError, JournalHealth, VfsFile};

/// How often it is noted how far the log goes, while it grows.
const MARK_EVERY: Duration = Duration::from_secs(1);
/// The longest pause between two pieces of a segment that is filled.
const REST_MAX: Duration = Duration::from_millis(50);
/// A table is written when as many streams were touched since the last as it has, and one for so many bytes of a segment:
/// fewer are read from the index files as fast.
const BYTES_PER_STREAM: u64 = 16 * 1024;

/// The segment behind the active one.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) number: u64,
    /// Its file, once it is made and has its name.
    pub(super) spare: Option<Spare>,
}

/// A file with its space reserved and, as a rule, filled with zeros, to be the next segment.
#[derive(Debug)]
pub(super) struct Spare {
    pub(super) file: Box<dyn VfsFile>,
    pub(super) bytes: u64,
}

/// How the writer tells the keeper that there is something to do.
#[derive(Debug, Default)]
pub(super) struct Bell {
    state: Mutex<Rung>,
    heard: Condvar,
    /// Whether anything was written since the last mark.
    grown: AtomicBool,
}

#[derive(Debug, Default)]
struct Rung {
    work: bool,
    finish: bool,
}

impl Bell {
    /// There is work.
    pub(super) fn ring(&self) {
        self.state.lock().work = true;
        self.heard.notify_one();
    }

    /// The log has grown.
    pub(super) fn grown(&self) {
        if !self.grown.load(Ordering::Relaxed) && !self.grown.swap(true, Ordering::Relaxed) {
            self.ring();
        }
    }

    /// Waits this long, unless there will be no more.
    fn rest(&self, time: Duration) {
        let (mut state, until) = (self.state.lock(), Instant::now() + time);
        while !state.finish && !self.heard.wait_until(&mut state, until).timed_out() {}
    }

    /// Whether there will be no more.
    fn is_last(&self) -> bool {
        self.state.lock().finish
    }

    /// There will be no more.
    fn finish(&self) {
        self.state.lock().finish = true;
        self.heard.notify_one();
    }

    /// Waits for work, or for the time; `false` at the end.
    fn wait(&self, until: Option<Instant>) -> bool {
        let mut state = self.state.lock();
        while !state.work && !state.finish {
            match until {
                None => self.heard.wait(&mut state),
                Some(until) if self.heard.wait_until(&mut state, until).timed_out() => break,
                Some(_) => {}
            }
        }
        state.work = false;
        !state.finish
    }
}

/// Does what is done beside the writing.
pub(super) struct Keeper {
    shared: Arc<Shared>,
    files: Files,
    watermark: Watermark,
    /// Streams touched since the last table.
    touched: usize,
    /// Whether it leaves the disk to the writer between two pieces of what takes long.
    paced: bool,
}

/// The keeper's thread.
pub(super) struct KeeperThread {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

/// Who keeps.
pub(super) enum Keeping {
    /// A thread of its own.
    Thread(KeeperThread),
    /// Whoever drives the writer.
    Own(Box<Keeper>),
}

impl Keeping {
    /// A group was committed.
    pub(super) fn after_group(&mut self) {
        if let Self::Own(keeper) = self {
            keeper.work();
            keeper.mark();
        }
    }

    /// There will be no more.
    pub(super) fn finish(&mut self) {
        match self {
            Self::Thread(thread) => thread.finish(),
            Self::Own(_) => self.after_group(),
        }
    }
}

impl Keeper {
    /// A keeper of a log in which as many streams were touched since its last table.
    pub(super) fn new(shared: Arc<Shared>, watermark: Watermark, touched: usize) -> Self {
        let files = shared.files.clone();
        Self { shared, files, watermark, touched, paced: false }
    }

    pub(super) fn start(mut self) -> io::Result<KeeperThread> {
        let shared = Arc::clone(&self.shared);
        self.paced = true;
        let thread = thread::Builder::new().name("annals-keeper".into()).spawn(move || self.run())?;
        Ok(KeeperThread { shared, thread: Some(thread) })
    }

    fn run(mut self) {
        // An index file that is put together keeps a processor busy for longer than many groups take.
        step_back();
        // Nothing else notices when index files are written no more, and every start takes longer.
        let _last = LastWords(Arc::clone(&self.shared));
        let mut next_mark = None;
        loop {
            let goes_on = self.shared.bell.wait(next_mark);
            self.work();
            let now = Instant::now();
            if !goes_on || next_mark.is_some_and(|at| at <= now) {
                self.mark();
                next_mark = None;
            } else if self.shared.bell.grown.load(Ordering::Relaxed) {
                next_mark = next_mark.or(Some(now + MARK_EVERY));
            }
            if !goes_on {
                return;
            }
        }
    }

    /// Does all there is to do but the mark.
    fn work(&mut self) {
        let done = self.settle().and_then(|()| self.spare());
        self.poison_if_failed(done);
    }

    /// Notes how far the log goes.
    fn mark(&mut self) {
        if !self.may_write() {
            return;
        }
        // Cleared first: what is written from here on is for the next mark.
        self.shared.bell.grown.store(false, Ordering::Relaxed);
        let mark = self.shared.mark();
        match self.watermark.write(mark) {
            // The next one is tried again.
            Err(error) if is_no_space(&error) => {
                tracing::debug!(%error, "no space to note how far the log goes")
            }
            marked => self.poison_if_failed(marked),
        }
    }

    fn may_write(&self) -> bool {
        matches!(*self.shared.health.lock(), JournalHealth::Healthy | JournalHealth::DiskFull)
    }

    /// A disk that fails here is not trusted with events either.
    fn poison_if_failed(&self, done: io::Result<()>) {
        if let Err(source) = done {
            let reason =
                format!("writing beside the log in \"{}\" failed: {source}", self.files.dir.display());
            let error = AppendError::OutcomeUnknown { reason, source: Some(Arc::new(source)) };
            self.shared.poison(&error);
        }
    }

    /// Writes the index files of the segments that were sealed.
    fn settle(&mut self) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        while self.may_write() {
            let _one_at_a_time = shared.rebuilding.lock();
            let Some(sealed) = first_in_memory(&self.shared.index.read()) else { break };
            let SealedPart::Memory(part) = &sealed.part else { break };
            trim(&sealed.segment, sealed.end)?;
            let Some(file) = self.files.write_index(&sealed.segment, part)? else { break };
            self.touched += part.streams.len();
            self.write_table(&sealed)?;
            self.shared.index.write().replace_sealed(sealed.with_file(file));
        }
        Ok(())
    }

    fn write_table(&mut self, sealed: &Sealed) -> io::Result<()> {
        let few = self.shared.options.segment_bytes / BYTES_PER_STREAM;
        if self.touched < (few as usize).max(self.shared.index.read().streams.len()) {
            return Ok(());
        }
        if self.files.write_table(&sealed.segment, &self.shared.index)? {
            self.touched = 0;
        }
        Ok(())
    }

    /// Makes the next segment's file when enough of the active one is used.
    fn spare(&self) -> io::Result<()> {
        let is_there = self.shared.next.lock().spare.is_some();
        if is_there || !self.may_write() || !self.shared.wants_next()? {
            return Ok(());
        }
        let path = self.files.dir.join(SPARE);
        remove_if_there(&*self.files.vfs, &path)?;
        // Only the keeper makes one, so that the writer, who may need a segment meanwhile, is not kept from it.
        match self.make_spare(&path) {
            Ok(Some(made)) => self.hand_over(made),
            Ok(None) => self.files.vfs.remove(&path),
            // The writer finds out for itself, when it needs a segment.
            Err(error) if is_no_space(&error) => remove_if_there(&*self.files.vfs, &path),
            Err(error) => Err(error),
        }
    }

    /// Names it, and leaves it to the writer, who may have made a segment of its own meanwhile: so under the lock.
    fn hand_over(&self, spare: Spare) -> io::Result<()> {
        let mut next = self.shared.next.lock();
        if !self.may_write() {
            return self.files.vfs.remove(&self.files.dir.join(SPARE));
        }
        name_spare(&*self.files.vfs, &self.files.dir, next.number)?;
        next.spare = Some(spare);
        Ok(())
    }

    /// `None` where it is not wanted any more before it is ready.
    fn make_spare(&self, path: &Path) -> io::Result<Option<Spare>> {
        let options = &self.shared.options;
        let bytes = options.segment_bytes.next_multiple_of(4096);
        let file = self.files.vfs.create(path)?;
        file.reserve(bytes)?;
        let filled = if options.zero_fill { bytes } else { 0 };
        let mut pace = Pace { shared: &self.shared, since: None };
        let wanted = || {
            if self.paced {
                pace.rest();
            }
            self.may_write() && !self.shared.bell.is_last()
        };
        let whole = fill_while(&*file, 0..filled, wanted)?;
        Ok(whole.then_some(Spare { file, bytes }))
    }
}

/// The pauses of filling a segment. Every piece that is synced has the disk to itself for a while, and a group that comes
/// then waits for it.
struct Pace<'a> {
    shared: &'a Shared,
    /// When the last piece began.
    since: Option<Instant>,
}

impl Pace<'_> {
    /// Leaves the disk alone for longer than the last piece has taken, unless the segment is wanted soon.
    fn rest(&mut self) {
        if let Some(since) = self.since.filter(|_| !self.shared.is_nearly_full()) {
            self.shared.bell.rest((2 * since.elapsed()).min(REST_MAX));
        }
        self.since = Some(Instant::now());
    }
}

/// Runs when the keeper's thread ends: where it panicked, the log takes no more writes.
struct LastWords(Arc<Shared>);

impl Drop for LastWords {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.poison(&AppendError::unknown("the journal's keeper panicked"));
        }
    }
}

/// The first sealed segment that has no index file yet.
fn first_in_memory(index: &Index) -> Option<Sealed> {
    index.sealed.iter().find(|sealed| matches!(sealed.part, SealedPart::Memory(_))).cloned()
}

impl KeeperThread {
    /// Has the keeper do what is left, and waits for it.
    fn finish(&mut self) {
        self.shared.bell.finish();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the journal's keeper panicked");
        }
    }
}

impl Drop for KeeperThread {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Shared {
    /// How far the log is durable.
    fn mark(&self) -> Mark {
        let index = self.index.read();
        let position = index.durable.position.plus(off_by(Fault::MarkAhead));
        Mark { journal: self.id, position, group: index.group }
    }

    /// Whether it is time to make the next segment ahead.
    fn wants_next(&self) -> io::Result<bool> {
        let Some((segment, end)) = self.active() else { return Ok(false) };
        Ok(end > next_wanted_from(segment.file.len()?))
    }

    /// Whether the next segment is wanted soon: no more than a quarter of one is left.
    fn is_nearly_full(&self) -> bool {
        let Some((segment, end)) = self.active() else { return false };
        // Where it cannot be asked, haste does no harm.
        segment.file.len().map_or(true, |len| len.saturating_sub(end) < self.options.segment_bytes / 4)
    }

    /// The active segment, and how much of it is used.
    fn active(&self) -> Option<(Arc<Segment>, u64)> {
        self.index.read().active.as_ref().map(|active| (Arc::clone(&active.segment), active.end))
    }
}
