//! What the bus carries a second: inside the process, held against schemas, and through a sidecar.

use std::sync::Arc;

use annals::bus::{IntegrationEvent, Outgoing, Publications};
use annals::persistence::MemoryJournal;
use annals::prelude::*;
use serde::{Deserialize, Serialize};

use crate::harness::Scenario;
use crate::workload::{Order, OrderEvent};
use crate::{Failure, Workshop, journals};

#[cfg(feature = "dapr")]
mod backlog;
#[cfg(feature = "dapr")]
mod bare;
#[cfg(feature = "dapr")]
mod delay;
mod in_process;
#[cfg(feature = "dapr")]
mod publish;
mod schemas;
#[cfg(feature = "dapr")]
mod sidecar;

/// All there are, in the order in which they run.
#[cfg(not(feature = "dapr"))]
pub const ALL: &[Scenario] = &[
    Scenario { name: "bus-in-process", run: in_process::in_process },
    Scenario { name: "bus-schemas", run: schemas::schemas },
];

/// All there are, in the order in which they run.
#[cfg(feature = "dapr")]
pub const ALL: &[Scenario] = &[
    Scenario { name: "bus-in-process", run: in_process::in_process },
    Scenario { name: "bus-schemas", run: schemas::schemas },
    Scenario { name: "bus-publish", run: publish::publish },
    Scenario { name: "bus-backlog", run: backlog::backlog },
    Scenario { name: "bus-delay", run: delay::delay },
];

/// What an order publishes.
#[derive(Debug, Clone, Serialize, Deserialize, IntegrationEvent)]
#[integration_event(name = "item-sold")]
#[serde(rename_all = "camelCase")]
pub struct ItemSold {
    order_id: String,
    product_id: String,
    product_name: String,
    price_cents: u64,
    quantity: u32,
    note: String,
}

fn publications() -> Publications {
    Publications::new("sales").publishes::<ItemSold>().translate::<Order>(|event, recorded| {
        let OrderEvent::ItemAdded { product_id, product_name, price_cents, quantity, note } = event;
        vec![Outgoing::event(&ItemSold {
            order_id: recorded.stream.instance().to_owned(),
            product_id: product_id.clone(),
            product_name: product_name.clone(),
            price_cents: *price_cents,
            quantity: *quantity,
            note: note.clone(),
        })]
    })
}

/// A journal with something to publish, spread over all instances.
fn filled(workshop: &Workshop, events: usize) -> Result<Arc<MemoryJournal>, Failure> {
    let journal = Arc::new(MemoryJournal::new());
    let instances = workshop.plan.instances;
    let shared = Arc::clone(&journal) as Arc<dyn Journal>;
    let rounds = events.div_ceil(instances);
    workshop.runtime.block_on(async {
        for _ in 0..rounds {
            journals::fill_many(&shared, instances, 1).await?;
        }
        Ok::<_, Failure>(())
    })?;
    Ok(journal)
}

async fn node(journal: &Arc<dyn Journal>) -> Result<Node, Failure> {
    journals::node(journal).await
}
