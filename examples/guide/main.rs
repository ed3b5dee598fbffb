//! The library of the guide (`docs/guide.md`): two services in one binary, connected by the bus.
//!
//! Run it with `cargo run --example guide -- dev`.

#![allow(unreachable_pub, reason = "a service of several crates would export these")]

mod book;
mod library;
mod readers;

use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    annals::http::cli::main(vec![Arc::new(library::Library), Arc::new(readers::Readers)])
}
