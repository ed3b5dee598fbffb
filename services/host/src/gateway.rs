//! From requests to commands: ids, keys under which a request may be repeated, and what to answer.

use std::sync::Arc;

use annals_actors::{Aggregate, AggregateRef, Current, SendError};
use annals_persistence::{CommandId, Journal, Position, Version};
use axum::response::Response;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use uuid::Uuid;

use crate::{BodyHash, ETag, Problem, RequestContext, json_response};

mod record;
#[cfg(test)]
mod tests;

pub(crate) use record::KEY_STREAMS;
use record::Slot;

/// The header that tells an answer to a repeated request.
pub const REPLAYED_HEADER: &str = "idempotency-replayed";

/// The namespace of everything derived from a service's name.
const SERVICE_NAMESPACE: Uuid = Uuid::from_u128(0x1b7d_5a83_42d5_4c0e_a8be_91f7_7ad3_20c6);

/// Sends commands on behalf of requests.
#[derive(Debug, Clone)]
pub struct Gateway {
    namespace: Uuid,
    journal: Arc<dyn Journal>,
}

/// How a command is sent, and what its success is called.
#[derive(Debug, Clone, Copy)]
pub struct SendAs {
    status: StatusCode,
    expecting: Option<Version>,
}

impl SendAs {
    /// Answered with this status when it succeeds.
    #[must_use]
    pub const fn status(status: StatusCode) -> Self {
        Self { status, expecting: None }
    }

    /// Only if the instance is as the tag says.
    #[must_use]
    pub fn expecting(mut self, tag: ETag) -> Self {
        self.expecting = tag.expected();
        self
    }
}

/// A command that was carried out, now or when its request came first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The instance's id. A repeated request may have named none.
    pub id: String,
    /// The instance's version after the command.
    pub version: Version,
    /// What to answer with.
    pub status: StatusCode,
    /// Whether the request was carried out before.
    pub replayed: bool,
    /// Where the command's last event stands; `None` when it had none, or the request was carried out before.
    pub position: Option<Position>,
}

impl Accepted {
    /// The answer: status, `ETag` and body.
    pub fn respond<T: Serialize + ?Sized>(&self, body: &T) -> Response {
        let mut response = json_response(self.status, Some(self.version), body);
        if self.replayed {
            let name = HeaderName::from_static(REPLAYED_HEADER);
            response.headers_mut().insert(name, HeaderValue::from_static("true"));
        }
        response
    }

    /// The answer with a `Location`.
    pub fn located<T: Serialize + ?Sized>(&self, location: &str, body: &T) -> Response {
        let mut response = self.respond(body);
        if let Ok(value) = HeaderValue::from_str(location) {
            response.headers_mut().insert(header::LOCATION, value);
        }
        response
    }

    /// The state that the command led to.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn state<A: Aggregate>(&self, target: &AggregateRef<A>) -> Result<Current<A>, Problem> {
        let now = target.state().await?;
        if now.version == self.version {
            return Ok(now);
        }
        let then = target.state_at(self.version).await?;
        then.ok_or_else(|| Problem::internal("state_not_found", "the state after the command is gone"))
    }
}

/// Why a command was not carried out.
#[derive(Debug)]
pub enum SendFailure<A: Aggregate> {
    /// A business rule said no.
    Rejected(A::Rejection),
    /// Anything else, as the client is to see it.
    Problem(Problem),
}

impl<A: Aggregate> SendFailure<A> {
    /// What the client sees, with the rejections mapped by the service.
    pub fn reject_with(self, map: impl FnOnce(A::Rejection) -> Problem) -> Problem {
        match self {
            Self::Rejected(rejection) => map(rejection),
            Self::Problem(problem) => problem,
        }
    }
}

impl<A: Aggregate> From<SendError<A>> for SendFailure<A> {
    fn from(error: SendError<A>) -> Self {
        match error {
            SendError::Rejected(rejection) => Self::Rejected(rejection),
            SendError::At { error, .. } => (*error).into(),
            other => Self::Problem(other.into()),
        }
    }
}

impl<A: Aggregate> From<Problem> for SendFailure<A> {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl<A: Aggregate> From<SendFailure<A>> for Problem {
    fn from(failure: SendFailure<A>) -> Self {
        failure.reject_with(|rejection| Self::rejected("rejected", rejection.to_string()))
    }
}

impl Gateway {
    /// For a service of this name.
    #[must_use]
    pub fn new(service: &str, journal: Arc<dyn Journal>) -> Self {
        Self { namespace: Uuid::new_v5(&SERVICE_NAMESPACE, service.as_bytes()), journal }
    }

    /// The id of what a request creates: the one it names, else the one that its key always leads to, else a new one.
    ///
    /// # Errors
    /// 422 `idempotency_key_invalid`.
    pub fn new_id(&self, context: &RequestContext, given: Option<Uuid>) -> Result<Uuid, Problem> {
        if let Some(id) = given {
            return Ok(id);
        }
        let key = context.idempotency_key()?;
        Ok(key.map_or_else(Uuid::now_v7, |key| Uuid::new_v5(&self.namespace, key.as_bytes())))
    }

    /// What was answered when this request came first; `None` without an `Idempotency-Key`, or when it is new. Ask
    /// before anything else: what is there now may be beyond what the request would meet.
    ///
    /// # Errors
    /// 422 `idempotency_key_reused` when the body is another one, 422 `idempotency_key_invalid`.
    pub async fn replay(
        &self,
        context: &RequestContext,
        body: &BodyHash,
    ) -> Result<Option<Accepted>, Problem> {
        match self.slot(context, body)? {
            Some(slot) => slot.find(&self.journal).await,
            None => Ok(None),
        }
    }

    /// Sends a command for a request. With an `Idempotency-Key`, the request is remembered in the same append as the
    /// command's events, and a repetition is answered as the first was.
    ///
    /// # Errors
    /// The rejection, or what went wrong as the client is to see it.
    pub async fn send<A: Aggregate>(
        &self,
        context: &RequestContext,
        body: &BodyHash,
        target: &AggregateRef<A>,
        command: A::Command,
        how: SendAs,
    ) -> Result<Accepted, SendFailure<A>> {
        match self.slot(context, body)? {
            Some(slot) => self.send_once(context, &slot, target, command, how).await,
            None => self.send_plain(context, target, command, how).await,
        }
    }

    /// Sends a command for a request, whatever key it has: for methods that may be repeated by themselves.
    ///
    /// # Errors
    /// As [`Gateway::send`].
    pub async fn send_plain<A: Aggregate>(
        &self,
        context: &RequestContext,
        target: &AggregateRef<A>,
        command: A::Command,
        how: SendAs,
    ) -> Result<Accepted, SendFailure<A>> {
        let mut request = context.apply(target.send(command));
        if let Some(version) = how.expecting {
            request = request.expecting(version);
        }
        let receipt = request.await?;
        Ok(Accepted {
            id: instance(target)?,
            version: receipt.version,
            status: how.status,
            replayed: receipt.duplicate,
            position: receipt.position,
        })
    }

    async fn send_once<A: Aggregate>(
        &self,
        context: &RequestContext,
        slot: &Slot,
        target: &AggregateRef<A>,
        command: A::Command,
        how: SendAs,
    ) -> Result<Accepted, SendFailure<A>> {
        if let Some(earlier) = slot.find(&self.journal).await? {
            return Ok(earlier);
        }
        let id = instance(target)?;
        let stream = target.stream().map_err(|error| Problem::not_found(error.to_string()))?;
        let mut request = context.apply(target.send(command)).command_id(slot.command());
        request = request.along(slot.append(context, stream, how.status, None)?);
        if let Some(version) = how.expecting {
            request = request.expecting(version);
        }
        let receipt = match request.await {
            Ok(receipt) => receipt,
            // Another request under this key may have been first, also for another instance.
            Err(error) => return slot.find(&self.journal).await?.ok_or_else(|| error.into()),
        };
        let accepted = Accepted {
            id,
            version: receipt.version,
            status: how.status,
            replayed: receipt.duplicate,
            position: receipt.position,
        };
        if receipt.duplicate {
            return Ok(slot.find(&self.journal).await?.unwrap_or(accepted));
        }
        if receipt.events > 0 {
            return Ok(accepted);
        }
        // Without events nothing was appended along with them: the request is remembered by itself.
        let append = slot.append(context, stream, how.status, Some(receipt.version))?;
        Ok(slot.remember(&self.journal, append).await?.unwrap_or(accepted))
    }

    fn slot(&self, context: &RequestContext, body: &BodyHash) -> Result<Option<Slot>, Problem> {
        let Some(key) = context.idempotency_key()? else { return Ok(None) };
        let name = format!("{} {}\n{key}", context.method(), context.path());
        Ok(Some(Slot::new(CommandId::derive(self.namespace, &name), body.uuid())))
    }
}

fn instance<A: Aggregate>(target: &AggregateRef<A>) -> Result<String, Problem> {
    let stream = target.stream().map_err(|error| Problem::not_found(error.to_string()))?;
    Ok(stream.instance().to_owned())
}
