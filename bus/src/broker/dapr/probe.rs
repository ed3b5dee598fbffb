//! Watches the sidecar: whether it is there, what it is, whether it has what the service needs.

use std::sync::Arc;
use std::time::Duration;

use annals_actors::Clock;
use dapr::dapr::proto::runtime::v1::{GetMetadataResponse, PubsubSubscription};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Status;

use super::endpoint::with_sources;
use super::health_api::HealthApi;
use super::sidecar::Sidecar;
use super::{AppChannel, DaprApp, DaprOptions, SidecarVersion};
use crate::Topic;
use crate::broker::{BrokerHealth, ServicePort};
use crate::ended;
use crate::relay::Relay;

/// What it is called when it has ended.
const WHAT: &str = "what watches the sidecar";

/// How soon a sidecar that is not ready is asked again.
const SOON: Duration = Duration::from_millis(250);

/// What is known of the sidecar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SidecarState {
    /// It was not asked yet.
    Unknown,
    /// It does not answer.
    Unreachable { reason: String },
    /// It answers, and must not be used: a release known to lose something.
    Refused { reason: String },
    /// It answers, and lacks something.
    Lacking { reason: String, known: Known },
    /// It has all that is needed; what of its configuration is not as the service would have it shows all the same.
    Ready { known: Known, doubts: Vec<String> },
}

/// What a sidecar that answers has said of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    /// `None` for a build that is no release.
    version: Option<SidecarVersion>,
    /// Whether the component is one for Redis.
    on_redis: bool,
}

impl SidecarState {
    pub(super) fn version(&self) -> Option<SidecarVersion> {
        match self {
            Self::Ready { known, .. } | Self::Lacking { known, .. } => known.version,
            Self::Unknown | Self::Unreachable { .. } | Self::Refused { .. } => None,
        }
    }

    /// Whether it acknowledges what it gives up, as it does with Redis from 1.17 on: then it has to be told where else to
    /// put it. Everywhere else what is put elsewhere is lost to its key.
    /// `None` where it has not said what it is.
    pub(super) fn drops_what_fails(&self) -> Option<bool> {
        let (Self::Ready { known, .. } | Self::Lacking { known, .. }) = self else { return None };
        Some(known.on_redis && known.version.is_none_or(SidecarVersion::has_safe_dead_letters))
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Unknown => Some("the sidecar has not answered yet"),
            Self::Unreachable { reason } | Self::Refused { reason } | Self::Lacking { reason, .. } => {
                Some(reason)
            }
            Self::Ready { .. } => None,
        }
    }

    fn doubts(&self) -> &[String] {
        let Self::Ready { doubts, .. } = self else { return &[] };
        doubts
    }

    /// What an operator has to see to with Redis, since no sidecar says whether it was.
    fn redis_note(&self) -> Option<&'static str> {
        self.drops_what_fails().unwrap_or(false).then_some(
            "from 1.17 on the sidecar moves an event on Redis to <topic>.dapr-dead, which nobody reads, as soon as it is told \
             \"again\", unless its resources retry without end: take those of deploy/dapr/redis-1.17",
        )
    }

    pub(super) fn health(&self) -> BrokerHealth {
        let costs = self.version().map(SidecarVersion::costs).unwrap_or_default();
        BrokerHealth {
            version: self.version().map(|version| version.to_string()),
            reasons: self.reason().map(str::to_owned).into_iter().collect(),
            degraded: self.doubts().to_vec(),
            notes: costs.into_iter().chain(self.redis_note()).map(str::to_owned).collect(),
        }
    }
}

/// Asks the sidecar, again and again, for as long as this lives.
pub(super) struct Probe {
    task: JoinHandle<()>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What is asked, and who is told.
pub(super) struct Watcher {
    sidecar: Sidecar,
    health_api: Option<HealthApi>,
    programmatic: bool,
    over_http: bool,
    app: DaprApp,
    pubsub: Arc<str>,
    service: Arc<str>,
    state: watch::Sender<SidecarState>,
    relay: Option<Arc<Relay>>,
}

impl Probe {
    pub(super) fn start(
        (sidecar, health_api): (Sidecar, Option<HealthApi>),
        options: &DaprOptions,
        app: &DaprApp,
        port: &ServicePort,
        relay: Option<Arc<Relay>>,
    ) -> Self {
        let watcher = Watcher {
            sidecar,
            health_api,
            programmatic: options.programmatic,
            over_http: options.app_channel == AppChannel::Http,
            app: app.clone(),
            pubsub: Arc::clone(&options.pubsub),
            service: Arc::clone(&port.service),
            state: app.state(),
            relay,
        };
        let watcher = Arc::new(watcher);
        app.ask_by(&watcher);
        let watching = watcher.run(Arc::clone(&port.clock), options.probe_every);
        let task = async move {
            ended::by_itself(WHAT, watching, || false).await;
        };
        Self { task: tokio::spawn(task) }
    }

    /// Why what is known of the sidecar may be old, when it has ended by itself.
    pub(super) fn fault(&self) -> Option<String> {
        self.task.is_finished().then(|| ended::reason(WHAT))
    }

    /// Ends as a failure of its own would.
    #[cfg(test)]
    pub(super) fn fail(&self) {
        self.task.abort();
    }
}

impl Watcher {
    /// Asks the sidecar what it is.
    pub(super) async fn ask(&self) -> SidecarState {
        match self.sidecar.metadata().await {
            Ok(metadata) => self.judge(&metadata),
            Err(status) => SidecarState::Unreachable { reason: unreachable(&status) },
        }
    }

    async fn run(self: Arc<Self>, clock: Arc<dyn Clock>, every: Duration) {
        loop {
            let state = self.asked_too(self.ask().await).await;
            let ready = matches!(state, SidecarState::Ready { .. });
            self.take(state);
            clock.sleep(if ready { every } else { every.min(SOON) }).await;
        }
    }

    /// What it is if its health API agrees.
    async fn asked_too(&self, judged: SidecarState) -> SidecarState {
        let (SidecarState::Ready { known, .. }, Some(api)) = (&judged, &self.health_api) else {
            return judged;
        };
        match api.fault().await {
            Some(reason) => SidecarState::Lacking { reason, known: *known },
            None => judged,
        }
    }

    fn judge(&self, metadata: &GetMetadataResponse) -> SidecarState {
        let version = metadata.runtime_version.parse::<SidecarVersion>().ok();
        if let Some(reason) = version.and_then(SidecarVersion::fault) {
            return SidecarState::Refused { reason };
        }
        let known =
            Known { version, on_redis: self.component(metadata).is_some_and(|kind| kind == "pubsub.redis") };
        match self.lacking(metadata) {
            Some(reason) => SidecarState::Lacking { reason, known },
            None => SidecarState::Ready { known, doubts: self.doubts(metadata) },
        }
    }

    /// What kind of component carries the events.
    fn component<'a>(&self, metadata: &'a GetMetadataResponse) -> Option<&'a str> {
        let mut components = metadata.registered_components.iter();
        components
            .find(|component| *component.name == *self.pubsub)
            .map(|component| component.r#type.as_str())
    }

    fn lacking(&self, metadata: &GetMetadataResponse) -> Option<String> {
        let pubsub = &self.pubsub;
        let Some(component) = self.component(metadata) else {
            return Some(format!(
                "the sidecar has no component \"{pubsub}\"; look for it in its log and its resources"
            ));
        };
        if !component.starts_with("pubsub.") {
            return Some(format!("the sidecar's component \"{pubsub}\" is a {component}, no pub/sub"));
        }
        if !self.programmatic {
            return None;
        }
        let missing = self.unsubscribed(metadata).into_iter().next()?;
        Some(format!(
            "the sidecar does not subscribe to \"{missing}\": it asks for subscriptions only when it starts, so restart \
             it if it was started before this service knew the topic, and look into its log"
        ))
    }

    /// The subscriptions on the component that carries the events.
    fn subscriptions<'a>(
        &self,
        metadata: &'a GetMetadataResponse,
    ) -> impl Iterator<Item = &'a PubsubSubscription> {
        metadata.subscriptions.iter().filter(|one| *one.pubsub_name == *self.pubsub)
    }

    /// The topics that the service handles and the sidecar does not bring.
    fn unsubscribed(&self, metadata: &GetMetadataResponse) -> Vec<Topic> {
        let brought = |topic: &Topic| self.subscriptions(metadata).any(|one| one.topic == topic.as_str());
        self.app.topics().into_iter().filter(|topic| !brought(topic)).collect()
    }

    /// What of its subscriptions is not as the service would have it, where others say what they are.
    fn doubts(&self, metadata: &GetMetadataResponse) -> Vec<String> {
        if self.programmatic {
            return Vec::new();
        }
        let missing = self.unsubscribed(metadata).into_iter().map(|topic| {
            format!(
                "the sidecar does not bring \"{topic}\": there is no Subscription resource for it on \"{}\", it names \
                 other apps in its scopes, or the sidecar was started before it was written",
                self.pubsub
            )
        });
        let handled = self.app.topics();
        let others = self.subscriptions(metadata).filter_map(|one| self.doubt(one, &handled));
        missing.chain(others).collect()
    }

    fn doubt(&self, subscription: &PubsubSubscription, handled: &[Topic]) -> Option<String> {
        let PubsubSubscription { topic, rules, .. } = subscription;
        if !handled.iter().any(|known| known.as_str() == *topic) {
            return Some(format!("the sidecar brings \"{topic}\", which nothing here handles"));
        }
        let route = DaprApp::route(topic);
        let mut rules = rules.iter().flat_map(|rules| &rules.rules);
        let other = rules.find(|rule| self.over_http && rule.path != route)?;
        Some(format!(
            "the sidecar brings \"{topic}\" to {}, where nothing takes it: its route is {route}",
            other.path
        ))
    }

    fn take(&self, state: SidecarState) {
        let ready = matches!(state, SidecarState::Ready { .. });
        metrics::gauge!("annals_bus_sidecar_ready", "service" => self.service.to_string()).set(if ready {
            1.0
        } else {
            0.0
        });
        if *self.state.borrow() == state {
            return;
        }
        self.tell(&state);
        self.state.send_replace(state);
        if let (true, Some(relay)) = (ready, &self.relay) {
            // What was parked for want of it may go now.
            relay.resume();
        }
    }

    fn tell(&self, state: &SidecarState) {
        let service = &self.service;
        match state {
            SidecarState::Ready { known, doubts } => {
                let version =
                    known.version.map_or_else(|| "of no release".to_owned(), |version| version.to_string());
                tracing::info!(%service, version, "the sidecar is ready");
                for note in state.health().notes {
                    tracing::warn!(%service, note, "what this sidecar's version costs");
                }
                for doubt in doubts {
                    tracing::warn!(%service, doubt, "what the sidecar is configured to do");
                }
            }
            SidecarState::Refused { reason } => tracing::error!(%service, reason, "the sidecar is not used"),
            other => tracing::warn!(%service, reason = other.reason(), "the sidecar is not ready"),
        }
    }
}

fn unreachable(status: &Status) -> String {
    format!("the sidecar does not answer: {:?}: {}", status.code(), because(status))
}

/// What the sidecar said, or what kept it from saying anything.
fn because(status: &Status) -> String {
    let Some(cause) = std::error::Error::source(status) else { return status.message().to_owned() };
    format!("{}: {}", status.message(), with_sources(cause))
}
