//! What is known of the sidecar.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::SidecarVersion;
use crate::broker::BrokerHealth;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// `None` for a build that is no release.
    pub(super) version: Option<SidecarVersion>,
    /// The components that are for Redis.
    pub(super) redis: BTreeSet<Arc<str>>,
    /// Whether any of those carries the service's events.
    pub(super) uses_redis: bool,
}

impl Known {
    fn drops(&self) -> bool {
        self.version.is_none_or(SidecarVersion::has_safe_dead_letters)
    }
}

impl SidecarState {
    pub(super) fn version(&self) -> Option<SidecarVersion> {
        self.known().and_then(|known| known.version)
    }

    fn known(&self) -> Option<&Known> {
        match self {
            Self::Ready { known, .. } | Self::Lacking { known, .. } => Some(known),
            Self::Unknown | Self::Unreachable { .. } | Self::Refused { .. } => None,
        }
    }

    /// Whether it acknowledges what it gives up of this component, as it does with Redis from 1.17 on: then it has to be
    /// told where else to put it. Everywhere else what is put elsewhere is lost to its key.
    /// `None` where it has not said what it is.
    pub(super) fn drops_what_fails(&self, component: &str) -> Option<bool> {
        self.known().map(|known| known.redis.contains(component) && known.drops())
    }

    pub(super) fn reason(&self) -> Option<&str> {
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
        self.known().is_some_and(|known| known.uses_redis && known.drops()).then_some(
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
