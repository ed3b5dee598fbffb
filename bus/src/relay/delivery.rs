//! One event until it is acknowledged.

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
use super::parking::Parking;
use crate::broker::{PublishError, Publisher};
use crate::{RelayOptions, RetryPolicy};

/// Whether an event has left.
pub(super) enum Delivered {
    Acknowledged {
        key: LaneKey,
        job: Job,
    },
    /// The relay stops before it has.
    GivenUp,
}

/// An event that has failed and is tried again, for as long as this lives.
struct Retrying(Arc<Shared>);

impl Retrying {
    fn begin(shared: &Arc<Shared>) -> Self {
        shared.retrying.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Retrying {
    fn drop(&mut self) {
        self.0.retrying.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What every delivery needs.
pub(super) struct Deliverer {
    pub(super) shared: Arc<Shared>,
    pub(super) publisher: Arc<dyn Publisher>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) retry: RetryPolicy,
    pub(super) parked_retry: Duration,
    /// Told of each key that parks.
    parked: mpsc::UnboundedSender<LaneKey>,
}

impl Deliverer {
    /// It comes with the keys that park, as they do.
    pub(super) fn new(
        shared: &Arc<Shared>,
        publisher: Arc<dyn Publisher>,
        clock: Arc<dyn Clock>,
        options: &RelayOptions,
    ) -> (Self, mpsc::UnboundedReceiver<LaneKey>) {
        let (parked, parks) = mpsc::unbounded_channel();
        let deliverer = Self {
            shared: Arc::clone(shared),
            publisher,
            clock,
            retry: options.retry,
            parked_retry: options.parked_retry,
            parked,
        };
        (deliverer, parks)
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

    /// Publishes until it is acknowledged, under the same id; first waits, where it `failed` before.
    pub(super) async fn deliver(
        self: Arc<Self>,
        key: LaneKey,
        job: Job,
        failed: Option<PublishError>,
    ) -> Delivered {
        let span = self.span(&job);
        self.publish(key, job, failed).instrument(span).await
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
        let (mut failures, mut parking) = (0, Parking::new(&self.shared));
        let (mut retrying, mut aside) = (None, false);
        loop {
            let result = match failed.take() {
                Some(error) => Err(error),
                None => self.attempt(&job).await,
            };
            let Err(error) = result else {
                parking.leave();
                tracing::debug!("the event was published");
                return Delivered::Acknowledged { key, job };
            };
            failures += 1;
            retrying.get_or_insert_with(|| Retrying::begin(&self.shared));
            if error.needs_mending() && !std::mem::replace(&mut aside, true) {
                // A relay that is gone reads no further anyway.
                let _gone = self.parked.send(key);
            }
            if self.wait_after(&error, failures, &mut parking).await {
                return Delivered::GivenUp;
            }
        }
    }

    /// A publisher may be anybody's: its panic is a failure like others.
    async fn attempt(&self, job: &Job) -> Result<(), PublishError> {
        let publishing = async { self.publisher.publish(&job.envelope).await };
        let panicked = |_| Err(PublishError::unavailable("the publisher panicked"));
        AssertUnwindSafe(publishing).catch_unwind().await.unwrap_or_else(panicked)
    }

    /// Waits as long as this error asks for; whether the relay is to stop instead.
    async fn wait_after(&self, error: &PublishError, failures: u32, parking: &mut Parking) -> bool {
        metrics::counter!("annals_bus_publish_failures_total", "relay" => self.shared.name.to_string(), "code" => error.code())
            .increment(1);
        let resumed = self.resumed();
        let pause = if error.needs_mending() {
            parking.park(&error.to_string());
            self.parked_retry
        } else {
            self.shared.failed(&error.to_string());
            tracing::debug!(failures, %error, "publishing again later");
            self.retry.pause(failures)
        };
        self.pause(resumed, pause).await
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
