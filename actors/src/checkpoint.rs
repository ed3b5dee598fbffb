//! Checkpoints: an event in an instance's own stream that holds all that the events before it have made, so that these
//! can go.

use std::collections::BTreeMap;

use annals_persistence::planted::{Fault, planted};
use annals_persistence::{
    CHECKPOINT_EVENT_TYPE, CodecError, CodecId, CommandId, EventError, EventView, Position, RecordedEvent,
    Timestamp, Version,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::Aggregate;
use crate::error::catch;
use crate::memory::{CommandMemory, Remembered};

mod error;
mod make;
mod plan;
mod policy;
mod request;

pub use error::{CheckpointError, CheckpointFault, Held};
pub(crate) use make::{Order, make};
pub(crate) use plan::Plan;
pub use policy::CheckpointPolicy;
pub(crate) use policy::by_policy;
pub(crate) use request::CheckpointOptions;
pub use request::{CheckpointReceipt, CheckpointRequest};

/// The schema version of what is written here.
const SCHEMA_VERSION: u16 = 1;

/// What readers want to have remembered of events that are given up: each under a name of its own choosing the version of
/// one of them.
pub type Marks = BTreeMap<String, Version>;

/// What a `$checkpoint` event says. It is JSON, so that it can be read as long as the state's own fields can.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The [`Aggregate::STATE_VERSION`] of the release that wrote it.
    pub state_version: u16,
    /// The version of the last event in the state, checkpoints not counted.
    pub version: Version,
    /// The time of the event in front of it, whichever that is.
    pub time: Timestamp,
    /// The state, as text: numbers stand as they were written, however large.
    pub state: Box<RawValue>,
    /// What the stream was truncated before with it; no version when it was not.
    pub kept_from: Version,
    /// What readers wanted to have remembered of what is in front of that.
    #[serde(default, skip_serializing_if = "Marks::is_empty")]
    pub marks: Marks,
    commands: Commands,
}

/// The memory of commands, as a checkpoint has it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Commands {
    /// The one that created the instance.
    first: Option<Command>,
    /// From old to new.
    latest: Vec<Command>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Command {
    command_id: CommandId,
    /// In hexadecimal digits: JSON's readers lose digits of large numbers.
    #[serde(with = "hexadecimal")]
    hash: u64,
    version: Version,
    events: u32,
    position: Position,
}

mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(hash: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{hash:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(de::Error::custom)
    }
}

impl From<&Remembered> for Command {
    fn from(remembered: &Remembered) -> Self {
        let Remembered { command_id, hash, version, events, position } = *remembered;
        Self { command_id, hash, version, events, position }
    }
}

impl From<Command> for Remembered {
    fn from(command: Command) -> Self {
        let Command { command_id, hash, version, events, position } = command;
        Self { command_id, hash, version, events, position }
    }
}

impl Commands {
    fn of(memory: &CommandMemory) -> Self {
        if planted(Fault::CheckpointWithoutIds) {
            return Self::default();
        }
        let (first, latest) = memory.parts();
        Self { first: first.map(Command::from), latest: latest.map(Command::from).collect() }
    }

    fn into_memory(self, capacity: usize) -> CommandMemory {
        let latest = self.latest.into_iter().map(Remembered::from);
        CommandMemory::of(self.first.map(Remembered::from), latest, capacity)
    }
}

/// What an instance begins anew with at a checkpoint.
#[derive(Debug)]
pub(crate) struct Restored<A> {
    pub(crate) state: A,
    /// The version of the last event in it.
    pub(crate) version: Version,
    /// When it was so, at the latest.
    pub(crate) time: Timestamp,
    pub(crate) memory: CommandMemory,
}

impl Checkpoint {
    /// What a checkpoint says; `None` for any other event.
    ///
    /// # Errors
    /// [`EventError`] when it cannot be understood.
    pub fn of(recorded: &RecordedEvent) -> Result<Option<Self>, EventError> {
        recorded.is_checkpoint().then(|| Self::read(&recorded.into())).transpose()
    }

    /// The state of an aggregate that it holds.
    ///
    /// # Errors
    /// [`CheckpointFault`] when it is of another [`Aggregate::STATE_VERSION`] that [`Aggregate::upcast_state`] does not
    /// know, or cannot be read as this aggregate's.
    pub fn state<A: Aggregate>(&self) -> Result<A, CheckpointFault> {
        // The author's own code reads it.
        let read = catch(|| match self.state_version {
            version if version == A::STATE_VERSION => read_state(self.state.get()),
            version => self.upcast(version),
        });
        read.unwrap_or_else(|message| Err(CheckpointFault::Panicked { message }))
    }

    fn upcast<A: Aggregate>(&self, recorded: u16) -> Result<A, CheckpointFault> {
        let other = || CheckpointFault::OtherStateVersion { recorded, known: A::STATE_VERSION };
        let state = serde_json::from_str(self.state.get()).map_err(|source| unreadable(&source))?;
        let state = A::upcast_state(recorded, state).ok_or_else(other)?;
        serde_json::from_value(state).map_err(|source| unreadable(&source))
    }

    fn read(view: &EventView<'_>) -> Result<Self, EventError> {
        let (name, version) = (CHECKPOINT_EVENT_TYPE.to_owned(), view.schema_version);
        if version > SCHEMA_VERSION {
            return Err(EventError::NewerVersion { name, version, known: SCHEMA_VERSION });
        }
        view.codec.decode(view.payload).map_err(|source| EventError::Codec { name, version, source })
    }

    /// What an instance goes on from that begins with this event.
    pub(crate) fn restore<A: Aggregate>(
        view: &EventView<'_>,
        capacity: usize,
    ) -> Result<Restored<A>, CheckpointFault> {
        let checkpoint = Self::read(view)?;
        let state = checkpoint.state()?;
        let memory = checkpoint.commands.into_memory(capacity);
        let Self { version, time, .. } = checkpoint;
        Ok(Restored { state, version, time, memory })
    }

    /// Writes down a state, and makes sure that it is read back as what it is: events are given up for it.
    fn write<A: Aggregate>(
        state: &A,
        (version, time): (Version, Timestamp),
        memory: &CommandMemory,
        (kept_from, marks): (Version, Marks),
    ) -> Result<Vec<u8>, CheckpointError> {
        let state =
            catch(|| state_text(state)).map_err(|message| CheckpointError::Panicked { message })??;
        let state_version = A::STATE_VERSION;
        let commands = Commands::of(memory);
        let checkpoint = Self { state_version, version, time, state, kept_from, marks, commands };
        CodecId::Json.encode(&checkpoint).map_err(CheckpointError::Codec)
    }
}

fn state_text<A: Aggregate>(state: &A) -> Result<Box<RawValue>, CheckpointError> {
    let text = serde_json::value::to_raw_value(state).map_err(|error| {
        CheckpointError::Codec(CodecError::Encode { codec: CodecId::Json, reason: error.to_string() })
    })?;
    let reason = match read_state::<A>(text.get()) {
        Err(error) => Some(error.to_string()),
        Ok(again) => difference(&text, &again),
    };
    reason.map_or(Ok(text), |reason| Err(CheckpointError::NotReadBack { reason }))
}

/// What of a state is otherwise when it has been read back.
fn difference<A: Aggregate>(text: &RawValue, again: &A) -> Option<String> {
    let normal = |text: &str| serde_json::from_str(text).map(normal);
    let same = serde_json::to_string(again).and_then(|again| Ok(normal(text.get())? == normal(&again)?));
    match same {
        Ok(true) => None,
        Ok(false) => Some("it is read back as another".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

/// A value with its lists in an order that does not depend on chance: a hash set's is another each time.
fn normal(value: Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<_> = items.into_iter().map(normal).collect();
            items.sort_by_cached_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (name, normal(value))).collect())
        }
        other => other,
    }
}

fn read_state<A: Aggregate>(text: &str) -> Result<A, CheckpointFault> {
    serde_json::from_str(text).map_err(|source| unreadable(&source))
}

fn unreadable(source: &serde_json::Error) -> CheckpointFault {
    CheckpointFault::State { reason: source.to_string() }
}

#[cfg(test)]
mod tests;
