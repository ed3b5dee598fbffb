//! Handlers: what a subscriber does with an event.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;

use crate::schema::{LazyValidator, all};
use crate::{Envelope, IntegrationEvent, Reaction};

/// What a handler may know of an event beside its content. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub(crate) envelope: Arc<Envelope>,
    pub(crate) subscription: Arc<str>,
    pub(crate) attempt: u32,
    pub(crate) replay: bool,
    /// Its content was held against the handler's schema already.
    pub(crate) proven: bool,
}

impl Delivery {
    /// All that came with the event.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The subscription that it came through.
    #[must_use]
    pub fn subscription(&self) -> &str {
        &self.subscription
    }

    /// The place of the event in the order of its key, where the publisher gives one. Greater is later.
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        self.envelope.sequence
    }

    /// Which attempt this is, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether an operator replays it from the dead letters: later events of its key may have been handled.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.replay
    }
}

/// Why a handler could not say what is to be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandlerError {
    /// Something that another attempt may find mended.
    #[error("{reason}")]
    Retry {
        /// What failed.
        reason: String,
    },
    /// No attempt will ever succeed: the event becomes a dead letter at once.
    #[error("{reason}")]
    Poison {
        /// What is wrong with it.
        reason: String,
    },
}

impl HandlerError {
    /// A failure that another attempt may find mended.
    pub fn retry(reason: impl fmt::Display) -> Self {
        Self::Retry { reason: reason.to_string() }
    }

    /// An event that nobody can handle.
    pub fn poison(reason: impl fmt::Display) -> Self {
        Self::Poison { reason: reason.to_string() }
    }

    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Retry { .. } => "handler_failed",
            Self::Poison { .. } => "event_poisonous",
        }
    }
}

/// Handles the events of a subscription.
///
/// It says what is to be done as commands for the service's own aggregates; the runtime carries them out exactly
/// once. Looking things up is fine, effects of its own are not: a handler runs again after a failure or a crash.
///
/// A closure that takes the event and the delivery by value is a handler too.
pub trait Handler<E: IntegrationEvent>: Send + Sync + 'static {
    /// What this event makes happen.
    ///
    /// # Errors
    /// [`HandlerError::Retry`] to be called again later, [`HandlerError::Poison`] never to be.
    fn handle(
        &self,
        event: E,
        delivery: &Delivery,
    ) -> impl Future<Output = Result<Reaction, HandlerError>> + Send;
}

impl<E, F, R> Handler<E> for F
where
    E: IntegrationEvent,
    F: Fn(E, Delivery) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Reaction, HandlerError>> + Send,
{
    fn handle(
        &self,
        event: E,
        delivery: &Delivery,
    ) -> impl Future<Output = Result<Reaction, HandlerError>> + Send {
        self(event, delivery.clone())
    }
}

/// A handler without its types: takes the event as it arrives.
pub(crate) trait AnyHandler: Send + Sync {
    /// Takes only content that satisfies the schema of its event type from now on.
    fn validate(&mut self);

    /// Whether what satisfies this schema needs not be held against the handler's: it is the same, or there is none.
    fn asks_for(&self, schema: &Arc<LazyValidator>) -> bool;

    fn run<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Reaction, HandlerError>>;
}

pub(crate) struct TypedHandler<E, H> {
    handler: H,
    type_name: String,
    schema: Option<Demanded>,
    event: PhantomData<fn(E)>,
}

/// The schema that content is held against, and whether another that it was held against is the same.
struct Demanded {
    schema: LazyValidator,
    compared: Mutex<Option<(Arc<LazyValidator>, bool)>>,
}

impl Demanded {
    /// Compares once: as a rule all content has been held against one schema.
    fn is(&self, other: &Arc<LazyValidator>) -> bool {
        let mut compared = self.compared.lock();
        match &*compared {
            Some((known, same)) if Arc::ptr_eq(known, other) => *same,
            _ => {
                let same = self.schema.is_same_as(other);
                *compared = Some((Arc::clone(other), same));
                same
            }
        }
    }
}

impl<E: IntegrationEvent, H: Handler<E>> TypedHandler<E, H> {
    pub(crate) fn new(handler: H) -> Self {
        Self { handler, type_name: E::type_name(), schema: None, event: PhantomData }
    }

    fn decode(&self, delivery: &Delivery) -> Result<E, HandlerError> {
        let envelope = &delivery.envelope;
        // Others name their types as they like; for our own the name says which content it is.
        if envelope.is_ours() && *envelope.event_type != *self.type_name {
            let (found, wanted) = (&envelope.event_type, &self.type_name);
            return Err(HandlerError::poison(format!(
                "the event is a \"{found}\", this handles \"{wanted}\""
            )));
        }
        if !delivery.proven {
            self.check(envelope)?;
        }
        envelope.decode().map_err(HandlerError::poison)
    }

    fn check(&self, envelope: &Envelope) -> Result<(), HandlerError> {
        let (Some(schema), Some(data)) = (&self.schema, &envelope.data) else { return Ok(()) };
        schema.schema.validate_text(data.get()).map_err(|faults| {
            HandlerError::poison(format!(
                "schema_mismatch: the data is no \"{}\": {}",
                self.type_name,
                all(&faults)
            ))
        })
    }
}

impl<E: IntegrationEvent, H: Handler<E>> AnyHandler for TypedHandler<E, H> {
    fn validate(&mut self) {
        let schema = LazyValidator::new(E::schema().to_value());
        self.schema = Some(Demanded { schema, compared: Mutex::default() });
    }

    fn asks_for(&self, schema: &Arc<LazyValidator>) -> bool {
        self.schema.as_ref().is_none_or(|own| own.is(schema))
    }

    fn run<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<Reaction, HandlerError>> {
        let handling = async move {
            let event = self.decode(delivery)?;
            self.handler.handle(event, delivery).await
        };
        async move {
            match AssertUnwindSafe(handling).catch_unwind().await {
                Ok(result) => result,
                Err(panic) => Err(HandlerError::retry(format!("the handler panicked: {}", message(&*panic)))),
            }
        }
        .boxed()
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
