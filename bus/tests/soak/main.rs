//! Two services as processes of their own, over real sidecars and a real broker, while everything is killed, ended and
//! restarted: every event has its effect once, in the order of its key.
//!
//! Counts come from the environment: `ANNALS_SOAK_EVENTS`, `ANNALS_SOAK_KEYS`, `ANNALS_SOAK_FAULTS`, and
//! `ANNALS_PUBLISH_KILLS`. A seed is printed and replays from `ANNALS_SEED`; what it decides is which fault comes when,
//! not what the machine makes of it. `cargo test -p annals-bus --features dapr --test soak`; what has to be on the
//! machine for it says `.ci/parts`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking and says what it measured"
)]

mod domain;
mod faults;
mod killed;
mod member;
mod roles;
mod suite;

use annals_parts::{Nats, Rabbit, Redis};

/// A number from the environment.
fn count(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn every_effect_happens_once_over_redis() {
    suite::run(Redis::start());
}

#[test]
fn every_effect_happens_once_over_jetstream() {
    suite::run(Nats::start());
}

#[test]
fn every_effect_happens_once_over_rabbitmq() {
    suite::run(Rabbit::start());
}

#[test]
fn what_is_committed_is_published_also_by_one_that_is_killed_before_it_could() {
    killed::run(&Redis::start());
}

/// No test of its own: what the others start as a process.
#[test]
fn a_role() {
    roles::play();
}
