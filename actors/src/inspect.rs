//! Reading an aggregate's events without a node: for operators, also on a stopped service's journal.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use annals_persistence::{
    CodecId, Event, EventError, EventType, Journal, RecordedEvent, StreamId, Timestamp, Version,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::replay::state_at;
use crate::{Aggregate, Moment, StateError};

/// A state as JSON.
#[derive(Debug, Clone)]
pub struct StateJson {
    /// The version it has.
    pub version: Version,
    /// The time of the event that made it so.
    pub time: Timestamp,
    /// The state, as text: numbers stand as they were written, however large.
    pub state: Box<RawValue>,
}

/// Reads the events of one aggregate type, without its Rust types and without a node.
pub trait Inspector: fmt::Debug + Send + Sync {
    /// The type's name.
    fn type_name(&self) -> &'static str;

    /// Every event type it has.
    fn event_types(&self) -> &'static [EventType];

    /// An event's payload as JSON, whatever its codec.
    ///
    /// # Errors
    /// [`EventError`] when it is no event of this type.
    fn event_json(&self, event: &RecordedEvent) -> Result<Value, EventError>;

    /// An instance's state at a moment, or its latest; `None` where there is none.
    fn state_json<'a>(
        &'a self,
        journal: &'a Arc<dyn Journal>,
        id: &'a str,
        moment: Option<Moment>,
    ) -> BoxFuture<'a, Result<Option<StateJson>, StateError>>;
}

/// The inspector of an aggregate type.
#[must_use]
pub fn inspector<A: Aggregate>() -> Arc<dyn Inspector> {
    Arc::new(TypedInspector::<A>(PhantomData))
}

struct TypedInspector<A>(PhantomData<fn() -> A>);

impl<A: Aggregate> fmt::Debug for TypedInspector<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inspector({})", A::TYPE)
    }
}

impl<A: Aggregate> Inspector for TypedInspector<A> {
    fn type_name(&self) -> &'static str {
        A::TYPE
    }

    fn event_types(&self) -> &'static [EventType] {
        A::Event::TYPES
    }

    fn event_json(&self, event: &RecordedEvent) -> Result<Value, EventError> {
        A::Event::payload_json(&event.type_name, event.schema_version, event.codec, &event.payload)
    }

    fn state_json<'a>(
        &'a self,
        journal: &'a Arc<dyn Journal>,
        id: &'a str,
        moment: Option<Moment>,
    ) -> BoxFuture<'a, Result<Option<StateJson>, StateError>> {
        async move {
            let stream = StreamId::aggregate(A::TYPE, id)?;
            let Some(found) = state_at::<A>(journal, &stream, moment).await? else { return Ok(None) };
            let json = CodecId::Json.encode(&found.state).and_then(|text| CodecId::Json.decode(&text))?;
            Ok(Some(StateJson { version: found.version, time: found.time, state: json }))
        }
        .boxed()
    }
}
