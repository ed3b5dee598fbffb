//! The event log of Annals: journals, snapshots, codecs.
//!
//! A [`Journal`] is an append-only log of events in streams, and the only truth there is: a batch is taken whole or
//! not at all, on what it expects to find, and answered when it is durable. [`EmbeddedJournal`] keeps one in a
//! directory, [`MemoryJournal`] one for a test. A [`SnapshotStore`] is a cache of states that spares a replay its
//! beginning: [`SledSnapshots`] on disk, [`FileSnapshots`] in plain files, [`MemorySnapshots`] for a test. What is stored is encoded by a [`CodecId`],
//! named and versioned by an [`Event`], and its [`Shape`] has a fingerprint, so that a change is noticed.
//!
//! ```
//! use std::sync::Arc;
//!
//! use annals_persistence::{
//!     AppendError, Batch, CodecId, CommandMetadata, EventId, Expected, Filter, Journal, JournalExt, MemoryJournal,
//!     NewEvent, Position, StreamId, Timestamp, Version,
//! };
//! use futures_util::StreamExt;
//!
//! fn deposited(cents: u32) -> NewEvent {
//!     NewEvent {
//!         id: EventId::generate(),
//!         type_name: "money-deposited".into(),
//!         schema_version: 1,
//!         codec: CodecId::Json,
//!         payload: format!("{{\"cents\":{cents}}}").into(),
//!         command: CommandMetadata::internal(Timestamp::now()),
//!         tags: Vec::new(),
//!     }
//! }
//!
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
//! let account = StreamId::aggregate("account", "4711")?;
//!
//! // Batches are submitted without waiting for one another, and decided in order.
//! let first = journal.append(Batch::of(account.clone(), Expected::NoStream, [deposited(100)]));
//! let second = journal.append(Batch::of(account.clone(), Expected::Version(Version(1)), [deposited(200)]));
//! assert_eq!((first.await?.last, second.await?.last), (Position(1), Position(2)));
//!
//! // Of two writers that saw the same version one wins.
//! let late = journal.append(Batch::of(account, Expected::Version(Version(1)), [deposited(300)])).await;
//! assert!(matches!(late, Err(AppendError::Conflict { actual: Version(2), .. })));
//!
//! // A subscription delivers what was appended, then what is.
//! let mut events = journal.subscribe(Position::START, Filter::default().category("account"));
//! let event = events.next().await.ok_or("the subscription goes on")??;
//! assert_eq!((event.version, &event.payload[..]), (Version(1), &b"{\"cents\":100}"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | Feature | What it adds |
//! |---|---|
//! | `conformance` | the suites that every journal and every snapshot store must pass, to run on your own |
//! | `redb` | `RedbSnapshots`, snapshots on redb instead of sled |

mod codec;
#[cfg(feature = "conformance")]
pub mod conformance;
mod cursor;
mod embedded;
mod error;
mod event;
mod filter;
mod ids;
mod journal;
mod layer;
mod memory;
#[doc(hidden)]
pub mod planted;
mod read;
mod readers;
mod record;
mod scavenger;
mod shape;
mod snapshot;
mod type_name;
mod version;
mod vfs;
mod view;

pub use codec::{BINCODE_BYTES_MAX, CodecError, CodecId};
pub use cursor::{CURSOR_CATEGORY, Cursor, CursorError, cursor_stream, cursors};
pub use embedded::{
    CommittedGroup, CutPiece, DiskUsage, Driver, EmbeddedJournal, EmbeddedOptions, ExpiringStreams,
    JournalObserver, LogDamage, LogRepair, ScavengeError, ScavengeOptions, ScavengeProgress, ScavengeStop,
    TornTail, VerifyProgress, VerifyReport,
};
pub use error::{AppendError, OpenError, Outcome, ReadError};
#[doc(hidden)]
pub use event::transcode_current;
pub use event::{Event, EventError, EventSchema, EventType, Events, IntoEvents, SchemaRole, Upcast};
pub use filter::Filter;
pub use ids::{
    CausationId, CommandId, CorrelationId, EventId, InvalidStreamId, JournalId, STREAM_NAME_BYTES_MAX,
    StreamId, check_type_name,
};
pub use journal::{
    ACTOR_BYTES_MAX, AllPage, AppendResult, Appended, BATCH_BYTES_MAX, BATCH_EVENTS_MAX, Batch,
    CHECKPOINT_EVENT_TYPE, Completes, Completion, Direction, Durable, EVENT_TYPE_BYTES_MAX, Expected,
    Journal, JournalHealth, Lineage, Retention, StreamAppend, StreamInfo, StreamPage, StreamRetention,
    TAG_BYTES_MAX, TAGS_MAX, Ticket, batch_bytes, validate_batch,
};
pub use layer::JournalLayer;
pub use memory::MemoryJournal;
pub use read::{EventStream, JournalExt, ViewStream};
pub use readers::{ReaderPlace, ReaderPosition, Readers};
pub use record::{CommandMetadata, NewEvent, RecordedEvent, TraceContext};
pub use scavenger::{Scavenger, ScavengerError, ScavengerOptions, ScavengerStatus};
pub use shape::{Shape, ShapeWriter, fingerprint, shape_fingerprint, shape_text};
#[cfg(feature = "redb")]
pub use snapshot::RedbSnapshots;
#[doc(hidden)]
pub use snapshot::as_bytes;
pub use snapshot::{
    FileSnapshotOptions, FileSnapshots, MemorySnapshots, SledSnapshots, Snapshot, SnapshotOpenError,
    SnapshotOptions, SnapshotStore,
};
pub use type_name::TypeName;
pub use version::{Position, Timestamp, Version};
pub use vfs::{CountingVfs, RealVfs, Vfs, VfsCall, VfsFile, VfsLock};
#[cfg(any(test, feature = "conformance"))]
pub use vfs::{SimVfs, SimulatedFault, Survival};
pub use view::{EventView, ViewPage};
