//! What of a list of dead letters cannot be read: items of it, behind all that can be.

use annals_bus::DeadLetterError;
use annals_persistence::{Position, StreamId, Version};
use serde::Serialize;

use annals_bus::with_causes;

/// An item of a list, or what of it cannot be read.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub(crate) enum Listed<T> {
    Item(T),
    Unreadable { service: &'static str, unreadable: Unreadable },
}

/// A record or stream that cannot be read.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Unreadable {
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<StreamId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Version>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
    code: &'static str,
    reason: String,
}

impl<T> Listed<T> {
    /// An item, or an error as one; what is not about reading ends the list.
    pub(crate) fn of(
        service: &'static str,
        item: Result<T, DeadLetterError>,
    ) -> Result<Self, DeadLetterError> {
        match item {
            Ok(item) => Ok(Self::Item(item)),
            Err(error) => {
                let unreadable = Unreadable::of(error)?;
                Ok(Self::Unreadable { service, unreadable })
            }
        }
    }
}

impl Unreadable {
    fn of(error: DeadLetterError) -> Result<Self, DeadLetterError> {
        let (stream, version, position) = match &error {
            DeadLetterError::Read(_) => (None, None, None),
            DeadLetterError::Record { stream, version, position, .. } => {
                (Some(stream.clone()), Some(*version), Some(*position))
            }
            DeadLetterError::Unread { stream, version, .. } => (Some(stream.clone()), Some(*version), None),
            _ => return Err(error),
        };
        Ok(Self { stream, version, position, code: error.code(), reason: with_causes(&error) })
    }
}
