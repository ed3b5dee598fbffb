//! Errors as HTTP tells them: `application/problem+json` (RFC 9457) with a stable code.

use std::borrow::Cow;

use annals_actors::{Aggregate, CheckpointError, SendError, StateError};
use annals_bus::with_causes;
use annals_persistence::{AppendError, EventError, ReadError, Version};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

use crate::ReadModelError;

#[cfg(test)]
mod tests;

/// The media type of an error's body.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// How long a client should wait before it tries again, in seconds.
const RETRY_AFTER_SECONDS: u32 = 1;

/// One thing that is wrong with a request's body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Where: a JSON pointer into the body, empty for the body as a whole.
    pub path: String,
    /// What, for programs.
    pub code: &'static str,
    /// What, for people.
    pub reason: Cow<'static, str>,
}

/// An error as a client sees it.
///
/// ```
/// use annals_services::Problem;
/// use http::StatusCode;
///
/// let problem = Problem::new(StatusCode::CONFLICT, "already_exists", "a customer with this id exists");
/// assert_eq!(problem.code(), "already_exists");
/// ```
#[derive(Debug, Clone)]
pub struct Problem(Box<Parts>);

#[derive(Debug, Clone, Serialize)]
struct Parts {
    #[serde(rename = "type")]
    kind: String,
    title: Cow<'static, str>,
    #[serde(serialize_with = "status_number")]
    status: StatusCode,
    detail: Cow<'static, str>,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    #[serde(skip)]
    retry_after: Option<u32>,
}

fn status_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    /// An error with its status, its stable code (there is a page for each) and what happened in this case.
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts {
            kind: format!("urn:annals:error:{code}"),
            title: Cow::Borrowed(status.canonical_reason().unwrap_or("Error")),
            status,
            detail: detail.into(),
            code,
            instance: None,
            errors: Vec::new(),
            retry_after: None,
        }))
    }

    /// 404 `not_found`.
    #[must_use]
    pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// 422: a business rule said no.
    #[must_use]
    pub fn rejected(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    /// 409 with a code.
    #[must_use]
    pub fn conflict(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// 409 `version_conflict`: the client's eTag is not the current one.
    #[must_use]
    pub fn stale(current: Version) -> Self {
        let detail =
            format!("the eTag is stale: the current one is \"{current}\"; read again and decide anew");
        Self::conflict("version_conflict", detail)
    }

    /// 422 `invalid_body` with everything that is wrong.
    #[must_use]
    pub fn invalid_body(errors: Vec<FieldError>) -> Self {
        let detail = match errors.len() {
            1 => "one field of the body is wrong".to_owned(),
            count => format!("{count} fields of the body are wrong"),
        };
        let mut problem = Self::rejected("invalid_body", detail);
        problem.0.errors = errors;
        problem
    }

    /// 500: the service's own fault. The detail is for the client; log the cause where it is known.
    #[must_use]
    pub fn internal(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, code, detail)
    }

    /// 503 with `Retry-After`.
    #[must_use]
    pub fn unavailable(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).retry_after(RETRY_AFTER_SECONDS)
    }

    /// With a title of its own instead of the status's.
    #[must_use]
    pub fn title(mut self, title: impl Into<Cow<'static, str>>) -> Self {
        self.0.title = title.into();
        self
    }

    /// With one more thing that is wrong, at a JSON pointer.
    #[must_use]
    pub fn with_error(
        mut self,
        path: impl Into<String>,
        code: &'static str,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.0.errors.push(FieldError { path: path.into(), code, reason: reason.into() });
        self
    }

    /// With a `Retry-After` header, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// With the request's path as the instance.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>) -> Self {
        self.0.instance = Some(path.into());
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// What happened in this case.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// What is wrong with the body, field by field.
    #[must_use]
    pub fn errors(&self) -> &[FieldError] {
        &self.0.errors
    }

    fn body(&self) -> Vec<u8> {
        // Strings and numbers alone cannot fail to become JSON.
        serde_json::to_vec(&self.0).unwrap_or_default()
    }
}

/// What an error's body looks like, for API descriptions.
#[derive(Debug, Clone, utoipa::ToSchema)]
#[allow(dead_code, reason = "it only describes; `Problem` is what is sent")]
pub struct ProblemBody {
    /// `urn:annals:error:` and the code.
    #[schema(rename = "type")]
    kind: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened in this case.
    detail: String,
    /// The stable code; there is a page for each.
    code: String,
    /// Everything that is wrong with the body, for `invalid_body`.
    errors: Option<Vec<ProblemFieldError>>,
}

/// One thing that is wrong with a body, for API descriptions.
#[derive(Debug, Clone, utoipa::ToSchema)]
#[allow(dead_code, reason = "it only describes; `FieldError` is what is sent")]
pub struct ProblemFieldError {
    /// A JSON pointer into the body.
    path: String,
    /// What is wrong, for programs.
    code: String,
    /// What is wrong, for people.
    reason: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.0.status.as_u16(), self.0.code, self.0.detail)
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(self.body().into());
        *response.status_mut() = self.0.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.0.status == StatusCode::PAYLOAD_TOO_LARGE {
            // The rest of the body is not read, so nothing else can come over this connection.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(seconds) = self.0.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // For the log line of a failed request.
        response.extensions_mut().insert(self);
        response
    }
}

impl<A: Aggregate> From<SendError<A>> for Problem {
    fn from(error: SendError<A>) -> Self {
        let code = error.code();
        match error {
            SendError::Conflict { actual, .. } => Self::stale(actual),
            SendError::Rejected(rejection) => Self::rejected(code, rejection.to_string()),
            SendError::NotCommitted(append) => append.into(),
            SendError::CommandIdReused { .. } => Self::key_reused(),
            SendError::TimedOut => Self::new(StatusCode::GATEWAY_TIMEOUT, code, error.to_string()),
            SendError::InvalidId(_) => Self::not_found(error.to_string()),
            SendError::At { error, .. } => (*error).into(),
            SendError::MailboxFull { .. }
            | SendError::Stopping { .. }
            | SendError::AllRefused { .. }
            | SendError::OutcomeUnknown { .. }
            | SendError::Parked { .. } => Self::unavailable(code, error.to_string()),
            _ => Self::internal(code, with_causes(&error)),
        }
    }
}

impl Problem {
    /// 422 `idempotency_key_reused`.
    pub(crate) fn key_reused() -> Self {
        Self::rejected(
            "idempotency_key_reused",
            "this Idempotency-Key was used before, for a request with another body; take a new key",
        )
    }
}

impl From<AppendError> for Problem {
    fn from(error: AppendError) -> Self {
        let code = error.code();
        match error {
            AppendError::Conflict { actual, .. } => Self::stale(actual),
            AppendError::StreamGone { .. } => Self::new(StatusCode::GONE, code, error.to_string()),
            AppendError::DiskFull { .. } => {
                Self::unavailable(code, "not committed: no space left for the journal; trying again is safe")
            }
            AppendError::Busy { .. } | AppendError::Closed | AppendError::Superseded => {
                Self::unavailable(code, format!("not committed: {error}; trying again is safe"))
            }
            AppendError::OutcomeUnknown { .. } => Self::unavailable(code, with_causes(&error)),
            _ => Self::internal(code, with_causes(&error)),
        }
    }
}

impl From<StateError> for Problem {
    fn from(error: StateError) -> Self {
        let code = error.code();
        match error {
            StateError::InvalidId(_) => Self::not_found(error.to_string()),
            StateError::Truncated { .. } => Self::new(StatusCode::GONE, code, error.to_string()),
            StateError::MailboxFull { .. }
            | StateError::Stopping
            | StateError::Doubtful { .. }
            | StateError::Parked { .. } => Self::unavailable(code, error.to_string()),
            _ => Self::internal(code, with_causes(&error)),
        }
    }
}

impl From<CheckpointError> for Problem {
    fn from(error: CheckpointError) -> Self {
        let code = error.code();
        match error {
            CheckpointError::NotFound { .. } => Self::new(StatusCode::NOT_FOUND, code, error.to_string()),
            CheckpointError::InvalidId(_) => Self::not_found(error.to_string()),
            CheckpointError::Held(_) => Self::conflict(code, error.to_string()),
            CheckpointError::TimedOut => Self::new(StatusCode::GATEWAY_TIMEOUT, code, error.to_string()),
            CheckpointError::Read(read) => read.into(),
            CheckpointError::NotCommitted(append) => append.into(),
            CheckpointError::MailboxFull { .. }
            | CheckpointError::Stopping
            | CheckpointError::ReaderUnclear { .. }
            | CheckpointError::OutcomeUnknown { .. }
            | CheckpointError::Parked { .. } => Self::unavailable(code, error.to_string()),
            _ => Self::internal(code, with_causes(&error)),
        }
    }
}

impl From<ReadError> for Problem {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Closed => Self::unavailable(error.code(), error.to_string()),
            _ => Self::internal(error.code(), with_causes(&error)),
        }
    }
}

impl From<EventError> for Problem {
    fn from(error: EventError) -> Self {
        Self::internal(error.code(), with_causes(&error))
    }
}

impl From<ReadModelError> for Problem {
    fn from(error: ReadModelError) -> Self {
        Self::unavailable(error.code(), error.to_string())
    }
}
