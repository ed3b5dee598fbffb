//! Watches the sidecar: whether it is there, what it is, whether it has what the service needs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use annals_actors::Clock;
use dapr::dapr::proto::runtime::v1::{GetMetadataResponse, PubsubSubscription};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::Status;

use super::components::Components;
use super::health_api::HealthApi;
use super::sidecar::Sidecar;
use super::state::{Known, SidecarState};
use super::{AppChannel, DaprApp, DaprOptions, SidecarVersion};
use crate::broker::ServicePort;
use crate::ended;
use crate::relay::Relay;
use crate::with_causes;
use crate::{Publications, Topic};

/// What it is called when it has ended.
const WHAT: &str = "what watches the sidecar";

/// How soon a sidecar that is not ready is asked again.
const SOON: Duration = Duration::from_millis(250);

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
    components: Components,
    publications: Arc<Publications>,
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
            components: Components::new(options),
            publications: Arc::clone(&port.publications),
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
            Some(reason) => SidecarState::Lacking { reason, known: known.clone() },
            None => judged,
        }
    }

    fn judge(&self, metadata: &GetMetadataResponse) -> SidecarState {
        let version = metadata.runtime_version.parse::<SidecarVersion>().ok();
        if let Some(reason) = version.and_then(SidecarVersion::fault) {
            return SidecarState::Refused { reason };
        }
        let redis = self.on_redis(metadata);
        let uses_redis = !self.needed().is_disjoint(&redis);
        let known = Known { version, redis, uses_redis };
        match self.lacking(metadata) {
            Some(reason) => SidecarState::Lacking { reason, known },
            None => SidecarState::Ready { known, doubts: self.doubts(metadata) },
        }
    }

    /// The components that carry the service's events.
    fn needed(&self) -> BTreeSet<Arc<str>> {
        self.components.carrying(self.app.topics().iter().chain(self.publications.declared()))
    }

    /// Of all that are named: which of them are needed changes with what is attached.
    fn on_redis(&self, metadata: &GetMetadataResponse) -> BTreeSet<Arc<str>> {
        let all = self.components.all().into_iter();
        all.filter(|component| kind_of(metadata, component) == Some("pubsub.redis")).map(Arc::from).collect()
    }

    fn lacking(&self, metadata: &GetMetadataResponse) -> Option<String> {
        if let Some(reason) = self.needed().iter().find_map(|component| unfit(metadata, component)) {
            return Some(reason);
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

    /// The topics that the service handles and the sidecar does not bring.
    fn unsubscribed(&self, metadata: &GetMetadataResponse) -> Vec<Topic> {
        let brought = |topic: &Topic| {
            let component = self.components.of(topic);
            let mut subscriptions = metadata.subscriptions.iter();
            subscriptions.any(|one| *one.pubsub_name == **component && one.topic == topic.as_str())
        };
        self.app.topics().into_iter().filter(|topic| !brought(topic)).collect()
    }

    /// What of its configuration is not as the service would have it.
    fn doubts(&self, metadata: &GetMetadataResponse) -> Vec<String> {
        let mut doubts = self.shared_consumers(metadata);
        if !self.programmatic {
            doubts.extend(self.declared_otherwise(metadata));
        }
        doubts
    }

    /// Components of JetStream that are to bring more than one topic, which a durable consumer does not: the sidecar says so
    /// in its log alone, and nobody but its resources says whether there is one.
    fn shared_consumers(&self, metadata: &GetMetadataResponse) -> Vec<String> {
        let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let handled = self.app.topics();
        for topic in &handled {
            topics.entry(self.components.of(topic)).or_default().push(format!("\"{topic}\""));
        }
        let on_jetstream = |component: &str| kind_of(metadata, component) == Some("pubsub.jetstream");
        let shared =
            topics.into_iter().filter(|(component, topics)| topics.len() > 1 && on_jetstream(component));
        let told = shared.map(|(component, topics)| {
            format!(
                "\"{component}\" is to bring {}: with a durableName, as it should have, JetStream's consumer takes one topic; \
                 give each a component of its own (`DaprOptions::topic_pubsubs`, --topic-pubsub)",
                topics.join(", ")
            )
        });
        told.collect()
    }

    /// What of its subscriptions is not as the service would have it, where others say what they are.
    fn declared_otherwise(&self, metadata: &GetMetadataResponse) -> Vec<String> {
        let missing = self.unsubscribed(metadata).into_iter().map(|topic| {
            format!(
                "the sidecar does not bring \"{topic}\": there is no Subscription resource for it on \"{}\", it names \
                 other apps in its scopes, or the sidecar was started before it was written",
                self.components.of(&topic)
            )
        });
        let (handled, all) = (self.app.topics(), self.components.all());
        let ours = metadata.subscriptions.iter().filter(|one| all.contains(one.pubsub_name.as_str()));
        missing.chain(ours.filter_map(|one| self.doubt(one, &handled))).collect()
    }

    fn doubt(&self, subscription: &PubsubSubscription, handled: &[Topic]) -> Option<String> {
        let PubsubSubscription { pubsub_name, topic, rules, .. } = subscription;
        let Some(known) = handled.iter().find(|known| known.as_str() == *topic) else {
            return Some(format!("the sidecar brings \"{topic}\", which nothing here handles"));
        };
        let component = self.components.of(known);
        if *pubsub_name != **component {
            return Some(format!(
                "the sidecar brings \"{topic}\" by \"{pubsub_name}\", and it goes by \"{component}\" here"
            ));
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

/// What kind of component this is, if the sidecar has it.
fn kind_of<'a>(metadata: &'a GetMetadataResponse, component: &str) -> Option<&'a str> {
    let mut components = metadata.registered_components.iter();
    components.find(|one| one.name == component).map(|one| one.r#type.as_str())
}

/// Why a component can carry no events.
fn unfit(metadata: &GetMetadataResponse, component: &str) -> Option<String> {
    let Some(kind) = kind_of(metadata, component) else {
        return Some(format!(
            "the sidecar has no component \"{component}\"; look for it in its log and its resources"
        ));
    };
    (!kind.starts_with("pubsub."))
        .then(|| format!("the sidecar's component \"{component}\" is a {kind}, no pub/sub"))
}

fn unreachable(status: &Status) -> String {
    format!("the sidecar does not answer: {:?}: {}", status.code(), because(status))
}

/// What the sidecar said, or what kept it from saying anything.
fn because(status: &Status) -> String {
    let Some(cause) = std::error::Error::source(status) else { return status.message().to_owned() };
    format!("{}: {}", status.message(), with_causes(cause))
}
