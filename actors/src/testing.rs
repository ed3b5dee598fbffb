//! The test kit: given/when/then for aggregates, a node in memory, a clock that is moved by hand, and the tests that hold
//! events to what was once released: [`events_lock!`] and [`golden_events!`].
//!
//! ```
//! use annals_actors::testing::given;
//! # use annals_actors::doc::{Account, AccountCommand::*, AccountEvent::*, Overdrawn};
//!
//! given::<Account>([Deposited { amount: 100 }])
//!     .when(Withdraw { amount: 30 })
//!     .then([Withdrawn { amount: 30 }])
//!     .when(Withdraw { amount: 80 })
//!     .then_rejected(Overdrawn { balance: 70 })
//!     .then_state(|account| assert_eq!(account.balance, 70));
//! ```

mod golden;
mod lock;
mod node;
mod scenario;

pub use crate::{events_lock, golden_events};
pub use golden::GoldenEvents;
pub use lock::EventsLock;
pub use node::{TestNode, TestNodeBuilder};
pub use scenario::{Given, When, given};
