//! The reference services as one program.

use std::process::ExitCode;

fn main() -> ExitCode {
    annals::http::cli::main(annals_reference::services())
}
