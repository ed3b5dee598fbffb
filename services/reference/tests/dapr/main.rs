//! The reference services over Dapr: two processes, two sidecars, a real broker.
//!
//! `cargo test -p annals-reference --features dapr --test dapr`; what has to be on the machine for it says
//! `.ci/parts`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::duplicate_mod,
    reason = "a test fails by panicking; the scenarios are the same over every broker"
)]
#![allow(dead_code, reason = "the scenarios' helpers are those of the other suite too")]

#[path = "../api/bodies.rs"]
mod bodies;
#[path = "../api/client.rs"]
mod client;
mod declared;
mod dev;
mod interop;
mod outages;
mod over_jetstream;
mod over_redis;
mod pair;
#[path = "../api/process.rs"]
mod process;
