//! The command line that comes with every service: `main` is all that a binary needs.

use std::process::ExitCode;
use std::sync::Arc;

use crate::{Service, telemetry};

mod args;
mod client;
mod connected;
mod dlq;
mod end;
mod error;
mod inspect;
mod output;
mod progress;
mod repair;
mod run;
mod scavenge;
mod schema;
#[cfg(feature = "dapr")]
mod sidecars;
mod source;
mod storage;
mod unread;
mod verify;

use args::{Cli, Command, LogCommand};
use error::CliError;
use output::Output;

/// Parses the command line, does what it says, and answers with the exit code: 0 done, 1 failed, 2 wrong usage,
/// 3 journal in use, damaged or of another format.
///
/// Results go to stdout, logs and errors to stderr.
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "a binary makes them only for this call")]
pub fn main(services: Vec<Arc<dyn Service>>) -> ExitCode {
    let cli = match Cli::of_process() {
        Ok(cli) => cli,
        Err(error) => return error::print_of_clap(&error),
    };
    match execute(&services, cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error.print();
            ExitCode::from(error.exit_code())
        }
    }
}

fn execute(services: &[Arc<dyn Service>], cli: Cli) -> Result<(), CliError> {
    // Operators want results; what the runtime tells of itself is for those who run it.
    let filter = if cli.command.runs_services() { None } else { Some("warn") };
    telemetry::init(cli.log, filter)
        .map_err(|error| CliError::usage(format!("{}: {error}", telemetry::LOG_FILTER_ENV)))?;
    let output = Output::new(cli.json);
    match cli.command {
        Command::Dev(args) => to_the_end(run::dev(services, args, output)),
        Command::Serve(args) => to_the_end(run::serve(services, args, output)),
        Command::Streams { command } => runtime(false)?.block_on(inspect::streams(services, command, output)),
        Command::Aggregate { command } => {
            runtime(false)?.block_on(inspect::aggregate(services, command, output))
        }
        Command::Schema { command } => runtime(false)?.block_on(schema::run(services, command, output)),
        Command::Bus(target) => runtime(false)?.block_on(inspect::bus(services, &target, output)),
        Command::Dlq { command } => runtime(false)?.block_on(dlq::run(services, command, output)),
        Command::Log { command: LogCommand::Verify(args) } => verify::verify(services, &args, output),
        Command::Log { command: LogCommand::Repair(args) } => repair::repair(services, &args, output),
        Command::Log { command: LogCommand::Scavenge(args) } => scavenge::scavenge(services, &args, output),
        Command::Describe => inspect::describe(services, output),
        Command::Explain { code } => inspect::explain(code.as_deref(), output),
        Command::Completions { shell } => inspect::completions(shell),
    }
}

/// Runs services. What is still being opened when the end is asked for is left alone: the journal is made for that.
fn to_the_end(running: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let runtime = runtime(true)?;
    let result = runtime.block_on(running);
    runtime.shutdown_background();
    result
}

fn runtime(many_threads: bool) -> Result<tokio::runtime::Runtime, CliError> {
    let mut builder = if many_threads {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    builder.enable_all().build().map_err(|error| CliError::failed("internal_error", &error))
}
