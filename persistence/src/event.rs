//! Events as Rust types: what `#[derive(Event)]` implements.

use crate::{CodecError, CodecId};

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
///     #[event("money-deposited", version = 2)]
///     Deposited(Deposit),
/// }
/// ```
pub trait Event: Sized + Send + Sync + 'static {
    /// Every event type there is, in the order of the variants.
    const TYPES: &'static [EventType];

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

    /// The event of this type that these bytes spell.
    ///
    /// # Errors
    /// [`EventError::UnknownType`] or [`EventError::NewerVersion`] when this release does not have the type,
    /// [`EventError::Codec`] when the bytes are no such event.
    fn decode(name: &str, version: u16, codec: CodecId, payload: &[u8]) -> Result<Self, EventError>;

    /// An event's payload as JSON, whatever its codec: JSON as it stands, anything else decoded and written anew.
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
                let event = Self::decode(name, version, codec, payload)?;
                event.encode_as(CodecId::Json).and_then(|text| CodecId::Json.decode(&text))
            }
        };
        json.map_err(|source| EventError::Codec { name: name.to_owned(), version, source })
    }

    /// What to answer to a type that [`Event::decode`] does not have.
    #[doc(hidden)]
    fn unknown(name: &str, version: u16) -> EventError {
        match Self::TYPES.iter().find(|known| known.name == name) {
            Some(known) => EventError::NewerVersion { name: name.to_owned(), version, known: known.version },
            None => EventError::UnknownType { name: name.to_owned(), version },
        }
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
            Self::Codec { .. } => "undecodable_event",
        }
    }
}
