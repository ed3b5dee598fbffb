//! The reference services over real HTTP against the real binary.
//!
//! Counts come from the environment (`ANNALS_KILLS`, `ANNALS_FANOUT`, `ANNALS_CASES`, ...) with small defaults;
//! randomised tests print their seed and replay it from `ANNALS_SEED`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it measured"
)]

mod acceptance;
mod addresses;
mod bodies;
mod client;
mod command_line;
mod concurrency;
mod crash;
mod customers;
mod fan_out;
mod histories;
mod idempotency;
mod idle;
mod lists;
mod openapi;
mod orders;
mod process;
mod schemas;
mod time_travel;
