//! The in-process broker: services in one process, fed from each other's journals.

use std::fmt;
use std::sync::Arc;

use annals_persistence::StreamId;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all, ready};
use parking_lot::Mutex;

use super::{Attachment, Broker, PublishError, Publisher, ServicePort};
use crate::relay::{Relay, RelayOptions, RelayParts, RelayStatus};
use crate::subscription::{DeliveryError, Inlet, SubscriptionStatus};
use crate::{BusStartError, Envelope};

/// Carries events between the services of one process. Cloning is cheap; all clones are the same broker.
///
/// It holds nothing in memory only: each subscription is fed by a relay of its own from the publisher's journal, where
/// its cursor is kept too. So each goes at its own pace, and the order in which services start does not matter.
#[derive(Clone, Default)]
pub struct InProcessBroker {
    hub: Arc<Mutex<Hub>>,
}

impl fmt::Debug for InProcessBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcessBroker").field("services", &self.services()).finish()
    }
}

#[derive(Default)]
struct Hub {
    services: Vec<ServicePort>,
    links: Vec<Link>,
}

/// A subscription fed from a service's journal.
struct Link {
    source: Arc<str>,
    inlet: Arc<Inlet>,
    relay: Arc<Relay>,
}

impl Link {
    fn concerns(&self, service: &str) -> bool {
        *self.source == *service || **self.inlet.service() == *service
    }
}

impl InProcessBroker {
    /// A broker without services.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The names of the services attached.
    #[must_use]
    pub fn services(&self) -> Vec<Arc<str>> {
        self.hub.lock().services.iter().map(|port| Arc::clone(&port.service)).collect()
    }

    fn connect(&self, port: ServicePort) -> Result<Arc<dyn Attachment>, BusStartError> {
        let mut hub = self.hub.lock();
        let service = Arc::clone(&port.service);
        if hub.services.iter().any(|other| other.service == service) {
            return Err(BusStartError::ServiceTaken { service });
        }
        let links = hub.links_of(&port)?;
        hub.links.extend(links);
        hub.services.push(port);
        Ok(Arc::new(Connection { hub: Arc::clone(&self.hub), service }))
    }
}

impl Broker for InProcessBroker {
    fn name(&self) -> &'static str {
        "in-process"
    }

    fn attach(&self, port: ServicePort) -> BoxFuture<'_, Result<Arc<dyn Attachment>, BusStartError>> {
        ready(self.connect(port)).boxed()
    }
}

impl Hub {
    /// Starts what a new service makes possible: its subscriptions on what is published, its publications to who
    /// subscribes, itself included.
    fn links_of(&self, new: &ServicePort) -> Result<Vec<Link>, BusStartError> {
        let incoming =
            self.services.iter().flat_map(|source| new.subscriptions.iter().map(move |to| (source, to)));
        let outgoing =
            self.services.iter().flat_map(|other| other.subscriptions.iter().map(move |to| (new, to)));
        let own = new.subscriptions.iter().map(|to| (new, to));
        incoming
            .chain(outgoing)
            .chain(own)
            .filter(|(source, inlet)| source.publications.may_publish(inlet.topic()))
            .map(|(source, inlet)| link(source, inlet))
            .collect()
    }

    /// Takes a service out; gives back the relays that it was part of.
    fn remove(&mut self, service: &str) -> Vec<Arc<Relay>> {
        self.services.retain(|port| *port.service != *service);
        let (gone, kept) =
            std::mem::take(&mut self.links).into_iter().partition(|link| link.concerns(service));
        self.links = kept;
        let gone: Vec<Link> = gone;
        gone.into_iter().map(|link| link.relay).collect()
    }
}

fn link(source: &ServicePort, inlet: &Arc<Inlet>) -> Result<Link, BusStartError> {
    let name: Arc<str> = format!("{}-{}", inlet.service(), inlet.name()).into();
    let cursor = StreamId::internal(&format!("cursor-{name}"))
        .map_err(|error| BusStartError::InvalidName { name: Arc::clone(&name), source: error })?;
    let options = RelayOptions {
        in_flight: inlet.options().in_flight,
        start: inlet.options().start,
        ..RelayOptions::default()
    };
    let relay = Relay::start(RelayParts {
        name: format!("{} to {name}", source.service).into(),
        cursor,
        journal: Arc::clone(&source.journal),
        publications: Arc::clone(&source.publications),
        topic: Some(inlet.topic().clone()),
        publisher: Arc::new(InletPublisher(Arc::clone(inlet))),
        clock: Arc::clone(&source.clock),
        options,
    });
    Ok(Link { source: Arc::clone(&source.service), inlet: Arc::clone(inlet), relay: Arc::new(relay) })
}

/// Publishing is delivering: the answer comes when the subscription's effect is durable.
struct InletPublisher(Arc<Inlet>);

impl Publisher for InletPublisher {
    fn publish<'a>(&'a self, envelope: &'a Arc<Envelope>) -> BoxFuture<'a, Result<(), PublishError>> {
        async move {
            let delivered = self.0.deliver_in_order(Arc::clone(envelope)).await;
            delivered.map_err(|error: DeliveryError| PublishError::unavailable(error.to_string()))
        }
        .boxed()
    }
}

/// One service's place in the hub.
struct Connection {
    hub: Arc<Mutex<Hub>>,
    service: Arc<str>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("service", &self.service).finish_non_exhaustive()
    }
}

impl Attachment for Connection {
    fn relays(&self) -> Vec<RelayStatus> {
        let hub = self.hub.lock();
        hub.links.iter().filter(|link| link.source == self.service).map(|link| link.relay.status()).collect()
    }

    fn subscriptions(&self) -> Vec<SubscriptionStatus> {
        let hub = self.hub.lock();
        let own = hub.services.iter().find(|port| port.service == self.service);
        let inlets = own.map(|port| port.subscriptions.as_slice()).unwrap_or_default();
        inlets.iter().flat_map(|inlet| hub.status_of(inlet)).collect()
    }

    fn detach(&self) -> BoxFuture<'_, ()> {
        async move {
            let relays = self.hub.lock().remove(&self.service);
            join_all(relays.iter().map(|relay| relay.stop())).await;
        }
        .boxed()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Dropping a relay stops it where it is.
        drop(self.hub.lock().remove(&self.service));
    }
}

impl Hub {
    fn status_of(&self, inlet: &Arc<Inlet>) -> Vec<SubscriptionStatus> {
        let fed: Vec<_> = self.links.iter().filter(|link| Arc::ptr_eq(&link.inlet, inlet)).collect();
        if fed.is_empty() {
            return vec![inlet.unfed()];
        }
        fed.into_iter().map(|link| link.status()).collect()
    }
}

impl Link {
    fn status(&self) -> SubscriptionStatus {
        let relay = self.relay.status();
        let own = self.inlet.unfed();
        SubscriptionStatus {
            source: Some(Arc::clone(&self.source)),
            cursor: relay.cursor,
            durable: relay.durable,
            in_flight: relay.in_flight,
            last_error: relay.parked.or(own.last_error.clone()).or(relay.last_error),
            ..own
        }
    }
}
