//! A service's bus: what it publishes and what it subscribes to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use annals_actors::{Node, Reader};
use annals_persistence::ReaderPlace;
use futures_util::future::{join, join_all};

use crate::broker::{Attachment, BrokerHealth};
use crate::caretaker::Caretaker;
use crate::dead_letter::DeadLetters;
use crate::relay::RelayStatus;
use crate::subscription::{Inlet, SubscriptionStatus};
use crate::{Publications, SchemaRegistry};

mod builder;

pub use builder::BusBuilder;

/// How long stopping waits for events under way: longer than a delivery may wait for its effect.
const DRAIN: Duration = Duration::from_millis(8500);

/// What is said where there is none.
const NO_BROKER: &str = "there is no broker: integration events wait in the journal, and none arrive";

/// A service's running bus. Cloning is cheap; when the last clone is dropped, everything stops at once, as in a crash.
/// [`Bus::shutdown`] finishes what is under way.
#[derive(Clone)]
pub struct Bus(Arc<Inner>);

struct Inner {
    service: Arc<str>,
    broker: &'static str,
    inlets: Arc<[Arc<Inlet>]>,
    attachment: Option<Arc<dyn Attachment>>,
    dead_letters: DeadLetters,
    registry: Option<SchemaRegistry>,
    publications: Arc<Publications>,
    /// Says what was published last, before events are given up.
    _published: Arc<dyn Reader>,
    caretaker: Caretaker,
    /// Keeps what is not published for want of a broker.
    _unpublished: Option<ReaderPlace>,
    /// Whose instances the handlers command: a node stops when nobody has it any more.
    _node: Node,
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus")
            .field("service", &self.0.service)
            .field("broker", &self.0.broker)
            .finish_non_exhaustive()
    }
}

impl Bus {
    /// The service's name.
    #[must_use]
    pub fn service(&self) -> &Arc<str> {
        &self.0.service
    }

    /// What the broker is called; `none` where there is none, so that nothing leaves the journal.
    #[must_use]
    pub fn broker(&self) -> &'static str {
        self.0.broker
    }

    /// The events that could not be handled.
    #[must_use]
    pub fn dead_letters(&self) -> &DeadLetters {
        &self.0.dead_letters
    }

    /// The schemas of what is published, where the bus keeps any.
    #[must_use]
    pub fn schemas(&self) -> Option<&SchemaRegistry> {
        self.0.registry.as_ref()
    }

    /// What is published.
    #[must_use]
    pub fn publications(&self) -> &Publications {
        &self.0.publications
    }

    /// How the subscriptions are doing: one entry for each source that feeds one, one for each that nothing feeds.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<SubscriptionStatus> {
        match &self.0.attachment {
            Some(attachment) => attachment.subscriptions(),
            None => self.0.inlets.iter().map(|inlet| inlet.unfed()).collect(),
        }
    }

    /// How many events its subscriptions are handling, also while it stops.
    #[must_use]
    pub fn handling(&self) -> usize {
        self.0.inlets.iter().map(|inlet| inlet.in_flight()).sum()
    }

    /// How the relays that read this service's journal are doing.
    #[must_use]
    pub fn relays(&self) -> Vec<RelayStatus> {
        self.0.attachment.as_ref().map(|attachment| attachment.relays()).unwrap_or_default()
    }

    /// How the broker is doing, and what of the events does not flow; where there is none, a note says so.
    #[must_use]
    pub fn health(&self) -> BrokerHealth {
        let mut health = match &self.0.attachment {
            Some(attachment) => attachment.health(),
            None => BrokerHealth { notes: vec![NO_BROKER.to_owned()], ..BrokerHealth::default() },
        };
        let relays = self.relays();
        health.reasons.extend(relays.iter().filter_map(RelayStatus::fault));
        health.reasons.extend(self.0.inlets.iter().filter_map(|inlet| inlet.unfed().fault()));
        // One subscription has an entry for each source.
        health.degraded.extend(self.0.inlets.iter().flat_map(|inlet| inlet.unfed().troubles()));
        health.degraded.extend(relays.iter().filter_map(RelayStatus::trouble));
        health.degraded.extend(self.0.dead_letters.troubles());
        health
    }

    /// Where brokers deliver a subscription's events.
    #[must_use]
    pub fn inlet(&self, subscription: &str) -> Option<&Arc<Inlet>> {
        self.0.inlets.iter().find(|inlet| **inlet.name() == *subscription)
    }

    /// Takes no more events, finishes those under way (for a bounded time), writes cursors. The node is its owner's
    /// to shut down, afterwards.
    pub async fn shutdown(&self) {
        self.0.caretaker.stop();
        self.0.inlets.iter().for_each(|inlet| inlet.refuse());
        let drained = join_all(self.0.inlets.iter().map(|inlet| inlet.drained(DRAIN)));
        match &self.0.attachment {
            Some(attachment) => drop(join(attachment.detach(), drained).await),
            None => drop(drained.await),
        }
        self.0.inlets.iter().for_each(|inlet| inlet.close());
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.inlets.iter().for_each(|inlet| inlet.close());
    }
}
