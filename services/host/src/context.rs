//! What a request says of itself beside its body: who, which outside request, which trace, which key.

use std::convert::Infallible;
use std::sync::Arc;

use annals_actors::{Aggregate, SendRequest};
use annals_persistence::{ACTOR_BYTES_MAX, CorrelationId, TraceContext};
use axum::extract::FromRequestParts;
use http::{HeaderMap, Method, request::Parts};
use uuid::Uuid;

use crate::{ETag, Problem};

#[cfg(test)]
mod tests;

/// The header that names the outside request; it comes back in the answer.
pub const CORRELATION_HEADER: &str = "x-correlation-id";
/// The header that names who sends the request. Nobody checks it.
pub const ACTOR_HEADER: &str = "x-actor";
/// The header under which a request may be repeated.
pub const IDEMPOTENCY_KEY_HEADER: &str = "idempotency-key";
/// The longest `Idempotency-Key`.
const KEY_BYTES_MAX: usize = 255;

/// The namespace of correlation ids that are made of a client's own text.
const CORRELATION_NAMESPACE: Uuid = Uuid::from_u128(0x0f4a_0dd6_9a8a_47b1_8d7e_b0e5_5a0d_1c42);

/// Which outside request this is, found out once and carried in the request's extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) correlation: CorrelationId,
    pub(crate) trace: Option<TraceContext>,
}

impl Identity {
    /// From `x-correlation-id`, else from `traceparent`, else new.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let trace = header(headers, "traceparent").and_then(parse_traceparent);
        let given = header(headers, CORRELATION_HEADER).filter(|text| !text.is_empty()).map(|text| {
            let own = || Uuid::new_v5(&CORRELATION_NAMESPACE, text.as_bytes());
            Uuid::try_parse(text).unwrap_or_else(|_| own()).into()
        });
        let correlation = given
            .or_else(|| trace.map(|trace| Uuid::from_u128(trace.trace_id).into()))
            .unwrap_or_else(CorrelationId::generate);
        Self { correlation, trace }
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Reads a W3C `traceparent`; `None` when it is none, as the standard asks.
fn parse_traceparent(text: &str) -> Option<TraceContext> {
    let mut parts = text.trim().split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let sizes = [version.len(), trace.len(), span.len(), flags.len()] == [2, 32, 16, 2];
    let hex = [version, trace, span, flags].iter().all(|part| is_lower_hex(part));
    if !sizes || !hex || version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let trace_id = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
    let span_id = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
    Some(TraceContext { trace_id, span_id, flags: u8::from_str_radix(flags, 16).ok()? })
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A request without its body. An extractor that never fails.
#[derive(Debug, Clone)]
pub struct RequestContext {
    identity: Identity,
    actor: Option<Arc<str>>,
    method: Method,
    path: String,
    headers: HeaderMap,
}

impl RequestContext {
    /// Which outside request this is.
    #[must_use]
    pub fn correlation(&self) -> CorrelationId {
        self.identity.correlation
    }

    /// The trace it is part of, where the client named one.
    #[must_use]
    pub fn trace(&self) -> Option<TraceContext> {
        self.identity.trace
    }

    /// Who sent it, by their own word (`x-actor`).
    #[must_use]
    pub fn actor(&self) -> Option<&Arc<str>> {
        self.actor.as_ref()
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The key under which the request may be repeated.
    ///
    /// # Errors
    /// 422 `idempotency_key_invalid` when it is not 1 to 255 printable ASCII characters.
    pub fn idempotency_key(&self) -> Result<Option<&str>, Problem> {
        let Some(value) = self.headers.get(IDEMPOTENCY_KEY_HEADER) else { return Ok(None) };
        let bytes = value.as_bytes();
        let printable = bytes.iter().all(|b| (b' '..=b'~').contains(b));
        match value.to_str() {
            Ok(key) if printable && (1..=KEY_BYTES_MAX).contains(&bytes.len()) => Ok(Some(key)),
            _ => Err(Problem::rejected(
                "idempotency_key_invalid",
                "an Idempotency-Key has 1 to 255 printable ASCII characters",
            )),
        }
    }

    /// What a change must find: `If-Match`, or the body's `eTag`.
    ///
    /// # Errors
    /// 428 `precondition_required` when there is neither, 422 `etag_mismatch` when they differ, 422
    /// `invalid_if_match`.
    pub fn expected(&self, body: Option<ETag>) -> Result<ETag, Problem> {
        ETag::agree(self.if_match()?, body)
    }

    /// The header `If-Match`; `None` when there is none.
    ///
    /// # Errors
    /// 422 `invalid_if_match` when it names several versions.
    pub fn if_match(&self) -> Result<Option<ETag>, Problem> {
        ETag::from_headers(&self.headers)
    }

    /// Tells a command of the request behind it.
    pub fn apply<A: Aggregate>(&self, mut request: SendRequest<A>) -> SendRequest<A> {
        request = request.correlation(self.correlation());
        if let Some(actor) = &self.actor {
            request = request.by(Arc::clone(actor));
        }
        match self.identity.trace {
            Some(trace) => request.trace(trace),
            None => request,
        }
    }
}

impl<S: Sync> FromRequestParts<S> for RequestContext {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        let known = parts.extensions.get::<Identity>().copied();
        let actor = header(&parts.headers, ACTOR_HEADER);
        Ok(Self {
            identity: known.unwrap_or_else(|| Identity::of(&parts.headers)),
            // A name that no event can carry is left out, not cut: half a name is another name.
            actor: actor.filter(|name| (1..=ACTOR_BYTES_MAX).contains(&name.len())).map(Into::into),
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            headers: parts
                .headers
                .iter()
                .filter(|(name, _)| **name == http::header::IF_MATCH || *name == IDEMPOTENCY_KEY_HEADER)
                .map(|(name, value)| (name.clone(), value.clone()))
                .fold(HeaderMap::new(), |mut headers, (name, value)| {
                    headers.append(name, value);
                    headers
                }),
        })
    }
}
