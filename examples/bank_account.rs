//! A bank account in one file: an aggregate, its journal, a crash, and the past.
//!
//! Run it with `cargo run --example bank_account`.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use annals::prelude::*;
use serde::{Deserialize, Serialize};

/// The state: the fold of the events, nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Shape)]
struct Account {
    owner: Option<String>,
    /// In cents.
    balance: u64,
}

/// What an account can be told.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum AccountCommand {
    Open { owner: String },
    Deposit { cents: u64 },
    Withdraw { cents: u64 },
}

/// What can have happened to it. The names stand in the journal for good.
#[derive(Debug, Clone, PartialEq, Eq, Event)]
enum AccountEvent {
    #[event("account-opened")]
    Opened { owner: String },
    #[event("money-deposited")]
    Deposited { cents: u64 },
    #[event("money-withdrawn")]
    Withdrawn { cents: u64 },
}

/// Why an account says no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum AccountRejection {
    #[error("the account is open already")]
    AlreadyOpen,
    #[error("the account is not open")]
    NotOpen,
    #[error("there are {balance} cents in the account, {wanted} were wanted")]
    Overdrawn { balance: u64, wanted: u64 },
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Rejection = AccountRejection;

    fn handle(
        &self,
        command: AccountCommand,
        _context: &Context,
    ) -> Result<Vec<AccountEvent>, AccountRejection> {
        use AccountCommand::{Deposit, Open, Withdraw};
        let event = match (&self.owner, command) {
            (None, Open { owner }) => AccountEvent::Opened { owner },
            (None, _) => return Err(AccountRejection::NotOpen),
            (Some(_), Open { .. }) => return Err(AccountRejection::AlreadyOpen),
            (Some(_), Deposit { cents }) => AccountEvent::Deposited { cents },
            (Some(_), Withdraw { cents }) if cents > self.balance => {
                return Err(AccountRejection::Overdrawn { balance: self.balance, wanted: cents });
            }
            (Some(_), Withdraw { cents }) => AccountEvent::Withdrawn { cents },
        };
        Ok(vec![event])
    }

    fn apply(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::Opened { owner } => self.owner = Some(owner),
            AccountEvent::Deposited { cents } => self.balance += cents,
            AccountEvent::Withdrawn { cents } => self.balance -= cents,
        }
    }
}

async fn start(directory: &Path) -> Result<(Arc<dyn Journal>, Node), Box<dyn Error>> {
    let journal: Arc<dyn Journal> = Arc::new(EmbeddedJournal::open(directory, EmbeddedOptions::default())?);
    let node = Node::builder().journal(Arc::clone(&journal)).aggregate::<Account>().start().await?;
    Ok((journal, node))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let (journal, node) = start(directory.path()).await?;

    let account = node.aggregate::<Account>("anna");
    account.send(AccountCommand::Open { owner: "Anna".to_owned() }).await?;

    // The id makes the command safe to send again: the second answer is the first, and nothing happens twice.
    let id = CommandId::generate();
    let first = account.send(AccountCommand::Deposit { cents: 10_000 }).command_id(id).await?;
    let again = account.send(AccountCommand::Deposit { cents: 10_000 }).command_id(id).await?;
    assert_eq!((first.version, first.duplicate), (Version(2), false));
    assert_eq!((again.version, again.duplicate), (Version(2), true));

    match account.send(AccountCommand::Withdraw { cents: 20_000 }).await {
        Err(SendError::Rejected(reason)) => println!("rejected: {reason}"),
        other => panic!("that should have been rejected: {other:?}"),
    }
    account.send(AccountCommand::Withdraw { cents: 2_500 }).await?;

    // Everything that was answered is on the disk; a new node finds it there.
    node.shutdown().await;
    journal.close().await;
    let (journal, node) = start(directory.path()).await?;

    let account = node.aggregate::<Account>("anna");
    let now = account.state().await?;
    println!("now, at version {}: {:?}", now.version, now.state);
    assert_eq!(now.state.balance, 7_500);

    let before = account.state_at(Version(2)).await?;
    println!("before the withdrawal: {before:?}");
    assert_eq!(before.map(|then| then.state.balance), Some(10_000));

    node.shutdown().await;
    journal.close().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals::testing::given;

    #[test]
    fn an_account_cannot_be_overdrawn() {
        given::<Account>([
            AccountEvent::Opened { owner: "Anna".to_owned() },
            AccountEvent::Deposited { cents: 100 },
        ])
        .when(AccountCommand::Withdraw { cents: 101 })
        .then_rejected(AccountRejection::Overdrawn { balance: 100, wanted: 101 })
        .when(AccountCommand::Withdraw { cents: 100 })
        .then([AccountEvent::Withdrawn { cents: 100 }])
        .then_state(|account| assert_eq!(account.balance, 0));
    }

    #[test]
    fn the_example_runs() {
        main().unwrap();
    }
}
