//! Why a bus does not start.

use std::sync::Arc;

use annals_persistence::InvalidStreamId;

use crate::Topic;
use crate::inbox::InboxError;
use crate::schema::SchemaError;

/// Why a bus does not start. Nothing runs then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BusStartError {
    /// Two subscriptions of the service have one name.
    #[error(
        "two subscriptions are called \"{name}\"; each needs its own name, it is what its inbox is kept under"
    )]
    SubscriptionTwice {
        /// The name.
        name: Arc<str>,
    },
    /// A name that cannot be part of a stream's.
    #[error("\"{name}\" cannot be the name of a service or subscription")]
    InvalidName {
        /// The name.
        name: Arc<str>,
        /// What is wrong with it.
        #[source]
        source: InvalidStreamId,
    },
    /// A topic that not every broker takes.
    #[error("subscription \"{subscription}\": \"{topic}\" cannot be a topic: {reason}")]
    InvalidTopic {
        /// The subscription.
        subscription: Arc<str>,
        /// The topic.
        topic: Topic,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A subscription that has handled events of another topic.
    #[error(
        "subscription \"{subscription}\" has handled \"{before}\", and is now for \"{now}\"; another topic needs another \
         name, and where it carries the same events, `SubscriptionOptions::continues` says so"
    )]
    TopicChanged {
        /// The subscription.
        subscription: Arc<str>,
        /// The topic of what it handled last.
        before: Topic,
        /// The topic that it is for now.
        now: Topic,
    },
    /// A limit that lets nothing through.
    #[error(
        "subscription \"{subscription}\" may have no events in flight; it needs at least 1, at most {most}"
    )]
    InvalidLimit {
        /// The subscription.
        subscription: Arc<str>,
        /// The most.
        most: usize,
    },
    /// What a subscription has handled cannot be read back.
    #[error("the inbox of subscription \"{subscription}\" cannot be read")]
    Inbox {
        /// The subscription.
        subscription: Arc<str>,
        /// What is wrong with it.
        #[source]
        source: InboxError,
    },
    /// A topic's schema is none, or may not follow the one that is registered.
    #[error(
        "the schema of topic \"{topic}\" is refused; give the changed event a new version, or change the topic's mode"
    )]
    Schema {
        /// The topic.
        topic: Topic,
        /// Why.
        #[source]
        source: SchemaError,
    },
    /// A component is named for a topic that is none of the service's.
    #[error(
        "component \"{component}\" is to carry \"{topic}\", which \"{service}\" neither publishes nor handles; its topics are: \
         {}",
        listed(topics)
    )]
    ComponentOfNoTopic {
        /// The service.
        service: Arc<str>,
        /// The topic.
        topic: Topic,
        /// The component.
        component: Arc<str>,
        /// The topics that the service has.
        topics: Vec<Topic>,
    },
    /// Another service is attached to the broker under this name.
    #[error("a service called \"{service}\" is attached to the broker already")]
    ServiceTaken {
        /// The name.
        service: Arc<str>,
    },
    /// The broker refuses.
    #[error("the broker refuses the service: {reason}")]
    Broker {
        /// Why.
        reason: String,
    },
}

fn listed(topics: &[Topic]) -> String {
    if topics.is_empty() {
        return "none".to_owned();
    }
    topics.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl BusStartError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::SubscriptionTwice { .. } => "subscription_twice",
            Self::InvalidName { .. } => "invalid_bus_name",
            Self::InvalidTopic { .. } => "invalid_topic",
            Self::TopicChanged { .. } => "subscription_topic_changed",
            Self::InvalidLimit { .. } => "invalid_subscription_limit",
            Self::Inbox { source, .. } => source.code(),
            Self::Schema { source, .. } => source.code(),
            Self::ComponentOfNoTopic { .. } => "component_of_no_topic",
            Self::ServiceTaken { .. } => "service_taken",
            Self::Broker { .. } => "broker_refused",
        }
    }
}
