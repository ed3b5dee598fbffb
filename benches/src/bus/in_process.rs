//! From one service to another in the process: read, translated, handled, and its effect durable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals::bus::{Bus, BusBuilder, Delivery, HandlerError, InProcessBroker, Reaction, SchemaOptions};
use annals::prelude::*;

use super::{ItemSold, filled, node, publications};
use crate::scenarios::Orders;
use crate::workload::{Order, command};
use crate::{Failure, Measurement, System, Workshop, alternate, journals, tasks};

const COMMANDS: &str = "durable commands";
/// What handling is to reach of commands that nobody has to be told of.
const GOAL: f64 = 1.0 / 3.0;
const CLIENTS: usize = 1024;

/// Events handled a second, beside durable commands sent by hand.
pub(super) fn in_process(workshop: &Workshop) -> Result<Vec<Measurement>, Failure> {
    let Workshop { runtime, plan, .. } = workshop;
    let events = plan.stream_events * 10;
    let source: Arc<dyn Journal> = filled(workshop, events)?;
    let orders = Orders::live(workshop, plan.instances)?;
    let mut turn = 0;
    let systems = vec![
        System::new("annals", |window| {
            turn += 1;
            handled(workshop, &source, None, turn, window)
        }),
        System::new(COMMANDS, |window| tasks(runtime, &orders, CLIENTS, plan.instances, window)),
    ];
    let measured = alternate("in-process bus, a backlog is handled", "events/s", plan, systems)?;
    orders.stop(workshop);
    Ok(vec![measured.with_goal(COMMANDS, GOAL)])
}

/// How many events a subscriber that was never there handles a second.
pub(super) fn handled(
    workshop: &Workshop,
    source: &Arc<dyn Journal>,
    schemas: Option<SchemaOptions>,
    turn: usize,
    window: Duration,
) -> Result<f64, Failure> {
    let dir = workshop.dir()?;
    let with_schemas = |builder: BusBuilder| match schemas {
        Some(options) => builder.schemas(options),
        None => builder,
    };
    workshop.runtime.block_on(async {
        let broker = InProcessBroker::new();
        let sales = node(source).await?;
        let journal = journals::open(dir.path())?;
        let stock = node(&journal).await?;
        let builder = Bus::builder(stock.clone(), format!("stock{turn}")).subscribe("sold", take);
        let subscriber = with_schemas(builder).in_process(&broker).start().await?;
        let builder = Bus::builder(sales.clone(), "sales").publications(publications());
        let publisher = with_schemas(builder).in_process(&broker).start().await?;
        let published = || publisher.relays().iter().map(|relay| relay.published).sum::<u64>();
        // Every instance is live then, as those are that commands are sent to.
        while published() < workshop.plan.instances as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (begin, before) = (Instant::now(), published());
        tokio::time::sleep(window).await;
        let rate = (published() - before) as f64 / begin.elapsed().as_secs_f64();
        subscriber.shutdown().await;
        publisher.shutdown().await;
        stock.shutdown().await;
        journal.close().await;
        Ok(rate)
    })
}

async fn take(event: ItemSold, _: Delivery) -> Result<Reaction, HandlerError> {
    Ok(Reaction::none().command::<Order>(event.order_id, command()))
}
