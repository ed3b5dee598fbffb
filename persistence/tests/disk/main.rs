//! The embedded journal on a disk that fails: power that goes at every system call, calls that fail, during work and
//! during recovery. Each suite takes its count from the environment, prints its seed, and replays from it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test tells its seed and its counts")]

mod check;
mod crashes;
mod damage;
mod expiry;
mod failures;
mod slow;
mod snapshots;
mod states;
mod support;
mod threads;
mod workload;
