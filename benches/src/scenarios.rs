//! What is measured, one module for each question.

use std::time::{Duration, Instant};

use crate::Failure;
use crate::harness::Scenario;

mod activation;
mod bulk;
mod commands;
mod disk;
mod latency;
mod reads;
mod replay;
mod rivals;
mod scan;
mod size;

pub use commands::Orders;

/// All there are, in the order in which they run.
pub const ALL: &[Scenario] = &[
    Scenario { name: "commands-many", run: commands::many },
    Scenario { name: "commands-hot", run: commands::hot },
    Scenario { name: "latency", run: latency::latency },
    Scenario { name: "bulk", run: bulk::bulk },
    Scenario { name: "size", run: size::size },
    Scenario { name: "disk", run: disk::sync_each },
    Scenario { name: "rivals", run: rivals::rivals },
    Scenario { name: "reads", run: reads::reads },
    Scenario { name: "replay", run: replay::replay },
    Scenario { name: "activation", run: activation::activation },
    Scenario { name: "scan", run: scan::scan },
];

/// Does a piece of work again and again until the window is over; answers how much of it was done a second, by the
/// time that the work says it took.
fn repeat(
    window: Duration,
    amount: usize,
    mut work: impl FnMut() -> Result<Duration, Failure>,
) -> Result<f64, Failure> {
    let (begin, mut spent, mut times) = (Instant::now(), Duration::ZERO, 0_u32);
    while times == 0 || begin.elapsed() < window {
        spent += work()?;
        times += 1;
    }
    #[expect(clippy::cast_precision_loss, reason = "no scenario has 2^52 of anything")]
    Ok(amount as f64 * f64::from(times) / spent.as_secs_f64())
}

#[cfg(test)]
mod tests;
