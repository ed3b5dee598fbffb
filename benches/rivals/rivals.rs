//! What Annals does a second beside other event stores. See the crate's documentation. `cargo bench -- umadb` runs one of them.

use std::path::Path;
use std::process::ExitCode;

use annals_benches::harness::Harness;

/// The allocator that the reference program has, for ours and the rivals alike.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let harness = Harness { name: "rivals", scenarios: annals_rivals::ALL };
    harness.main(std::env::args().skip(1), Path::new(env!("CARGO_TARGET_TMPDIR")))
}
