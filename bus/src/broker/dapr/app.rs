//! The service as its sidecar sees it, whichever channel the sidecar uses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{OptionFuture, join_all};
use parking_lot::{Mutex, RwLock};
use serde::Serialize;
use tokio::sync::watch;

use super::components::Components;
use super::probe::Watcher;
use super::state::SidecarState;
use super::wire::{ENVELOPE_TYPE, Unreadable};
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

/// Whether it is worth while to read a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reception {
    /// It is.
    Welcome,
    /// Not now: the service stops, or the sidecar is one that must not be used. It is to be brought again.
    Later,
    /// Nothing here subscribes to its topic. It is to stay with the broker until somebody has mended that.
    NotSubscribed,
}

/// How many topics that nothing subscribes to are named in the log: whoever calls chooses the names.
const UNKNOWN_NAMED_MAX: usize = 64;

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
    /// Where the sidecar puts what it gives up, where it would be lost otherwise: with Redis, from 1.17 on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letter_topic: Option<String>,
}

/// The service as its sidecar sees it. Cloning is cheap.
#[derive(Clone)]
pub struct DaprApp(Arc<Inner>);

struct Inner {
    components: Components,
    token: Option<Secret>,
    programmatic: bool,
    over_grpc: bool,
    answer_within: Duration,
    body_bytes_max: usize,
    /// The service that is attached, if one is.
    attached: RwLock<Attachments>,
    draining: AtomicBool,
    /// The topics that deliveries came for though nothing subscribes to them.
    unknown: Mutex<BTreeSet<Topic>>,
    state: watch::Sender<SidecarState>,
}

/// Which attachment this is: a service that is gone does not take the one after it along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AttachmentId(u64);

/// The handlers of each topic.
type Handlers = BTreeMap<Topic, Vec<Arc<Inlet>>>;

/// How long the sidecar may take to say what it is, while it waits for what it asked.
const ASKED_BACK: Duration = Duration::from_secs(2);

#[derive(Default)]
struct Attachments {
    last: u64,
    /// Who asks the sidecar what it is.
    watcher: Option<Arc<Watcher>>,
    current: Option<(AttachmentId, Handlers)>,
}

impl fmt::Debug for DaprApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DaprApp").field("components", &self.0.components).finish_non_exhaustive()
    }
}

impl DaprApp {
    pub(super) fn new(options: &DaprOptions) -> Self {
        Self(Arc::new(Inner {
            components: Components::new(options),
            token: options.app_token.clone(),
            programmatic: options.programmatic,
            over_grpc: matches!(options.app_channel, AppChannel::Grpc(_)),
            answer_within: options.answer_within,
            body_bytes_max: options.body_bytes_max,
            attached: RwLock::default(),
            draining: AtomicBool::new(false),
            unknown: Mutex::default(),
            state: watch::Sender::new(SidecarState::Unknown),
        }))
    }

    /// Takes a service's subscriptions; `None` when another service is attached.
    pub(super) fn attach(&self, inlets: &[Arc<Inlet>]) -> Option<AttachmentId> {
        let mut attached = self.0.attached.write();
        if attached.current.is_some() {
            return None;
        }
        let mut handlers = Handlers::new();
        for inlet in inlets {
            handlers.entry(inlet.topic().clone()).or_default().push(Arc::clone(inlet));
        }
        attached.last += 1;
        let id = AttachmentId(attached.last);
        attached.current = Some((id, handlers));
        self.0.draining.store(false, Ordering::Release);
        Some(id)
    }

    /// Has this one asked what the sidecar is.
    pub(super) fn ask_by(&self, watcher: &Arc<Watcher>) {
        self.0.attached.write().watcher = Some(Arc::clone(watcher));
    }

    /// Takes nothing from now on.
    pub(super) fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    pub(super) fn detach(&self, id: AttachmentId) {
        let mut attached = self.0.attached.write();
        if attached.current.as_ref().is_some_and(|(current, _)| *current == id) {
            attached.current = None;
            attached.watcher = None;
        }
    }

    /// What is known of the sidecar.
    pub(super) fn state(&self) -> watch::Sender<SidecarState> {
        self.0.state.clone()
    }

    /// Whether the sidecar may go on delivering.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        !self.0.draining.load(Ordering::Acquire) && self.0.attached.read().current.is_some()
    }

    /// What the sidecar is to subscribe to: nothing where operators say that.
    pub async fn subscriptions(&self) -> Vec<AppSubscription> {
        if !self.0.programmatic {
            return Vec::new();
        }
        let state = self.asked().await;
        self.topics().into_iter().map(|topic| self.described(topic, state.as_ref())).collect()
    }

    /// What the sidecar says that it is. One that asks for subscriptions asks once, as soon as it is there, so what was known
    /// before may be of another.
    async fn asked(&self) -> Option<SidecarState> {
        let watcher = self.0.attached.read().watcher.clone();
        let asked = OptionFuture::from(watcher.as_ref().map(|watcher| watcher.ask()));
        tokio::time::timeout(ASKED_BACK, asked).await.ok().flatten()
    }

    fn drops_what_fails(&self, component: &str, asked: Option<&SidecarState>) -> bool {
        let drops = asked.and_then(|state| state.drops_what_fails(component));
        // Where nobody knows, it is better moved than dropped.
        drops.or_else(|| self.0.state.borrow().drops_what_fails(component)).unwrap_or(true)
    }

    /// Where an app that is reached over HTTP takes a topic's events.
    pub(super) fn route(topic: &str) -> String {
        format!("/dapr/events/{topic}")
    }

    /// The topics that the service handles.
    pub(super) fn topics(&self) -> Vec<Topic> {
        let attached = self.0.attached.read();
        attached.current.iter().flat_map(|(_, handlers)| handlers.keys()).cloned().collect()
    }

    fn described(&self, topic: Topic, asked: Option<&SidecarState>) -> AppSubscription {
        let component = self.0.components.of(&topic);
        let needed = self.drops_what_fails(component, asked);
        AppSubscription {
            pubsubname: Arc::clone(component),
            route: Self::route(topic.as_str()),
            dead_letter_topic: needed.then(|| format!("{topic}.dapr-dead")),
            topic,
        }
    }

    /// Whether a delivery or a question comes from the sidecar, by the token that it brings and where it comes from. Sidecars
    /// before 1.17 send their token over HTTP only; over gRPC they are believed on this machine alone, as is one that has
    /// not said yet what it is. Where there is no token, only this machine is believed, whatever the channel.
    #[must_use]
    pub fn is_from_sidecar(&self, token: Option<&[u8]>, peer: Option<IpAddr>) -> bool {
        let Some(secret) = &self.0.token else { return peer.is_some_and(is_this_machine) };
        let Some(given) = token else {
            let sends =
                self.0.state.borrow().version().is_some_and(|version| version.sends_app_token_over_grpc());
            return self.0.over_grpc && !sends && peer.is_some_and(is_this_machine);
        };
        secret.is(given)
    }

    /// Whether a delivery of this topic is worth reading. One that is not counts as refused.
    #[must_use]
    pub fn reception(&self, topic: &str) -> Reception {
        let topic = Topic::named(topic);
        if self.handlers(&topic).is_empty() {
            self.refuse_unknown(&topic);
            return Reception::NotSubscribed;
        }
        if !self.may_take() {
            self.count(&topic, AppAnswer::Retry, "refused");
            return Reception::Later;
        }
        Reception::Welcome
    }

    /// Counts a delivery whose body could not be read, and says so.
    pub fn unread(&self, topic: &str, code: &'static str) {
        tracing::warn!(topic, code, "the body of a delivery could not be read");
        self.count(&Topic::named(topic), AppAnswer::Retry, code);
    }

    /// Says in the log when deliveries are listened for on the network and nobody there can be believed.
    pub fn warn_of_network(&self, address: SocketAddr) {
        if self.0.token.is_none() && !is_this_machine(address.ip()) {
            tracing::warn!(
                %address,
                "deliveries from the network are refused, since there is no app token: give it to the service and to its \
                 sidecar (APP_API_TOKEN)"
            );
        }
    }

    /// How many bytes of a body are worth keeping: what is a little too long becomes a dead letter in the place of its
    /// key, and that is read of the body; of what is longer than this, the beginning says enough.
    #[must_use]
    pub fn body_bytes_kept(&self) -> usize {
        self.0.body_bytes_max.saturating_mul(2)
    }

    /// Takes the beginning of a body that is too long to be kept, as a dead letter of each handler.
    pub async fn deliver_cut(&self, topic: &str, content_type: &str, beginning: &[u8]) -> AppAnswer {
        let most = self.0.body_bytes_max;
        let reason =
            format!("the event is much longer than the {most} bytes that are taken; this is its beginning");
        self.bury(&Topic::named(topic), content_type, &beginning[..most.min(beginning.len())], reason).await
    }

    /// Takes an event as it came over HTTP.
    pub async fn deliver(&self, topic: &str, content_type: &str, body: &[u8]) -> AppAnswer {
        let topic = Topic::named(topic);
        match Envelope::from_body(content_type, body, &topic) {
            Ok(envelope) => self.hand_over(&topic, envelope, body.len()).await,
            Err(error) => self.bury(&topic, content_type, body, error.to_string()).await,
        }
    }

    /// Takes an event of this length, however it came.
    pub(super) async fn hand_over(&self, topic: &Topic, envelope: Envelope, bytes: usize) -> AppAnswer {
        let (envelope, most) = (Arc::new(envelope), self.0.body_bytes_max);
        self.to_each(topic, |inlet| {
            let envelope = Arc::clone(&envelope);
            async move {
                if bytes > most {
                    return inlet.deliver_unwanted(envelope, too_long(bytes, most)).await;
                }
                inlet.deliver(envelope).await
            }
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
        let inlets = self.handlers(topic);
        if inlets.is_empty() {
            return self.refuse_unknown(topic);
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

    /// Counts each of them; the broker brings them again and again, so that the log names a topic once.
    fn refuse_unknown(&self, topic: &Topic) -> AppAnswer {
        let mut unknown = self.0.unknown.lock();
        if unknown.len() < UNKNOWN_NAMED_MAX && unknown.insert(topic.clone()) {
            tracing::warn!(%topic, "an event came for a topic that nothing here subscribes to; mend the Subscription resources");
        }
        // Whoever asks chooses the name: it is no label.
        self.count(&Topic::named("unknown"), AppAnswer::Retry, "unknown_topic")
    }

    fn handlers(&self, topic: &Topic) -> Vec<Arc<Inlet>> {
        let attached = self.0.attached.read();
        attached.current.as_ref().and_then(|(_, handlers)| handlers.get(topic).cloned()).unwrap_or_default()
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

/// Why a body of this length is not taken.
fn too_long(bytes: usize, most: usize) -> String {
    format!("the event has {bytes} bytes, more than the {most} that are taken")
}

fn is_this_machine(peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback()
}
