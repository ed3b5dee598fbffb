//! A whole node, its journal and its snapshots on one thread: the seed decides who sends what and when, when the journal
//! writes, when time goes on, when the disk fails and when the power goes, so that a seed always tells the same story.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails where a value is missing")]
#![allow(clippy::print_stdout, reason = "a failed test shows the end of its story")]

mod act;
mod check;
mod checkpoints;
mod history;
mod life;
mod linearizable;
mod seeds;
mod snapshots;
mod tally;
mod world;
