//! The reference services as one program.

use std::process::ExitCode;

/// What an actor allocates, the journal's writer frees: glibc's allocator makes them wait for one another over it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    annals::http::cli::main(annals_reference::services())
}
