//! Brokers: what carries integration events between services.

use std::fmt;
use std::sync::Arc;

use annals_actors::{Clock, Readers};
use annals_persistence::Journal;
use futures_util::future::BoxFuture;

use crate::relay::{Answer, RelayStatus};
use crate::subscription::{Inlet, SubscriptionStatus};
use crate::{BusStartError, Envelope, Publications};

#[cfg(feature = "dapr")]
pub mod dapr;
mod in_process;

pub use in_process::InProcessBroker;

/// Why a broker has not taken an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Not now; trying again may help.
    #[error("the event could not be delivered now: {reason}")]
    Unavailable {
        /// What the broker said.
        reason: String,
    },
    /// Never, unless somebody changes the schema of its topic.
    #[error("schema_mismatch: {reason}")]
    Schema {
        /// What of the event is not as the schema says.
        reason: String,
    },
    /// Never, unless somebody changes the configuration.
    #[error("the broker refuses the event: {reason}")]
    Configuration {
        /// What the broker said.
        reason: String,
    },
}

impl PublishError {
    /// An error that trying again may mend.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into() }
    }

    /// An error that only another configuration mends.
    pub fn configuration(reason: impl Into<String>) -> Self {
        Self::Configuration { reason: reason.into() }
    }

    /// Whether trying again helps only when somebody has mended something.
    pub(crate) const fn needs_mending(&self) -> bool {
        match self {
            Self::Configuration { .. } | Self::Schema { .. } => true,
            Self::Unavailable { .. } => false,
        }
    }

    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "publish_unavailable",
            Self::Schema { .. } => "schema_mismatch",
            Self::Configuration { .. } => "publish_refused",
        }
    }
}

/// Where a relay puts events.
pub trait Publisher: Send + Sync + 'static {
    /// Publishes an event; `Ok` only when it is safe with whoever took it.
    fn publish<'a>(&'a self, envelope: &'a Arc<Envelope>) -> BoxFuture<'a, Result<(), PublishError>>;

    /// Whether it takes events without being waited for, as a rule. Then they are offered to it first.
    fn takes_offers(&self) -> bool {
        false
    }

    /// Takes an event that nobody waits for: what becomes of it is given to `answer`. A publisher that takes none, or not
    /// this one now, gives the answer back, and the event is published as any other. Events with the same key are never
    /// offered before the one before them was answered.
    fn offer(&self, _envelope: Arc<Envelope>, answer: Answer) -> Option<Answer> {
        Some(answer)
    }
}

/// A service as a broker sees it.
#[derive(Debug, Clone)]
pub struct ServicePort {
    /// The service's name.
    pub service: Arc<str>,
    /// Its journal: what it publishes is read from there, and cursors are kept there.
    pub journal: Arc<dyn Journal>,
    /// The clock that back-off and cursors go by.
    pub clock: Arc<dyn Clock>,
    /// What it publishes.
    pub publications: Arc<Publications>,
    /// Where its relays are told of.
    pub readers: Readers,
    /// What it subscribes to.
    pub subscriptions: Vec<Arc<Inlet>>,
}

/// What carries integration events between services.
pub trait Broker: fmt::Debug + Send + Sync + 'static {
    /// What it is called in status reports.
    fn name(&self) -> &'static str;

    /// Connects a service, for as long as what it gets back is not detached or dropped.
    fn attach(&self, port: ServicePort) -> BoxFuture<'_, Result<Arc<dyn Attachment>, BusStartError>>;
}

/// How what carries events is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BrokerHealth {
    /// The release of what carries them, where there is such a thing and it says so.
    pub version: Option<String>,
    /// Why events do not flow; none when they do.
    pub reasons: Vec<String>,
    /// What goes wrong with some events while others may flow: nothing is lost by it, and it may want somebody's hand.
    pub degraded: Vec<String>,
    /// What works, and would work better with another release or configuration.
    pub notes: Vec<String>,
}

impl BrokerHealth {
    /// Whether events flow, as far as is known.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// A service's connection to a broker. Dropping it lets go at once, as a crash would.
pub trait Attachment: fmt::Debug + Send + Sync + 'static {
    /// The relays that read this service's journal.
    fn relays(&self) -> Vec<RelayStatus>;

    /// How far this service's subscriptions are, one entry for each source that feeds them.
    fn subscriptions(&self) -> Vec<SubscriptionStatus>;

    /// How the broker itself is doing; one inside the process is always well.
    fn health(&self) -> BrokerHealth {
        BrokerHealth::default()
    }

    /// Stops taking and giving events, finishes what is under way, writes cursors.
    fn detach(&self) -> BoxFuture<'_, ()>;
}
