//! The host: opens data, starts services, serves them, stops them in order.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use annals_actors::{Node, Readers};
use annals_bus::Bus;
use annals_persistence::{EmbeddedOptions, SnapshotOptions};
use axum::extract::DefaultBodyLimit;
use axum::{Router, middleware};
use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::admin::{self, Access, AdminService};
use crate::broker::{Brokers, Carrier};
use crate::data::{self, DataDir, Opened};
use crate::disk::Disk;
use crate::health::{Health, Watched};
use crate::metrics::{CommitMetrics, Measured};
use crate::middleware::{Around, around};
use crate::service::ReadModels;
use crate::stop::{STOP_WITHIN, Stage, StopTime};
use crate::view::ServiceView;
use crate::{
    BODY_BYTES_MAX, ConnectionOptions, DataError, DiskOptions, ReadModelError, Running, Service,
    ServiceError, Setup, description, metrics, openapi, panics, schemas, server,
};

/// How services are run.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where the data is; `None` takes a temporary directory, removed at the end.
    pub data: Option<PathBuf>,
    /// What carries the services' events.
    pub carrier: Carrier,
    /// What opens the admin API from other machines.
    pub admin_token: Option<Arc<str>>,
    /// How the services' journals are written.
    pub journal: EmbeddedOptions,
    /// What each service's snapshots may use.
    pub snapshots: SnapshotOptions,
    /// What connections may do.
    pub connections: ConnectionOptions,
    /// How long [`Host::shutdown`] takes at most: a third of it goes to requests under way, then buses, nodes and journals
    /// have their shares. What is not done in its share is cut, and named in the log.
    pub stop_within: Duration,
    /// How the services look after their disks.
    pub disk: DiskOptions,
}

impl Default for HostOptions {
    /// 127.0.0.1:8080, temporary data, connected in the process, no token, journals and snapshots as they are by
    /// default, 24 seconds to stop.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            data: None,
            carrier: Carrier::default(),
            admin_token: None,
            journal: EmbeddedOptions::default(),
            snapshots: SnapshotOptions::default(),
            connections: ConnectionOptions::default(),
            stop_within: STOP_WITHIN,
            disk: DiskOptions::default(),
        }
    }
}

/// Why services could not be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// A service's data could not be opened.
    #[error("service \"{service}\" cannot open its data")]
    Data {
        /// The service.
        service: &'static str,
        /// What is wrong.
        #[source]
        source: DataError,
    },
    /// A service could not start.
    #[error("service \"{service}\" cannot start")]
    Start {
        /// The service.
        service: &'static str,
        /// What is wrong.
        #[source]
        source: ServiceError,
    },
    /// A read model could not be built.
    #[error("service \"{service}\" cannot get ready")]
    ReadModel {
        /// The service.
        service: &'static str,
        /// What is wrong.
        #[source]
        source: ReadModelError,
    },
    /// The address could not be listened on.
    #[error("cannot listen on {address}; stop what listens there, or name another address with `--listen`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The data directory could not be made.
    #[error(transparent)]
    Directory(DataError),
    /// Two that are served on one address have a route in common.
    #[error("a route is there twice, of two services or of a service and the host: {reason}")]
    RouteTaken {
        /// Which one.
        reason: String,
    },
    /// Two services are to get their events over HTTP, on one address.
    #[error(
        "\"{first}\" and \"{second}\" are both to get their events over HTTP, and a sidecar names no service when it brings \
         one; give all but one of them the gRPC channel, or a process of its own"
    )]
    HttpChannelTaken {
        /// One of them.
        first: String,
        /// The other.
        second: String,
    },
}

impl HostError {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Data { source, .. } | Self::Directory(source) => source.code(),
            Self::Start { source, .. } => source.code(),
            Self::ReadModel { source: ReadModelError::Failed { damaged: true, .. }, .. } => "journal_damaged",
            Self::ReadModel { source, .. } => source.code(),
            Self::Listen { .. } => "listen_failed",
            Self::RouteTaken { .. } => "route_taken",
            Self::HttpChannelTaken { .. } => "http_channel_taken",
        }
    }

    /// Whether the data itself is the trouble: in use, damaged, or of another format.
    #[must_use]
    pub fn is_about_data(&self) -> bool {
        match self {
            Self::Data { source, .. } => source.is_about_data(),
            // Starting reads the journal; only then is some damage met.
            _ => self.code() == "journal_damaged",
        }
    }
}

/// A service that runs, and what it runs on.
struct Hosted {
    service: Arc<dyn Service>,
    data: Opened,
    dir: PathBuf,
    node: Node,
    bus: Option<Bus>,
    read_models: ReadModels,
    disk: Disk,
}

/// Services that run and are served.
#[derive(Debug)]
#[must_use = "services are stopped in order only by `shutdown`"]
pub struct Host {
    address: SocketAddr,
    health: HealthHandle,
    hosted: Vec<Hosted>,
    data: DataDir,
    /// True ends the server and the tails.
    stopping: watch::Sender<bool>,
    /// How many requests the end waits for.
    waited_for: watch::Receiver<usize>,
    stop_within: Duration,
    server: JoinHandle<()>,
    tasks: Vec<JoinHandle<()>>,
}

/// Health without a `Debug` of its own.
struct HealthHandle(Health);

impl std::fmt::Debug for HealthHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Health")
    }
}

impl std::fmt::Debug for Hosted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hosted").field("service", &self.service.name()).field("dir", &self.dir).finish()
    }
}

impl Host {
    /// Opens the data, starts the services and begins to serve them. They may not be ready yet: see [`Host::ready`].
    ///
    /// # Errors
    /// [`HostError`]; what was started is stopped again.
    pub async fn start(services: &[Arc<dyn Service>], options: HostOptions) -> Result<Self, HostError> {
        // First of all: a port that is taken should not cost a replay.
        let listener = listen(options.listen).await?;
        let address = listener.local_addr().unwrap_or(options.listen);
        drop(metrics::install());
        let data = DataDir::new(options.data.clone()).map_err(HostError::Directory)?;
        let brokers = Brokers::of(&options.carrier)
            .map_err(|[first, second]| HostError::HttpChannelTaken { first, second })?;
        let ground = Ground {
            data: &data,
            journal: &options.journal,
            snapshots: &options.snapshots,
            disk: &options.disk,
            brokers: &brokers,
            stop_within: options.stop_within,
        };
        let (hosted, mut routers) = start_all(services, ground).await?;
        routers.extend(brokers.routes(address));
        let health = Health::new(brokers.name(), hosted.iter().map(Hosted::watched).collect());
        let (stopping, stopped) = watch::channel(false);
        let access = Access {
            loopback_listener: address.ip().to_canonical().is_loopback(),
            token: options.admin_token,
        };
        let buses = hosted.iter().filter_map(|one| Some((one.service.name(), one.bus.clone()?))).collect();
        routers.push(schemas::router(buses, access.clone()));
        let admin = admin::router(
            hosted.iter().map(Hosted::admin).collect(),
            serde_json::to_value(description::of(services)).unwrap_or_default(),
            access,
            stopped.clone(),
        );
        let document = openapi::merged("Annals", services.iter().map(|service| service.openapi()));
        let scraped = metrics::router(Measured {
            nodes: hosted.iter().map(|one| one.node.clone()).collect(),
            disks: hosted.iter().map(|one| one.disk.clone()).collect(),
        });
        let merged =
            panics::catch(|| whole(routers, health.clone(), scraped, admin, openapi::router(&document)));
        let router = match merged {
            Ok(router) => router,
            Err(reason) => {
                stop_all(hosted, StopTime::begin(options.stop_within)).await;
                return Err(HostError::RouteTaken { reason });
            }
        };
        let router =
            brokers.keeping_unrouted(router).layer(middleware::from_fn_with_state(Around::default(), around));
        let (waiting, waited_for) = watch::channel(0);
        let server = tokio::spawn(server::serve(listener, router, options.connections, stopped, waiting));
        let tasks = vec![tokio::spawn(metrics::upkeep()), tokio::spawn(get_ready(health.clone()))];
        let (health, stop_within) = (HealthHandle(health), options.stop_within);
        Ok(Self { address, health, hosted, data, stopping, waited_for, stop_within, server, tasks })
    }

    /// Where it listens: the real port, also when port 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The services.
    pub fn services(&self) -> impl Iterator<Item = &Arc<dyn Service>> {
        self.hosted.iter().map(|hosted| &hosted.service)
    }

    /// The data directory, which holds a directory for each service.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Waits until every read model has caught up.
    ///
    /// # Errors
    /// [`HostError::ReadModel`] when one cannot be built; the host will never be ready then.
    pub async fn ready(&self) -> Result<(), HostError> {
        self.health.0.start().await
    }

    /// How many requests [`Host::shutdown`] waits for; it is more than 0 only after the end was asked for.
    pub(crate) fn waited_for(&self) -> watch::Receiver<usize> {
        self.waited_for.clone()
    }

    /// Stops in order: no more readiness, no new connections, requests under way finished, then buses, read models,
    /// nodes, snapshots and journals. A connection without a whole head of a request is closed at once. Each has its share
    /// of [`HostOptions::stop_within`]. Temporary data is removed.
    pub async fn shutdown(self) {
        let time = StopTime::begin(self.stop_within);
        self.shutdown_in(time).await;
    }

    /// As [`Host::shutdown`], in a time that has begun already.
    pub(crate) async fn shutdown_in(mut self, time: StopTime) {
        self.health.0.drain();
        self.stopping.send_replace(true);
        if time.give(Stage::Requests, &mut self.server).await.is_none() {
            let requests = *self.waited_for.borrow();
            tracing::warn!(requests, "requests did not end in time and were cut off");
            self.server.abort();
        }
        self.tasks.iter().for_each(JoinHandle::abort);
        stop_all(self.hosted, time).await;
        self.data.end();
    }
}

/// Gets ready also where nobody waits for that.
async fn get_ready(health: Health) {
    if let Err(error) = health.start().await {
        tracing::error!(error = annals_bus::with_causes(&error), "the services cannot get ready");
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, HostError> {
    TcpListener::bind(address).await.map_err(|source| HostError::Listen { address, source })
}

/// What services are started on.
#[derive(Clone, Copy)]
struct Ground<'a> {
    data: &'a DataDir,
    journal: &'a EmbeddedOptions,
    snapshots: &'a SnapshotOptions,
    disk: &'a DiskOptions,
    brokers: &'a Brokers,
    stop_within: Duration,
}

/// Starts every service; if one cannot, the others are stopped again.
async fn start_all(
    services: &[Arc<dyn Service>],
    ground: Ground<'_>,
) -> Result<(Vec<Hosted>, Vec<Router>), HostError> {
    let (mut hosted, mut routers) = (Vec::new(), Vec::new());
    for service in services {
        match start_one(Arc::clone(service), ground).await {
            Ok((one, router)) => {
                hosted.push(one);
                routers.push(router);
            }
            Err(error) => {
                stop_all(hosted, StopTime::begin(ground.stop_within)).await;
                return Err(error);
            }
        }
    }
    Ok((hosted, routers))
}

async fn start_one(service: Arc<dyn Service>, ground: Ground<'_>) -> Result<(Hosted, Router), HostError> {
    let name = service.name();
    let dir = ground.data.of_service(name);
    let journal = CommitMetrics::observing(name, ground.journal.clone());
    let opening = data::open(dir.clone(), journal, ground.snapshots.clone());
    let data = opening.await.map_err(|source| HostError::Data { service: name, source })?;
    let read_models = ReadModels::default();
    let setup = Setup {
        service: name,
        journal: Arc::clone(&data.journal),
        snapshots: Arc::clone(&data.snapshots),
        broker: ground.brokers.of_service(name),
        read_models: Arc::clone(&read_models),
        readers: Readers::default(),
    };
    match start_caught(&*service, setup).await {
        Ok(Running { node, bus, router }) => {
            if bus.as_ref().is_some_and(|bus| bus.broker() == "none") {
                tracing::warn!(service = name, "there is no broker: integration events stay unpublished");
            }
            let disk = Disk::look_after(name, &data.embedded, ground.disk);
            Ok((Hosted { service, data, dir, node, bus, read_models, disk }, router))
        }
        Err(source) => {
            read_models.lock().drain(..).for_each(|model| model.stop());
            data.close().await;
            Err(HostError::Start { service: name, source })
        }
    }
}

/// Starts a service; a panic of its author's code is an error.
async fn start_caught(service: &dyn Service, setup: Setup) -> Result<Running, ServiceError> {
    let starting = AssertUnwindSafe(async { service.start(setup).await });
    starting.catch_unwind().await.unwrap_or_else(|panic| {
        Err(ServiceError::other(format!("it panicked: {}", panics::message(&*panic))))
    })
}

async fn stop_all(hosted: Vec<Hosted>, time: StopTime) {
    // Buses first: they send commands to nodes, also to those of other services.
    join_all(hosted.iter().map(|one| one.stop_bus(time))).await;
    join_all(hosted.iter().map(|one| one.stop_node(time))).await;
    join_all(hosted.into_iter().map(|one| one.close(time))).await;
}

impl Hosted {
    async fn stop_bus(&self, time: StopTime) {
        let Some(bus) = &self.bus else { return };
        if time.give(Stage::Buses, bus.shutdown()).await.is_none() {
            let (service, handling) = (self.service.name(), bus.handling());
            tracing::warn!(service, handling, "the bus did not stop in time and was cut off");
        }
    }

    async fn stop_node(&self, time: StopTime) {
        if time.give(Stage::Nodes, self.node.shutdown()).await.is_none() {
            let requests: usize = self.node.kinds().iter().map(|kind| kind.load().in_flight).sum();
            tracing::warn!(
                service = self.service.name(),
                requests,
                "the node did not stop in time and was cut off"
            );
        }
    }

    async fn close(self, time: StopTime) {
        self.read_models.lock().drain(..).for_each(|model| model.stop());
        let service = self.service.name();
        let closed = time.give(Stage::Data, async {
            self.disk.stop().await;
            // Let go of journal and snapshots before they are closed.
            drop((self.bus, self.node, self.disk));
            self.data.close().await;
        });
        if closed.await.is_none() {
            tracing::warn!(service, "the journal was not closed in time; the next start recovers it");
        }
    }
}

impl Hosted {
    fn watched(&self) -> Watched {
        Watched {
            service: self.service.name(),
            bus: self.bus.clone(),
            journal: Arc::clone(&self.data.journal),
            read_models: self.read_models.lock().clone(),
            disk: Some(self.disk.clone()),
        }
    }

    fn admin(&self) -> AdminService {
        AdminService {
            view: ServiceView {
                service: self.service.name(),
                journal: Arc::clone(&self.data.journal),
                inspectors: self.service.inspectors().into(),
            },
            kinds: self.node.kinds(),
            bus: self.bus.clone(),
        }
    }
}

/// Everything on one listener.
fn whole(services: Vec<Router>, health: Health, metrics: Router, admin: Router, api: Router) -> Router {
    let base = Router::new().merge(health.router()).merge(metrics).merge(admin).merge(api);
    services.into_iter().fold(base, Router::merge).layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}
