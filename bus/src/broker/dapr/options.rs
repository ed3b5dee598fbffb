//! How a service and its sidecar work together.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::{Authorities, HttpEndpoint, Secret, SidecarEndpoint};
use crate::{RelayOptions, RetryPolicy, Topic};

/// How long connecting may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often, and for how long, a silent connection is asked whether it lives.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Where deliveries come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppChannel {
    /// To a gRPC server of the adapter's own, on this address; port 0 takes a free one. Sidecars before 1.17 prove
    /// nothing about themselves here, so it should be a loopback address.
    Grpc(SocketAddr),
    /// To HTTP routes that the host serves.
    Http,
}

/// How events are handed to the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PublishCalls {
    /// One event in a call, so many calls at once.
    Single {
        /// How many.
        calls: usize,
    },
    /// Events of different keys that wait for a call share it. A key has one event under way at a time, so no order
    /// is lost.
    Bulk {
        /// How many calls at once.
        calls: usize,
        /// How many events share a call, at most.
        events: usize,
    },
}

/// What becomes of a topic in [`DaprOptions::topic_pubsubs`] that the service neither publishes nor handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForeignTopics {
    /// It is taken for a mistake: misspelt, it would go by the usual component without a word. The bus does not start.
    Refuse,
    /// It is in the log as a warning: the options are shared with another service, which may have it.
    Warn,
}

/// How a service and its sidecar work together.
#[derive(Debug, Clone)]
pub struct DaprOptions {
    /// Where the sidecar's gRPC API is.
    pub endpoint: SidecarEndpoint,
    /// Where the sidecar's HTTP API is. It is asked for the sidecar's health alone (`/v1.0/healthz`), which the gRPC API does
    /// not tell; without it, what the gRPC API says has to do.
    pub http_endpoint: Option<HttpEndpoint>,
    /// The authorities that a sidecar behind TLS proves itself by; without them, those that this machine trusts.
    pub ca: Option<Authorities>,
    /// What opens that API, where it asks for a token (`DAPR_API_TOKEN`).
    pub api_token: Option<Secret>,
    /// What the sidecar shows with deliveries, where it was given one (`APP_API_TOKEN`).
    pub app_token: Option<Secret>,
    /// The name of the pub/sub component that carries the topics.
    pub pubsub: Arc<str>,
    /// The topics that another component carries. NATS JetStream wants one for each topic that a service handles, since a
    /// durable consumer takes one topic only.
    pub topic_pubsubs: BTreeMap<Topic, Arc<str>>,
    /// What becomes of one among them that the service does not have.
    pub foreign_topics: ForeignTopics,
    /// Where deliveries come in.
    pub app_channel: AppChannel,
    /// Whether the sidecar is told what the service subscribes to when it asks. Where operators write `Subscription`
    /// resources instead, it is told nothing, and a topic without one shows under `degraded`: who reads what is theirs
    /// to say.
    pub programmatic: bool,
    /// How events are handed to the sidecar.
    pub publish: PublishCalls,
    /// How long one call may take.
    pub call_timeout: Duration,
    /// How long a delivery waits for its effect before the sidecar is told to come again; the effect goes on, and the
    /// next delivery finds it. It must be shorter than the sidecar's own timeout for deliveries, where that has one.
    pub answer_within: Duration,
    /// How often the sidecar is asked how it is.
    pub probe_every: Duration,
    /// The largest body of a delivery, in bytes; a larger one becomes a dead letter.
    pub body_bytes_max: usize,
    /// The relay's limits and habits.
    pub relay: RelayOptions,
}

impl DaprOptions {
    /// For this pub/sub component, on a sidecar at its usual place, with deliveries over gRPC to a free port of the
    /// loopback interface.
    #[must_use]
    pub fn new(pubsub: impl Into<Arc<str>>) -> Self {
        Self {
            endpoint: SidecarEndpoint::default(),
            http_endpoint: None,
            ca: None,
            api_token: None,
            app_token: None,
            pubsub: pubsub.into(),
            topic_pubsubs: BTreeMap::new(),
            foreign_topics: ForeignTopics::Refuse,
            app_channel: AppChannel::Grpc(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            programmatic: true,
            publish: PublishCalls::Bulk { calls: 4, events: 100 },
            call_timeout: Duration::from_secs(5),
            answer_within: Duration::from_secs(8),
            probe_every: Duration::from_secs(2),
            body_bytes_max: 4 * 1024 * 1024,
            // Neither a broker that is back tells, nor a sidecar that was started again with another configuration.
            relay: RelayOptions {
                retry: RetryPolicy { longest_pause: Duration::from_secs(5), ..RetryPolicy::default() },
                parked_retry: Duration::from_secs(10),
                ..RelayOptions::default()
            },
        }
    }
}
