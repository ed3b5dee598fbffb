//! The scavenger: gives back the space of what a journal no longer keeps, now and again, beside whatever else goes on.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::planted::{Fault, planted};
use crate::{
    CursorError, EmbeddedJournal, ExpiringStreams, Journal, JournalHealth, ReadError, ReaderPosition,
    ScavengeError, ScavengeOptions, ScavengeProgress, ScavengeStop, Timestamp, cursors,
};

/// How often it must fail, one run after the other, before that is more than bad luck.
const FAILURES_SHOWN: u32 = 3;

/// When and how a [`Scavenger`] works.
#[derive(Debug, Clone)]
pub struct ScavengerOptions {
    /// How long after its start it runs first: a start has other things to do.
    pub first_after: Duration,
    /// How long it waits from the end of one run to the next.
    pub every: Duration,
    /// How many of a hundred records of a sealed segment must go for it to be written anew.
    pub percent_min: u8,
    /// How much of the time of a run it works, in percent, and leaves the rest to others; 1 to 100.
    pub duty_percent: u8,
    /// Streams that go as a whole once they are old.
    pub expiring: Vec<ExpiringStreams>,
}

impl Default for ScavengerOptions {
    /// First after a minute, then every hour; segments of which a fifth goes; a quarter of the time; no stream expires.
    fn default() -> Self {
        Self {
            first_after: Duration::from_secs(60),
            every: Duration::from_secs(60 * 60),
            percent_min: 20,
            duty_percent: 25,
            expiring: Vec::new(),
        }
    }
}

/// Why a run came to nothing, or to less than it might. What it did until then stays done.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ScavengerError {
    /// How far the journal's readers are could not be read, so nothing is given back.
    #[error("the cursors of the journal's readers cannot be read")]
    Cursors {
        /// What is wrong.
        #[source]
        source: CursorError,
    },
    /// A segment could not be written anew.
    #[error(transparent)]
    Scavenge(#[from] ScavengeError),
    /// The thread that works ended early.
    #[error("the scavenging was interrupted")]
    Interrupted,
}

impl ScavengerError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Cursors { .. } => "cursors_unreadable",
            Self::Scavenge(error) => error.code(),
            Self::Interrupted => "internal_error",
        }
    }
}

/// What a scavenger has done since it was started.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ScavengerStatus {
    /// Runs that came to their end.
    pub runs: u64,
    /// Runs that did not.
    pub failures: u64,
    /// How many of those were the last ones.
    pub failures_in_a_row: u32,
    /// Segments written anew.
    pub segments: u64,
    /// Events that are gone.
    pub events: u64,
    /// Bytes given back.
    pub bytes: u64,
    /// When a run came to its end last.
    pub last_run: Option<Timestamp>,
    /// Why the last run failed, if it did.
    pub last_error: Option<ScavengerError>,
    /// Who kept the last run from going further.
    pub held_by: Option<ReaderPosition>,
}

/// Gives back the space of what a journal no longer keeps, by itself: every so often it looks at the sealed segments and
/// writes those anew of which enough goes. Nothing goes that a reader has still to come to: one that runs and is among the
/// journal's [`Readers`](crate::Readers), or one whose cursor stands in the journal. Cloning is cheap; when the last clone is
/// dropped it stops, within milliseconds.
#[derive(Debug, Clone)]
pub struct Scavenger(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    journal: Arc<EmbeddedJournal>,
    options: ScavengerOptions,
    stop: ScavengeStop,
    stopping: watch::Sender<bool>,
    status: Mutex<ScavengerStatus>,
    /// One run at a time.
    running: tokio::sync::Mutex<()>,
}

impl Scavenger {
    /// Starts to look after a journal, on the current tokio runtime.
    #[must_use]
    pub fn start(journal: Arc<EmbeddedJournal>, options: ScavengerOptions) -> Self {
        let shared = Arc::new(Shared {
            journal,
            options,
            stop: ScavengeStop::default(),
            stopping: watch::Sender::new(false),
            status: Mutex::default(),
            running: tokio::sync::Mutex::default(),
        });
        let task = tokio::spawn(Arc::clone(&shared).run());
        Self(Arc::new(Inner { shared, task: Mutex::new(Some(task)) }))
    }

    /// What it has done.
    #[must_use]
    pub fn status(&self) -> ScavengerStatus {
        self.0.shared.status.lock().clone()
    }

    /// What somebody should know: that it keeps failing, and why.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let status = self.0.shared.status.lock();
        let error = status.last_error.as_ref().filter(|_| status.failures_in_a_row >= FAILURES_SHOWN)?;
        let times = status.failures_in_a_row;
        Some(format!("no space was given back {times} times in a row: {error} ({})", error.code()))
    }

    /// Runs now, after the run that is under way if one is.
    ///
    /// # Errors
    /// [`ScavengerError`].
    pub async fn run_now(&self) -> Result<ScavengeProgress, ScavengerError> {
        self.0.shared.run_once().await
    }

    /// Ends it, in the middle of a segment too, which stays as it was then; answers when it has ended.
    pub async fn stop(&self) {
        self.0.shared.ask_to_stop();
        let task = self.0.task.lock().take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the scavenger ended by itself");
        }
        drop(self.0.shared.running.lock().await);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.ask_to_stop();
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
    }
}

impl Shared {
    fn ask_to_stop(&self) {
        self.stop.ask();
        self.stopping.send_replace(true);
    }

    async fn run(self: Arc<Self>) {
        let mut pause = self.options.first_after;
        while !self.stops_within(pause).await {
            pause = self.options.every;
            // What failed is in the status, and tried again.
            drop(self.run_once().await);
            if self.journal.health() == JournalHealth::Closed {
                return;
            }
        }
    }

    /// Waits; whether it is to end instead.
    async fn stops_within(&self, pause: Duration) -> bool {
        let mut stopping = self.stopping.subscribe();
        // The sender lives in `self`, so that waiting ends only when it says so.
        let stopped = stopping.wait_for(|stopping| *stopping);
        tokio::time::timeout(pause, stopped).await.is_ok()
    }

    async fn run_once(&self) -> Result<ScavengeProgress, ScavengerError> {
        let _one_at_a_time = self.running.lock().await;
        let (lowest, outcome) = match self.lowest().await {
            Ok(lowest) => (lowest.clone(), self.scavenge(lowest).await),
            Err(error) => (None, Err(error)),
        };
        self.note(lowest, &outcome);
        outcome
    }

    /// The reader that has come least far, of those that run and those whose cursors stand in the journal.
    async fn lowest(&self) -> Result<Option<ReaderPosition>, ScavengerError> {
        if planted(Fault::ReadersPassed) {
            return Ok(None);
        }
        // Asked first: one that begins to run meanwhile has its cursor in the journal, or begins with what there is.
        let running = self.journal.readers().lowest();
        let journal = Arc::clone(&self.journal) as Arc<dyn Journal>;
        let durable = cursors(&journal).await.map_err(|source| ScavengerError::Cursors { source })?;
        let durable = durable.into_iter().map(ReaderPosition::from);
        Ok(running.into_iter().chain(durable).min_by_key(|reader| reader.position))
    }

    async fn scavenge(&self, lowest: Option<ReaderPosition>) -> Result<ScavengeProgress, ScavengerError> {
        let (journal, options) = (Arc::clone(&self.journal), self.options_with(lowest.as_ref()));
        let working =
            tokio::task::spawn_blocking(move || journal.scavenge(&options, |_| ControlFlow::Continue(())));
        Ok(working.await.map_err(|_| ScavengerError::Interrupted)??)
    }

    fn options_with(&self, lowest: Option<&ReaderPosition>) -> ScavengeOptions {
        let end = self.journal.durable().borrow().position;
        let own = self.journal.readers().lowest_of_internal().map_or(end, |reader| reader.position);
        let ScavengerOptions { percent_min, duty_percent, ref expiring, .. } = self.options;
        ScavengeOptions {
            own_below: own.next(),
            expiring: expiring.clone(),
            percent_min,
            duty_percent,
            stop: self.stop.clone(),
            ..ScavengeOptions::below(lowest.map_or(end, |reader| reader.position).next())
        }
    }

    fn note(&self, held_by: Option<ReaderPosition>, outcome: &Result<ScavengeProgress, ScavengerError>) {
        let mut status = self.status.lock();
        if outcome.is_ok() {
            status.held_by = held_by;
        }
        match outcome {
            Ok(progress) => status.succeeded(progress),
            // Whoever else does it does the same.
            Err(ScavengerError::Scavenge(ScavengeError::UnderWay)) => {}
            // A journal that was closed has nothing left to give back.
            Err(ScavengerError::Scavenge(ScavengeError::Read(ReadError::Closed))) => {}
            Err(_) if self.stop.is_asked() => {}
            Err(error) => status.failed(error),
        }
    }
}

impl ScavengerStatus {
    fn succeeded(&mut self, progress: &ScavengeProgress) {
        let ScavengeProgress { rewritten, events, bytes, .. } = *progress;
        self.runs += 1;
        self.failures_in_a_row = 0;
        self.last_error = None;
        self.last_run = Some(Timestamp::now());
        self.segments += rewritten as u64;
        self.events += events;
        self.bytes += bytes;
        if rewritten > 0 {
            tracing::info!(
                segments = rewritten,
                events,
                bytes,
                "gave back the space of what is no longer kept"
            );
        }
    }

    fn failed(&mut self, error: &ScavengerError) {
        self.failures += 1;
        self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
        tracing::warn!(code = error.code(), %error, "no space was given back; it is tried again");
        self.last_error = Some(error.clone());
    }
}

#[cfg(test)]
mod tests;
