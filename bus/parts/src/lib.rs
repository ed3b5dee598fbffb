//! The real parts that the bus is tested with: Dapr sidecars and brokers, as child processes.
//!
//! Each listens on free ports of the loopback interface, keeps its files in a temporary directory and ends with the
//! value that stands for it. A part that is not on this machine fails the test, and the failure says how to get it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "made for tests, which fail by panicking"
)]

mod nats;
mod process;
mod program;
mod rabbit;
mod redis;
mod resources;
mod sidecar;

pub use nats::Nats;
pub use process::{Process, free_port, wait_for_port};
pub use rabbit::Rabbit;
pub use redis::Redis;
pub use resources::{PubSub, Resources};
pub use sidecar::{App, Sidecar, SidecarOptions, daprd};

use std::time::Duration;

/// How long a part may take to come up; RabbitMQ on a busy machine is the slowest.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a suite may be run on: a broker that can be stopped and started again on the same data.
pub trait Broker: Send + Sync {
    /// What it is called.
    fn name(&self) -> &'static str;

    /// The component that connects a sidecar to it, under this name, for the app with this id and these topics.
    fn component(&self, name: &str, app_id: &str, topics: &[&str]) -> PubSub;

    /// How long after a delivery that nobody answered it comes again, at the latest: who waits longer has seen every
    /// duplicate.
    fn redelivers_within(&self) -> Duration;

    /// Kills it, as a crash would.
    fn kill(&mut self);

    /// Starts it again with what it had written down.
    fn restart(&mut self);
}

/// How long something is to be gone: as many seconds as `ANNALS_OUTAGE_SECONDS` says, else as many as these.
///
/// # Panics
/// Where the variable is no number.
#[must_use]
pub fn outage(otherwise: u64) -> Duration {
    let told = std::env::var("ANNALS_OUTAGE_SECONDS").ok();
    let seconds = told.map_or(otherwise, |text| text.parse().expect("ANNALS_OUTAGE_SECONDS is a number"));
    Duration::from_secs(seconds)
}
