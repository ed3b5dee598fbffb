//! What Annals costs, measured beside its baselines.
//!
//! Rates swing twofold within minutes on small shared machines, so no figure here stands alone: whatever is measured
//! runs in turns of a second or two with what it is compared to, and the median of the rounds' ratios counts.
//!
//! ```no_run
//! use std::time::Duration;
//! use annals_benches::{Failure, Plan, System, alternate};
//!
//! # fn main() -> Result<(), Failure> {
//! let count = |window: Duration| Ok(1000.0 / window.as_secs_f64());
//! let systems = vec![System::new("ours", count), System::new("theirs", count)];
//! let measurement = alternate("counting", "steps/s", &Plan::quick(), systems)?;
//! assert_eq!(measurement.comparisons()[0].ratio, 1.0);
//! # Ok(())
//! # }
//! ```
//!
//! `cargo bench` runs the `throughput` harness over all [`scenarios`] and ends with a table, with
//! `target/annals-bench/latest.json` and with `target/annals-bench/report/index.html`. `cargo bench -- --quick` takes a
//! minute or two; `cargo bench --bench throughput -- commands reads` runs the scenarios whose names contain one of the words.
#![allow(clippy::print_stdout, reason = "a bench harness talks to whoever started it")]

mod arguments;
pub mod baselines;
pub mod bus;
mod clients;
mod goal;
pub mod harness;
mod history;
mod html;
pub mod http;
mod journals;
mod machine;
mod percentile;
mod plan;
mod plot;
mod report;
mod rounds;
pub mod scale;
pub mod scenarios;
mod settle;
mod table;
pub mod workload;

pub use arguments::{Arguments, Mode};
pub use clients::{Target, paced, tasks, threads};
pub use goal::Goal;
pub use history::Row;
pub use journals::Workshop;
pub use machine::Machine;
pub use plan::Plan;
pub use report::Report;
pub use rounds::{Comparison, Measurement, System, alternate};

/// Whatever went wrong: a bench that fails ends, and says why.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
