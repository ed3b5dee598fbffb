//! Request bodies: JSON, checked in a fixed order so that a client always meets the same error first.

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::fields::{At, Fields, FromFields};
use crate::{FieldError, Problem};

#[cfg(test)]
mod tests;

/// The most bytes that a request's body may have.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// The namespace under which bodies are hashed.
const BODY_NAMESPACE: Uuid = Uuid::from_u128(0x6f1c_63a4_96c8_4c22_9d0c_5a2b_9a64_7d11);

/// A hash of a body's bytes: the same key with another hash is another request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyHash(Bytes);

impl BodyHash {
    /// Of a request without a body.
    pub const EMPTY: Self = Self(Bytes::new());

    /// Of these bytes. They are hashed when they are first asked for: most requests have no key.
    #[must_use]
    pub const fn of(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(crate) fn uuid(&self) -> Uuid {
        Uuid::new_v5(&BODY_NAMESPACE, &self.0)
    }
}

/// A JSON body, read into `T`.
///
/// What is wrong is told in this order: 413 `body_too_large`, 415 `unsupported_media_type`, 400 `malformed_json`, 422
/// `invalid_body` with every wrong field.
#[derive(Debug)]
pub struct JsonBody<T> {
    /// What it says.
    pub value: T,
    /// Which bytes said it.
    pub hash: BodyHash,
}

impl<T: FromFields, S: Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let bytes = read_json(request).await?;
        Ok(Self { value: parse_body(&bytes)?, hash: BodyHash::of(bytes) })
    }
}

/// Any JSON as a body; what is wrong is told in the order of [`JsonBody`].
pub(crate) struct AnyJson(pub(crate) serde_json::Value);

impl<S: Sync> FromRequest<S> for AnyJson {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let bytes = read_json(request).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| malformed(&error))
    }
}

async fn read_json(request: Request) -> Result<Bytes, Problem> {
    let (parts, body) = request.into_parts();
    let bytes = read_body(&parts.headers, body).await?;
    if is_json(&parts.headers) {
        return Ok(bytes);
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        "send the body as application/json",
    ))
}

/// Reads a body up to the limit.
///
/// # Errors
/// 413 `body_too_large`, 400 `body_incomplete` when the client stopped sending.
pub(crate) async fn read_body(headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    read_body_up_to(BODY_BYTES_MAX, headers, body).await
}

/// As [`read_body`], with another limit in bytes.
pub(crate) async fn read_body_up_to(most: usize, headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    if announced_length(headers).is_some_and(|length| length > most as u64) {
        return Err(too_large(most));
    }
    match Limited::new(body, most).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if is_over_limit(&*error) => Err(too_large(most)),
        Err(_) => Err(incomplete()),
    }
}

/// Of a body that broke off.
pub(crate) fn incomplete() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "body_incomplete", "the body ended before it was complete")
}

/// How long a body is, in bytes, by the word of who sends it.
pub(crate) fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// axum wraps errors of a body, so the limit's own error may be further down.
fn is_over_limit(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<LengthLimitError>() || error.source().is_some_and(is_over_limit)
}

pub(crate) fn too_large(most: usize) -> Problem {
    let detail = format!("the body is larger than {most} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}

/// `application/json` and `application/<something>+json`, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()) else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim();
    let Some(subtype) = essence.get(..12).filter(|t| t.eq_ignore_ascii_case("application/")) else {
        return false;
    };
    let rest = &essence[subtype.len()..];
    rest.eq_ignore_ascii_case("json")
        || rest.len() > 5 && rest.get(rest.len() - 5..).is_some_and(|end| end.eq_ignore_ascii_case("+json"))
}

/// Reads a JSON text into `T`.
///
/// # Errors
/// 400 `malformed_json`, or 422 `invalid_body` with every wrong field.
pub fn parse_body<T: FromFields>(bytes: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| malformed(&error))?;
    let value: &RawValue = serde_json::from_str(text).map_err(|error| malformed(&error))?;
    let mut errors: Vec<FieldError> = Vec::new();
    let read = Fields::of(value, At::root(&mut errors)).and_then(|mut fields| T::from_fields(&mut fields));
    match read {
        Some(value) if errors.is_empty() => Ok(value),
        _ => Err(Problem::invalid_body(errors)),
    }
}

fn malformed(error: &impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "malformed_json", format!("the body is not JSON: {error}"))
}
