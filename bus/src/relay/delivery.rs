//! One event until it is acknowledged, or its key is set aside.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use annals_actors::Clock;
use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tracing::{Instrument, Span};

use super::Shared;
use super::answer::{Answer, Answers};
use super::lanes::{Job, LaneKey};
use crate::broker::{PublishError, Publisher};
use crate::{RelayOptions, RetryPolicy};

/// Whether an event has left.
pub(super) enum Delivered {
    Acknowledged {
        key: LaneKey,
        job: Job,
    },
    /// Its key is to be set aside: trying again helps only when somebody has mended something, or it alone does not leave.
    Refused {
        key: LaneKey,
        job: Job,
        error: PublishError,
    },
    /// The relay stops before it has.
    GivenUp,
}

/// The failures of an event that is tried again. It shows as such for as long as this lives.
struct Failures {
    shared: Arc<Shared>,
    count: u32,
    /// How many events had left at the last but one of them, and at the last.
    left: [u64; 2],
}

impl Failures {
    fn begin(shared: &Arc<Shared>) -> Self {
        shared.retrying.fetch_add(1, Ordering::Relaxed);
        let left = shared.published.load(Ordering::Relaxed);
        Self { shared: Arc::clone(shared), count: 0, left: [left; 2] }
    }

    /// Counts one more; whether others have left lately. What left before that says nothing: a broker may have gone since.
    fn add(&mut self) -> bool {
        self.count += 1;
        let left = self.shared.published.load(Ordering::Relaxed);
        let [before, last] = self.left;
        self.left = [last, left];
        left > before
    }
}

impl Drop for Failures {
    fn drop(&mut self) {
        self.shared.retrying.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What every delivery needs.
pub(super) struct Deliverer {
    pub(super) shared: Arc<Shared>,
    pub(super) publisher: Arc<dyn Publisher>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) retry: RetryPolicy,
    /// After how many failures a key is set aside.
    aside_after: u32,
    /// Told of each key whose event has failed as often while no other left.
    failing: mpsc::UnboundedSender<LaneKey>,
}

impl Deliverer {
    /// It comes with the keys whose event fails again and again, as they do.
    pub(super) fn new(
        shared: &Arc<Shared>,
        publisher: Arc<dyn Publisher>,
        clock: Arc<dyn Clock>,
        options: &RelayOptions,
    ) -> (Self, mpsc::UnboundedReceiver<LaneKey>) {
        let (failing, failed) = mpsc::unbounded_channel();
        let deliverer = Self {
            shared: Arc::clone(shared),
            publisher,
            clock,
            retry: options.retry,
            aside_after: options.aside_after.max(1),
            failing,
        };
        (deliverer, failed)
    }

    /// Hands an event to the publisher without waiting for it; it comes back where that takes none, or somebody wants to
    /// know of it in the logs.
    pub(super) fn offer(&self, key: LaneKey, job: Job, answers: &Arc<Answers>) -> Option<(LaneKey, Job)> {
        if !self.publisher.takes_offers() || !self.span(&job).is_disabled() {
            return Some((key, job));
        }
        let envelope = Arc::clone(&job.envelope);
        self.publisher.offer(envelope, Answer::new(answers, key, job)).and_then(Answer::take_back)
    }

    /// Publishes until it is acknowledged, under the same id, or its key is to be set aside; first waits, where it `failed`
    /// before.
    pub(super) async fn deliver(
        self: Arc<Self>,
        key: LaneKey,
        job: Job,
        failed: Option<PublishError>,
    ) -> Delivered {
        let span = self.span(&job);
        self.publish(key, job, failed).instrument(span).await
    }

    /// Publishes an event whose key is set aside, once.
    pub(super) async fn try_once(self: Arc<Self>, key: LaneKey, job: Job) -> Delivered {
        let span = self.span(&job);
        match self.attempt(&job).instrument(span).await {
            Ok(()) => Delivered::Acknowledged { key, job },
            Err(error) => Delivered::Refused { key, job, error },
        }
    }

    fn span(&self, job: &Job) -> Span {
        let envelope = &job.envelope;
        tracing::debug_span!(
            "publish_event",
            relay = %self.shared.name,
            topic = %envelope.topic,
            event_id = %envelope.id,
            position = job.position.0,
            trace_id = envelope.trace_id(),
        )
    }

    async fn publish(self: Arc<Self>, key: LaneKey, job: Job, mut failed: Option<PublishError>) -> Delivered {
        let mut failures = None;
        loop {
            let result = match failed.take() {
                Some(error) => Err(error),
                None => self.attempt(&job).await,
            };
            let Err(error) = result else {
                tracing::debug!("the event was published");
                return Delivered::Acknowledged { key, job };
            };
            let failures = failures.get_or_insert_with(|| Failures::begin(&self.shared));
            if self.is_to_be_set_aside(key, &error, failures) {
                return Delivered::Refused { key, job, error };
            }
            if self.wait_after(&error, failures.count).await {
                return Delivered::GivenUp;
            }
        }
    }

    /// Whether trying again helps only when somebody has mended something, or it is this event alone that fails.
    fn is_to_be_set_aside(&self, key: LaneKey, error: &PublishError, failures: &mut Failures) -> bool {
        let is_alone = failures.add();
        if failures.count == self.aside_after {
            // A relay that is gone reads no further anyway.
            let _gone = self.failing.send(key);
        }
        error.needs_mending() || (failures.count >= self.aside_after && is_alone)
    }

    /// Waits before the next attempt; whether the relay is to stop instead.
    async fn wait_after(&self, error: &PublishError, failures: u32) -> bool {
        let resumed = self.resumed();
        tracing::debug!(failures, %error, "publishing again later");
        self.pause(resumed, self.retry.pause(failures)).await
    }

    /// A publisher may be anybody's: its panic is a failure like others.
    async fn attempt(&self, job: &Job) -> Result<(), PublishError> {
        let publishing = async { self.publisher.publish(&job.envelope).await };
        let panicked = |_| Err(PublishError::unavailable("the publisher panicked"));
        let result = AssertUnwindSafe(publishing).catch_unwind().await.unwrap_or_else(panicked);
        result.inspect_err(|error| self.failed(error))
    }

    /// Counts a failure, and shows it.
    pub(super) fn failed(&self, error: &PublishError) {
        metrics::counter!("annals_bus_publish_failures_total", "relay" => self.shared.name.to_string(), "code" => error.code())
            .increment(1);
        self.shared.failed(&error.to_string());
    }

    /// What tells of calls to go on from now on; made before anything is parked.
    pub(super) fn resumed(&self) -> watch::Receiver<u64> {
        self.shared.resume.subscribe()
    }

    /// Sleeps, or until resumed; whether the relay is to stop.
    pub(super) async fn pause(&self, mut resumed: watch::Receiver<u64>, duration: Duration) -> bool {
        tokio::select! {
            () = self.shared.stopped() => {}
            _ = resumed.changed() => {}
            () = self.clock.sleep(duration) => {}
        }
        self.shared.is_stopping()
    }
}
