//! What the routes of both services share.

use annals::actors::Moment;
use annals::http::{ETag, Fold, Gateway, Problem, ReadModel, RequestContext, missing_at};
use annals::prelude::{Aggregate, Current, Node, Version};
use axum::http::StatusCode;
use uuid::Uuid;

/// What a service's routes work with.
#[derive(Debug)]
pub(crate) struct App<M: Fold> {
    pub(crate) node: Node,
    pub(crate) gateway: Gateway,
    pub(crate) list: ReadModel<M>,
}

impl<M: Fold> Clone for App<M> {
    fn clone(&self) -> Self {
        Self { node: self.node.clone(), gateway: self.gateway.clone(), list: self.list.clone() }
    }
}

/// The state now, or as it was at a moment if one was asked for. Where there was none, the answer says why.
pub(crate) async fn read<A: Aggregate>(
    node: &Node,
    id: Uuid,
    moment: Option<Moment>,
    not_found: fn() -> Problem,
) -> Result<Current<A>, Problem> {
    let id = id.to_string();
    let target = node.aggregate::<A>(&id);
    let Some(moment) = moment else { return Ok(target.state().await?) };
    if let Some(found) = target.state_at(moment).await? {
        return Ok(found);
    }
    let reason = missing_at(node.journal(), A::TYPE, &id, moment).await?;
    Err(reason.map_or_else(not_found, |reason| Problem::not_found(format!("the {} {reason}", A::TYPE))))
}

/// What is told of a state in which there is nothing: of one in the past, that it is one after a removal.
pub(crate) fn removed<A: Aggregate>(
    version: Version,
    moment: Option<Moment>,
    not_found: fn() -> Problem,
) -> Problem {
    match moment {
        Some(_) => Problem::not_found(format!("at version {version} the {} is deleted", A::TYPE)),
        None => not_found(),
    }
}

/// Which version a change must find. That two tags differ is wrong whatever there is; that there is none matters
/// only if there is something to change.
pub(crate) fn expected(
    context: &RequestContext,
    body: Option<ETag>,
    exists: bool,
    not_found: impl FnOnce() -> Problem,
) -> Result<ETag, Problem> {
    match context.expected(body) {
        Err(problem) if problem.status() != StatusCode::PRECONDITION_REQUIRED => Err(problem),
        _ if !exists => Err(not_found()),
        expected => expected,
    }
}
