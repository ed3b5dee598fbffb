//! Events as Rust types: what `#[derive(Event)]` implements.

use crate::{CodecError, CodecId, RecordedEvent};

mod schema;
mod upcast;

pub use schema::{EventSchema, SchemaRole};
pub use upcast::{Events, IntoEvents, Upcast};

/// The stable name and schema version of an event type, chosen by its author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventType {
    /// The name, such as `order-shipped`.
    pub name: &'static str,
    /// The schema version, from 1.
    pub version: u16,
}

/// The events of one aggregate: an enum with a stable name and version for every variant.
///
/// Derive it; every variant says what it is called in the journal, for good:
///
/// ```ignore
/// #[derive(Event, Serialize, Deserialize)]
/// enum AccountEvent {
///     #[event("account-opened")]
///     Opened { owner: String },
///     #[event("money-deposited", version = 2, upcast(1 = DepositedV1))]
///     Deposited(Deposit),
/// }
/// ```
///
/// Old versions stay as structs that know how to become the next one: see [`Upcast`].
pub trait Event: Sized + Send + Sync + 'static {
    /// Every event type there is, in the order of the variants.
    const TYPES: &'static [EventType];

    /// Everything that can be read back: the types as they are, their earlier versions and former names, and types
    /// that are written no more.
    const SCHEMAS: &'static [EventSchema];

    /// The type of this event.
    fn event_type(&self) -> EventType;

    /// How this event is encoded.
    fn codec(&self) -> CodecId {
        CodecId::Json
    }

    /// The event's bytes in its codec.
    ///
    /// # Errors
    /// [`CodecError::Encode`] when a field refuses.
    fn encode(&self) -> Result<Vec<u8>, CodecError> {
        self.encode_as(self.codec())
    }

    /// The event's bytes in another codec.
    ///
    /// # Errors
    /// [`CodecError::Encode`] when a field refuses.
    fn encode_as(&self, codec: CodecId) -> Result<Vec<u8>, CodecError>;

    /// What these bytes spell, as the events of today: an old version is walked up its chain of upcasters. That is one
    /// event, but where an upcaster splits it or drops it.
    ///
    /// # Errors
    /// [`EventError::UnknownType`], [`EventError::NewerVersion`] or [`EventError::OlderVersion`] when this release does
    /// not have the type, [`EventError::Codec`] when the bytes are no such event.
    fn decode(name: &str, version: u16, codec: CodecId, payload: &[u8]) -> Result<Events<Self>, EventError>;

    /// A recorded payload in another codec, in the version that it was recorded in.
    ///
    /// # Errors
    /// As [`Event::decode`].
    fn transcode(
        name: &str,
        version: u16,
        from: CodecId,
        payload: &[u8],
        to: CodecId,
    ) -> Result<Vec<u8>, EventError> {
        transcode_current::<Self>(name, version, from, payload, to)
    }

    /// A recorded payload as JSON, whatever its codec, in the version that it was recorded in: JSON as it stands,
    /// anything else decoded and written anew.
    ///
    /// # Errors
    /// As [`Event::decode`].
    fn payload_json(
        name: &str,
        version: u16,
        codec: CodecId,
        payload: &[u8],
    ) -> Result<serde_json::Value, EventError> {
        let json = match codec {
            CodecId::Json => CodecId::Json.decode(payload),
            CodecId::Bincode => {
                CodecId::Json.decode(&Self::transcode(name, version, codec, payload, CodecId::Json)?)
            }
        };
        json.map_err(|source| EventError::Codec { name: name.to_owned(), version, source })
    }

    /// What to answer to a type that [`Event::decode`] does not have.
    #[doc(hidden)]
    fn unknown(name: &str, version: u16) -> EventError {
        let versions = || Self::SCHEMAS.iter().filter(|known| known.name == name).map(|known| known.version);
        let name = name.to_owned();
        match (versions().min(), versions().max()) {
            (_, Some(known)) if version > known => EventError::NewerVersion { name, version, known },
            (Some(oldest), _) => EventError::OlderVersion { name, version, oldest },
            (None, _) => EventError::UnknownType { name, version },
        }
    }
}

/// [`Event::transcode`] for the types as they are.
#[doc(hidden)]
pub fn transcode_current<E: Event>(
    name: &str,
    version: u16,
    from: CodecId,
    payload: &[u8],
    to: CodecId,
) -> Result<Vec<u8>, EventError> {
    let events = E::decode(name, version, from, payload)?;
    let Some(event) = events.first() else { return Err(E::unknown(name, version)) };
    event.encode_as(to).map_err(|source| EventError::Codec { name: name.to_owned(), version, source })
}

impl RecordedEvent {
    /// The events of today that this record stands for: [`Event::decode`] of its type, version, codec and payload. A
    /// checkpoint stands for none: nothing has happened with it.
    ///
    /// # Errors
    /// As [`Event::decode`].
    pub fn decode<E: Event>(&self) -> Result<Events<E>, EventError> {
        if self.is_checkpoint() {
            return Ok(Events::new());
        }
        E::decode(&self.type_name, self.schema_version, self.codec, &self.payload)
    }
}

/// Why a recorded event cannot be read as a Rust type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// No variant has this name.
    #[error("no event type is called \"{name}\" (schema version {version})")]
    UnknownType {
        /// The name.
        name: String,
        /// The schema version.
        version: u16,
    },
    /// The name is known, this schema version of it is not.
    #[error("event \"{name}\" has schema version {version}, this release knows {known}")]
    NewerVersion {
        /// The name.
        name: String,
        /// The version found.
        version: u16,
        /// The version known.
        known: u16,
    },
    /// The name is known, and nothing says how to read a version as old as this.
    #[error(
        "event \"{name}\" has schema version {version}, the oldest that this release can read is {oldest}"
    )]
    OlderVersion {
        /// The name.
        name: String,
        /// The version found.
        version: u16,
        /// The oldest version known.
        oldest: u16,
    },
    /// The payload is no such event.
    #[error("event \"{name}\" (schema version {version}) cannot be decoded")]
    Codec {
        /// The name.
        name: String,
        /// The schema version.
        version: u16,
        /// What the codec said.
        #[source]
        source: CodecError,
    },
}

impl EventError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownType { .. } => "unknown_event_type",
            Self::NewerVersion { .. } => "newer_event_version",
            Self::OlderVersion { .. } => "older_event_version",
            Self::Codec { .. } => "undecodable_event",
        }
    }
}
