//! Durable commands of actors beside the same work on other event stores: the same events, the same number of clients and
//! instances, in turns of the same run.

use annals_benches::harness::Scenario;
use annals_benches::scenarios::Orders;
use annals_benches::{Failure, Measurement, System, Target, Workshop, alternate, tasks};
use std::sync::Arc;

mod cqrs_postgres;
mod postgres;
mod tephra_log;
mod umadb_store;

use cqrs_postgres::CqrsPostgres;
use postgres::Postgres;
use tephra_log::Tephra;
use umadb_store::UmaDb;

/// All there are.
pub const ALL: &[Scenario] = &[
    Scenario { name: "tephra", run: tephra },
    Scenario { name: "umadb", run: umadb },
    Scenario { name: "cqrs-es", run: cqrs_es },
];

const OURS: &str = "annals";

/// What ours is beside.
struct Rival {
    name: &'static str,
    /// It, and what it does for a command.
    work: &'static str,
    /// What ours is to reach of it with so many clients.
    goal: fn(usize) -> Option<f64>,
}

const TEPHRA: Rival = Rival { name: "tephra", work: "tephra, guarded appends", goal: of_bare_appends };
const UMADB: Rival = Rival { name: "umadb", work: "umadb, guarded appends", goal: |_| None };
const CQRS_ES: Rival = Rival { name: "cqrs-es", work: "cqrs-es on Postgres, commands", goal: |_| None };

/// What actors with a state are to reach of appends without either: less where a thousand wait for the same sync.
fn of_bare_appends(clients: usize) -> Option<f64> {
    match clients {
        0 | 1 => None,
        1024 => Some(0.85),
        _ => Some(1.0),
    }
}

fn tephra(workshop: &Workshop) -> Result<Vec<Measurement>, Failure> {
    let dir = workshop.dir()?;
    beside(workshop, &TEPHRA, &Arc::new(Tephra::start(dir.path(), workshop.plan.instances)?))
}

fn umadb(workshop: &Workshop) -> Result<Vec<Measurement>, Failure> {
    let dir = workshop.dir()?;
    beside(workshop, &UMADB, &Arc::new(UmaDb::start(dir.path(), workshop.plan.instances)?))
}

fn cqrs_es(workshop: &Workshop) -> Result<Vec<Measurement>, Failure> {
    let mut server = Postgres::start(workshop.dir()?)?;
    let framework = workshop.runtime.block_on(CqrsPostgres::start(&mut server, workshop.plan.instances))?;
    beside(workshop, &CQRS_ES, &Arc::new(framework))
}

/// Ours and a rival's in turns.
fn beside<T: Target>(
    workshop: &Workshop,
    rival: &Rival,
    theirs: &Arc<T>,
) -> Result<Vec<Measurement>, Failure> {
    let Workshop { runtime, plan, .. } = workshop;
    let ours = Orders::live(workshop, plan.instances)?;
    let mut measurements = Vec::new();
    for &clients in &plan.clients {
        let systems = vec![
            System::new(OURS, |window| tasks(runtime, &ours, clients, plan.instances, window)),
            System::new(rival.work, |window| tasks(runtime, theirs, clients, plan.instances, window)),
        ];
        let name = format!("durable commands beside {}, {clients} clients", rival.name);
        let measured = alternate(name, "commands/s", plan, systems)?;
        measurements.push(match (rival.goal)(clients) {
            Some(goal) => measured.with_goal(rival.work, goal),
            None => measured,
        });
    }
    ours.stop(workshop);
    Ok(measurements)
}
