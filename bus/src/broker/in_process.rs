//! The in-process broker: services in one process, fed from each other's journals.

use std::fmt;
use std::sync::Arc;

use annals_persistence::cursor_stream;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all, ready};
use parking_lot::Mutex;

use super::{Attachment, Broker, PublishError, Publisher, ServicePort};
use crate::relay::{Answer, Relay, RelayOptions, RelayParts, RelayStatus};
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

/// One attachment of a service. Names come back when a service is started again, these do not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct AttachmentId(u64);

#[derive(Default)]
struct Hub {
    /// What the last attachment got.
    last: AttachmentId,
    services: Vec<Attached>,
    links: Vec<Link>,
}

/// A service for as long as it is attached.
struct Attached {
    id: AttachmentId,
    port: ServicePort,
}

/// A subscription fed from a service's journal.
struct Link {
    from: AttachmentId,
    to: AttachmentId,
    source: Arc<str>,
    inlet: Arc<Inlet>,
    relay: Arc<Relay>,
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
        self.hub.lock().services.iter().map(|attached| Arc::clone(&attached.port.service)).collect()
    }

    fn connect(&self, port: ServicePort) -> Result<Arc<dyn Attachment>, BusStartError> {
        let mut hub = self.hub.lock();
        let service = Arc::clone(&port.service);
        if hub.services.iter().any(|other| other.port.service == service) {
            return Err(BusStartError::ServiceTaken { service });
        }
        let id = AttachmentId(hub.last.0 + 1);
        let new = Attached { id, port };
        let links = hub.links_of(&new)?;
        hub.last = id;
        hub.links.extend(links);
        hub.services.push(new);
        Ok(Arc::new(Connection { hub: Arc::clone(&self.hub), id, service }))
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
    fn links_of(&self, new: &Attached) -> Result<Vec<Link>, BusStartError> {
        let incoming = self.services.iter().map(|other| (other, new));
        let outgoing = self.services.iter().map(|other| (new, other));
        incoming
            .chain(outgoing)
            .chain([(new, new)])
            .flat_map(|(from, to)| to.port.subscriptions.iter().map(move |inlet| (from, to, inlet)))
            .filter(|(from, _, inlet)| from.port.publications.may_publish(inlet.topic()))
            .map(|(from, to, inlet)| link(from, to.id, inlet))
            .collect()
    }

    /// Takes an attachment out; gives back the relays that it was part of.
    fn remove(&mut self, id: AttachmentId) -> Vec<Arc<Relay>> {
        self.services.retain(|attached| attached.id != id);
        let gone = self.links.extract_if(.., |link| link.from == id || link.to == id);
        gone.map(|link| link.relay).collect()
    }
}

fn link(from: &Attached, to: AttachmentId, inlet: &Arc<Inlet>) -> Result<Link, BusStartError> {
    let source = &from.port;
    // White space is in no name that a stream can have, so that no two subscriptions share this one.
    let name: Arc<str> = format!("{} {}", inlet.service(), inlet.name()).into();
    let cursor = cursor_stream(&own_cursor(inlet.service(), inlet.name()))
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
        readers: source.readers.clone(),
        publications: Arc::clone(&source.publications),
        topic: Some(inlet.topic().clone()),
        publisher: Arc::new(InletPublisher(Arc::clone(inlet))),
        clock: Arc::clone(&source.clock),
        options,
    });
    Ok(Link {
        from: from.id,
        to,
        source: Arc::clone(&source.service),
        inlet: Arc::clone(inlet),
        relay: Arc::new(relay),
    })
}

/// Whose a cursor is, as no other subscription's is called, nor a relay to a sidecar. A service's name ends at the first
/// hyphen, or where its length says, which stands in front of it with a hyphen of its own.
fn own_cursor(service: &str, subscription: &str) -> String {
    if service.contains('-') || service == "dapr" {
        format!("-{}-{service}-{subscription}", service.len())
    } else {
        format!("{service}-{subscription}")
    }
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

    fn takes_offers(&self) -> bool {
        true
    }

    fn offer(&self, envelope: Arc<Envelope>, answer: Answer) -> Option<Answer> {
        self.0.offer_in_order(envelope, answer)
    }
}

/// One service's place in the hub.
struct Connection {
    hub: Arc<Mutex<Hub>>,
    id: AttachmentId,
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
        hub.links.iter().filter(|link| link.from == self.id).map(|link| link.relay.status()).collect()
    }

    fn subscriptions(&self) -> Vec<SubscriptionStatus> {
        let hub = self.hub.lock();
        let own = hub.services.iter().find(|attached| attached.id == self.id);
        let inlets = own.map(|attached| attached.port.subscriptions.as_slice()).unwrap_or_default();
        inlets.iter().flat_map(|inlet| hub.status_of(inlet)).collect()
    }

    fn detach(&self) -> BoxFuture<'_, ()> {
        async move {
            let relays = self.hub.lock().remove(self.id);
            join_all(relays.iter().map(|relay| relay.stop())).await;
        }
        .boxed()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Dropping a relay stops it where it is.
        drop(self.hub.lock().remove(self.id));
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
