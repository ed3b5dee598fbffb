//! What carries the services' events, as the host was told.

#[cfg(feature = "dapr")]
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

#[cfg(feature = "dapr")]
use annals_bus::dapr::{AppChannel, DaprBroker, DaprOptions};
use annals_bus::{Broker, InProcessBroker};
use axum::Router;

/// What carries integration events to and from the services of a host.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Carrier {
    /// The services of this process, from each other's journals.
    #[default]
    InProcess,
    /// Nothing: events stay in the journal, unpublished.
    None,
    /// A Dapr sidecar for each service, by the service's name. One that is not named has no broker.
    #[cfg(feature = "dapr")]
    Dapr(HashMap<String, DaprOptions>),
}

/// The brokers that a host's services get.
pub(crate) enum Brokers {
    Shared(Option<Arc<dyn Broker>>),
    #[cfg(feature = "dapr")]
    Dapr(HashMap<String, DaprBroker>),
}

impl Brokers {
    /// # Errors
    /// Two services that are to get their events over HTTP.
    pub(crate) fn of(carrier: &Carrier) -> Result<Self, [String; 2]> {
        Ok(match carrier {
            Carrier::InProcess => Self::Shared(Some(Arc::new(InProcessBroker::default()))),
            Carrier::None => Self::Shared(None),
            #[cfg(feature = "dapr")]
            Carrier::Dapr(services) => {
                one_over_http(services)?;
                let broker = |(name, options): (&String, &DaprOptions)| {
                    (name.clone(), DaprBroker::new(options.clone()))
                };
                Self::Dapr(services.iter().map(broker).collect())
            }
        })
    }

    /// What all of them are called.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Shared(broker) => broker.as_ref().map_or("none", |broker| broker.name()),
            #[cfg(feature = "dapr")]
            Self::Dapr(_) => "dapr",
        }
    }

    /// The one for this service.
    #[cfg_attr(
        not(feature = "dapr"),
        expect(unused_variables, reason = "without sidecars all have the same")
    )]
    pub(crate) fn of_service(&self, service: &str) -> Option<Arc<dyn Broker>> {
        match self {
            Self::Shared(broker) => broker.clone(),
            #[cfg(feature = "dapr")]
            Self::Dapr(services) => {
                services.get(service).map(|broker| Arc::new(broker.clone()) as Arc<dyn Broker>)
            }
        }
    }

    /// Routes for deliveries over HTTP, on the host's own listener.
    #[cfg(feature = "dapr")]
    pub(crate) fn routes(&self, address: SocketAddr) -> Option<Router> {
        let app = self.over_http()?.app().clone();
        app.warn_of_network(address);
        Some(crate::dapr::router(app))
    }

    /// The broker whose sidecar brings events over HTTP.
    #[cfg(feature = "dapr")]
    fn over_http(&self) -> Option<&DaprBroker> {
        let Self::Dapr(services) = self else { return None };
        services.values().find(|broker| broker.options().app_channel == AppChannel::Http)
    }

    /// Sees to it that no event is lost that is brought to a route which is none.
    #[cfg(feature = "dapr")]
    pub(crate) fn keeping_unrouted(&self, router: Router) -> Router {
        if self.over_http().is_none() {
            return router;
        }
        router.layer(axum::middleware::from_fn(crate::dapr::keep_unrouted))
    }

    /// Only sidecars bring events.
    #[cfg(not(feature = "dapr"))]
    #[expect(clippy::unused_self, reason = "as with sidecars")]
    pub(crate) fn keeping_unrouted(&self, router: Router) -> Router {
        router
    }

    /// Routes for deliveries over HTTP: only sidecars need any.
    #[cfg(not(feature = "dapr"))]
    #[expect(clippy::unused_self, reason = "as with sidecars")]
    pub(crate) fn routes(&self, _: SocketAddr) -> Option<Router> {
        None
    }
}

/// What a sidecar brings over HTTP comes to the host's own address, so that one service alone can get it.
#[cfg(feature = "dapr")]
fn one_over_http(services: &HashMap<String, DaprOptions>) -> Result<(), [String; 2]> {
    let over_http = services.iter().filter(|(_, options)| options.app_channel == AppChannel::Http);
    let mut names: Vec<_> = over_http.map(|(name, _)| name.clone()).collect();
    names.sort();
    names.truncate(2);
    <[String; 2]>::try_from(names).map_or(Ok(()), Err)
}

#[cfg(all(test, feature = "dapr"))]
mod tests;
