//! Durable commands beside embedded stores that are given the same bytes.

use crate::baselines::rivals::{Fjall, Sled};
use crate::scenarios::commands::{OURS, Orders};
use crate::{Failure, Measurement, System, Workshop, alternate, tasks, threads};

/// Ours beside sled and fjall. Theirs block, so their clients are threads.
pub(super) fn rivals(workshop: &Workshop) -> Result<Vec<Measurement>, Failure> {
    let Workshop { runtime, plan, .. } = workshop;
    let (bytes, dir, instances) = (workshop.encoded_event()?, workshop.dir()?, plan.instances);
    let ours = Orders::live(workshop, instances)?;
    let sled = Sled::open(&dir.path().join("sled"), &bytes)?;
    let fjall = Fjall::open(&dir.path().join("fjall"), &bytes)?;
    let mut measurements = Vec::new();
    for &clients in &plan.clients {
        let systems = vec![
            System::new(OURS, |window| tasks(runtime, &ours, clients, instances, window)),
            System::new("sled insert + flush (not durable)", |window| {
                threads(clients, instances, window, |instance| sled.append(instance))
            }),
            System::new("fjall synced batch", |window| {
                threads(clients, instances, window, |instance| fjall.append(instance))
            }),
        ];
        let name = format!("durable commands beside stores, {clients} clients");
        measurements.push(alternate(name, "commands/s", plan, systems)?);
    }
    ours.stop(workshop);
    Ok(measurements)
}
