//! What a service author implements, and what the host gives in return.

use std::fmt;
use std::sync::Arc;

use annals_actors::{Inspector, Node, NodeBuilder, Readers, StartError};
use annals_bus::{Broker, Bus, BusBuilder, BusStartError, SchemaOptions};
use annals_persistence::{Journal, SnapshotStore};
use axum::Router;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde::Serialize;
use utoipa::openapi::OpenApi;

use crate::read_model::Follows;
use crate::{Fold, Gateway, ReadModel};

/// A service: aggregates behind routes, with what it publishes and subscribes to.
///
/// The host opens the journal and the snapshots, calls [`Service::start`], serves the router, waits for the read
/// models before it says that it is ready, and stops everything in order.
pub trait Service: fmt::Debug + Send + Sync + 'static {
    /// Its name, for good: its data directory, `--service`, and the namespace of its ids. `[a-z][a-z0-9_]*`.
    fn name(&self) -> &'static str;

    /// What it is, in one line.
    fn about(&self) -> &'static str {
        ""
    }

    /// Where its routes begin, for the table of addresses.
    fn base_path(&self) -> &'static str {
        "/"
    }

    /// One for each aggregate: operators' commands read journals with them, without a node.
    fn inspectors(&self) -> Vec<Arc<dyn Inspector>>;

    /// The description of its routes; without one, they are not on the API's page. Its title is the program's, beside
    /// those of other services; its tags come before the operations' ids. The host adds what it answers to bodies that
    /// it does not take.
    fn openapi(&self) -> OpenApi {
        OpenApi::default()
    }

    /// What it publishes, for `describe` and for what `dev --topic-pubsub` may name.
    fn publications(&self) -> Vec<TopicDescription> {
        Vec::new()
    }

    /// What it subscribes to, for `describe` and for what `dev --topic-pubsub` may name.
    fn subscriptions(&self) -> Vec<TopicDescription> {
        Vec::new()
    }

    /// Starts its node, its bus and its read models, and builds its router.
    fn start(&self, setup: Setup) -> BoxFuture<'_, Result<Running, ServiceError>>;
}

/// A topic and the integration event on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TopicDescription {
    /// The topic.
    pub topic: String,
    /// The integration event.
    pub event: String,
}

/// Why a service could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// Its node could not start.
    #[error(transparent)]
    Node(#[from] StartError),
    /// Its bus could not start.
    #[error(transparent)]
    Bus(#[from] BusStartError),
    /// Something of its own.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl ServiceError {
    /// Something of the service's own.
    pub fn other(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Other(error.into())
    }

    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Node(error) => error.code(),
            Self::Bus(error) => error.code(),
            Self::Other(_) => "service_start_failed",
        }
    }
}

/// Read models that the host looks after.
pub(crate) type ReadModels = Arc<Mutex<Vec<Arc<dyn Follows>>>>;

/// What the host has opened for a service.
#[derive(Clone)]
pub struct Setup {
    pub(crate) service: &'static str,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) snapshots: Arc<dyn SnapshotStore>,
    pub(crate) broker: Option<Arc<dyn Broker>>,
    pub(crate) read_models: ReadModels,
    /// Who has a say in which events of the journal may go.
    pub(crate) readers: Readers,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("service", &self.service).field("journal", &self.journal).finish()
    }
}

impl Setup {
    /// The service's name.
    #[must_use]
    pub fn service(&self) -> &'static str {
        self.service
    }

    /// The service's own journal.
    #[must_use]
    pub fn journal(&self) -> &Arc<dyn Journal> {
        &self.journal
    }

    /// A node over the service's journal and snapshots; it lacks the aggregates.
    pub fn node(&self) -> NodeBuilder {
        Node::builder()
            .journal(Arc::clone(&self.journal))
            .snapshots(Arc::clone(&self.snapshots))
            .readers(self.readers.clone())
    }

    /// A bus for the service, on the broker that the host has, with schemas as they are by default; it lacks publications
    /// and subscriptions.
    pub fn bus(&self, node: &Node) -> BusBuilder {
        let builder = Bus::builder(node.clone(), self.service).schemas(SchemaOptions::default());
        match &self.broker {
            Some(broker) => builder.broker(Arc::clone(broker)),
            None => builder,
        }
    }

    /// Starts a read model over the service's journal. The service is ready only when it has caught up. Instances' events
    /// that it needs at the next start are not given up: see [`Fold::begins_at_checkpoints`].
    pub fn read_model<M: Fold>(&self, name: &'static str, model: M) -> ReadModel<M> {
        let model = ReadModel::start(name, model, Arc::clone(&self.journal));
        self.readers.add(&model.reader());
        self.read_models.lock().push(Arc::new(model.clone()));
        model
    }

    /// What sends commands on behalf of requests.
    #[must_use]
    pub fn gateway(&self) -> Gateway {
        Gateway::new(self.service, Arc::clone(&self.journal))
    }
}

/// A service that has started.
#[derive(Debug)]
pub struct Running {
    pub(crate) node: Node,
    pub(crate) bus: Option<Bus>,
    pub(crate) router: Router,
}

impl Running {
    /// A service with this node, and neither bus nor routes yet.
    #[must_use]
    pub fn new(node: Node) -> Self {
        Self { node, bus: None, router: Router::new() }
    }

    /// With a bus.
    #[must_use]
    pub fn bus(mut self, bus: Bus) -> Self {
        self.bus = Some(bus);
        self
    }

    /// With routes.
    #[must_use]
    pub fn router(mut self, router: Router) -> Self {
        self.router = router;
        self
    }
}
