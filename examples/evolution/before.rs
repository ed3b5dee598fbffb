//! The first release of an account.

use annals::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Account;

#[derive(Debug, Clone, PartialEq, Event)]
pub enum AccountEvent {
    #[event("account-opened")]
    Opened { owner: String },
    #[event("deposited")]
    Deposited { euros: String },
    #[event("owner-renamed")]
    OwnerRenamed { name: String },
    #[event("withdrawal")]
    Withdrawn { cents: i64 },
    #[event("moved")]
    Moved { street: String, city: String },
    #[event("noted")]
    Noted { text: String },
    #[event("greeted")]
    Greeted,
}

/// The account as its first release knew it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, Shape)]
pub struct FirstAccount(Account);

impl Aggregate for FirstAccount {
    const TYPE: &'static str = "account";
    type Command = Vec<Happens>;
    type Event = AccountEvent;
    type Rejection = std::convert::Infallible;

    fn handle(&self, happens: Vec<Happens>, _: &Context) -> Result<Vec<AccountEvent>, Self::Rejection> {
        Ok(happens.into_iter().map(AccountEvent::from).collect())
    }

    fn apply(&mut self, event: AccountEvent) {
        let account = &mut self.0;
        match event {
            AccountEvent::Opened { owner } | AccountEvent::OwnerRenamed { name: owner } => {
                account.owner = owner
            }
            AccountEvent::Deposited { euros } => account.cents += 100 * euros.parse().unwrap_or(0),
            AccountEvent::Withdrawn { cents } => account.cents -= cents,
            AccountEvent::Moved { street, city } => (account.street, account.city) = (street, city),
            AccountEvent::Noted { text } => account.notes.push(text),
            AccountEvent::Greeted => {}
        }
    }
}

/// What the examples make happen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Happens {
    Opening(String),
    Deposit(String),
    NewName(String),
    Withdrawal(i64),
    Move(String, String),
    Note(String),
    Greeting,
}

impl From<Happens> for AccountEvent {
    fn from(happens: Happens) -> Self {
        match happens {
            Happens::Opening(owner) => Self::Opened { owner },
            Happens::Deposit(euros) => Self::Deposited { euros },
            Happens::NewName(name) => Self::OwnerRenamed { name },
            Happens::Withdrawal(cents) => Self::Withdrawn { cents },
            Happens::Move(street, city) => Self::Moved { street, city },
            Happens::Note(text) => Self::Noted { text },
            Happens::Greeting => Self::Greeted,
        }
    }
}
