//! The journal: what every engine must do, and the words for it.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use smallvec::SmallVec;
use tokio::sync::{oneshot, watch};

use crate::Filter;
use crate::{
    AppendError, JournalId, NewEvent, Position, ReadError, Readers, RecordedEvent, StreamId, Timestamp,
    Version, ViewPage,
};

mod retention;
mod validate;

pub use retention::{CHECKPOINT_EVENT_TYPE, Retention, StreamRetention};
pub use validate::{
    ACTOR_BYTES_MAX, BATCH_BYTES_MAX, BATCH_EVENTS_MAX, EVENT_TYPE_BYTES_MAX, TAG_BYTES_MAX, TAGS_MAX,
    batch_bytes, validate_batch,
};

/// What an append expects to find in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Exactly this version is the last.
    Version(Version),
    /// The stream has no events.
    NoStream,
    /// The stream has events, however many.
    Exists,
    /// Whatever is there.
    Any,
}

impl Expected {
    /// Whether a stream at this version is what was expected.
    #[must_use]
    pub fn allows(self, actual: Version) -> bool {
        match self {
            Self::Version(version) => version == actual,
            Self::NoStream => actual == Version::NONE,
            Self::Exists => actual > Version::NONE,
            Self::Any => true,
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "version {version}"),
            Self::NoStream => f.write_str("no stream"),
            Self::Exists => f.write_str("an existing stream"),
            Self::Any => f.write_str("anything"),
        }
    }
}

/// Events for one stream.
#[derive(Debug, Clone)]
pub struct StreamAppend {
    /// The stream.
    pub stream: StreamId,
    /// What must be there for the whole batch to be taken.
    pub expected: Expected,
    /// At least one event.
    pub events: SmallVec<[NewEvent; 1]>,
}

/// What ties together batches that were decided one on top of the other, before the first was durable.
///
/// An expected version alone does not: where another writer's event takes the place of a batch that was refused, the
/// batch after it meets the version that it names, and would be taken although what it was decided on never was. So
/// the first refusal ends a lineage, and every later batch of it is refused with [`AppendError::Superseded`].
#[derive(Debug, Clone, Default)]
pub struct Lineage(Arc<AtomicBool>);

impl Lineage {
    /// Whether a batch of it was refused.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Refuses whatever comes after.
    pub fn end(&self) {
        end(&self.0);
    }
}

/// Whether any lineage of this process has ended. Until one has, nobody looks at theirs: the flags lie far apart in
/// memory, and a look at one costs as much as deciding its batch.
static ANY_HAS_ENDED: AtomicBool = AtomicBool::new(false);

fn end(lineage: &AtomicBool) {
    lineage.store(true, Ordering::Release);
    ANY_HAS_ENDED.store(true, Ordering::Release);
}

/// Decides a batch of a lineage that has ended when this flag is set.
fn decide_in<T>(
    ended: Option<&AtomicBool>,
    decide: impl FnOnce() -> Result<T, AppendError>,
) -> Result<T, AppendError> {
    let Some(ended) = ended else { return decide() };
    if ANY_HAS_ENDED.load(Ordering::Acquire) && ended.load(Ordering::Acquire) {
        return Err(AppendError::Superseded);
    }
    decide().inspect_err(|_| end(ended))
}

/// Events for one or more streams, appended all or not at all.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// A stream stands in it at most once.
    pub streams: SmallVec<[StreamAppend; 1]>,
    /// The batches before it that it was decided on; `None` when it stands by itself.
    pub lineage: Option<Lineage>,
    /// Few batches set any.
    pub(crate) retention: Vec<StreamRetention>,
}

impl Batch {
    /// A batch for one stream.
    #[must_use]
    pub fn of(stream: StreamId, expected: Expected, events: impl IntoIterator<Item = NewEvent>) -> Self {
        Self::default().and(stream, expected, events)
    }

    /// A batch for several streams.
    #[must_use]
    pub fn of_all(appends: impl IntoIterator<Item = StreamAppend>) -> Self {
        Self { streams: appends.into_iter().collect(), ..Self::default() }
    }

    /// With events for one more stream.
    #[must_use]
    pub fn and(
        mut self,
        stream: StreamId,
        expected: Expected,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Self {
        self.streams.push(StreamAppend { stream, expected, events: events.into_iter().collect() });
        self
    }

    /// And sets what is kept of a stream from then on.
    ///
    /// ```
    /// use annals_persistence::{Batch, Retention, StreamId};
    ///
    /// let stream = StreamId::internal("cursor")?;
    /// let batch = Batch::default().retaining(stream, Retention { max_count: Some(1), ..Retention::default() });
    /// assert_eq!(batch.retention().len(), 1);
    /// # Ok::<(), annals_persistence::InvalidStreamId>(())
    /// ```
    #[must_use]
    pub fn retaining(mut self, stream: StreamId, retention: Retention) -> Self {
        self.retention.push(StreamRetention { stream, retention });
        self
    }

    /// What it sets to be kept of streams.
    #[must_use]
    pub fn retention(&self) -> &[StreamRetention] {
        &self.retention
    }

    /// As one of a lineage.
    #[must_use]
    pub fn in_lineage(mut self, lineage: Lineage) -> Self {
        self.lineage = Some(lineage);
        self
    }

    /// How many events it has.
    #[must_use]
    pub fn event_count(&self) -> usize {
        self.streams.iter().map(|s| s.events.len()).sum()
    }
}

/// Where a batch has gone, once it is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The position of the batch's first event.
    pub first: Position,
    /// The position of the batch's last event.
    pub last: Position,
    /// The last version of each stream, in the batch's order.
    pub versions: SmallVec<[Version; 2]>,
}

/// The answer to an append.
pub type AppendResult = Result<Appended, AppendError>;

/// Called once with the outcome of an append, on the engine's own thread: keep it short, never block.
///
/// Dropped uncalled (the engine went away), it reports [`AppendError::OutcomeUnknown`]: whoever waits is told.
pub struct Completion(Option<Callback>);

enum Callback {
    Once(Box<dyn FnOnce(AppendResult) + Send>),
    Shared(Arc<dyn Completes>, u64),
}

/// Something that hears of the outcome of many appends, so that none of them needs a callback of its own.
pub trait Completes: Send + Sync {
    /// Called once for each [`Completion::shared`], with the number that it was made with.
    fn complete(&self, number: u64, result: AppendResult);

    /// The same for several at once, in their order; an engine calls it where outcomes become certain together.
    fn complete_all(&self, outcomes: &mut dyn Iterator<Item = (u64, AppendResult)>) {
        outcomes.for_each(|(number, result)| self.complete(number, result));
    }

    /// Whether the lineage of all its appends has ended, where they are of one: then no batch has to carry it. Whoever
    /// clears the flag begins another lineage, which is only right when no batch of the one before is under way.
    fn lineage(&self) -> Option<&AtomicBool> {
        None
    }
}

impl Completion {
    /// Wraps what is to be called.
    pub fn new(call: impl FnOnce(AppendResult) + Send + 'static) -> Self {
        Self(Some(Callback::Once(Box::new(call))))
    }

    /// One that reports to `target`, under this number. It takes no memory of its own.
    pub fn shared(target: Arc<dyn Completes>, number: u64) -> Self {
        Self(Some(Callback::Shared(target, number)))
    }

    /// Decides its batch, for engines: refuses it where its lineage has ended (the batch's own, or the one of
    /// [`Completes::lineage`]), and ends its lineage where it is refused. To be called in the order of submission, before
    /// the next batch is decided.
    ///
    /// # Errors
    /// [`AppendError::Superseded`], or what `decide` says.
    pub fn decide<T>(
        &self,
        lineage: Option<&Lineage>,
        decide: impl FnOnce() -> Result<T, AppendError>,
    ) -> Result<T, AppendError> {
        let shared = match &self.0 {
            Some(Callback::Shared(target, _)) => target.lineage(),
            _ => None,
        };
        decide_in(lineage.map(|lineage| &*lineage.0), || decide_in(shared, decide))
    }

    /// Reports the outcome.
    pub fn complete(mut self, result: AppendResult) {
        self.call(result);
    }

    /// Reports outcomes, for engines: those that go to the same place one behind the other are reported together.
    /// Whoever panics over its own does not keep the others from theirs.
    pub(crate) fn complete_each(outcomes: impl Iterator<Item = (Self, AppendResult)>) {
        let mut outcomes = outcomes.peekable();
        while let Some((mut first, result)) = outcomes.next() {
            let completed = catch_unwind(AssertUnwindSafe(|| match first.0.take() {
                Some(Callback::Shared(target, number)) => {
                    let rest = std::iter::from_fn(|| {
                        let (same, result) = outcomes.next_if(|(next, _)| next.goes_to(&target))?;
                        same.defuse().map(|number| (number, result))
                    });
                    target.complete_all(&mut std::iter::once((number, result)).chain(rest));
                }
                Some(Callback::Once(call)) => call(result),
                None => {}
            }));
            if completed.is_err() {
                tracing::error!("the callback of an append panicked");
            }
        }
    }

    fn goes_to(&self, other: &Arc<dyn Completes>) -> bool {
        matches!(&self.0, Some(Callback::Shared(target, _)) if Arc::ptr_eq(target, other))
    }

    /// The number, where it is shared; from then on it reports nothing.
    fn defuse(mut self) -> Option<u64> {
        match self.0.take() {
            Some(Callback::Shared(_, number)) => Some(number),
            _ => None,
        }
    }

    fn call(&mut self, result: AppendResult) {
        match self.0.take() {
            Some(Callback::Once(call)) => call(result),
            Some(Callback::Shared(target, number)) => target.complete(number, result),
            None => {}
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if self.0.is_some() {
            self.call(Err(AppendError::unknown("the journal went away before it answered")));
        }
    }
}

impl fmt::Debug for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Completion")
    }
}

/// An append under way: await it for the outcome. Dropping it does not undo the append.
#[derive(Debug)]
#[must_use = "an append's outcome is known only after awaiting its ticket"]
pub struct Ticket(oneshot::Receiver<AppendResult>);

impl Future for Ticket {
    type Output = AppendResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<AppendResult> {
        Pin::new(&mut self.0).poll(cx).map(|received| {
            received.unwrap_or_else(|_| Err(AppendError::unknown("the journal went away before it answered")))
        })
    }
}

/// Which way to read a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From old to new.
    Forward,
    /// From new to old.
    Backward,
}

/// How far a journal is durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Durable {
    /// The last durable event of any stream.
    pub position: Position,
    /// The last durable event of a stream that is not the runtime's own. An append to the runtime's own
    /// streams alone does not move it, so it wakes no relay.
    pub external: Position,
}

/// Whether a journal takes appends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum JournalHealth {
    /// It does.
    Healthy,
    /// It refuses appends until there is space again; reads go on.
    DiskFull,
    /// A write or fsync failed: no append is taken until the journal is opened anew; reads serve the last durable state.
    Poisoned {
        /// What failed.
        reason: String,
    },
    /// It was closed.
    Closed,
}

/// A stream and how far it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// The stream.
    pub stream: StreamId,
    /// Its last durable version.
    pub version: Version,
    /// The time of its last durable event.
    pub last_time: Timestamp,
}

/// A page of one stream.
#[derive(Debug, Clone, Default)]
pub struct StreamPage {
    /// The events, in the direction of reading.
    pub events: Vec<RecordedEvent>,
    /// The version to go on from (inclusive); `None` when there is nothing more in this direction.
    pub next: Option<Version>,
}

impl StreamPage {
    /// A page with these events; `more` is whether the stream goes on behind them in this direction.
    #[must_use]
    pub fn new(events: Vec<RecordedEvent>, direction: Direction, more: bool) -> Self {
        let next = events.last().filter(|_| more).map(|last| match direction {
            Direction::Forward => last.version.next(),
            Direction::Backward => Version(last.version.0.saturating_sub(1)),
        });
        Self { events, next }
    }
}

/// A page of the whole journal.
#[derive(Debug, Clone, Default)]
pub struct AllPage {
    /// The events wanted, in order.
    pub events: Vec<RecordedEvent>,
    /// The position to go on from (inclusive): everything below it has been looked at.
    pub next: Position,
}

/// An append-only log of events: the only truth there is.
///
/// An engine implements this; users call it through [`JournalExt`](crate::JournalExt), which turns pages into streams. What every
/// engine must hold is in the `conformance` module, as tests that any engine can run:
///
/// * a batch is taken whole or not at all, and answered only when it is durable;
/// * batches submitted one after the other by one caller are decided in that order;
/// * positions follow commit order, without gaps; versions are 1, 2, 3 ... in each stream;
/// * what is not kept ([`Retention`]) is not read from its stream, and leaves the order of all events when the journal is
///   scavenged, where the engine does that: the gaps it leaves are the only ones;
/// * no read delivers anything above the durable position;
/// * after a failed write or fsync nothing is acknowledged any more.
pub trait Journal: fmt::Debug + Send + Sync + 'static {
    /// Which history this is.
    fn id(&self) -> JournalId;

    /// Hands a batch over, without waiting. `done` is called when its outcome is certain: durable, refused
    /// (a refusal leaves only when all it was decided on is durable), or unknown.
    fn submit(&self, batch: Batch, done: Completion);

    /// At most `limit` durable events of a stream, from version `from` (inclusive) in the given direction. Backward
    /// from above the end begins at the end. A page may end early, as where its events are large: whether there is
    /// more, only [`StreamPage::next`] says.
    fn stream_page<'a>(
        &'a self,
        stream: &'a StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<StreamPage, ReadError>>;

    /// As [`Journal::stream_page`] forward, without what a replay does not look at: an engine that can leave it out is
    /// faster.
    fn view_page<'a>(
        &'a self,
        stream: &'a StreamId,
        from: Version,
        limit: usize,
    ) -> BoxFuture<'a, Result<ViewPage, ReadError>> {
        let page = self.stream_page(stream, from, Direction::Forward, limit);
        Box::pin(async move { page.await.map(ViewPage::from) })
    }

    /// At most `limit` durable events of all streams that the filter wants, from position `from` (inclusive).
    /// It may deliver fewer, or none, before the end: go on from [`AllPage::next`] until that is above
    /// [`Durable::position`].
    fn all_page<'a>(
        &'a self,
        from: Position,
        filter: &'a Filter,
        limit: usize,
    ) -> BoxFuture<'a, Result<AllPage, ReadError>>;

    /// A stream's last durable version and time; `None` when it has no durable event, or a tombstone.
    fn stream_info<'a>(
        &'a self,
        stream: &'a StreamId,
    ) -> BoxFuture<'a, Result<Option<StreamInfo>, ReadError>>;

    /// At most `limit` streams whose names begin with `prefix`, in the order of their names, after `after`; those with a
    /// tombstone are not among them.
    fn streams_page<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a StreamId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StreamInfo>, ReadError>>;

    /// How far the journal is durable, and word of every change.
    fn durable(&self) -> watch::Receiver<Durable>;

    /// Whether it takes appends.
    fn health(&self) -> JournalHealth;

    /// Who reads the journal in its order, so that nothing goes that one of them has still to come to. An engine around
    /// another hands on that one's.
    fn readers(&self) -> &Readers;

    /// Stops taking appends, answers what was submitted, lets go of files and locks. Closing twice is no error.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Makes a completion and the ticket that waits for it.
pub(crate) fn ticket() -> (Completion, Ticket) {
    let (sender, receiver) = oneshot::channel();
    // A caller that dropped its ticket does not want the answer.
    (Completion::new(move |result| drop(sender.send(result))), Ticket(receiver))
}
