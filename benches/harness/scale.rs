//! How a large log is opened, served and scavenged. It takes some gigabytes of disk while it runs. See the crate's
//! documentation.

use std::path::Path;
use std::process::ExitCode;

use annals_benches::harness::Harness;
use annals_benches::scale;

/// The allocator that the reference program has, for ours and the baselines alike.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let harness = Harness { name: "scale", scenarios: scale::ALL };
    harness.main(std::env::args().skip(1), Path::new(env!("CARGO_TARGET_TMPDIR")))
}
