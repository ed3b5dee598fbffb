//! Durable commands of actors beside the guarded appends of other event stores: the same events, the same number of clients
//! and instances, in turns of the same run.

use annals_benches::harness::Scenario;
use annals_benches::scenarios::Orders;
use annals_benches::{Failure, Measurement, System, Workshop, alternate, tasks};
use std::sync::Arc;

mod tephra_log;

use tephra_log::Tephra;

/// All there are.
pub const ALL: &[Scenario] = &[Scenario { name: "tephra", run: tephra }];

const OURS: &str = "annals";
const TEPHRA: &str = "tephra, guarded appends";

/// What actors with a state are to reach of appends without either, where a thousand wait for the same sync.
fn goal(clients: usize) -> f64 {
    if clients == 1024 { 0.85 } else { 1.0 }
}

fn tephra(workshop: &Workshop) -> Result<Vec<Measurement>, Failure> {
    let Workshop { runtime, plan, .. } = workshop;
    let (dir, instances) = (workshop.dir()?, plan.instances);
    let ours = Orders::live(workshop, instances)?;
    let theirs = Arc::new(Tephra::start(dir.path(), instances)?);
    let mut measurements = Vec::new();
    for &clients in &plan.clients {
        let systems = vec![
            System::new(OURS, |window| tasks(runtime, &ours, clients, instances, window)),
            System::new(TEPHRA, |window| tasks(runtime, &theirs, clients, instances, window)),
        ];
        let name = format!("durable commands beside tephra, {clients} clients");
        let measured = alternate(name, "commands/s", plan, systems)?;
        measurements.push(if clients > 1 { measured.with_goal(TEPHRA, goal(clients)) } else { measured });
    }
    ours.stop(workshop);
    Ok(measurements)
}
