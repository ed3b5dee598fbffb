//! The bus over Dapr: over real sidecars and brokers, and over a sidecar of our own that can be told to misbehave.
//!
//! `cargo test -p annals-bus --features dapr --test dapr`; what has to be on the machine for it says `.ci/parts`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it measured"
)]

#[path = "../support/mod.rs"]
mod support;

mod deployed;
mod letters;
mod outages;
mod pair;
mod real;
mod topics;
