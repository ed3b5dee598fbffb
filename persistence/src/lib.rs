//! The event log of Annals: journals, snapshots, codecs.
mod codec;
mod error;
mod event;
mod filter;
mod ids;
mod journal;
mod read;
mod record;
mod shape;
mod snapshot;
mod version;

pub use codec::{BINCODE_BYTES_MAX, CodecError, CodecId};
pub use error::{AppendError, OpenError, Outcome, ReadError};
pub use event::{Event, EventError, EventType};
pub use filter::Filter;
pub use ids::{
    CausationId, CommandId, CorrelationId, EventId, InvalidStreamId, JournalId, STREAM_NAME_BYTES_MAX,
    StreamId, check_type_name,
};
pub use journal::{
    AllPage, AppendResult, Appended, Batch, Completion, Direction, Durable, Expected, Journal, JournalHealth,
    StreamAppend, StreamInfo, Ticket,
};
pub use read::{EventStream, JournalExt};
pub use record::{CommandMetadata, NewEvent, RecordedEvent, TraceContext};
pub use shape::{Shape, ShapeWriter, fingerprint, shape_text};
pub use snapshot::{Snapshot, SnapshotStore};
pub use version::{Position, Timestamp, Version};
