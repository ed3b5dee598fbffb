//! cqrs-es with its authors' store on Postgres: a command reads the instance's events, decides, and inserts what came of
//! it in a transaction. Set up as in the README of `postgres-es`, with events as the only truth.

use std::time::Duration;

use annals_benches::workload::{NoQuantity, OrderCommand, command, instance_id};
use annals_benches::{Failure, Target};
use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent};
use postgres_es::{PostgresCqrs, postgres_cqrs};
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgPoolOptions;
use tokio::sync::Mutex;

use crate::postgres::Postgres;

/// As many as `postgres_es::default_postgress_pool` has. More of them than a few for each core do not make Postgres faster.
const CONNECTIONS: u32 = 10;
/// Thousands of callers share the connections, and none of them gives up.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// The table as its authors create it. That of snapshots is only for stores that take some.
const SCHEMA: &str = "CREATE TABLE events (
    aggregate_type text NOT NULL,
    aggregate_id text NOT NULL,
    sequence bigint CHECK (sequence >= 0) NOT NULL,
    event_type text NOT NULL,
    event_version text NOT NULL,
    payload json NOT NULL,
    metadata json NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence)
)";

/// The order of the workload, as a user of cqrs-es writes it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Order {
    items: u64,
    total_cents: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum OrderEvent {
    #[serde(rename_all = "camelCase")]
    ItemAdded { product_id: String, product_name: String, price_cents: u64, quantity: u32, note: String },
}

impl DomainEvent for OrderEvent {
    fn event_type(&self) -> String {
        "order-item-added".to_owned()
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

impl Aggregate for Order {
    const TYPE: &'static str = "order";
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Error = NoQuantity;
    type Services = ();

    async fn handle(
        &mut self,
        command: OrderCommand,
        (): &(),
        events: &EventSink<Self>,
    ) -> Result<(), NoQuantity> {
        let OrderCommand::AddItem { product_id, product_name, price_cents, quantity, note } = command;
        if quantity == 0 {
            return Err(NoQuantity);
        }
        let added = OrderEvent::ItemAdded { product_id, product_name, price_cents, quantity, note };
        events.write(added, self).await;
        Ok(())
    }

    fn apply(&mut self, event: OrderEvent) {
        let OrderEvent::ItemAdded { price_cents, quantity, .. } = event;
        self.items += u64::from(quantity);
        self.total_cents += price_cents * u64::from(quantity);
    }
}

/// The framework over a server. Callers of one instance wait for one another, so that none of their commands meets a
/// conflict and is tried again.
pub(crate) struct CqrsPostgres {
    framework: PostgresCqrs<Order>,
    instances: Vec<Mutex<String>>,
}

impl CqrsPostgres {
    /// Creates the table and connects.
    ///
    /// # Errors
    /// What Postgres said.
    pub(crate) async fn start(server: &mut Postgres, instances: usize) -> Result<Self, Failure> {
        sqlx::raw_sql(SCHEMA).execute(&mut server.connect().await?).await?;
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(WAIT_MAX);
        let pool = pool.connect_with(server.address()).await?;
        let instances = (0..instances).map(|number| Mutex::new(instance_id(number))).collect();
        Ok(Self { framework: postgres_cqrs(pool, Vec::new(), ()), instances })
    }
}

impl Target for CqrsPostgres {
    async fn call(&self, instance: usize) -> Result<(), Failure> {
        let id = self.instances[instance].lock().await;
        Ok(self.framework.execute(&id, command()).await?)
    }
}
