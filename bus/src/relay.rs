//! The relay: publishes from the journal, which is the outbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use annals_actors::{Clock, Reader, Readers};
use annals_persistence::{Journal, Position, ReaderPlace, StreamId};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::broker::Publisher;
use crate::{Publications, RetryPolicy, Topic, ended};

mod answer;
mod aside;
mod cursor;
mod delivery;
mod lanes;
mod parking;
mod pump;

pub use answer::Answer;
#[cfg(test)]
pub(crate) use cursor::CursorEvent;
use cursor::CursorStream;
use parking::Parked;
use pump::Pump;

/// Where a reader that has no cursor yet begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StartFrom {
    /// At the first event there is.
    #[default]
    Beginning,
    /// At what comes after it was started for the first time.
    Now,
}

/// Limits and habits of a relay.
#[derive(Debug, Clone)]
pub struct RelayOptions {
    /// How many events may be published and not yet acknowledged, beside those that are parked.
    pub in_flight: usize,
    /// How many events may be parked, and wait behind what is parked, before the relay reads no further.
    pub parked_max: usize,
    /// How much memory these may take, in bytes, before the relay reads no further.
    pub parked_bytes_max: usize,
    /// After how many failures that trying again may mend an event's key is parked, where other events have left since the
    /// first of them. Where none has, it may be the broker that is gone, and nothing is.
    pub aside_after: u32,
    /// The least time between two appends of the cursor.
    pub cursor_every: Duration,
    /// The pauses between attempts; a relay never gives up, so the number of attempts does not count.
    pub retry: RetryPolicy,
    /// How long to wait before something that needs another configuration is tried again. Of many keys that wait for the
    /// same, a few are tried, and the others as these succeed. What is parked for another reason waits for the longest of
    /// the pauses instead.
    pub parked_retry: Duration,
    /// How many (stream, topic) pairs it remembers the last published event of.
    pub sequences: usize,
    /// Where it begins the first time.
    pub start: StartFrom,
    /// How long stopping waits for what is in flight.
    pub drain: Duration,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            in_flight: 1024,
            parked_max: 131_072,
            parked_bytes_max: 128 * 1024 * 1024,
            aside_after: 8,
            cursor_every: Duration::from_secs(1),
            retry: RetryPolicy::default(),
            parked_retry: Duration::from_secs(60),
            sequences: 100_000,
            start: StartFrom::Beginning,
            drain: Duration::from_secs(8),
        }
    }
}

/// What a relay is made of.
pub struct RelayParts {
    /// What it is called in status reports and metrics.
    pub name: Arc<str>,
    /// The stream that keeps its cursor; one of [`cursor_stream`](annals_persistence::cursor_stream), or nobody knows of it
    /// while the relay does not run, and what it has still to come to does not stay in the journal.
    pub cursor: StreamId,
    /// What it reads.
    pub journal: Arc<dyn Journal>,
    /// Where it is told of, so that no event goes that it has still to publish: [`Node::readers`](annals_actors::Node::readers)
    /// of the node over that journal.
    pub readers: Readers,
    /// What the events translate into.
    pub publications: Arc<Publications>,
    /// The one topic that it publishes; `None` publishes all.
    pub topic: Option<Topic>,
    /// Where it puts them.
    pub publisher: Arc<dyn Publisher>,
    /// What its pauses go by.
    pub clock: Arc<dyn Clock>,
    /// Limits and habits.
    pub options: RelayOptions,
}

impl std::fmt::Debug for RelayParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RelayParts")
            .field("name", &self.name)
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

/// How a relay is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Everything up to this position is published.
    pub cursor: Position,
    /// The last durable position that a relay could be concerned with.
    pub durable: Position,
    /// How many events are published and not yet acknowledged, or wait behind such.
    pub in_flight: usize,
    /// How many events it has published since it was started.
    pub published: u64,
    /// How many of those have failed and are tried again, what is parked included.
    pub retrying: usize,
    /// Why something is parked, as long as that is so; of several reasons the first.
    pub parked: Option<String>,
    /// How many keys are parked.
    pub parked_keys: usize,
    /// How many events are parked, wait behind such, or behind one that fails again and again; what is left of those too.
    pub parked_events: usize,
    /// What failed last.
    pub last_error: Option<String>,
    /// Whether it has ended by itself: it publishes nothing until the service is started again.
    pub ended: bool,
}

impl RelayStatus {
    /// Why it does not run, if that is so.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.ended.then(|| ended::reason(&format!("relay \"{}\"", self.name)))
    }

    /// How many positions it is behind; 0 when it has caught up.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.durable.0.saturating_sub(self.cursor.0)
    }

    /// What keeps events from leaving, if anything does.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        if let Some(reason) = &self.parked {
            return Some(self.parked_for(reason));
        }
        let last = self.last_error.as_deref().unwrap_or("no reason is known");
        (self.retrying > 0)
            .then(|| format!("relay \"{}\" tries {} events again: {last}", self.name, self.retrying))
    }
}

impl RelayStatus {
    fn parked_for(&self, reason: &str) -> String {
        let Self { name, parked_keys: keys, parked_events: events, .. } = self;
        match keys {
            0 => format!("relay \"{name}\" is parked: {reason}"),
            _ => format!("relay \"{name}\" has {events} events of {keys} keys parked: {reason}"),
        }
    }
}

/// A running relay. Dropping it stops it at once, as a crash would; [`Relay::stop`] lets it finish.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Relay {
    /// Starts a relay on the current tokio runtime.
    #[must_use]
    pub fn start(parts: RelayParts) -> Self {
        let shared = Arc::new(Shared::new(&parts));
        parts.readers.add(&(Arc::clone(&shared) as Arc<dyn Reader>));
        let pump = Pump::new(parts, Arc::clone(&shared));
        let watched = Arc::clone(&shared);
        let task = async move {
            let what = format!("relay \"{}\"", watched.name);
            if ended::by_itself(what, pump.run(), || watched.is_stopping()).await {
                watched.ended.store(true, Ordering::Release);
            }
        };
        Self { shared, task: Mutex::new(Some(tokio::spawn(task))) }
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> RelayStatus {
        self.shared.status()
    }

    /// Tries again at once what is parked.
    pub fn resume(&self) {
        self.shared.resume.send_modify(|calls| *calls += 1);
    }

    /// Reads no further, waits (a bounded time) for what is in flight, writes the cursor.
    pub async fn stop(&self) {
        self.shared.stopping.send_replace(true);
        let task = self.task.lock().take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(relay = %self.shared.name, %error, "the relay ended by itself");
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
    }
}

/// What the pump, its deliveries and the handle share.
#[derive(Debug)]
struct Shared {
    name: Arc<str>,
    /// Where the cursor is written down, in the journal that is read.
    written: CursorStream,
    /// Keeps what it has still to come to in the journal: how far its cursor is durable.
    place: ReaderPlace,
    /// Everything up to here is acknowledged.
    floor: AtomicU64,
    in_flight: AtomicUsize,
    retrying: AtomicUsize,
    parked_events: AtomicUsize,
    published: AtomicU64,
    ended: AtomicBool,
    trouble: Mutex<Trouble>,
    /// Counts the calls to go on, so that none that comes while something is being parked is missed.
    resume: watch::Sender<u64>,
    stopping: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Trouble {
    parked: Parked,
    last_error: Option<String>,
}

impl Reader for Shared {
    fn name(&self) -> String {
        format!("relay {}", self.name)
    }

    fn needs_behind<'a>(&'a self, _: &'a StreamId) -> BoxFuture<'a, Result<Option<Position>, String>> {
        // What is not written down is published again after a crash, and must be there then.
        async move { self.written.save_at_least(self.cursor()).await.map(Some) }.boxed()
    }
}

impl Shared {
    fn new(parts: &RelayParts) -> Self {
        Self {
            name: Arc::clone(&parts.name),
            written: CursorStream {
                journal: Arc::clone(&parts.journal),
                stream: parts.cursor.clone(),
                clock: Arc::clone(&parts.clock),
            },
            place: parts.journal.readers().register(format!("relay {}", parts.name), false, Position::START),
            floor: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            retrying: AtomicUsize::new(0),
            parked_events: AtomicUsize::new(0),
            published: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            trouble: Mutex::default(),
            resume: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
        }
    }

    fn status(&self) -> RelayStatus {
        let trouble = self.trouble.lock();
        RelayStatus {
            name: Arc::clone(&self.name),
            cursor: self.cursor(),
            durable: self.written.journal.durable().borrow().external,
            in_flight: self.in_flight.load(Ordering::Relaxed),
            retrying: self.retrying.load(Ordering::Relaxed) + trouble.parked.keys(),
            published: self.published.load(Ordering::Relaxed),
            parked: trouble.parked.first(),
            parked_keys: trouble.parked.keys(),
            parked_events: self.parked_events.load(Ordering::Relaxed),
            last_error: trouble.last_error.clone(),
            ended: self.ended.load(Ordering::Acquire),
        }
    }

    fn cursor(&self) -> Position {
        Position(self.floor.load(Ordering::Acquire))
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Ends when the relay is to stop.
    async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives in `self`, so that waiting ends only when it says so.
        drop(stopping.wait_for(|stopping| *stopping).await);
    }

    fn failed(&self, reason: &str) {
        self.trouble.lock().last_error = Some(reason.to_owned());
        self.measure_lag();
    }

    fn measure_lag(&self) {
        let lag = self.written.journal.durable().borrow().external.0.saturating_sub(self.cursor().0);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; nobody lags 2^52 events behind")]
        metrics::gauge!("annals_bus_lag_events", "relay" => self.name.to_string()).set(lag as f64);
    }
}

#[cfg(test)]
mod tests;
