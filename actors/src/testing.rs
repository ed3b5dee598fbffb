//! The test kit: given/when/then for aggregates, a node in memory, a clock that is moved by hand.
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

mod node;
mod scenario;

pub use node::{TestNode, TestNodeBuilder};
pub use scenario::{Given, When, given};
