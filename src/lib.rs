//! Event-sourced actors for Rust services.
//!
//! A service author writes pure `handle` and `apply` functions, and gets durability, ordering, idempotency, replay,
//! time travel and publishing that hold under crashes.
//!
//! ```
//! use std::sync::Arc;
//! use annals::prelude::*;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Default, Serialize, Deserialize, Shape)]
//! struct Counter { total: u64 }
//!
//! #[derive(Serialize, Deserialize)]
//! enum Command { Add(u64) }
//!
//! #[derive(Event)]
//! enum Happened {
//!     #[event("counter-added")]
//!     Added { amount: u64 },
//! }
//!
//! #[derive(Debug, thiserror::Error)]
//! #[error("a counter only counts up")]
//! struct NothingToAdd;
//!
//! impl Aggregate for Counter {
//!     const TYPE: &'static str = "counter";
//!     type Command = Command;
//!     type Event = Happened;
//!     type Rejection = NothingToAdd;
//!
//!     fn handle(&self, command: Command, _: &Context) -> Result<Vec<Happened>, NothingToAdd> {
//!         match command {
//!             Command::Add(0) => Err(NothingToAdd),
//!             Command::Add(amount) => Ok(vec![Happened::Added { amount }]),
//!         }
//!     }
//!
//!     fn apply(&mut self, event: Happened) {
//!         match event {
//!             Happened::Added { amount } => self.total += amount,
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let directory = directory.path();
//! let journal = Arc::new(EmbeddedJournal::open(directory, EmbeddedOptions::default())?);
//! let node = Node::builder().journal(journal).aggregate::<Counter>().start().await?;
//!
//! let counter = node.aggregate::<Counter>("visitors");
//! let receipt = counter.send(Command::Add(2)).await?;       // durable when it returns
//! assert_eq!(receipt.version, Version(1));
//! assert_eq!(counter.state().await?.state.total, 2);
//! # node.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! | module | what is in it |
//! |---|---|
//! | [`persistence`] | the journal, snapshots, codecs |
//! | [`actors`] | aggregates, nodes, the test kit |
//! | [`bus`] | integration events, subscriptions, dead letters |
//! | `http` (feature `http`, on by default) | the axum host, the CLI, the admin API |
//!
//! The feature `redb` adds snapshots on redb: `persistence::RedbSnapshots`.
//!
//! The guide is `docs/guide.md`, how events change `docs/evolution.md`, what is guaranteed `docs/semantics.md`, how it
//! is built `ARCHITECTURE.md`.

pub use annals_actors as actors;
pub use annals_bus as bus;
pub use annals_persistence as persistence;
#[cfg(feature = "http")]
pub use annals_services as http;

pub use annals_actors::{Event, Shape, testing};
pub use annals_bus::IntegrationEvent;

/// What a service author uses on every page.
pub mod prelude {
    pub use annals_actors::{
        Aggregate, AggregateOptions, AggregateRef, CheckpointPolicy, Context, Current, Event, Moment, Node,
        NodeOptions, Receipt, Retry, SendError, Shape, StateError, Upcast,
    };
    pub use annals_bus::IntegrationEvent;
    pub use annals_persistence::{
        CommandId, CorrelationId, EmbeddedJournal, EmbeddedOptions, EventId, Journal, JournalExt,
        MemoryJournal, Position, StreamId, Timestamp, Version,
    };
}

/// What the derives' code needs; no part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use annals_bus::__private::*;
}

#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    struct Readme;
}
