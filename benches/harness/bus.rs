//! What the bus carries a second, beside what it is made of. With the feature `dapr` also over a real sidecar and Redis.
//! See the crate's documentation.

use std::path::Path;
use std::process::ExitCode;

use annals_benches::bus;
use annals_benches::harness::Harness;

/// The allocator that the reference program has, for ours and the baselines alike.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let harness = Harness { name: "bus", scenarios: bus::ALL };
    harness.main(std::env::args().skip(1), Path::new(env!("CARGO_TARGET_TMPDIR")))
}
