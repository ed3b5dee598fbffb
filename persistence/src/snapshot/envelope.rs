//! How a snapshot lies in a store: a format byte, a serial number, the snapshot in bincode, a checksum.

use crate::planted::{Fault, planted};
use crate::{CodecError, CodecId, Snapshot, StreamId};

/// The first byte of every envelope; another layout takes another byte.
const FORMAT: u8 = 0xa1;
const SERIAL_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 4;

/// A snapshot as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Envelope {
    /// Counts the snapshots of a stream, so that the one saved last is known.
    pub(super) serial: u64,
    pub(super) snapshot: Snapshot,
}

/// Why bytes are not to be trusted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum EnvelopeError {
    #[error("it is {0} bytes short or more")]
    Short(usize),
    #[error("its format is {0:#04x}, not {FORMAT:#04x}")]
    Format(u8),
    #[error("its checksum is wrong")]
    Checksum,
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl Envelope {
    pub(super) fn encode(&self, stream: &StreamId) -> Result<Vec<u8>, CodecError> {
        let snapshot = CodecId::Bincode.encode(&self.snapshot)?;
        let mut bytes = Vec::with_capacity(1 + SERIAL_BYTES + snapshot.len() + CHECKSUM_BYTES);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&self.serial.to_le_bytes());
        bytes.extend_from_slice(&snapshot);
        let checksum = checksum(stream, &bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        Ok(bytes)
    }

    /// What bytes that may be anything say of their number.
    pub(super) fn serial_of(bytes: &[u8]) -> Option<u64> {
        let (serial, _) = bytes.get(1..)?.split_first_chunk()?;
        Some(u64::from_le_bytes(*serial))
    }

    pub(super) fn decode(stream: &StreamId, bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let (body, found) = bytes.split_last_chunk().ok_or(EnvelopeError::Short(CHECKSUM_BYTES))?;
        let matches = checksum(stream, body) == u32::from_le_bytes(*found);
        if !matches && !planted(Fault::SnapshotUnchecked) {
            return Err(EnvelopeError::Checksum);
        }
        let (format, rest) = body.split_first().ok_or(EnvelopeError::Short(1))?;
        if *format != FORMAT {
            return Err(EnvelopeError::Format(*format));
        }
        let (serial, snapshot) = rest.split_first_chunk().ok_or(EnvelopeError::Short(SERIAL_BYTES))?;
        let snapshot = CodecId::Bincode.decode(snapshot)?;
        Ok(Self { serial: u64::from_le_bytes(*serial), snapshot })
    }
}

/// Covers the stream's name too: the whole envelope of another stream is no snapshot of this one.
fn checksum(stream: &StreamId, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(stream.as_str().as_bytes()), body)
}
