//! What the runtime guarantees, one hazard a file. One binary, so that it is linked once.

mod along;
mod callers;
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
mod support;
mod time;
