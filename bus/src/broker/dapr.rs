//! The Dapr broker: events go to and come from other services through a sidecar, whatever broker that speaks to.
//!
//! One [`DaprBroker`] is one sidecar, so one service. Publishing goes over the sidecar's gRPC API. Deliveries come in
//! either over gRPC, to a server of ours ([`AppChannel::Grpc`]), or over HTTP, to routes that the service's host serves
//! ([`AppChannel::Http`], with [`DaprApp`] behind them). Both are Dapr's own contracts, so that applications in any
//! language are at the other end: <https://docs.dapr.io/reference/api/pubsub_api/>.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use annals_persistence::cursor_stream;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use super::{Attachment, Broker, ServicePort};
use crate::relay::{Relay, RelayParts};
use crate::subscription::Inlet;
use crate::{BusStartError, StartFrom};

mod app;
mod attached;
mod ca;
mod callback;
mod components;
mod endpoint;
mod health_api;
mod http_endpoint;
mod options;
mod probe;
mod publish;
mod secret;
mod sidecar;
mod state;
mod version;
mod wire;

pub use app::{AppAnswer, AppSubscription, DaprApp, Reception};
pub use ca::{Authorities, AuthoritiesError};
pub use endpoint::{EndpointError, SidecarEndpoint};
pub use http_endpoint::HttpEndpoint;
pub use options::{AppChannel, DaprOptions, ForeignTopics, PublishCalls};
pub use secret::Secret;
pub use version::SidecarVersion;

use attached::{Attached, Connected};
use callback::CallbackServer;
use health_api::HealthApi;
use probe::Probe;
use publish::DaprPublisher;
use sidecar::Sidecar;

/// Carries a service's events through its Dapr sidecar. Cloning is cheap; all clones are the same sidecar.
///
/// The sidecar need not be there yet: events stay in the journal until it is.
#[derive(Clone)]
pub struct DaprBroker {
    options: Arc<DaprOptions>,
    app: DaprApp,
    /// Where the service that it carries stands, for as long as it is attached.
    listening: Arc<Mutex<Option<SocketAddr>>>,
}

impl fmt::Debug for DaprBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DaprBroker").field("options", &self.options).finish_non_exhaustive()
    }
}

impl DaprBroker {
    /// A broker that nothing is attached to yet.
    #[must_use]
    pub fn new(options: DaprOptions) -> Self {
        let app = DaprApp::new(&options);
        Self { options: Arc::new(options), app, listening: Arc::default() }
    }

    /// How it was set up.
    #[must_use]
    pub fn options(&self) -> &DaprOptions {
        &self.options
    }

    /// What a host's HTTP routes hand deliveries to.
    #[must_use]
    pub fn app(&self) -> &DaprApp {
        &self.app
    }

    /// Where the sidecar reaches this service over gRPC, once it is attached: the sidecar's `--app-port`.
    #[must_use]
    pub fn app_address(&self) -> Option<SocketAddr> {
        *self.listening.lock()
    }

    async fn connect(&self, port: ServicePort) -> Result<Attached, BusStartError> {
        let service = Arc::clone(&port.service);
        let refused = |reason: String| BusStartError::Broker { reason };
        self.check_topics(&port)?;
        let sidecar = Sidecar::new(&self.options).map_err(|error| refused(error.to_string()))?;
        let health_api = self.health_api().map_err(refused)?;
        let Some(id) = self.app.attach(&port.subscriptions) else {
            return Err(BusStartError::ServiceTaken { service });
        };
        port.subscriptions.iter().for_each(|inlet| warn_of_start(inlet));
        let callback = match self.start_callback().await {
            Ok(callback) => callback,
            Err(reason) => {
                self.app.detach(id);
                return Err(refused(reason));
            }
        };
        *self.listening.lock() = callback.as_ref().map(CallbackServer::address);
        let relay = match self.relay(&port, &sidecar) {
            Ok(relay) => relay.map(Arc::new),
            Err(error) => {
                self.app.detach(id);
                return Err(error);
            }
        };
        let probe = Probe::start((sidecar, health_api), &self.options, &self.app, &port, relay.clone());
        let connected =
            Connected { app: self.app.clone(), id, inlets: port.subscriptions, relay, callback, probe };
        Ok(Attached::new(service, connected))
    }

    /// Looks for topics that have a component of their own and are none of the service's. One that publishes without saying
    /// what may have any.
    fn check_topics(&self, port: &ServicePort) -> Result<(), BusStartError> {
        let DaprOptions { topic_pubsubs, foreign_topics, .. } = &*self.options;
        let handled = port.subscriptions.iter().map(|inlet| inlet.topic());
        let topics: BTreeSet<_> = handled.chain(port.publications.declared()).collect();
        let says_all = port.publications.is_empty() || port.publications.declared().next().is_some();
        let refuse = *foreign_topics == ForeignTopics::Refuse && says_all;
        for (topic, component) in topic_pubsubs.iter().filter(|(topic, _)| !topics.contains(topic)) {
            if refuse {
                return Err(BusStartError::ComponentOfNoTopic {
                    service: Arc::clone(&port.service),
                    topic: topic.clone(),
                    component: Arc::clone(component),
                    topics: topics.into_iter().cloned().collect(),
                });
            }
            tracing::warn!(
                service = %port.service, %topic, %component,
                "a component is named for a topic that the service does not handle, and does not say that it publishes"
            );
        }
        Ok(())
    }

    fn health_api(&self) -> Result<Option<HealthApi>, String> {
        let DaprOptions { http_endpoint, ca, call_timeout, .. } = &*self.options;
        let api = |endpoint: &HttpEndpoint| HealthApi::new(endpoint.clone(), ca.as_ref(), *call_timeout);
        http_endpoint.as_ref().map(api).transpose()
    }

    async fn start_callback(&self) -> Result<Option<CallbackServer>, String> {
        let AppChannel::Grpc(address) = self.options.app_channel else { return Ok(None) };
        let started = CallbackServer::start(address, self.app.clone()).await;
        started.map(Some).map_err(|error| format!("cannot listen on {address} for the sidecar: {error}"))
    }

    /// What publishes, if the service publishes anything.
    fn relay(&self, port: &ServicePort, sidecar: &Sidecar) -> Result<Option<Relay>, BusStartError> {
        if port.publications.is_empty() {
            return Ok(None);
        }
        let name: Arc<str> = format!("{} to {}", port.service, self.options.pubsub).into();
        let cursor = cursor_stream(&format!("dapr-{}", self.options.pubsub))
            .map_err(|source| BusStartError::InvalidName { name: Arc::clone(&name), source })?;
        let publisher = DaprPublisher::new(sidecar.clone(), self.app.state(), &self.options);
        Ok(Some(Relay::start(RelayParts {
            name,
            cursor,
            journal: Arc::clone(&port.journal),
            readers: port.readers.clone(),
            publications: Arc::clone(&port.publications),
            topic: None,
            publisher: Arc::new(publisher),
            clock: Arc::clone(&port.clock),
            options: self.options.relay.clone(),
        })))
    }
}

/// Where a consumer begins is the component's to say.
fn warn_of_start(inlet: &Inlet) {
    if inlet.options().start != StartFrom::Beginning {
        tracing::warn!(
            subscription = %inlet.name(),
            "`SubscriptionOptions::start` has no effect through a sidecar: the component says where a consumer begins"
        );
    }
}

impl Broker for DaprBroker {
    fn name(&self) -> &'static str {
        "dapr"
    }

    fn attach(&self, port: ServicePort) -> BoxFuture<'_, Result<Arc<dyn Attachment>, BusStartError>> {
        async move { Ok(Arc::new(self.connect(port).await?) as Arc<dyn Attachment>) }.boxed()
    }
}

#[cfg(test)]
mod tests;
