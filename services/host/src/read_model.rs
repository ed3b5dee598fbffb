//! Read models: folds of a service's own journal, kept in memory and rebuilt at every start.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use annals_actors::Reader;
use annals_persistence::{
    EventError, Filter, Journal, Position, ReadError, ReaderPlace, RecordedEvent, StreamId,
};
use futures_util::future::BoxFuture;
use metrics::{Gauge, gauge};
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::panics;

#[cfg(test)]
mod tests;

/// How long an answer waits for its read model.
pub const READ_MODEL_TIMEOUT: Duration = Duration::from_secs(5);
/// How many events are folded under one lock.
const PAGE_EVENTS: usize = 512;

/// What a read model does with events.
pub trait Fold: Send + Sync + 'static {
    /// Which events it wants.
    fn filter(&self) -> Filter;

    /// Takes an event in. Events come in the order of their positions, each once.
    ///
    /// # Errors
    /// An event that cannot be understood: the read model stops there, and says so. A panic is taken for such an
    /// error.
    fn apply(&mut self, event: &RecordedEvent) -> Result<(), EventError>;

    /// Whether it takes an instance's state from a checkpoint (`Checkpoint::of(event)`, among the events that it wants),
    /// in place of all the events before it. Those in front of a checkpoint may come without the ones before them: it
    /// makes nothing of an instance that it does not know yet.
    ///
    /// One that does not, which is most, has to see every event at every start, so that none of the instances that it
    /// wants to know of gives up any.
    fn begins_at_checkpoints(&self) -> bool {
        false
    }
}

/// Why a read model cannot answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadModelError {
    /// It has not yet seen what was durable when the question came.
    #[error("read model \"{name}\" is at position {position}, {wanted} was wanted; try again")]
    Behind {
        /// The read model.
        name: &'static str,
        /// How far it is.
        position: Position,
        /// How far it should be.
        wanted: Position,
    },
    /// It stopped: at an event that it does not understand, or because its code panicked.
    #[error("read model \"{name}\" stopped: {reason}")]
    Failed {
        /// The read model.
        name: &'static str,
        /// Why.
        reason: String,
        /// Whether it is the journal that is damaged, and not the read model's fault.
        damaged: bool,
    },
}

impl ReadModelError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Behind { .. } => "read_model_behind",
            Self::Failed { .. } => "read_model_failed",
        }
    }
}

/// A read model that follows its journal. Cheap to clone; it stops when the last clone is dropped, or when told.
pub struct ReadModel<M>(Arc<Inner<M>>);

impl<M> Clone for ReadModel<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> fmt::Debug for ReadModel<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadModel").field("name", &self.0.name).field("position", &self.position()).finish()
    }
}

struct Inner<M> {
    name: &'static str,
    journal: Arc<dyn Journal>,
    wants_internal: bool,
    reader: Arc<NeedsAll>,
    shared: Arc<Shared<M>>,
    progress: watch::Receiver<Progress>,
    task: JoinHandle<()>,
    /// It begins anew with the first event at every start, so all that it wants has to stay.
    _place: ReaderPlace,
}

impl<M> Drop for Inner<M> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a read model needs at the next start, which begins anew.
struct NeedsAll {
    name: &'static str,
    /// Everything of this.
    needs: Option<Filter>,
}

impl Reader for NeedsAll {
    fn name(&self) -> String {
        format!("read model {}", self.name)
    }

    fn needs_behind<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Option<Position>, String>> {
        let needed = self.needs.as_ref().is_some_and(|filter| filter.wants_of(stream));
        Box::pin(std::future::ready(Ok(needed.then_some(Position::START))))
    }
}

struct Shared<M>(RwLock<M>);

/// How far a read model is.
#[derive(Debug, Clone, Default)]
struct Progress {
    /// Everything up to here has been looked at.
    position: Position,
    failed: Option<Stop>,
}

/// Why a read model follows no more.
#[derive(Debug, Clone)]
struct Stop {
    reason: String,
    damaged: bool,
}

impl<M: Fold> ReadModel<M> {
    /// Starts following a journal from its beginning.
    #[must_use]
    pub fn start(name: &'static str, model: M, journal: Arc<dyn Journal>) -> Self {
        let filter = model.filter();
        let wants_internal = filter.wants_internal();
        let needs = (!model.begins_at_checkpoints()).then(|| filter.clone());
        let reader = Arc::new(NeedsAll { name, needs });
        let shared = Arc::new(Shared(RwLock::new(model)));
        let (sender, progress) = watch::channel(Progress::default());
        let follower = Follower {
            name,
            journal: Arc::clone(&journal),
            filter,
            shared: Arc::clone(&shared),
            progress: sender,
            lag: gauge!("annals_read_model_lag_events", "read_model" => name),
        };
        let task = tokio::spawn(follower.run());
        let place = journal.readers().register(format!("read model {name}"), wants_internal, Position::START);
        Self(Arc::new(Inner { name, journal, wants_internal, reader, shared, progress, task, _place: place }))
    }

    /// Looks at the read model, once it holds everything that was durable when this was called.
    ///
    /// # Errors
    /// [`ReadModelError::Behind`] when that takes longer than [`READ_MODEL_TIMEOUT`], [`ReadModelError::Failed`].
    pub async fn read<R>(&self, look: impl FnOnce(&M) -> R) -> Result<R, ReadModelError> {
        self.read_at(self.durable(), READ_MODEL_TIMEOUT, look).await
    }

    /// Looks at the read model, once it holds everything up to a position.
    ///
    /// # Errors
    /// [`ReadModelError::Behind`] when that takes longer than `timeout`, [`ReadModelError::Failed`].
    pub async fn read_at<R>(
        &self,
        position: Position,
        timeout: Duration,
        look: impl FnOnce(&M) -> R,
    ) -> Result<R, ReadModelError> {
        self.wait(position, timeout).await?;
        Ok(look(&self.0.shared.0.read()))
    }

    /// Waits until the read model holds everything up to a position.
    async fn wait(&self, wanted: Position, timeout: Duration) -> Result<(), ReadModelError> {
        tokio::time::timeout(timeout, self.reached(wanted)).await.unwrap_or_else(|_| {
            let position = self.position();
            Err(ReadModelError::Behind { name: self.0.name, position, wanted })
        })
    }

    async fn reached(&self, wanted: Position) -> Result<(), ReadModelError> {
        let mut progress = self.0.progress.clone();
        let there = progress.wait_for(|now| now.position >= wanted || now.failed.is_some()).await;
        // Failed, it answers nothing at all: an event may be half in it.
        match there.map(|now| now.failed.clone()) {
            Ok(None) => Ok(()),
            Ok(Some(stop)) => Err(self.failed(stop)),
            Err(_) => Err(self.failed(Stop { reason: "it was stopped".to_owned(), damaged: false })),
        }
    }

    fn failed(&self, Stop { reason, damaged }: Stop) -> ReadModelError {
        ReadModelError::Failed { name: self.0.name, reason, damaged }
    }

    /// The durable position that matters to this read model: the runtime's own events need not move it.
    fn durable(&self) -> Position {
        let durable = *self.0.journal.durable().borrow();
        if self.0.wants_internal { durable.position } else { durable.external }
    }
}

impl<M> ReadModel<M> {
    /// It as a reader of the journal, for [`Node::readers`](annals_actors::Node::readers): nothing goes that it needs at
    /// the next start.
    #[must_use]
    pub fn reader(&self) -> Arc<dyn Reader> {
        Arc::clone(&self.0.reader) as Arc<dyn Reader>
    }

    /// How far it is.
    #[must_use]
    pub fn position(&self) -> Position {
        self.0.progress.borrow().position
    }
}

/// What the host asks of a read model, whatever is in it.
pub(crate) trait Follows: Send + Sync {
    /// `None` when it is where it should be; else why not.
    fn not_ready(&self) -> Option<String>;
    /// Waits until it holds what was durable at the time of the call, however long that takes: a start is a replay.
    fn caught_up(&self) -> futures_util::future::BoxFuture<'_, Result<(), ReadModelError>>;
    fn stop(&self);
}

impl<M: Fold> Follows for ReadModel<M> {
    fn not_ready(&self) -> Option<String> {
        let failed = self.0.progress.borrow().failed.clone();
        failed.map(|stop| self.failed(stop).to_string())
    }

    fn caught_up(&self) -> futures_util::future::BoxFuture<'_, Result<(), ReadModelError>> {
        Box::pin(async move { self.reached(self.durable()).await })
    }

    fn stop(&self) {
        self.0.task.abort();
    }
}

/// The task that keeps a read model up to date.
struct Follower<M> {
    name: &'static str,
    journal: Arc<dyn Journal>,
    filter: Filter,
    shared: Arc<Shared<M>>,
    progress: watch::Sender<Progress>,
    lag: Gauge,
}

/// How far a follower has read.
struct Reading {
    next: Position,
    /// Read, and not yet folded.
    waiting: Vec<RecordedEvent>,
}

/// How many of these events belong to commands that surely end among them: all before those of the last command.
fn whole_commands(events: &[RecordedEvent]) -> usize {
    let Some(last) = events.last() else { return 0 };
    let of_last = |event: &&RecordedEvent| event.command.command_id == last.command.command_id;
    events.len() - events.iter().rev().take_while(of_last).count()
}

/// Folds one event in; the author's code fails or panics with the event named.
fn fold<M: Fold>(model: &mut M, event: &RecordedEvent) -> Result<(), End> {
    let reason = match panics::catch(|| model.apply(event)) {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => format!("{error} ({})", error.code()),
        Err(message) => format!("it panicked: {message}"),
    };
    let reason = format!("event {} of \"{}\": {reason}", event.version, event.stream);
    Err(End::Failed(Stop { reason, damaged: false }))
}

/// Why following ended.
enum End {
    Closed,
    Failed(Stop),
}

impl From<ReadError> for End {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Closed => Self::Closed,
            other => {
                let damaged = matches!(other, ReadError::Damaged { .. });
                Self::Failed(Stop { reason: other.to_string(), damaged })
            }
        }
    }
}

impl<M: Fold> Follower<M> {
    async fn run(self) {
        let End::Failed(stop) = self.follow().await else { return };
        tracing::error!(read_model = self.name, reason = stop.reason, "a read model stopped");
        self.progress.send_modify(|progress| progress.failed = Some(stop));
    }

    async fn follow(&self) -> End {
        let mut durable = self.journal.durable();
        let mut reading = Reading { next: Position(1), waiting: Vec::new() };
        loop {
            let now = *durable.borrow_and_update();
            let end = if self.filter.wants_internal() { now.position } else { now.external };
            while reading.next <= end || !reading.waiting.is_empty() {
                if let Err(end) = self.page(&mut reading).await {
                    return end;
                }
                self.measure(end, reading.next);
            }
            if durable.changed().await.is_err() {
                return End::Closed;
            }
        }
    }

    /// Folds one page. The events of one command go in together, so that no reader meets half a command: those at the
    /// end of a page wait until it is sure that no more of them follow.
    async fn page(&self, reading: &mut Reading) -> Result<(), End> {
        let page = self.journal.all_page(reading.next, &self.filter, PAGE_EVENTS).await?;
        reading.next = page.next;
        reading.waiting.extend(page.events);
        let at_end = page.next > self.journal.durable().borrow().position;
        let whole = if at_end { reading.waiting.len() } else { whole_commands(&reading.waiting) };
        let mut model = self.shared.0.write();
        for event in reading.waiting.drain(..whole) {
            fold(&mut *model, &event)?;
        }
        drop(model);
        let next = reading.waiting.first().map_or(page.next, |event| event.position);
        self.progress.send_modify(|progress| progress.position = Position(next.0.saturating_sub(1)));
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    fn measure(&self, end: Position, next: Position) {
        self.lag.set(end.next().0.saturating_sub(next.0) as f64);
    }
}
