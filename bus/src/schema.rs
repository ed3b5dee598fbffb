//! Schemas of topics: what content a topic carries, by version, and which next version may follow which.
//!
//! A [`SchemaRegistry`] keeps them in a journal, as events of one stream for each topic: versions never change, and the
//! history stays. Schemas are JSON Schema, draft 2020-12 (<https://json-schema.org/draft/2020-12>), as schemars makes
//! them from Rust types. What follows what is decided by [`Compatibility`]; `docs/schemas.md` has the rules.

use std::fmt;

use annals_persistence::{AppendError, CodecError, EventError, InvalidStreamId, ReadError};

use crate::Topic;

mod acceptor;
mod checked;
mod compatibility;
mod expansion;
mod registry;
mod stream;
mod validator;

use compatibility::STEPS_MAX;

pub(crate) use checked::{Checked, Schemas, unversioned};
pub use compatibility::{Compatibility, Incompatibility, incompatibilities};
pub use registry::{Registered, RegisteredSchema, SchemaRegistry, TopicSchemas};
pub(crate) use validator::LazyValidator;
pub use validator::{SchemaFault, SchemaValidator};

/// The largest schema, in bytes of its JSON.
pub const SCHEMA_BYTES_MAX: usize = 256 * 1024;

/// What a bus does with schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaOptions {
    /// Whether what is published must satisfy its topic's schema; what does not is parked, and nothing of its key
    /// overtakes it.
    pub on_publish: bool,
    /// Whether what arrives must satisfy the schema of the type that handles it; what does not becomes a dead letter.
    pub on_receive: bool,
    /// Whether a topic that has no schema gets that of the first type that is published on it. Topics that are declared
    /// are registered when the bus starts. One whose schema was removed stays without.
    pub register: bool,
    /// What may follow what on a topic that nobody has said anything else for.
    pub compatibility: Compatibility,
}

impl Default for SchemaOptions {
    fn default() -> Self {
        Self { on_publish: true, on_receive: true, register: true, compatibility: Compatibility::Backward }
    }
}

/// Why a schema is not registered, or not found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// It is no JSON Schema.
    #[error("not a JSON Schema: {reason}")]
    NotASchema {
        /// What is wrong with it.
        reason: String,
    },
    /// It may not follow the topic's last one.
    #[error("the schema may not follow version {version} of topic \"{topic}\" ({mode}): {}", all(reasons))]
    Incompatible {
        /// The topic.
        topic: Topic,
        /// The topic's last version.
        version: u32,
        /// The topic's mode.
        mode: Compatibility,
        /// Every reason.
        reasons: Vec<Incompatibility>,
    },
    /// It cannot be compared with the topic's last one in a reasonable time.
    #[error(
        "the schema is too complex: to compare it with the topic's last one takes more than {STEPS_MAX} steps"
    )]
    TooComplex,
    /// The topic has no schema, or not this version.
    #[error("topic \"{topic}\" has no schema, or none of that version")]
    NotFound {
        /// The topic.
        topic: Topic,
    },
    /// The name cannot be a topic's.
    #[error("\"{topic}\" cannot be a topic: {reason}")]
    InvalidTopic {
        /// The topic.
        topic: Topic,
        /// What is wrong with it.
        reason: String,
    },
    /// The journal cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The journal does not take it.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// A record of the registry is none that this release knows.
    #[error(transparent)]
    Record(#[from] EventError),
    /// It cannot be written.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The type that it is made of, or what compares it, panicked.
    #[error("making or comparing the schema panicked; the log says more")]
    Panicked,
    /// The program stops.
    #[error("the program stops")]
    Stopping,
    /// The topic cannot be part of a stream's name.
    #[error(transparent)]
    Name(#[from] InvalidStreamId),
}

impl SchemaError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotASchema { .. } => "not_a_schema",
            Self::Incompatible { .. } => "schema_incompatible",
            Self::TooComplex => "schema_too_complex",
            Self::NotFound { .. } => "schema_not_found",
            Self::InvalidTopic { .. } | Self::Name(_) => "invalid_topic",
            Self::Read(error) => error.code(),
            Self::Append(error) => error.code(),
            Self::Record(error) => error.code(),
            Self::Codec(_) => "undecodable_event",
            Self::Panicked => "schema_panicked",
            Self::Stopping => "stopping",
        }
    }
}

/// All of them, in one line.
pub(crate) fn all<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
