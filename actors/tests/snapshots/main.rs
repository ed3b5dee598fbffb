//! Nodes over real stores of snapshots that are abused: whatever becomes of them, a state is what replay makes of the
//! journal. Each suite takes its count from the environment, prints its seed, and replays from it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test tells its seed and its counts")]

mod crashes;
mod damage;
mod kills;
mod support;
