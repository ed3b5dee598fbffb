//! What is published, held against its topic's schema.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::registry::{Current, Standing};
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
        Ok(standing.current().map(|current| Arc::clone(&current.name)))
    }

    /// Holds an event's content against its topic's schema.
    fn check(&self, envelope: &Envelope) -> Result<Passed, PublishError> {
        let topic = &envelope.topic;
        let standing = self.registry.standing(topic);
        let Some(current) = standing.and_then(Standing::current) else {
            return Ok(Passed(None));
        };
        let data = envelope.data.as_ref().map_or("null", |data| data.get());
        current.validator.validate_text(data).map_err(|faults| {
            let (id, version, faults) = (&envelope.id, current.version, all(&faults));
            let reason = format!(
                "event {id} is not what version {version} of the schema of \"{topic}\" says: {faults}"
            );
            PublishError::Schema { reason }
        })?;
        Ok(Passed(Some(current)))
    }
}

/// What an event satisfies; nothing on a topic that has no schema.
struct Passed(Option<Arc<Current>>);

/// What an event's schema is called on a topic that has none.
pub(crate) fn unversioned(topic: &Topic) -> Arc<str> {
    format!("urn:annals:schema:{topic}").into()
}

/// Publishes what satisfies its schema. What does not is refused until somebody changes the schema: it stays where it
/// is, in front of the later events of its key, while other keys go on.
pub(crate) struct Checked {
    pub(crate) schemas: Arc<Schemas>,
    pub(crate) publisher: Arc<dyn Publisher>,
}

impl Publisher for Checked {
    fn publish<'a>(&'a self, envelope: &'a Arc<Envelope>) -> BoxFuture<'a, Result<(), PublishError>> {
        match self.schemas.check(envelope).map(|passed| passed.renamed(envelope)) {
            Ok(None) => self.publisher.publish(envelope),
            Ok(Some(renamed)) => async move { self.publisher.publish(&renamed).await }.boxed(),
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
        let envelope = passed.renamed(&envelope).unwrap_or(envelope);
        self.publisher.offer(envelope, answer.satisfies(passed.schema()))
    }
}

impl Passed {
    /// The event under the name of the schema that it satisfies: it may have waited since it got another's.
    fn renamed(&self, envelope: &Envelope) -> Option<Arc<Envelope>> {
        let has = envelope.data_schema.as_deref();
        let name = match &self.0 {
            Some(current) if has == Some(&*current.name) => return None,
            Some(current) => Arc::clone(&current.name),
            None => Some(unversioned(&envelope.topic)).filter(|name| has != Some(&**name))?,
        };
        Some(Arc::new(Envelope { data_schema: Some(name), ..envelope.clone() }))
    }

    fn schema(&self) -> Option<Arc<LazyValidator>> {
        self.0.as_ref().map(|current| Arc::clone(&current.validator))
    }
}
