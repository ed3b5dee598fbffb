//! The bank account that the examples of this crate are about.
#![allow(missing_docs, reason = "an example, explained where it is used")]

use serde::{Deserialize, Serialize};

use crate::{Aggregate, Context, Event, Shape};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Shape)]
#[annals(crate = "crate")]
pub struct Account {
    pub balance: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountCommand {
    Deposit { amount: i64 },
    Withdraw { amount: i64 },
}

#[derive(Debug, Clone, PartialEq, Eq, Event)]
#[annals(crate = "crate")]
pub enum AccountEvent {
    #[event("money-deposited")]
    Deposited { amount: i64 },
    #[event("money-withdrawn")]
    Withdrawn { amount: i64 },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the balance is {balance}")]
pub struct Overdrawn {
    pub balance: i64,
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Rejection = Overdrawn;

    fn handle(&self, command: AccountCommand, _context: &Context) -> Result<Vec<AccountEvent>, Overdrawn> {
        match command {
            AccountCommand::Deposit { amount } => Ok(vec![AccountEvent::Deposited { amount }]),
            AccountCommand::Withdraw { amount } if amount > self.balance => {
                Err(Overdrawn { balance: self.balance })
            }
            AccountCommand::Withdraw { amount } => Ok(vec![AccountEvent::Withdrawn { amount }]),
        }
    }

    fn apply(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::Deposited { amount } => self.balance += amount,
            AccountEvent::Withdrawn { amount } => self.balance -= amount,
        }
    }
}
