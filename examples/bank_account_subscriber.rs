//! Two services and the bus between them: whoever opens an account at the bank gets a bonus in the shop.
//!
//! Run it with `cargo run --example bank_account_subscriber`. Each service has a journal of its own; only the bus
//! connects them. The bonus is given once, whatever is delivered again.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use annals::bus::{Bus, Delivery, HandlerError, InProcessBroker, Outgoing, Publications, Reaction};
use annals::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

// ---- the bank ----

#[derive(Debug, Clone, Default, Serialize, Deserialize, Shape)]
struct Account {
    owner: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum AccountCommand {
    Open { owner: String },
}

#[derive(Debug, Clone, Event)]
enum AccountEvent {
    #[event("account-opened")]
    Opened { owner: String },
}

#[derive(Debug, thiserror::Error)]
#[error("the account is open already")]
struct AlreadyOpen;

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Rejection = AlreadyOpen;

    fn handle(&self, command: AccountCommand, _context: &Context) -> Result<Vec<AccountEvent>, AlreadyOpen> {
        match (command, &self.owner) {
            (AccountCommand::Open { owner }, None) => Ok(vec![AccountEvent::Opened { owner }]),
            (AccountCommand::Open { .. }, Some(_)) => Err(AlreadyOpen),
        }
    }

    fn apply(&mut self, event: AccountEvent) {
        match event {
            AccountEvent::Opened { owner } => self.owner = Some(owner),
        }
    }
}

// ---- what the bank tells the world ----

/// An account was opened. Its topic is `v1.customer-joined`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, IntegrationEvent)]
#[integration_event(name = "customer-joined", version = 1)]
struct CustomerJoined {
    name: String,
}

fn publications() -> Publications {
    Publications::new("bank").translate::<Account>(|event, _recorded| match event {
        AccountEvent::Opened { owner } => vec![Outgoing::event(&CustomerJoined { name: owner.clone() })],
    })
}

// ---- the shop ----

#[derive(Debug, Clone, Default, Serialize, Deserialize, Shape)]
struct Points {
    total: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum PointsCommand {
    Give { points: u64 },
}

#[derive(Debug, Clone, Event)]
enum PointsEvent {
    #[event("points-given")]
    Given { points: u64 },
}

impl Aggregate for Points {
    const TYPE: &'static str = "points";
    type Command = PointsCommand;
    type Event = PointsEvent;
    type Rejection = std::convert::Infallible;

    fn handle(
        &self,
        command: PointsCommand,
        _context: &Context,
    ) -> Result<Vec<PointsEvent>, std::convert::Infallible> {
        match command {
            PointsCommand::Give { points } => Ok(vec![PointsEvent::Given { points }]),
        }
    }

    fn apply(&mut self, event: PointsEvent) {
        match event {
            PointsEvent::Given { points } => self.total += points,
        }
    }
}

/// A handler changes nothing itself: it returns commands, and the bus sees to it that they take effect once.
async fn welcome(event: CustomerJoined, _delivery: Delivery) -> Result<Reaction, HandlerError> {
    let account = event.name.to_lowercase();
    Ok(Reaction::none().command::<Points>(account, PointsCommand::Give { points: 500 }))
}

// ---- both, in one process ----

fn open(directory: &Path) -> Result<Arc<dyn Journal>, Box<dyn Error>> {
    Ok(Arc::new(EmbeddedJournal::open(directory, EmbeddedOptions::default())?))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let broker = InProcessBroker::new();

    let bank =
        Node::builder().journal(open(&directory.path().join("bank"))?).aggregate::<Account>().start().await?;
    let bank_bus =
        Bus::builder(bank.clone(), "bank").publications(publications()).in_process(&broker).start().await?;

    let shop =
        Node::builder().journal(open(&directory.path().join("shop"))?).aggregate::<Points>().start().await?;
    let shop_bus = Bus::builder(shop.clone(), "shop")
        .subscribe::<CustomerJoined>("welcome", welcome)
        .in_process(&broker)
        .start()
        .await?;

    bank.aggregate::<Account>("1").send(AccountCommand::Open { owner: "Anna".to_owned() }).await?;

    let points = shop.aggregate::<Points>("anna");
    while points.state().await?.state.total == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let given = points.state().await?;
    println!("Anna has {} points, by {} event", given.state.total, given.version);
    assert_eq!((given.state.total, given.version), (500, Version(1)));

    for bus in [&bank_bus, &shop_bus] {
        bus.shutdown().await;
    }
    for node in [&bank, &shop] {
        node.shutdown().await;
        node.journal().close().await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_runs() {
        super::main().unwrap();
    }
}
