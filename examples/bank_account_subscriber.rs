//! Two services and the bus between them: whoever opens an account at the bank gets a bonus in the shop.
//!
//! Run it with `cargo run --example bank_account_subscriber`. Each service has a journal of its own; only the bus
//! connects them. The bonus is given once, whatever is delivered again.
//!
//! As two processes, each beside a sidecar of its own, with the same handler (Redis on this machine):
//!
//!     dapr run --app-id shop --app-port 6001 --app-protocol grpc --resources-path examples/sidecar -- \
//!         cargo run --features dapr --example bank_account_subscriber -- shop
//!     dapr run --app-id bank --app-port 6002 --app-protocol grpc --resources-path examples/sidecar -- \
//!         cargo run --features dapr --example bank_account_subscriber -- bank
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use annals::bus::{Broker, Bus, Delivery, HandlerError, InProcessBroker, Outgoing, Publications, Reaction};
use annals::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod sidecar;

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

// ---- both in one process, or each in its own ----

/// A service: its instances, and what connects them with others.
struct Service {
    node: Node,
    bus: Bus,
}

impl Service {
    async fn stop(self) {
        self.bus.shutdown().await;
        self.node.shutdown().await;
        self.node.journal().close().await;
    }
}

fn open(directory: &Path) -> Result<Arc<dyn Journal>, Box<dyn Error>> {
    Ok(Arc::new(EmbeddedJournal::open(directory, EmbeddedOptions::default())?))
}

async fn bank(directory: &Path, broker: Arc<dyn Broker>) -> Result<Service, Box<dyn Error>> {
    let node = Node::builder().journal(open(&directory.join("bank"))?).aggregate::<Account>().start().await?;
    let bus = Bus::builder(node.clone(), "bank").publications(publications());
    Ok(Service { node, bus: bus.broker(broker).start().await? })
}

async fn shop(directory: &Path, broker: Arc<dyn Broker>) -> Result<Service, Box<dyn Error>> {
    let node = Node::builder().journal(open(&directory.join("shop"))?).aggregate::<Points>().start().await?;
    let bus = Bus::builder(node.clone(), "shop").subscribe::<CustomerJoined>("welcome", welcome);
    Ok(Service { node, bus: bus.broker(broker).start().await? })
}

async fn open_account(bank: &Service) -> Result<(), Box<dyn Error>> {
    bank.node.aggregate::<Account>("1").send(AccountCommand::Open { owner: "Anna".to_owned() }).await?;
    Ok(())
}

async fn see_the_bonus(shop: &Service) -> Result<(), Box<dyn Error>> {
    let points = shop.node.aggregate::<Points>("anna");
    while points.state().await?.state.total == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let given = points.state().await?;
    println!("Anna has {} points, by {} event", given.state.total, given.version);
    assert_eq!((given.state.total, given.version), (500, Version(1)));
    Ok(())
}

async fn in_one_process() -> Result<(), Box<dyn Error>> {
    let (directory, broker) = (tempfile::tempdir()?, Arc::new(InProcessBroker::new()));
    let bank = bank(directory.path(), broker.clone()).await?;
    let shop = shop(directory.path(), broker).await?;
    open_account(&bank).await?;
    see_the_bonus(&shop).await?;
    bank.stop().await;
    shop.stop().await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    match std::env::args().nth(1).as_deref() {
        None => return in_one_process().await,
        Some("bank") => {
            let bank = bank(directory.path(), sidecar::broker()?).await?;
            open_account(&bank).await?;
            while bank.bus.relays().iter().any(|relay| relay.lag() > 0) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            println!("the account is open, and the world knows");
            bank.stop().await;
        }
        Some("shop") => {
            let shop = shop(directory.path(), sidecar::broker()?).await?;
            see_the_bonus(&shop).await?;
            shop.stop().await;
        }
        Some(other) => return Err(format!("\"{other}\" is neither `bank` nor `shop`").into()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_runs() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(super::in_one_process()).unwrap();
    }
}
