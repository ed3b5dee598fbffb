//! Schemas, compiled.

use std::fmt;
use std::sync::OnceLock;

use serde::Serialize;
use serde_json::Value;

use super::acceptor::Acceptor;
use super::{SCHEMA_BYTES_MAX, SchemaError, expansion};

/// How many faults of one event are told at most.
const FAULTS_MAX: usize = 100;
/// How long the part of a message about one fault may be, in bytes: values stand in it.
const REASON_BYTES_MAX: usize = 500;

/// A place where content is not what its schema says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SchemaFault {
    /// Where, as a JSON pointer (RFC 6901); empty for the whole.
    pub path: String,
    /// What is wrong there.
    pub reason: String,
}

impl fmt::Display for SchemaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.path.is_empty() { "/" } else { &self.path };
        write!(f, "{place}: {}", self.reason)
    }
}

/// A schema that content is held against; made once, used often.
#[derive(Debug)]
pub struct SchemaValidator {
    compiled: jsonschema::Validator,
    /// Takes most of what is valid, as text.
    acceptor: Option<Acceptor>,
}

impl SchemaValidator {
    /// Compiles a schema.
    ///
    /// # Errors
    /// [`SchemaError::NotASchema`], also for one that is larger than [`SCHEMA_BYTES_MAX`] or refers to another document.
    pub fn new(schema: &Value) -> Result<Self, SchemaError> {
        Ok(Self { compiled: compiled(schema)?, acceptor: Acceptor::new(schema) })
    }

    /// As [`SchemaValidator::new`], for a few values that are no text.
    pub(super) fn for_values(schema: &Value) -> Result<Self, SchemaError> {
        Ok(Self { compiled: compiled(schema)?, acceptor: None })
    }

    /// Whether the schema lets this through.
    pub(super) fn accepts(&self, content: &Value) -> bool {
        self.compiled.is_valid(content)
    }

    /// Holds content against the schema.
    ///
    /// # Errors
    /// Every place where it is not as it should be, up to a hundred.
    pub fn validate(&self, content: &Value) -> Result<(), Vec<SchemaFault>> {
        // Most content is valid, and finding that out is cheaper than gathering errors.
        if self.accepts(content) {
            return Ok(());
        }
        let fault = |error: jsonschema::ValidationError<'_>| SchemaFault {
            path: error.instance_path().to_string(),
            reason: shortened(error.to_string()),
        };
        Err(self.compiled.iter_errors(content).take(FAULTS_MAX).map(fault).collect())
    }

    /// As [`SchemaValidator::validate`], for JSON text.
    ///
    /// # Errors
    /// As there; text that is no JSON is a fault of the whole.
    pub fn validate_text(&self, text: &str) -> Result<(), Vec<SchemaFault>> {
        if self.acceptor.as_ref().is_some_and(|acceptor| acceptor.accepts(text)) {
            return Ok(());
        }
        let content: Value = serde_json::from_str(text)
            .map_err(|error| vec![SchemaFault { path: String::new(), reason: error.to_string() }])?;
        self.validate(&content)
    }
}

fn compiled(schema: &Value) -> Result<jsonschema::Validator, SchemaError> {
    let refused = |reason: String| SchemaError::NotASchema { reason };
    if !(schema.is_object() || schema.is_boolean()) {
        return Err(refused("a schema is an object, or true or false".to_owned()));
    }
    if schema.to_string().len() > SCHEMA_BYTES_MAX {
        return Err(refused(format!("it is larger than {SCHEMA_BYTES_MAX} bytes")));
    }
    if let Some(fault) = expansion::fault(schema) {
        return Err(refused(fault));
    }
    jsonschema::draft202012::new(schema).map_err(|error| refused(error.to_string()))
}

/// A schema that is compiled when the first content comes: a service that only waits needs none of that memory.
#[derive(Debug)]
pub(crate) struct LazyValidator {
    schema: Value,
    compiled: OnceLock<Result<SchemaValidator, String>>,
}

impl LazyValidator {
    pub(crate) fn new(schema: Value) -> Self {
        Self { schema, compiled: OnceLock::new() }
    }

    /// Whether it is of the same schema.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self.schema == other.schema
    }

    /// As [`SchemaValidator::validate_text`]. Nothing satisfies what turns out to be no schema.
    pub(crate) fn validate_text(&self, text: &str) -> Result<(), Vec<SchemaFault>> {
        let compile = || SchemaValidator::new(&self.schema).map_err(|error| error.to_string());
        match self.compiled.get_or_init(compile) {
            Ok(validator) => validator.validate_text(text),
            Err(reason) => Err(vec![SchemaFault { path: String::new(), reason: reason.clone() }]),
        }
    }
}

/// A text that may be very long, as it is told.
pub(super) fn shortened(mut text: String) -> String {
    if text.len() > REASON_BYTES_MAX {
        let end = (0..=REASON_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str(" ...");
    }
    text
}
