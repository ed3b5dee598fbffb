//! Integration events between services: relay, subscriptions, inbox, dead letters.
extern crate self as annals_bus;

mod broker;
mod bus;
mod dead_letter;
mod envelope;
mod error;
mod event;
mod handler;
mod identity;
mod inbox;
mod publication;
mod reaction;
mod record;
mod relay;
mod retry;
mod subscription;
mod topic;

pub use annals_macros::IntegrationEvent;
pub use broker::{Attachment, Broker, InProcessBroker, PublishError, Publisher, ServicePort};
pub use bus::{Bus, BusBuilder};
pub use dead_letter::{DeadLetter, DeadLetterError, DeadLetterId, DeadLetters, ReplaySummary, dead_letters};
pub use envelope::{Envelope, EnvelopeError};
pub use error::BusStartError;
pub use event::IntegrationEvent;
pub use handler::{Delivery, Handler, HandlerError};
pub use inbox::InboxError;
pub use publication::{Outgoing, Publications, TranslationError};
pub use reaction::Reaction;
pub use relay::{Relay, RelayOptions, RelayParts, RelayStatus, StartFrom};
pub use retry::RetryPolicy;
pub use subscription::{DeliveryError, Inlet, SubscriptionOptions, SubscriptionStatus};
pub use topic::{TOPIC_BYTES_MAX, Topic, TopicArguments, TopicParts};

/// What the derives' code needs; no part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use annals_persistence as persistence;
    pub use schemars;
    pub use serde;
    pub use serde_json;

    /// The traits of this crate.
    pub mod bus {
        pub use crate::{IntegrationEvent, TopicParts};
    }
}
