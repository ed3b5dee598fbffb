//! Topics: where integration events are published.

use std::fmt;
use std::sync::Arc;

use annals_macros::Shape;
use serde::{Deserialize, Serialize};

use crate::IntegrationEvent;

/// The longest topic, in bytes: what every broker takes.
pub const TOPIC_BYTES_MAX: usize = 249;

/// The name of a topic: `[prefix.]name[.suffix]`. Cloning is cheap.
///
/// What its parts are is said in exactly one place: by [`TopicArguments`] if any of them is given; else by the
/// event's attribute if that has a topic, prefix or suffix; else it is `v<version>.<name>`. A part that the place
/// does not mention is left out, and a topic that it does not mention is the event's name.
///
/// ```
/// use annals_bus::{IntegrationEvent, Topic, TopicArguments};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, IntegrationEvent)]
/// struct CustomerAddressUpdated {
///     street: String,
/// }
///
/// assert_eq!(Topic::of::<CustomerAddressUpdated>().as_str(), "v1.customer-address-updated");
/// let seed = TopicArguments::default().prefix("v1").topic("CustomerAddressUpdated");
/// assert_eq!(Topic::with::<CustomerAddressUpdated>(&seed).as_str(), "v1.CustomerAddressUpdated");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Shape)]
#[serde(transparent)]
pub struct Topic(Arc<str>);

impl Topic {
    /// The topic of an event type.
    #[must_use]
    pub fn of<E: IntegrationEvent>() -> Self {
        Self::with::<E>(&TopicArguments::default())
    }

    /// The topic of an event type, where these arguments do not say otherwise.
    #[must_use]
    pub fn with<E: IntegrationEvent>(arguments: &TopicArguments) -> Self {
        Self::resolve(E::NAME, E::VERSION, E::TOPIC, arguments)
    }

    /// The topic with exactly this name, whoever publishes there.
    #[must_use]
    pub fn named(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    fn resolve(name: &str, version: u16, attribute: TopicParts<'_>, arguments: &TopicArguments) -> Self {
        let explicit = arguments.parts();
        if explicit.any() {
            explicit.join(name)
        } else if attribute.any() {
            attribute.join(name)
        } else {
            TopicParts { prefix: Some(&format!("v{version}")), ..TopicParts::default() }.join(name)
        }
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Why no broker can be relied on to take it, if that is so.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        if self.0.is_empty() {
            Some("it is empty")
        } else if self.0.len() > TOPIC_BYTES_MAX {
            Some("it is longer than 249 bytes")
        } else if self.0.bytes().all(plain) {
            None
        } else {
            Some("a topic has ASCII letters, digits, '-', '.' and '_' only")
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The parts of a topic as an event's attribute gives them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TopicParts<'a> {
    /// The middle; the event's name where it is not given.
    pub topic: Option<&'a str>,
    /// What stands before it.
    pub prefix: Option<&'a str>,
    /// What stands behind it.
    pub suffix: Option<&'a str>,
}

impl TopicParts<'_> {
    fn any(&self) -> bool {
        self.topic.is_some() || self.prefix.is_some() || self.suffix.is_some()
    }

    /// An empty part counts as said, and adds nothing.
    fn join(&self, name: &str) -> Topic {
        let middle = self.topic.filter(|topic| !topic.is_empty()).unwrap_or(name);
        let parts = [self.prefix.unwrap_or_default(), middle, self.suffix.unwrap_or_default()];
        let said: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        Topic(said.join(".").into())
    }
}

/// Parts of a topic given where it is used. Any one of them switches the event's attribute off completely.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicArguments {
    topic: Option<String>,
    prefix: Option<String>,
    suffix: Option<String>,
}

impl TopicArguments {
    /// The middle part, instead of the event's name.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topic = Some(topic.into());
        self
    }

    /// What stands before it.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    /// What stands behind it.
    #[must_use]
    pub fn suffix(mut self, suffix: impl Into<String>) -> Self {
        self.suffix = Some(suffix.into());
        self
    }

    fn parts(&self) -> TopicParts<'_> {
        TopicParts {
            topic: self.topic.as_deref(),
            prefix: self.prefix.as_deref(),
            suffix: self.suffix.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests;
