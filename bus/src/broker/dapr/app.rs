//! The service as its sidecar sees it, whichever channel the sidecar uses.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::RwLock;
use serde::Serialize;
use tokio::sync::watch;

use super::probe::SidecarState;
use super::wire::{ENVELOPE_TYPE, Unreadable, too_long};
use super::{AppChannel, DaprOptions, Secret};
use crate::subscription::{DeliveryError, Inlet};
use crate::{Envelope, Topic};

/// What the sidecar is told of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum AppAnswer {
    /// Its effect is durable, or it is a dead letter of ours: never again, please.
    Success,
    /// Not yet: deliver it again.
    Retry,
}

/// A subscription as the sidecar is told of it (`GET /dapr/subscribe`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AppSubscription {
    /// The pub/sub component.
    pub pubsubname: Arc<str>,
    /// The topic.
    pub topic: Topic,
    /// Where an HTTP app takes its events.
    pub route: String,
    /// Where the sidecar puts what it cannot deliver, with sidecars that lose nothing on the way there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter_topic: Option<String>,
}

/// The service as its sidecar sees it. Cloning is cheap.
#[derive(Clone)]
pub struct DaprApp(Arc<Inner>);

struct Inner {
    pubsub: Arc<str>,
    token: Option<Secret>,
    programmatic: bool,
    over_grpc: bool,
    answer_within: Duration,
    body_bytes_max: usize,
    /// The handlers of each topic; `None` until a service is attached.
    topics: RwLock<Option<BTreeMap<Topic, Vec<Arc<Inlet>>>>>,
    draining: AtomicBool,
    state: watch::Sender<SidecarState>,
}

impl fmt::Debug for DaprApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DaprApp").field("pubsub", &self.0.pubsub).finish_non_exhaustive()
    }
}

impl DaprApp {
    pub(super) fn new(options: &DaprOptions) -> Self {
        Self(Arc::new(Inner {
            pubsub: Arc::clone(&options.pubsub),
            token: options.app_token.clone(),
            programmatic: options.programmatic,
            over_grpc: matches!(options.app_channel, AppChannel::Grpc(_)),
            answer_within: options.answer_within,
            body_bytes_max: options.body_bytes_max,
            topics: RwLock::new(None),
            draining: AtomicBool::new(false),
            state: watch::Sender::new(SidecarState::Unknown),
        }))
    }

    /// Takes a service's subscriptions; false when another service is attached.
    pub(super) fn attach(&self, inlets: &[Arc<Inlet>]) -> bool {
        let mut topics = self.0.topics.write();
        if topics.is_some() {
            return false;
        }
        let mut by_topic: BTreeMap<Topic, Vec<Arc<Inlet>>> = BTreeMap::new();
        for inlet in inlets {
            by_topic.entry(inlet.topic().clone()).or_default().push(Arc::clone(inlet));
        }
        *topics = Some(by_topic);
        self.0.draining.store(false, Ordering::Release);
        true
    }

    /// Takes nothing from now on.
    pub(super) fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    pub(super) fn detach(&self) {
        *self.0.topics.write() = None;
    }

    /// What is known of the sidecar.
    pub(super) fn state(&self) -> watch::Sender<SidecarState> {
        self.0.state.clone()
    }

    /// Whether the sidecar may go on delivering.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        !self.0.draining.load(Ordering::Acquire) && self.0.topics.read().is_some()
    }

    /// What the sidecar is to subscribe to: nothing where operators say that.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<AppSubscription> {
        if self.0.programmatic {
            self.topics().into_iter().map(|topic| self.described(topic)).collect()
        } else {
            Vec::new()
        }
    }

    /// The topics that the service handles.
    pub(super) fn topics(&self) -> Vec<Topic> {
        self.0.topics.read().iter().flat_map(BTreeMap::keys).cloned().collect()
    }

    fn described(&self, topic: Topic) -> AppSubscription {
        let safe = self.0.state.borrow().version().is_some_and(|version| version.has_safe_dead_letters());
        AppSubscription {
            pubsubname: Arc::clone(&self.0.pubsub),
            route: format!("/dapr/events/{topic}"),
            dead_letter_topic: safe.then(|| format!("{topic}.dapr-dead")),
            topic,
        }
    }

    /// Whether a delivery or a question comes from the sidecar. Sidecars before 1.17 send their token over HTTP only.
    #[must_use]
    pub fn is_from_sidecar(&self, token: Option<&[u8]>) -> bool {
        let Some(secret) = &self.0.token else { return true };
        let sent = !self.0.over_grpc
            || self.0.state.borrow().version().is_some_and(|version| version.sends_app_token_over_grpc());
        match token {
            Some(given) => secret.is(given),
            None => !sent,
        }
    }

    /// Takes an event as it came over HTTP.
    pub async fn deliver(&self, topic: &str, content_type: &str, body: &[u8]) -> AppAnswer {
        let topic = Topic::named(topic);
        if body.len() > self.0.body_bytes_max {
            let reason = too_long(body.len(), self.0.body_bytes_max);
            return self.bury(&topic, content_type, body, reason).await;
        }
        match Envelope::from_body(content_type, body, &topic) {
            Ok(envelope) => self.hand_over(&topic, envelope).await,
            Err(error) => self.bury(&topic, content_type, body, error.to_string()).await,
        }
    }

    pub(super) fn body_bytes_max(&self) -> usize {
        self.0.body_bytes_max
    }

    /// Takes an event, however it came.
    pub(super) async fn hand_over(&self, topic: &Topic, envelope: Envelope) -> AppAnswer {
        let envelope = Arc::new(envelope);
        self.to_each(topic, |inlet| {
            let envelope = Arc::clone(&envelope);
            async move { inlet.deliver(envelope).await }
        })
        .await
    }

    /// Takes what cannot be read, as a dead letter of each handler.
    pub(super) async fn bury_unreadable(&self, topic: &Topic, unreadable: Unreadable) -> AppAnswer {
        let Unreadable { body, reason } = unreadable;
        self.bury(topic, ENVELOPE_TYPE, &body, reason).await
    }

    async fn bury(&self, topic: &Topic, content_type: &str, body: &[u8], reason: String) -> AppAnswer {
        self.to_each(topic, |inlet| {
            let reason = reason.clone();
            async move { inlet.deliver_unreadable(content_type, body, reason).await }
        })
        .await
    }

    /// Hands something to every handler of a topic, each for itself: one that fails has the others done all the same,
    /// and the next delivery finds that they are.
    async fn to_each<F>(&self, topic: &Topic, deliver: impl Fn(Arc<Inlet>) -> F) -> AppAnswer
    where
        F: Future<Output = Result<(), DeliveryError>>,
    {
        let inlets =
            self.0.topics.read().as_ref().and_then(|topics| topics.get(topic).cloned()).unwrap_or_default();
        if inlets.is_empty() {
            tracing::error!(%topic, "an event came for a topic that nothing here subscribes to; mend the Subscription resources");
            return self.count(topic, AppAnswer::Retry, "unknown_topic");
        }
        if !self.may_take() {
            return self.count(topic, AppAnswer::Retry, "refused");
        }
        let deliveries = join_all(inlets.into_iter().map(deliver));
        let Ok(results) = tokio::time::timeout(self.0.answer_within, deliveries).await else {
            return self.count(topic, AppAnswer::Retry, "under_way");
        };
        match results.into_iter().find_map(Result::err) {
            None => self.count(topic, AppAnswer::Success, "handled"),
            Some(error) => {
                tracing::debug!(%topic, %error, "the sidecar is to deliver the event again");
                self.count(topic, AppAnswer::Retry, error.code())
            }
        }
    }

    fn may_take(&self) -> bool {
        let refused = matches!(*self.0.state.borrow(), SidecarState::Refused { .. });
        !refused && !self.0.draining.load(Ordering::Acquire)
    }

    fn count(&self, topic: &Topic, answer: AppAnswer, outcome: &'static str) -> AppAnswer {
        metrics::counter!("annals_bus_deliveries_total", "topic" => topic.to_string(), "outcome" => outcome)
            .increment(1);
        answer
    }
}
