//! What the routes of both services share.

use annals::actors::{AggregateRef, Moment};
use annals::http::{ETag, Fold, Gateway, Problem, ReadModel, RequestContext};
use annals::prelude::{Aggregate, Current, Node, StateError};
use axum::http::StatusCode;

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

/// The state that was read; as it was at a moment if one was asked for.
pub(crate) async fn read<A: Aggregate>(
    target: &AggregateRef<A>,
    moment: Option<Moment>,
) -> Result<Option<Current<A>>, StateError> {
    match moment {
        None => target.state().await.map(Some),
        Some(moment) => target.state_at(moment).await,
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
