//! Logs: to stderr, for people or for programs.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// The environment variable that says what is logged, as `RUST_LOG` does elsewhere.
pub const LOG_FILTER_ENV: &str = "ANNALS_LOG";
/// What is logged unless it says otherwise.
const LOG_FILTER: &str = "info";

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Pretty,
    /// One JSON document a line.
    Json,
}

/// Sends logs to stderr. A second call in one process changes nothing.
///
/// # Errors
/// When `ANNALS_LOG` holds no filter.
pub(crate) fn init(format: LogFormat, default_filter: Option<&str>) -> Result<(), ParseError> {
    let directives = std::env::var(LOG_FILTER_ENV).ok().filter(|text| !text.is_empty());
    let filter =
        EnvFilter::builder().parse(directives.as_deref().or(default_filter).unwrap_or(LOG_FILTER))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A line that cannot be written, as on a full disk, would be told of on stderr, where it cannot be written either: that
        // panics, in whatever was about to log.
        .log_internal_errors(false);
    // An embedding program may log in its own way; then its way stands.
    let _already_set = match format {
        LogFormat::Pretty => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}
