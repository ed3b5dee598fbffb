//! What the reference program does a second over HTTP, beside the least that a durable answer takes.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench harness talks to whoever started it")]

use std::path::Path;
use std::process::ExitCode;

use annals_benches::harness::{Harness, Scenario};
use annals_benches::http::{BASELINE_FLAG, customers, serve_baseline};

const HARNESS: Harness =
    Harness { name: "http", scenarios: &[Scenario { name: "http-customers", run: customers }] };

/// The allocator that the reference program has, for ours and the baselines alike.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [flag, data] if flag == BASELINE_FLAG => serve(Path::new(data)),
        _ => HARNESS.main(arguments, Path::new(env!("CARGO_TARGET_TMPDIR"))),
    }
}

fn serve(data: &Path) -> ExitCode {
    let served = tokio::runtime::Runtime::new()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(serve_baseline(data)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("http: {error}");
            ExitCode::FAILURE
        }
    }
}
