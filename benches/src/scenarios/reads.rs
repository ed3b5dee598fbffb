//! Reads of live instances: the state, copied, and durable when it arrives.

use std::sync::Arc;

use crate::baselines::raw::RawActors;
use crate::scenarios::commands::{OURS, Orders, RAW};
use crate::{Failure, Measurement, System, Target, Workshop, alternate, tasks};

struct Reading(Arc<Orders>);

impl Target for Reading {
    async fn call(&self, instance: usize) -> Result<(), Failure> {
        self.0.handles[instance].state().await?;
        Ok(())
    }
}

/// Ours beside a call that does nothing.
pub(super) fn reads(workshop: &Workshop) -> Result<Vec<Measurement>, Failure> {
    let Workshop { runtime, plan, .. } = workshop;
    let instances = plan.instances;
    let orders = Orders::live(workshop, instances)?;
    let reading = Arc::new(Reading(Arc::clone(&orders)));
    let raw = Arc::new(runtime.block_on(RawActors::start(instances))?);
    let mut measurements = Vec::new();
    for &clients in &plan.clients {
        let systems = vec![
            System::new(OURS, |window| tasks(runtime, &reading, clients, instances, window)),
            System::new(RAW, |window| tasks(runtime, &raw, clients, instances, window)),
        ];
        let name = format!("reads of live instances, {clients} clients");
        measurements.push(alternate(name, "reads/s", plan, systems)?);
    }
    orders.stop(workshop);
    Ok(measurements)
}
