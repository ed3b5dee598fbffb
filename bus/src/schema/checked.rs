//! What is published, held against its topic's schema.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::registry::Standing;
use super::{LazyValidator, SchemaError, SchemaOptions, SchemaRegistry, all};
use crate::broker::{PublishError, Publisher};
use crate::publication::Outgoing;
use crate::relay::Answer;
use crate::{Envelope, Topic};

/// A bus's registry, and what the bus does with it.
#[derive(Debug)]
pub(crate) struct Schemas {
    pub(crate) registry: SchemaRegistry,
    pub(crate) options: SchemaOptions,
}

impl Schemas {
    /// The name of the schema that an event is published under, if its topic has one; a topic without one gets that of
    /// the event's type, where that is wanted.
    pub(crate) async fn name_of(&self, outgoing: &Outgoing) -> Result<Option<Arc<str>>, SchemaError> {
        let topic = &outgoing.topic;
        let mut standing = match self.registry.standing(topic) {
            Some(known) => known,
            None => self.registry.look_up(topic).await?,
        };
        if self.options.register && matches!(standing, Standing::Never) {
            self.registry.register_own(topic, &outgoing.schema()?).await?;
            standing = self.registry.standing(topic).unwrap_or(standing);
        }
        Ok(standing.current().map(|current| current.name))
    }

    /// Holds an event's content against its topic's schema.
    fn check(&self, envelope: &Envelope) -> Result<Passed, PublishError> {
        let topic = &envelope.topic;
        let standing = self.registry.standing(topic);
        let Some(current) = standing.and_then(Standing::current) else {
            return Ok(Passed { name: unversioned(topic), schema: None });
        };
        let data = envelope.data.as_ref().map_or("null", |data| data.get());
        current.validator.validate_text(data).map_err(|faults| {
            let (id, version, faults) = (&envelope.id, current.version, all(&faults));
            let reason = format!(
                "event {id} is not what version {version} of the schema of \"{topic}\" says: {faults}"
            );
            PublishError::Schema { reason }
        })?;
        Ok(Passed { name: current.name, schema: Some(current.validator) })
    }
}

/// What an event satisfies, and what that is called.
struct Passed {
    name: Arc<str>,
    schema: Option<Arc<LazyValidator>>,
}

/// What an event's schema is called on a topic that has none.
pub(crate) fn unversioned(topic: &Topic) -> Arc<str> {
    format!("urn:annals:schema:{topic}").into()
}

/// The event under the name of the schema that it satisfies: it may have waited since it got another's.
fn named(envelope: &Envelope, name: Arc<str>) -> Arc<Envelope> {
    Arc::new(Envelope { data_schema: Some(name), ..envelope.clone() })
}

/// Publishes what satisfies its schema. What does not is refused until somebody changes the schema: it stays where it
/// is, in front of the later events of its key, while other keys go on.
pub(crate) struct Checked {
    pub(crate) schemas: Arc<Schemas>,
    pub(crate) publisher: Arc<dyn Publisher>,
}

impl Publisher for Checked {
    fn publish<'a>(&'a self, envelope: &'a Arc<Envelope>) -> BoxFuture<'a, Result<(), PublishError>> {
        match self.schemas.check(envelope) {
            Ok(passed) if passed.is_named_in(envelope) => self.publisher.publish(envelope),
            Ok(passed) => async move { self.publisher.publish(&named(envelope, passed.name)).await }.boxed(),
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }

    fn takes_offers(&self) -> bool {
        self.publisher.takes_offers()
    }

    fn offer(&self, envelope: Arc<Envelope>, answer: Answer) -> Option<Answer> {
        let passed = match self.schemas.check(&envelope) {
            Ok(passed) => passed,
            Err(error) => {
                answer.give(Err(error));
                return None;
            }
        };
        let right = passed.is_named_in(&envelope);
        let envelope = if right { envelope } else { named(&envelope, passed.name) };
        self.publisher.offer(envelope, answer.satisfies(passed.schema))
    }
}

impl Passed {
    fn is_named_in(&self, envelope: &Envelope) -> bool {
        envelope.data_schema.as_ref() == Some(&self.name)
    }
}
