//! What the runtime guarantees, one hazard a file. One binary, so that it is linked once.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails where a value is missing")]
#![allow(clippy::print_stdout, reason = "a random test prints its seed")]

mod along;
mod bulk;
mod callers;
mod checkpoints;
mod command_ids;
mod durability;
mod failures;
mod kit;
mod mailbox;
mod panics;
mod parking;
mod passivation;
mod replay;
mod shutdown;
mod snapshots;
mod stress;
mod stuck;
mod support;
mod time;
mod writers;
