//! Durable commands: over many instances, and on one.

use std::sync::Arc;

use annals::prelude::*;
use futures_util::future::try_join_all;
use tempfile::TempDir;

use crate::baselines::ceiling::Ceiling;
use crate::baselines::raw::RawActors;
use crate::workload::{Order, command, instance_id};
use crate::{Failure, Measurement, System, Target, Workshop, alternate, journals, tasks};

/// What durable commands are to reach of the ceiling, with enough clients that a sync is shared.
const GOAL: f64 = 0.75;
pub(crate) const OURS: &str = "annals";
pub(crate) const RAW: &str = "ractor call";
const CEILING: &str = "ractor + bare log";

/// Live orders, and the node behind them.
#[derive(Debug)]
pub struct Orders {
    pub(crate) handles: Vec<AggregateRef<Order>>,
    node: Node,
    journal: Arc<dyn Journal>,
    _dir: TempDir,
}

impl Orders {
    /// As many, each with its first item.
    ///
    /// # Errors
    /// What the node said.
    pub fn live(workshop: &Workshop, count: usize) -> Result<Arc<Self>, Failure> {
        let dir = workshop.dir()?;
        workshop.runtime.block_on(async {
            let journal = journals::open(dir.path())?;
            let node = journals::node(&journal).await?;
            let handles: Vec<_> = (0..count).map(|i| node.aggregate::<Order>(instance_id(i))).collect();
            try_join_all(handles.iter().map(|order| order.send(command()).into_future())).await?;
            Ok(Arc::new(Self { handles, node, journal, _dir: dir }))
        })
    }

    /// Stops the node and closes its journal.
    pub fn stop(&self, workshop: &Workshop) {
        workshop.runtime.block_on(async {
            self.node.shutdown().await;
            self.journal.close().await;
        });
    }
}

impl Target for Orders {
    async fn call(&self, instance: usize) -> Result<(), Failure> {
        self.handles[instance].send(command()).await?;
        Ok(())
    }
}

/// Over many instances.
pub(super) fn many(workshop: &Workshop) -> Result<Vec<Measurement>, Failure> {
    let instances = workshop.plan.instances;
    measure(workshop, instances, &format!("durable commands, {instances} instances"))
}

/// On one.
pub(super) fn hot(workshop: &Workshop) -> Result<Vec<Measurement>, Failure> {
    measure(workshop, 1, "durable commands, one hot instance")
}

fn measure(workshop: &Workshop, instances: usize, what: &str) -> Result<Vec<Measurement>, Failure> {
    let Workshop { runtime, plan, .. } = workshop;
    let (bytes, dir) = (workshop.encoded_event()?, workshop.dir()?);
    let ours = Orders::live(workshop, instances)?;
    let raw = Arc::new(runtime.block_on(RawActors::start(instances))?);
    let ceiling = Arc::new(runtime.block_on(Ceiling::start(dir.path(), instances, &bytes))?);
    let mut measurements = Vec::new();
    // More than wait for an instance at a time would be refused, and measure nothing.
    let most = instances.saturating_mul(journals::options().mailbox_capacity);
    for &clients in plan.clients.iter().filter(|clients| **clients <= most) {
        let systems = vec![
            System::new(OURS, |window| tasks(runtime, &ours, clients, instances, window)),
            System::new(RAW, |window| tasks(runtime, &raw, clients, instances, window)),
            System::new(CEILING, |window| tasks(runtime, &ceiling, clients, instances, window)),
        ];
        let measured = alternate(format!("{what}, {clients} clients"), "commands/s", plan, systems)?;
        measurements.push(if clients > 1 { measured.with_goal(CEILING, GOAL) } else { measured });
    }
    ours.stop(workshop);
    Ok(measurements)
}
