//! What went wrong with a command, and which exit code says so.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use annals_bus::DeadLetterError;
use annals_persistence::ReadError;
use clap::error::ErrorKind;

use crate::{DataError, HostError, ShowError};
use annals_bus::with_causes;

/// Why a command has failed.
#[derive(Debug)]
pub(super) enum CliError {
    /// It was not meant so.
    Usage { code: String, message: String },
    /// The data is in use, damaged or of another format.
    Data { code: String, message: String },
    /// Anything else.
    Failed { code: String, message: String },
    /// Whoever read the output has gone, as `head` does. No failure.
    OutputClosed,
}

impl CliError {
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::Usage { code: "wrong_usage".to_owned(), message: message.into() }
    }

    pub(super) fn failed(code: impl Into<String>, error: &dyn std::error::Error) -> Self {
        Self::Failed { code: code.into(), message: with_causes(error) }
    }

    fn data(code: &str, error: &dyn std::error::Error) -> Self {
        Self::Data { code: code.to_owned(), message: with_causes(error) }
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Failed { .. } => 1,
            Self::Usage { .. } => 2,
            Self::Data { .. } => 3,
        }
    }

    /// The stable code; empty where there is none.
    pub(super) fn code(&self) -> &str {
        match self {
            Self::Data { code, .. } | Self::Failed { code, .. } | Self::Usage { code, .. } => code,
            Self::OutputClosed => "",
        }
    }

    pub(super) fn message(&self) -> &str {
        match self {
            Self::Data { message, .. } | Self::Failed { message, .. } | Self::Usage { message, .. } => {
                message
            }
            Self::OutputClosed => "",
        }
    }

    /// Says it on stderr.
    pub(super) fn print(&self) {
        let help = match self {
            Self::OutputClosed => return,
            Self::Usage { .. } => "\nFor more information, try '--help'.\n",
            Self::Data { .. } | Self::Failed { .. } => "",
        };
        say(&format!("error: {} {}\n{help}", self.message(), told_code(self.code())));
    }
}

/// Says what clap found wrong with the command line, with the code in the place where all other errors have it: behind the
/// first paragraph. Help and version come this way too, and are no errors.
pub(super) fn print_of_clap(error: &clap::Error) -> ExitCode {
    if error.exit_code() == 0 {
        return if error.print().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let rendered = error.render();
    let colored = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let text = if colored { rendered.ansi().to_string() } else { rendered.to_string() };
    say(&with_code(error.kind(), &text));
    ExitCode::from(2)
}

fn with_code(kind: ErrorKind, text: &str) -> String {
    let code = told_code("wrong_usage");
    if kind == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return format!("{text}\nerror: a command is missing {code}\n");
    }
    let (said, rest) = text.split_at(text.find("\n\n").unwrap_or(text.trim_end().len()));
    format!("{said} {code}{rest}")
}

/// A code as messages show it.
fn told_code(code: &str) -> String {
    let hint = crate::explain(code).map(|_| format!("; `explain {code}` says more"));
    format!("({code}{})", hint.unwrap_or_default())
}

fn say(text: &str) {
    // Where stderr is closed there is nobody to tell.
    let _unheard = io::stderr().write_all(text.as_bytes());
}

impl From<io::Error> for CliError {
    /// Only writing results fails this way.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::OutputClosed;
        }
        Self::failed("output_failed", &error)
    }
}

impl From<DataError> for CliError {
    fn from(error: DataError) -> Self {
        if error.is_about_data() {
            Self::data(error.code(), &error)
        } else {
            Self::failed(error.code(), &error)
        }
    }
}

impl From<HostError> for CliError {
    fn from(error: HostError) -> Self {
        if error.is_about_data() {
            Self::data(error.code(), &error)
        } else {
            Self::failed(error.code(), &error)
        }
    }
}

impl From<ReadError> for CliError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Damaged { .. } => Self::data(error.code(), &error),
            _ => Self::failed(error.code(), &error),
        }
    }
}

impl From<ShowError> for CliError {
    fn from(error: ShowError) -> Self {
        match error {
            ShowError::Read(error) => error.into(),
            _ => Self::failed(error.code(), &error),
        }
    }
}

impl From<DeadLetterError> for CliError {
    fn from(error: DeadLetterError) -> Self {
        Self::failed(error.code(), &error)
    }
}

#[cfg(test)]
mod tests;
