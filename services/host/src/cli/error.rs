//! What went wrong with a command, and which exit code says so.

use std::io::{self, Write};

use annals_bus::DeadLetterError;
use annals_persistence::ReadError;

use crate::{DataError, HostError, ShowError};

/// Why a command has failed.
#[derive(Debug)]
pub(super) enum CliError {
    /// It was not meant so.
    Usage(String),
    /// The data is in use, damaged or of another format.
    Data { code: String, message: String },
    /// Anything else.
    Failed { code: String, message: String },
    /// Whoever read the output has gone, as `head` does. No failure.
    OutputClosed,
}

impl CliError {
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub(super) fn failed(code: impl Into<String>, error: &dyn std::error::Error) -> Self {
        Self::Failed { code: code.into(), message: chain(error) }
    }

    fn data(code: &str, error: &dyn std::error::Error) -> Self {
        Self::Data { code: code.to_owned(), message: chain(error) }
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Failed { .. } => 1,
            Self::Usage(_) => 2,
            Self::Data { .. } => 3,
        }
    }

    /// The stable code; empty where there is none.
    pub(super) fn code(&self) -> &str {
        match self {
            Self::Data { code, .. } | Self::Failed { code, .. } => code,
            Self::Usage(_) | Self::OutputClosed => "",
        }
    }

    pub(super) fn message(&self) -> &str {
        match self {
            Self::Data { message, .. } | Self::Failed { message, .. } | Self::Usage(message) => message,
            Self::OutputClosed => "",
        }
    }

    /// Says it on stderr.
    pub(super) fn print(&self) {
        let text = match self {
            Self::OutputClosed => return,
            Self::Usage(message) => format!("error: {message}\n\nFor more information, try '--help'.\n"),
            Self::Data { code, message } | Self::Failed { code, message } => {
                let hint = crate::explain(code).map(|_| format!("; `explain {code}` says more"));
                format!("error: {message} ({code}{})\n", hint.unwrap_or_default())
            }
        };
        // Where stderr is closed there is nobody to tell.
        let _unheard = io::stderr().write_all(text.as_bytes());
    }
}

/// An error and everything behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
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
