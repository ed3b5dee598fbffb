//! Aggregates: what a service author writes.

use std::sync::Arc;

use annals_persistence::{
    CausationId, CommandId, CommandMetadata, CorrelationId, Event, Shape, StreamId, Timestamp, Version,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A consistency boundary: commands in, events out, state as the fold of the events.
///
/// Both functions are pure. `handle` decides from the state, the command and the [`Context`] alone: the time and
/// ids come from the context, data from outside is looked up by the caller and travels in the command. `apply`
/// is total: it takes every event that was ever recorded, and does not judge it.
///
/// The default value is the state before the first event.
pub trait Aggregate: Default + Clone + Serialize + DeserializeOwned + Shape + Send + Sync + 'static {
    /// The stable name of the type, `[a-z][a-z0-9_]*`; streams are called `<TYPE>-<id>`.
    const TYPE: &'static str;

    /// What it can be told to do. Serialisable, because a command that must survive a restart is written down.
    type Command: Serialize + DeserializeOwned + Send + 'static;

    /// What can have happened to it.
    type Event: Event;

    /// Why it says no.
    type Rejection: std::error::Error + Send + Sync + 'static;

    /// What `apply` makes of the same events, as a number. Raise it when a release makes something else of them while the state
    /// looks as before: snapshots that an earlier release took are not used then, and of checkpoints what
    /// [`Aggregate::upcast_state`] makes.
    const STATE_VERSION: u16 = 1;

    /// Makes the state of today out of one that a checkpoint has from an earlier [`Aggregate::STATE_VERSION`], as JSON;
    /// `None` when it does not know how, and as long as nothing else is said. An instance whose events in front of the
    /// checkpoint are gone cannot be used then.
    #[must_use]
    fn upcast_state(_version: u16, _state: serde_json::Value) -> Option<serde_json::Value> {
        None
    }

    /// Decides what a command makes happen. No events means that nothing has to.
    ///
    /// # Errors
    /// The rule that forbids it.
    fn handle(&self, command: Self::Command, context: &Context) -> Result<Vec<Self::Event>, Self::Rejection>;

    /// Takes an event into the state.
    fn apply(&mut self, event: Self::Event);

    /// Words to find the event by, without reading it.
    fn tags(_event: &Self::Event) -> Vec<Arc<str>> {
        Vec::new()
    }
}

/// What `handle` may know beside the state and the command.
#[derive(Debug, Clone)]
pub struct Context {
    stream: StreamId,
    version: Version,
    command: CommandMetadata,
}

impl Context {
    pub(crate) fn new(stream: StreamId, version: Version, command: CommandMetadata) -> Self {
        Self { stream, version, command }
    }

    /// The time of this command, never before the instance's last event. The events get the same.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.command.time
    }

    /// The instance's id.
    #[must_use]
    pub fn instance(&self) -> &str {
        self.stream.instance()
    }

    /// The instance's stream.
    #[must_use]
    pub fn stream(&self) -> &StreamId {
        &self.stream
    }

    /// The version of the state that decides.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The command's id.
    #[must_use]
    pub fn command_id(&self) -> CommandId {
        self.command.command_id
    }

    /// The outside request behind the command.
    #[must_use]
    pub fn correlation_id(&self) -> CorrelationId {
        self.command.correlation_id
    }

    /// What directly caused the command.
    #[must_use]
    pub fn causation_id(&self) -> CausationId {
        self.command.causation_id
    }

    /// Who sent the command, where that is known.
    #[must_use]
    pub fn actor(&self) -> Option<&str> {
        self.command.actor.as_deref()
    }

    pub(crate) fn metadata(&self) -> &CommandMetadata {
        &self.command
    }
}
