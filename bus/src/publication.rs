//! What a service publishes: the translation of its domain events into integration events.

use std::any::TypeId;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use annals_actors::Aggregate;
use annals_persistence::{EventError, RecordedEvent, StreamId};
use schemars::Schema;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::broker::Publisher;
use crate::schema::{Checked, SchemaError, Schemas, unversioned};
use crate::{IntegrationEvent, Topic, TopicArguments};

mod begun;
mod published;
mod sealing;
mod sequence;

pub(crate) use begun::Begun;
#[cfg(test)]
pub(crate) use begun::BegunEvent;
pub(crate) use published::Published;
pub(crate) use sealing::{Sealed, seal};
pub(crate) use sequence::Sequences;

/// An integration event that a domain event translates into.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub(crate) topic: Topic,
    pub(crate) event_type: Arc<str>,
    /// What its schema is called on a topic that has none of its own.
    pub(crate) schema_name: Arc<str>,
    pub(crate) subject: Option<Arc<str>>,
    /// What could not be encoded is found out when it is to be published.
    pub(crate) data: Result<Arc<RawValue>, String>,
    schema: fn() -> Schema,
}

impl Outgoing {
    /// This event, on its own topic, about the aggregate instance that the domain event belongs to.
    pub fn event<E: IntegrationEvent>(event: &E) -> Self {
        Self::on(event, &TopicArguments::default())
    }

    /// This event, on a topic named here.
    pub fn on<E: IntegrationEvent>(event: &E, topic: &TopicArguments) -> Self {
        let Names { topic, event_type, schema_name } = Names::of::<E>(topic);
        Self {
            topic,
            event_type,
            schema_name,
            subject: None,
            data: serde_json::value::to_raw_value(event).map(Arc::from).map_err(|error| error.to_string()),
            schema: E::schema,
        }
    }

    /// The schema of its type.
    pub(crate) fn schema(&self) -> Result<Value, SchemaError> {
        made(self.schema)
    }

    /// About something else than the aggregate instance. Events of several streams have no common numbers, so it
    /// is published without a sequence: subscribers keep the order in which it arrives.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<Arc<str>>) -> Self {
        self.subject = Some(subject.into());
        self
    }
}

/// What an event type is called in its envelopes.
#[derive(Clone)]
struct Names {
    topic: Topic,
    event_type: Arc<str>,
    schema_name: Arc<str>,
}

impl Names {
    /// Those that the type alone says are put together once in each thread.
    fn of<E: IntegrationEvent>(arguments: &TopicArguments) -> Self {
        thread_local! {
            static KNOWN: RefCell<HashMap<TypeId, Names>> = RefCell::default();
        }
        if *arguments != TopicArguments::default() {
            return Self::made::<E>(arguments);
        }
        KNOWN.with_borrow_mut(|known| {
            known.entry(TypeId::of::<E>()).or_insert_with(|| Self::made::<E>(arguments)).clone()
        })
    }

    fn made<E: IntegrationEvent>(arguments: &TopicArguments) -> Self {
        let topic = Topic::with::<E>(arguments);
        Self { schema_name: unversioned(&topic), event_type: E::type_name().into(), topic }
    }
}

type Translator = Box<dyn Fn(&RecordedEvent) -> Result<Vec<Outgoing>, EventError> + Send + Sync>;

/// What a service publishes, and under which source name.
///
/// Translation is a pure function of the domain event: it runs in the relay, after the commit, and again whenever
/// something must be found out anew.
///
/// ```
/// # use annals_bus::{IntegrationEvent, Outgoing, Publications};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Default, Clone, Serialize, Deserialize, annals_actors::Shape)]
/// # struct Customer;
/// # #[derive(annals_actors::Event)]
/// # enum CustomerEvent { #[event("customer-moved")] Moved { street: String } }
/// # #[derive(Debug, thiserror::Error)]
/// # #[error("no")]
/// # struct No;
/// # impl annals_actors::Aggregate for Customer {
/// #     const TYPE: &'static str = "customer";
/// #     type Command = ();
/// #     type Event = CustomerEvent;
/// #     type Rejection = No;
/// #     fn handle(&self, _: (), _: &annals_actors::Context) -> Result<Vec<CustomerEvent>, No> { Ok(vec![]) }
/// #     fn apply(&mut self, _: CustomerEvent) {}
/// # }
/// #[derive(Serialize, Deserialize, IntegrationEvent)]
/// struct CustomerAddressUpdated {
///     customer_id: String,
///     street: String,
/// }
///
/// let publications = Publications::new("customer").translate::<Customer>(|event, recorded| match event {
///     CustomerEvent::Moved { street } => vec![Outgoing::event(&CustomerAddressUpdated {
///         customer_id: recorded.stream.instance().to_owned(),
///         street: street.clone(),
///     })],
/// });
/// # let _ = publications;
/// ```
pub struct Publications {
    source: Arc<str>,
    translators: HashMap<&'static str, Vec<Translator>>,
    declared: BTreeMap<Topic, fn() -> Schema>,
    schemas: Option<Arc<Schemas>>,
}

impl fmt::Debug for Publications {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publications")
            .field("source", &self.source)
            .field("aggregates", &self.translators.keys())
            .field("declared", &self.declared.keys())
            .finish()
    }
}

impl Publications {
    /// Nothing yet, published under this source name: the service's.
    #[must_use]
    pub fn new(source: impl Into<Arc<str>>) -> Self {
        Self { source: source.into(), translators: HashMap::new(), declared: BTreeMap::new(), schemas: None }
    }

    /// Says that this event is published, on its own topic. Optional; but with one topic declared, all must be:
    /// subscriptions to others are not fed from here, and a translation into another topic is parked as a mistake.
    #[must_use]
    pub fn publishes<E: IntegrationEvent>(mut self) -> Self {
        self.declared.insert(Topic::of::<E>(), E::schema);
        self
    }

    /// Translates the events of an aggregate type. Called again for the same type, both translations hold.
    ///
    /// A record that an upcaster splits is translated event by event, in order, and published as one: there is still at
    /// most one event for each topic, and a second one is parked as a mistake.
    #[must_use]
    pub fn translate<A: Aggregate>(
        mut self,
        translate: impl Fn(&A::Event, &RecordedEvent) -> Vec<Outgoing> + Send + Sync + 'static,
    ) -> Self {
        let translator: Translator = Box::new(move |recorded| {
            let events = recorded.decode::<A::Event>()?;
            Ok(events.iter().flat_map(|event| translate(event, recorded)).collect())
        });
        self.translators.entry(A::TYPE).or_default().push(translator);
        self
    }

    /// The name that its events have as their source.
    #[must_use]
    pub fn source(&self) -> &Arc<str> {
        &self.source
    }

    /// The topics that were declared, in the order of their names.
    pub fn declared(&self) -> impl Iterator<Item = &Topic> {
        self.declared.keys()
    }

    /// The topics that were declared, each with the schema of its type.
    pub(crate) fn declared_schemas(&self) -> impl Iterator<Item = (&Topic, Result<Value, SchemaError>)> {
        self.declared.iter().map(|(topic, schema)| (topic, made(*schema)))
    }

    /// Held against the schemas of this registry.
    pub(crate) fn with_schemas(mut self, schemas: Arc<Schemas>) -> Self {
        self.schemas = Some(schemas);
        self
    }

    /// The registry that the events are held against, if any.
    pub(crate) fn schemas(&self) -> Option<&Arc<Schemas>> {
        self.schemas.as_ref()
    }

    /// A publisher for these events, that takes only what satisfies its schema where that is wanted.
    pub(crate) fn publisher(&self, publisher: Arc<dyn Publisher>) -> Arc<dyn Publisher> {
        match self.schemas.as_ref().filter(|schemas| schemas.options.on_publish) {
            Some(schemas) => Arc::new(Checked { schemas: Arc::clone(schemas), publisher }),
            None => publisher,
        }
    }

    /// Whether nothing is ever published.
    pub(crate) fn is_empty(&self) -> bool {
        self.translators.is_empty()
    }

    /// Whether anything of a stream may be published.
    pub(crate) fn translates(&self, stream: &StreamId) -> bool {
        self.translators.contains_key(stream.category())
    }

    /// Whether something may be published on this topic.
    pub(crate) fn may_publish(&self, topic: &Topic) -> bool {
        !self.translators.is_empty() && (self.declared.is_empty() || self.declared.contains_key(topic))
    }

    /// What an event translates into, on all topics.
    pub(crate) fn outgoing(&self, recorded: &RecordedEvent) -> Result<Vec<Outgoing>, TranslationError> {
        let Some(translators) = self.translators.get(recorded.stream.category()) else {
            return Ok(Vec::new());
        };
        let mut all = Vec::new();
        for translator in translators {
            let translated = catch_unwind(AssertUnwindSafe(|| translator(recorded)));
            all.extend(translated.map_err(|_| TranslationError::Panicked)??);
        }
        self.check(&all)?;
        Ok(all)
    }

    /// Two events of one domain event on one topic would have the same id and the same place in the order.
    fn check(&self, all: &[Outgoing]) -> Result<(), TranslationError> {
        for (index, Outgoing { topic, data, .. }) in all.iter().enumerate() {
            if let Some(reason) = topic.fault() {
                return Err(TranslationError::InvalidTopic { topic: topic.clone(), reason });
            }
            if !self.may_publish(topic) {
                return Err(TranslationError::NotDeclared { topic: topic.clone() });
            }
            if all[..index].iter().any(|earlier| earlier.topic == *topic) {
                return Err(TranslationError::TopicTwice { topic: topic.clone() });
            }
            if let Err(reason) = data {
                return Err(TranslationError::Encode { topic: topic.clone(), reason: reason.clone() });
            }
        }
        Ok(())
    }
}

/// What an author's type says of itself; a panic of it is an error.
fn made(schema: fn() -> Schema) -> Result<Value, SchemaError> {
    catch_unwind(|| schema().to_value()).map_err(|_| SchemaError::Panicked)
}

/// Why an event cannot be published as things are: a mistake in the service's code or configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TranslationError {
    /// The domain event cannot be read.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The translation panicked.
    #[error("the translation panicked")]
    Panicked,
    /// Two integration events of one domain event on one topic.
    #[error(
        "the event translates into two events on topic \"{topic}\"; one event has at most one on each topic"
    )]
    TopicTwice {
        /// The topic.
        topic: Topic,
    },
    /// The publications declare topics, and this is none of them.
    #[error("topic \"{topic}\" is not declared; add it to `Publications::publishes`")]
    NotDeclared {
        /// The topic.
        topic: Topic,
    },
    /// No broker takes such a topic.
    #[error("\"{topic}\" cannot be a topic: {reason}")]
    InvalidTopic {
        /// The topic.
        topic: Topic,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The integration event refuses to be written as JSON.
    #[error("the event for topic \"{topic}\" cannot be encoded: {reason}")]
    Encode {
        /// The topic.
        topic: Topic,
        /// What the encoder said.
        reason: String,
    },
}

impl TranslationError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Event(error) => error.code(),
            Self::Panicked => "translation_panicked",
            Self::TopicTwice { .. } => "topic_published_twice",
            Self::NotDeclared { .. } => "topic_not_declared",
            Self::InvalidTopic { .. } => "invalid_topic",
            Self::Encode { .. } => "integration_event_not_encodable",
        }
    }
}

#[cfg(test)]
mod tests;
