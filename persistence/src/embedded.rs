//! The embedded journal: a segmented log in a directory of this machine, one writer, one sync per group.

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use parking_lot::{Condvar, Mutex, RwLock};
use tokio::sync::watch;

use crate::journal::{BATCH_BYTES_MAX, batch_bytes, validate_batch};
use crate::planted::{self, Fault};
use crate::{
    AllPage, AppendError, Batch, Completion, Direction, Durable, Filter, Journal, JournalHealth, JournalId,
    OpenError, Position, ReadError, Readers, StreamId, StreamInfo, StreamPage, Version, Vfs, VfsLock,
    ViewPage,
};

mod files;
mod format;
mod hash;
mod index;
mod input;
mod interner;
mod keeper;
mod observe;
mod open;
mod options;
mod paged;
mod prepared;
mod queue;
mod read;
mod read_threads;
mod record;
mod recover;
mod repair;
mod retention;
mod scan;
mod scavenge;
mod segment;
mod usage;
mod verify;
mod walk;
mod watermark;
mod writer;

pub use observe::{CommittedGroup, JournalObserver};
pub use options::{Driver, EmbeddedOptions};
pub use repair::{CutPiece, LogRepair};
pub use scavenge::{ExpiringStreams, ScavengeError, ScavengeOptions, ScavengeProgress, ScavengeStop};
pub use usage::DiskUsage;
pub use verify::{LogDamage, TornTail, VerifyProgress, VerifyReport};

use files::Files;
use hash::NameSecret;
use index::{Index, IndexFault, SealedPart};
use keeper::{Bell, Keeper, Keeping, Next};
use open::Opened;
use paged::PageFault;
use prepared::Prepared;
use queue::{Queue, Submission};
use read::Plan;
use read_threads::ReadThreads;
use recover::{Recovery, part_of, unreadable};
use scavenge::CleanSegments;
use walk::Versions;
use writer::{Driven, Writer};

/// How long dropping a journal waits for its writer to finish what it has.
const DROP_PATIENCE: Duration = Duration::from_secs(10);
/// How many index files one read may find to be made anew; a disk that spoils every page is not kept at it.
const MENDED_MAX: usize = 1000;

/// A journal in a directory of this machine: a log in segments, each group of appends made durable with one fsync
/// before any of them is answered.
///
/// ```
/// use std::sync::Arc;
/// use annals_persistence::{
///     Batch, CodecId, CommandMetadata, EmbeddedJournal, EmbeddedOptions, EventId, Expected, Journal, JournalExt,
///     NewEvent, StreamId, Timestamp, Version,
/// };
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// let journal: Arc<dyn Journal> = Arc::new(EmbeddedJournal::open(dir.path(), EmbeddedOptions::default())?);
/// let event = NewEvent {
///     id: EventId::generate(),
///     type_name: "order-placed".into(),
///     schema_version: 1,
///     codec: CodecId::Json,
///     payload: b"{}".to_vec().into(),
///     command: CommandMetadata::internal(Timestamp::now()),
///     tags: Vec::new(),
/// };
/// let stream = StreamId::aggregate("order", "1")?;
/// let appended = journal.append(Batch::of(stream, Expected::NoStream, [event])).await?;
/// assert_eq!(appended.versions[0], Version(1));
/// journal.close().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct EmbeddedJournal {
    shared: Arc<Shared>,
    driven: Driven,
    read_threads: ReadThreads,
}

/// What the journal and its writer have in common.
struct Shared {
    files: Files,
    id: JournalId,
    options: EmbeddedOptions,
    names: NameSecret,
    index: RwLock<Index>,
    /// One at a time makes an index file anew.
    rebuilding: Mutex<()>,
    /// One at a time scavenges.
    scavenging: Mutex<()>,
    /// The sealed segments in which nothing can go.
    clean: Mutex<CleanSegments>,
    /// About how many bytes the last scavenging left that could go.
    garbage: AtomicU64,
    /// Who reads it in its order.
    readers: Readers,
    bell: Bell,
    next: Mutex<Next>,
    queue: Queue,
    health: Mutex<JournalHealth>,
    /// Gone when the journal is closed: subscriptions end then.
    durable: Mutex<Option<watch::Sender<Durable>>>,
    durable_receiver: watch::Receiver<Durable>,
    lock: Mutex<Option<Box<dyn VfsLock>>>,
    writer: WriterState,
}

/// Whether the writer's thread is still there.
struct WriterState {
    stopped: watch::Sender<bool>,
    /// The same for who cannot await: the thread while it runs, and word of its end.
    running: Mutex<Option<thread::ThreadId>>,
    ended: Condvar,
}

impl EmbeddedJournal {
    /// Opens the journal in a directory, which is made if need be, and takes the directory's lock. Sealed
    /// segments are taken at their footers' word, the last one is looked through; a last group that is not whole, as a
    /// crash leaves it, is cut off.
    ///
    /// # Errors
    /// [`OpenError::InUse`] when another journal has the directory, also one in this process;
    /// [`OpenError::Format`] when a later release wrote it; [`OpenError::Damaged`] when bytes that were once durable
    /// are not what was written, nothing being changed then; [`OpenError::Io`] when the system refuses.
    pub fn open(dir: impl AsRef<Path>, options: EmbeddedOptions) -> Result<Self, OpenError> {
        let dir = dir.as_ref();
        let options = options.within_bounds();
        let vfs = Arc::clone(&options.vfs);
        if !options.read_only {
            vfs.create_dir_all(dir).map_err(|source| unreadable(dir, source))?;
        }
        // Listed before the lock is taken, so that a mistyped directory is an error instead of a new lock file.
        vfs.list(dir).map_err(|source| unreadable(dir, source))?;
        let lock = lock(&*vfs, dir)?;
        let files = Files { vfs, dir: dir.to_owned() };
        let mut recovery = Recovery::new(&files, !options.read_only, Versions::Whole { scavenged: 0 });
        recovery.open()?;
        let opened = if options.read_only {
            Opened::read_only(recovery, &files)?
        } else {
            Opened::writable(recovery, &files, &options)?
        };
        Self::start(files, options, opened, lock)
    }

    /// Looks through the journal in a directory that no journal has open, every checksum and every number that must
    /// follow another, and changes nothing. Damage is part of the report.
    ///
    /// # Errors
    /// As [`EmbeddedJournal::open`], but for damage.
    pub fn verify(
        dir: impl AsRef<Path>,
        vfs: Arc<dyn Vfs>,
        mut progress: impl FnMut(VerifyProgress),
    ) -> Result<VerifyReport, OpenError> {
        verify::verify(&Files { vfs, dir: dir.as_ref().to_owned() }, &mut progress)
    }

    /// Says what is to be cut off a damaged log so that it opens again, which is the first damage and everything behind it;
    /// with `cut`, does it. What is cut off is kept, in a directory beside the segments. What is left is another history
    /// from then on, with another [`JournalId`]: no snapshot made of the old one is taken for one of the new. `None` when
    /// there is nothing to repair.
    ///
    /// Events that were acknowledged are lost by it. A backup is better.
    ///
    /// # Errors
    /// As [`EmbeddedJournal::open`], but for damage.
    pub fn repair(
        dir: impl AsRef<Path>,
        vfs: Arc<dyn Vfs>,
        cut: bool,
    ) -> Result<Option<LogRepair>, OpenError> {
        repair::repair(&Files { vfs, dir: dir.as_ref().to_owned() }, cut)
    }

    fn start(
        files: Files,
        options: EmbeddedOptions,
        opened: Opened,
        lock: Box<dyn VfsLock>,
    ) -> Result<Self, OpenError> {
        let (durable, durable_receiver) = watch::channel(opened.index.durable);
        let last = opened.index.last_segment().map_or(0, |last| last.header.number);
        let shared = Arc::new(Shared {
            files,
            id: opened.id,
            queue: Queue::new(options.queue_bytes_max),
            options,
            names: opened.index.secret(),
            index: RwLock::new(opened.index),
            rebuilding: Mutex::default(),
            scavenging: Mutex::default(),
            clean: Mutex::default(),
            garbage: AtomicU64::default(),
            readers: Readers::default(),
            bell: Bell::default(),
            next: Mutex::new(Next { number: last + 1, spare: opened.spare }),
            health: Mutex::new(JournalHealth::Healthy),
            durable: Mutex::new(Some(durable)),
            durable_receiver,
            lock: Mutex::new(Some(lock)),
            writer: WriterState {
                stopped: watch::Sender::new(true),
                running: Mutex::default(),
                ended: Condvar::new(),
            },
        });
        let driven = match opened.writing {
            Some((active, watermark)) => {
                let keeper = Keeper::new(Arc::clone(&shared), watermark, opened.touched);
                Shared::start_writer(&shared, keeper, active)
                    .map_err(|source| unreadable(&shared.files.dir, source))?
            }
            None => Driven::nobody(),
        };
        Ok(Self { shared, driven, read_threads: ReadThreads::new() })
    }

    /// Gives back the space of what is no longer kept (see [`Retention`](crate::Retention)), beside whatever else goes on.
    /// It works on this thread and takes its time. `progress` is told before each segment, and may stop it there;
    /// what is left to do is found by the next.
    ///
    /// Events that go leave the order of all events too: positions stay as they are, and have gaps then.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use annals_persistence::{EmbeddedJournal, EmbeddedOptions, Journal, ScavengeOptions};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// let journal = EmbeddedJournal::open(dir.path(), EmbeddedOptions::default())?;
    /// let everything = journal.durable().borrow().position.next();
    /// let done = journal.scavenge(&ScavengeOptions::below(everything), |_| ControlFlow::Continue(()))?;
    /// assert_eq!(done.events, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`ScavengeError`]; what was done before it stays done.
    pub fn scavenge(
        &self,
        options: &ScavengeOptions,
        progress: impl FnMut(ScavengeProgress) -> ControlFlow<()>,
    ) -> Result<ScavengeProgress, ScavengeError> {
        scavenge::scavenge(&self.shared, options, progress)
    }

    /// Writes one group of what waits, on this thread, up to the answers, where the journal has no thread for it
    /// ([`Driver::Manual`]); answers whether there was anything to do. An answer must not call it in turn.
    pub fn drive(&self) -> bool {
        self.driven.turn()
    }

    /// Reads where a wait for the disk holds nobody up; where somebody drives the journal by hand, here.
    async fn read_aside<R: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<R, ReadError> + Send + 'static,
    ) -> Result<R, ReadError> {
        if self.shared.options.driver == Driver::Manual {
            return read(&self.shared);
        }
        let shared = Arc::clone(&self.shared);
        let panicked = || {
            let source = Arc::new(io::Error::other("the read panicked"));
            Err(ReadError::Io { file: self.shared.files.dir.clone(), source })
        };
        self.read_threads.run(move || read(&shared)).await.unwrap_or_else(panicked)
    }

    /// Reads a page of a stream as `read` has it: here, where that is soon done, else where it holds nobody up.
    async fn read_stream_page<P: Send + 'static>(
        &self,
        stream: &StreamId,
        (from, direction, limit): (Version, Direction, usize),
        read: fn(Plan, &StreamId) -> Result<P, Unread>,
    ) -> Result<P, ReadError> {
        self.shared.readable()?;
        let plan = move |shared: &Shared, stream: &StreamId| {
            Plan::new(&shared.index.read(), stream, from, direction, limit)
        };
        let mut first = Some(plan(&self.shared, stream));
        let is_short = first.as_ref().is_some_and(Plan::is_short);
        let stream = stream.clone();
        let mut read = move |shared: &Shared| {
            shared.mending(|| read(first.take().unwrap_or_else(|| plan(shared, &stream)), &stream))
        };
        if is_short {
            return read(&self.shared);
        }
        self.read_aside(read).await
    }

    /// Where the journal has no thread of its own, what waits is written here.
    fn finish(&self) {
        self.shared.queue.close(AppendError::Closed);
        while self.driven.turn() {}
    }
}

/// Takes a directory's lock.
fn lock(vfs: &dyn Vfs, dir: &Path) -> Result<Box<dyn VfsLock>, OpenError> {
    let path = dir.join("LOCK");
    match vfs.lock(&path) {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(OpenError::InUse { path }),
        Err(source) => Err(unreadable(&path, source)),
    }
}

impl Shared {
    fn start_writer(shared: &Arc<Self>, keeper: Keeper, active: writer::Active) -> io::Result<Driven> {
        let group = shared.index.read().group;
        let by_hand = shared.options.driver == Driver::Manual;
        let keeping = if by_hand { Keeping::Own(Box::new(keeper)) } else { Keeping::Thread(keeper.start()?) };
        let writer = Writer::new(Arc::clone(shared), keeping, active, group);
        shared.writer.stopped.send_replace(false);
        if by_hand {
            return Ok(Driven::by_hand(writer));
        }
        // Held until the thread's id is in its place: the thread takes it out again when it ends.
        let mut running = shared.writer.running.lock();
        let thread = thread::Builder::new().name("annals-journal".into()).spawn(move || writer.run())?;
        *running = Some(thread.thread().id());
        Ok(Driven::nobody())
    }

    /// Tells readers that more is durable.
    fn announce(&self, durable: Durable) {
        if let Some(sender) = &*self.durable.lock() {
            sender.send_replace(durable);
        }
    }

    /// The writer is gone. If that is because the journal is closed, so is everything else.
    fn writer_stopped(&self) {
        if !matches!(*self.health.lock(), JournalHealth::Poisoned { .. }) {
            self.release();
        }
        self.writer.stopped.send_replace(true);
        self.writer.running.lock().take();
        self.writer.ended.notify_all();
    }

    /// Lets go of files, lock and subscribers.
    fn release(&self) {
        *self.health.lock() = JournalHealth::Closed;
        // Whoever scavenges finds that before the next segment, and must have left the directory to the next who opens it.
        let _nobody_scavenges = self.scavenging.try_lock_for(DROP_PATIENCE);
        self.durable.lock().take();
        self.index.write().release();
        self.next.lock().spare.take();
        self.lock.lock().take();
    }

    fn is_closed(&self) -> bool {
        *self.health.lock() == JournalHealth::Closed
    }

    fn readable(&self) -> Result<(), ReadError> {
        if self.is_closed() { Err(ReadError::Closed) } else { Ok(()) }
    }

    /// Reads; where an index file turns out not to be what was written, it is made anew, and read again.
    fn mending<R>(&self, mut read: impl FnMut() -> Result<R, Unread>) -> Result<R, ReadError> {
        let mut mended = 0;
        loop {
            match read() {
                // A journal that was closed meanwhile has let go of what was to be read.
                Ok(read) => return self.readable().map(|()| read),
                Err(Unread::Journal(error)) => return Err(error),
                Err(Unread::Index(fault)) if mended < MENDED_MAX => self.make_index_anew(&fault)?,
                Err(Unread::Index(fault)) => return Err(fault.to_error()),
            }
            mended += 1;
        }
    }

    /// Makes the index file of a segment anew from the segment.
    fn make_index_anew(&self, fault: &IndexFault) -> Result<(), ReadError> {
        if matches!(fault.fault, PageFault::Io(_)) {
            return Err(fault.to_error());
        }
        let _one_at_a_time = self.rebuilding.lock();
        let sealed = Arc::clone(&self.index.read().sealed);
        let Some(sealed) = Index::sealed_at(&sealed, fault.segment).map(|at| sealed[at].clone()) else {
            return Err(ReadError::Closed);
        };
        if !matches!(&sealed.part, SealedPart::File(file) if file.is(fault)) {
            // Somebody else was faster.
            return Ok(());
        }
        tracing::warn!(file = %fault.path.display(), "an index file is not what was written; it is made anew");
        let part = part_of(&sealed.segment, sealed.end).map_err(read_error)?;
        let part = SealedPart::Memory(Arc::new(part));
        // The keeper writes the file.
        self.index.write().replace_sealed(index::Sealed { part, ..sealed });
        self.bell.ring();
        Ok(())
    }

    fn check(&self, batch: &Batch) -> Result<(), AppendError> {
        if self.options.read_only {
            return Err(AppendError::Invalid { reason: "the journal was opened for reading only".into() });
        }
        validate_batch(batch)?;
        let most = self.options.batch_bytes_max;
        // The most that any batch may take was looked at already.
        if most == BATCH_BYTES_MAX {
            return Ok(());
        }
        let bytes = batch_bytes(batch);
        if bytes > most {
            let reason = format!("it takes {bytes} bytes, the most is {most}");
            return Err(AppendError::Invalid { reason });
        }
        Ok(())
    }
}

impl Journal for EmbeddedJournal {
    fn id(&self) -> JournalId {
        self.shared.id
    }

    fn submit(&self, mut batch: Batch, done: Completion) {
        if let Some(first) = planted::apart(Fault::BatchInTwoGroups, &mut batch) {
            self.submit(first, Completion::new(drop));
        }
        let invalid = self.shared.check(&batch).err().map(Box::new);
        if self.shared.options.read_only {
            let error = invalid.map_or(AppendError::Closed, |error| *error);
            return Completion::complete_each(std::iter::once((done, Err(error))));
        }
        // What is never appended is not encoded either.
        let batch =
            if invalid.is_some() { Batch { lineage: batch.lineage, ..Batch::default() } } else { batch };
        let refused = Prepared::with(batch, self.shared.names, |batch, encoded| {
            let bytes = batch.bytes_max();
            self.shared.queue.push(Submission { batch, done, bytes, invalid }, encoded)
        });
        if let Some((done, error)) = refused {
            Completion::complete_each(std::iter::once((done, Err(error))));
        }
    }

    fn stream_page<'a>(
        &'a self,
        stream: &'a StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<StreamPage, ReadError>> {
        Box::pin(self.read_stream_page(stream, (from, direction, limit), Plan::read))
    }

    fn view_page<'a>(
        &'a self,
        stream: &'a StreamId,
        from: Version,
        limit: usize,
    ) -> BoxFuture<'a, Result<ViewPage, ReadError>> {
        Box::pin(self.read_stream_page(stream, (from, Direction::Forward, limit), Plan::view))
    }

    fn all_page<'a>(
        &'a self,
        from: Position,
        filter: &'a Filter,
        limit: usize,
    ) -> BoxFuture<'a, Result<AllPage, ReadError>> {
        Box::pin(async move {
            self.shared.readable()?;
            if read::is_short(&self.shared.index.read(), from) {
                return self.shared.mending(|| read::all_page(&self.shared.index, from, filter, limit));
            }
            let filter = filter.clone();
            let read =
                move |shared: &Shared| shared.mending(|| read::all_page(&shared.index, from, &filter, limit));
            self.read_aside(read).await
        })
    }

    fn stream_info<'a>(
        &'a self,
        stream: &'a StreamId,
    ) -> BoxFuture<'a, Result<Option<StreamInfo>, ReadError>> {
        Box::pin(async move {
            self.shared.readable()?;
            Ok(self.shared.index.read().info(stream))
        })
    }

    fn streams_page<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a StreamId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StreamInfo>, ReadError>> {
        Box::pin(async move {
            self.shared.readable()?;
            if self.shared.index.read().sealed.is_empty() {
                let page = || index::page(&self.shared.index, prefix, after, limit);
                return self.shared.mending(|| page().map_err(Unread::Index));
            }
            let (prefix, after) = (prefix.to_owned(), after.cloned());
            let read = move |shared: &Shared| {
                let page = || index::page(&shared.index, &prefix, after.as_ref(), limit);
                shared.mending(|| page().map_err(Unread::Index))
            };
            self.read_aside(read).await
        })
    }

    fn durable(&self) -> watch::Receiver<Durable> {
        self.shared.durable_receiver.clone()
    }

    fn health(&self) -> JournalHealth {
        self.shared.health.lock().clone()
    }

    fn readers(&self) -> &Readers {
        &self.shared.readers
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.finish();
            // The sender is ours, so it cannot be gone.
            let _ = self.shared.writer.stopped.subscribe().wait_for(|stopped| *stopped).await;
            self.shared.release();
        })
    }
}

/// Why something could not be read as it should be.
enum Unread {
    /// An index file is not what was written.
    Index(IndexFault),
    Journal(ReadError),
}

impl From<ReadError> for Unread {
    fn from(error: ReadError) -> Self {
        Self::Journal(error)
    }
}

impl From<IndexFault> for Unread {
    fn from(fault: IndexFault) -> Self {
        Self::Index(fault)
    }
}

impl IndexFault {
    fn to_error(&self) -> ReadError {
        let file = self.path.clone();
        match &self.fault {
            PageFault::Io(source) => {
                let source = Arc::new(io::Error::new(source.kind(), source.to_string()));
                ReadError::Io { file, source }
            }
            PageFault::Damaged(offset) => {
                let reason = "a page of the index does not match its checksum".to_owned();
                ReadError::Damaged { file, offset: *offset, reason }
            }
        }
    }
}

/// What keeps a segment from being read keeps its index from being made.
fn read_error(error: OpenError) -> ReadError {
    match error {
        OpenError::Damaged { file, offset, reason } => ReadError::Damaged { file, offset, reason },
        OpenError::Io { file, source } => ReadError::Io { file, source: Arc::new(source) },
        OpenError::InUse { path } | OpenError::Format { file: path, .. } => {
            ReadError::Damaged { file: path, offset: 0, reason: "it cannot be read as a segment".into() }
        }
    }
}

impl Drop for EmbeddedJournal {
    /// Closes the journal; waits for the writer unless it is the writer that drops it.
    fn drop(&mut self) {
        self.finish();
        match self.shared.writer.end_by(Instant::now() + DROP_PATIENCE) {
            WriterEnd::Ended => self.shared.release(),
            WriterEnd::Own => {}
            WriterEnd::Busy => {
                tracing::warn!(dir = %self.shared.files.dir.display(), "the journal's writer is still busy");
            }
        }
    }
}

/// What waiting for the writer's end came to.
enum WriterEnd {
    Ended,
    /// It is the writer itself that waits; it ends later.
    Own,
    Busy,
}

impl WriterState {
    fn end_by(&self, deadline: Instant) -> WriterEnd {
        let mut running = self.running.lock();
        while let Some(thread) = *running {
            if thread == thread::current().id() {
                return WriterEnd::Own;
            }
            if self.ended.wait_until(&mut running, deadline).timed_out() {
                return WriterEnd::Busy;
            }
        }
        WriterEnd::Ended
    }
}

impl fmt::Debug for EmbeddedJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedJournal")
            .field("dir", &self.shared.files.dir)
            .field("id", &self.shared.id)
            .field("health", &*self.shared.health.lock())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
