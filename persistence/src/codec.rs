//! How values become bytes: JSON for events by default, bincode for snapshots and on request.

use std::cell::Cell;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The codec of a payload, as a number that is stored with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum CodecId {
    /// JSON text: self-describing, readable in the log.
    Json = 1,
    /// bincode 1 layout: fixed-width little-endian integers. Compact, and blind to changes of shape.
    Bincode = 2,
}

impl TryFrom<u8> for CodecId {
    type Error = CodecError;

    fn try_from(value: u8) -> Result<Self, CodecError> {
        match value {
            1 => Ok(Self::Json),
            2 => Ok(Self::Bincode),
            other => Err(CodecError::UnknownCodec { id: other }),
        }
    }
}

/// The most bytes that one bincode value may claim: without a limit eleven bytes can abort the process.
pub const BINCODE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The one bincode configuration in use: the layout of bincode 1, which has three independent readers.
fn bincode_config<const LIMIT: usize>() -> impl bincode::config::Config {
    bincode::config::legacy().with_limit::<LIMIT>()
}

/// Decodes a value that may claim little more than its bytes are: room is made for a text before it is there, and a few
/// bytes that claim a long one must not cost what a long one costs.
fn decode_bincode<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), bincode::error::DecodeError> {
    const FEW: usize = 1024 * 1024;
    const MANY: usize = 16 * FEW;
    if bytes.len() <= FEW {
        bincode::serde::decode_from_slice(bytes, bincode_config::<FEW>())
    } else if bytes.len() <= MANY {
        bincode::serde::decode_from_slice(bytes, bincode_config::<MANY>())
    } else {
        bincode::serde::decode_from_slice(bytes, bincode_config::<BINCODE_BYTES_MAX>())
    }
}

impl CodecId {
    /// Encodes a value.
    ///
    /// # Errors
    /// [`CodecError::Encode`] when the value refuses, such as a map with keys that are no strings in JSON.
    pub fn encode<T: Serialize + ?Sized>(self, value: &T) -> Result<Vec<u8>, CodecError> {
        match self {
            Self::Json => json_text(value).map_err(|e| CodecError::encode(self, &e)),
            Self::Bincode => bincode::serde::encode_to_vec(value, bincode_config::<BINCODE_BYTES_MAX>())
                .map_err(|e| CodecError::encode(self, &e)),
        }
    }

    /// Decodes a value; every byte must belong to it.
    ///
    /// # Errors
    /// [`CodecError::Decode`] when the bytes are no such value, claim much more than there are, or go on behind it.
    pub fn decode<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, CodecError> {
        match self {
            Self::Json => serde_json::from_slice(bytes).map_err(|e| CodecError::decode(self, &e)),
            Self::Bincode => {
                let (value, read) = decode_bincode(bytes).map_err(|e| CodecError::decode(self, &e))?;
                if read != bytes.len() {
                    return Err(CodecError::decode(self, &format!("{} bytes left over", bytes.len() - read)));
                }
                Ok(value)
            }
        }
    }
}

/// JSON text of exactly its length: what grows while it is written, and has room left over, costs every event two
/// allocations more.
fn json_text<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Vec<u8>> {
    thread_local! {
        static TEXT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    // Taken, not borrowed: a value may encode another one while it is encoded.
    let mut text = TEXT.take();
    text.clear();
    let written = serde_json::to_writer(&mut text, value).map(|()| text.as_slice().to_vec());
    text.shrink_to(64 * 1024);
    TEXT.set(text);
    written
}

/// Why a value could not become bytes, or bytes a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The value refuses to be encoded.
    #[error("cannot encode as {codec:?}: {reason}")]
    Encode {
        /// The codec.
        codec: CodecId,
        /// What it said.
        reason: String,
    },
    /// The bytes are no such value.
    #[error("cannot decode as {codec:?}: {reason}")]
    Decode {
        /// The codec.
        codec: CodecId,
        /// What it said.
        reason: String,
    },
    /// No codec has this number; a later release may have written it.
    #[error("no codec has the number {id}")]
    UnknownCodec {
        /// The number.
        id: u8,
    },
}

impl CodecError {
    fn encode(codec: CodecId, reason: &impl std::fmt::Display) -> Self {
        Self::Encode { codec, reason: reason.to_string() }
    }

    fn decode(codec: CodecId, reason: &impl std::fmt::Display) -> Self {
        Self::Decode { codec, reason: reason.to_string() }
    }
}

#[cfg(test)]
mod tests;
