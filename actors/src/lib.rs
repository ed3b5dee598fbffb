//! Aggregates as actors: each instance is a [ractor] actor that handles its commands one at a time and never waits
//! for the disk, while no answer leaves before all that it was decided on is durable.
//!
//! A service author writes an [`Aggregate`]: a pure `handle` that turns commands into events, and a pure `apply`
//! that folds events into state. A [`Node`] does the rest.
//!
//! ```
//! use std::sync::Arc;
//! use annals_actors::{Node, Retry, SendError};
//! use annals_persistence::{MemoryJournal, Version};
//! # use annals_actors::doc::{Account, AccountCommand};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::builder().journal(Arc::new(MemoryJournal::new())).aggregate::<Account>().start().await?;
//!
//! let account = node.aggregate::<Account>("anna");
//! let receipt = account.send(AccountCommand::Deposit { amount: 100 }).await?;
//! assert_eq!(receipt.version, Version(1));
//!
//! // Expected versions, rejections and retries are in the types.
//! let stale = account.send(AccountCommand::Deposit { amount: 1 }).expecting(Version(0)).await;
//! assert!(matches!(stale, Err(SendError::Conflict { actual: Version(1), .. })));
//! let rejected = account.send(AccountCommand::Withdraw { amount: 200 }).await.unwrap_err();
//! assert_eq!((rejected.code(), rejected.retry()), ("rejected", Retry::Never));
//!
//! // The state now, and as it was.
//! account.send(AccountCommand::Withdraw { amount: 30 }).await?;
//! assert_eq!(account.state().await?.state.balance, 70);
//! assert_eq!(account.state_at(Version(1)).await?.map(|then| then.state.balance), Some(100));
//!
//! node.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! What is guaranteed, and what is not, stands in `docs/semantics.md`. [`testing`] is the test kit.
//!
//! [ractor]: https://docs.rs/ractor

mod aggregate;
mod checkpoint;
mod clock;
mod command;
mod commits;
mod content;
mod decide;
#[doc(hidden)]
pub mod doc;
mod each;
mod error;
mod inspect;
mod instance;
mod kind;
mod loader;
mod mailbox;
mod memory;
mod metrics;
mod names;
mod node;
mod options;
mod passivation;
mod queue;
mod readers;
mod reference;
mod registry;
mod replay;
mod schemas;
mod snapshots;
mod supervisor;
pub mod testing;
mod turn;
mod watch;
mod work;
mod worker;

pub use aggregate::{Aggregate, Context};
pub use annals_macros::{Event, Shape};
pub use annals_persistence::{Event, Shape, Upcast};
pub use checkpoint::{
    Checkpoint, CheckpointError, CheckpointFault, CheckpointPolicy, CheckpointReceipt, CheckpointRequest,
    Held, Marks,
};
pub use clock::{Clock, SystemClock, VirtualClock};
pub use command::{Receipt, SendOptions};
pub use each::SendEach;
pub use error::{ErasedSendError, Refusal, Retry, SendError, StartError, StateError};
pub use inspect::{Inspector, StateJson, inspector};
pub use kind::AggregateKind;
pub use node::{Node, NodeBuilder};
pub use options::{AggregateOptions, NodeOptions};
pub use readers::{Reader, Readers};
pub use reference::{AggregateRef, SendRequest, Sending};
pub use replay::{Current, Moment};
pub use watch::{KindLoad, Stuck, StuckInstance};

/// What the derives' code needs; no part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use annals_persistence as persistence;
    pub use serde;
    pub use serde_json;
}
