//! Names of things: streams, events, commands, journals.

use std::borrow::Borrow;
use std::cell::RefCell;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// A new UUIDv7 (RFC 9562) of this time; of 1970, if it is earlier. The microseconds within the millisecond stand in
/// `rand_a` (its method 3), so that ids of one thread are ordered more finely than by the millisecond; the other 62 bits
/// are random.
fn time_ordered(time: Timestamp) -> Uuid {
    let micros = u64::try_from(time.0).unwrap_or(0);
    let mut bytes = [0; 10];
    bytes[..2].copy_from_slice(&((micros % 1000) as u16 * 4).to_be_bytes());
    bytes[2..].copy_from_slice(&random().to_le_bytes());
    uuid::Builder::from_unix_timestamp_millis(micros / 1000, &bytes).into_uuid()
}

/// Random numbers to tell ids apart, not to keep secrets: xoshiro256++, seeded by the system for each thread, at a
/// fraction of what numbers fit for secrets cost.
fn random() -> u64 {
    thread_local! {
        static GENERATOR: RefCell<SmallRng> = RefCell::new(SmallRng::from_os_rng());
    }
    GENERATOR.with_borrow_mut(RngCore::next_u64)
}

macro_rules! uuid_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id, ordered by time (UUIDv7).
            #[must_use]
            pub fn generate() -> Self {
                Self::generate_at(Timestamp::now())
            }

            /// A new id, ordered by this time instead of the clock's.
            #[must_use]
            pub fn generate_at(time: Timestamp) -> Self {
                Self(time_ordered(time))
            }

            /// The id that these 16 bytes spell.
            #[must_use]
            pub const fn from_u128(value: u128) -> Self {
                Self(Uuid::from_u128(value))
            }

            /// The id as a UUID.
            #[must_use]
            pub const fn as_uuid(&self) -> Uuid {
                self.0
            }

            /// The id as its 16 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The id derived from a namespace and a name (UUIDv5): the same inputs give the same id.
            #[must_use]
            pub fn derive(namespace: Uuid, name: &str) -> Self {
                Self(Uuid::new_v5(&namespace, name.as_bytes()))
            }
        }

        impl From<Uuid> for $name {
            fn from(value: Uuid) -> Self {
                Self(value)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::from_str(text).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

uuid_newtype!(
    /// Identifies one event for good: made when the event is appended, kept when it is published.
    EventId
);
uuid_newtype!(
    /// Identifies one command; sending it again under the same id has no second effect.
    CommandId
);
uuid_newtype!(
    /// Ties together everything that one outside request set off.
    CorrelationId
);
uuid_newtype!(
    /// The command or event that directly caused this one.
    CausationId
);
uuid_newtype!(
    /// Identifies one history: two journals never share it, and a repaired or restored one takes a new one.
    JournalId
);

impl From<CommandId> for CorrelationId {
    fn from(id: CommandId) -> Self {
        Self(id.as_uuid())
    }
}

impl From<CommandId> for CausationId {
    fn from(id: CommandId) -> Self {
        Self(id.as_uuid())
    }
}

impl From<EventId> for CausationId {
    fn from(id: EventId) -> Self {
        Self(id.as_uuid())
    }
}

/// The longest stream name, in bytes.
pub const STREAM_NAME_BYTES_MAX: usize = 255;

/// The name of a stream: `<type>-<id>` for an aggregate instance, `$<name>` for the runtime's own.
///
/// The type is `[a-z][a-z0-9_]*`, so the first hyphen always ends it and the name reads one way.
/// Cloning is cheap.
///
/// ```
/// use annals_persistence::StreamId;
///
/// let stream = StreamId::aggregate("order", "42-a")?;
/// assert_eq!(stream.as_str(), "order-42-a");
/// assert_eq!((stream.category(), stream.instance()), ("order", "42-a"));
/// assert!(StreamId::aggregate("Order", "42").is_err());
/// # Ok::<(), annals_persistence::InvalidStreamId>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(Arc<str>);

impl StreamId {
    /// The stream of one aggregate instance.
    ///
    /// # Errors
    /// [`InvalidStreamId`] when the type is not `[a-z][a-z0-9_]*`, or the id is empty, too long, or has
    /// white space or control characters.
    pub fn aggregate(type_name: &str, id: &str) -> Result<Self, InvalidStreamId> {
        check_type_name(type_name)?;
        check_instance(id)?;
        Self::checked_length(&format!("{type_name}-{id}"))
    }

    /// A stream of the runtime itself; `$` is put in front of the name.
    ///
    /// # Errors
    /// [`InvalidStreamId`] when the name is empty, too long, or has white space or control characters.
    pub fn internal(name: &str) -> Result<Self, InvalidStreamId> {
        check_instance(name)?;
        Self::checked_length(&format!("${name}"))
    }

    /// Reads a stream's name.
    ///
    /// # Errors
    /// [`InvalidStreamId`] when it is neither `<type>-<id>` nor `$<name>`.
    pub fn parse(text: &str) -> Result<Self, InvalidStreamId> {
        if let Some(name) = text.strip_prefix('$') {
            check_instance(name)?;
            return Self::checked_length(text);
        }
        let Some((type_name, id)) = text.split_once('-') else {
            return Err(InvalidStreamId::new(text, "it has no hyphen between type and id"));
        };
        check_type_name(type_name)?;
        check_instance(id)?;
        Self::checked_length(text)
    }

    fn checked_length(name: &str) -> Result<Self, InvalidStreamId> {
        if name.len() > STREAM_NAME_BYTES_MAX {
            return Err(InvalidStreamId::new(name, "it is longer than 255 bytes"));
        }
        Ok(Self(name.into()))
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The aggregate's type; for an internal stream the name up to its first hyphen, `$` included.
    #[must_use]
    pub fn category(&self) -> &str {
        self.0.split_once('-').map_or(&*self.0, |(category, _)| category)
    }

    /// The instance's id: what follows the first hyphen.
    #[must_use]
    pub fn instance(&self) -> &str {
        self.0.split_once('-').map_or("", |(_, instance)| instance)
    }

    /// Whether the stream is the runtime's own.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.0.starts_with('$')
    }
}

/// Whether a name can be an aggregate's type: `[a-z][a-z0-9_]*`.
///
/// # Errors
/// [`InvalidStreamId`] saying what is wrong with it.
pub fn check_type_name(name: &str) -> Result<(), InvalidStreamId> {
    let mut bytes = name.bytes();
    let starts_well = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
    if starts_well && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        return Ok(());
    }
    Err(InvalidStreamId::new(name, "an aggregate's type is a lower-case letter, then letters, digits or '_'"))
}

fn check_instance(id: &str) -> Result<(), InvalidStreamId> {
    if id.is_empty() {
        return Err(InvalidStreamId::new(id, "the id is empty"));
    }
    // Most are plain, and soon looked through.
    let is_plain = id.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_plain && id.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(InvalidStreamId::new(id, "the id has white space or control characters"));
    }
    Ok(())
}

impl Borrow<str> for StreamId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({})", self.0)
    }
}

impl FromStr for StreamId {
    type Err = InvalidStreamId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Serialize for StreamId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for StreamId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// A text that cannot name a stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" cannot name a stream: {reason}")]
pub struct InvalidStreamId {
    /// What was given, at most 80 characters of it.
    pub text: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl InvalidStreamId {
    fn new(text: &str, reason: &'static str) -> Self {
        Self { text: text.chars().take(80).collect(), reason }
    }

    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        "invalid_stream_name"
    }
}

#[cfg(test)]
mod tests;
