//! Asking an instance for a checkpoint.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::sync::Arc;
use std::time::Duration;

use annals_persistence::{Position, Version};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::plan::{Plan, truncating};
use super::{CheckpointError, Held};
use crate::kind::{Kind, Known};
use crate::{Aggregate, AggregateRef};

/// The answer to a checkpoint that was made; everything it tells of is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckpointReceipt {
    /// The checkpoint's own version: it is an event of the stream.
    pub version: Version,
    /// Where it stands in the journal.
    pub position: Position,
    /// Events below this version were given up with it; 1 when none was.
    pub kept_from: Version,
    /// Who had still to read some that were to go, so that they were kept.
    pub held: Option<Held>,
}

/// A checkpoint about to be made; await it to have it made.
#[must_use = "a checkpoint is made only when its request is awaited"]
pub struct CheckpointRequest<A: Aggregate> {
    target: AggregateRef<A>,
    options: CheckpointOptions,
}

/// What can be said of a checkpoint.
#[derive(Debug, Clone, Default)]
pub(crate) struct CheckpointOptions {
    /// How many of the events in front of it are kept; all, where nothing is said.
    pub(crate) keep: Option<u64>,
    pub(crate) actor: Option<Arc<str>>,
    timeout: Option<Duration>,
}

impl CheckpointOptions {
    pub(crate) fn of(keep: Option<u64>, actor: Option<Arc<str>>) -> Self {
        Self { keep, actor, timeout: None }
    }
}

impl<A: Aggregate> fmt::Debug for CheckpointRequest<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointRequest")
            .field("target", &self.target)
            .field("options", &self.options)
            .finish()
    }
}

impl<A: Aggregate> CheckpointRequest<A> {
    pub(crate) fn new(target: AggregateRef<A>) -> Self {
        Self { target, options: CheckpointOptions::default() }
    }

    /// And gives up the events in front of it: only the checkpoint is kept, and what comes after. What somebody has still
    /// to read stays, and what was handled meanwhile: [`CheckpointReceipt::kept_from`] and [`CheckpointReceipt::held`]
    /// say so.
    pub fn and_truncate(self) -> Self {
        self.keeping(0)
    }

    /// As [`CheckpointRequest::and_truncate`], but the last so many events stay: for those who look at what happened. The
    /// states that they made cannot be told any more.
    pub fn keeping(mut self, events: u64) -> Self {
        self.options.keep = Some(events);
        self
    }

    /// Asked for by this person or program.
    pub fn by(mut self, actor: impl Into<Arc<str>>) -> Self {
        self.options.actor = Some(actor.into());
        self
    }

    /// Waits this long for the answer; a checkpoint whose time is over may still be made.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }
}

impl<A: Aggregate> IntoFuture for CheckpointRequest<A> {
    type Output = Result<CheckpointReceipt, CheckpointError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { target, options } = self;
        async move {
            let timeout = target.sleep(options.timeout);
            let made = target.make_checkpoint(options);
            within(timeout, made).await
        }
        .boxed()
    }
}

async fn within(
    timeout: Option<BoxFuture<'static, ()>>,
    made: impl Future<Output = Result<CheckpointReceipt, CheckpointError>>,
) -> Result<CheckpointReceipt, CheckpointError> {
    let Some(timeout) = timeout else { return made.await };
    tokio::select! {
        biased;
        made = made => made,
        () = timeout => Err(CheckpointError::TimedOut),
    }
}

impl<A: Aggregate> Kind<A> {
    /// Plans a checkpoint, has it made in the instance's turn, and waits until it is durable.
    pub(crate) async fn checkpoint(
        self: &Arc<Self>,
        stream: &annals_persistence::StreamId,
        known: &Known<A>,
        options: CheckpointOptions,
    ) -> Result<CheckpointReceipt, CheckpointError> {
        let plan = match options.keep {
            None => Plan::default(),
            Some(keep) => truncating(&self.journal, &self.readers, stream, keep).await?,
        };
        let answered = self.admit_checkpoint(stream, known, plan, options.actor)?;
        let ended = || CheckpointError::OutcomeUnknown { reason: crate::reference::ENDED.to_owned() };
        answered.await.unwrap_or_else(|_| Err(ended()))
    }
}
