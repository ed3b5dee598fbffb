//! Checkpoints that an aggregate type makes by itself.

use std::num::NonZeroU64;
use std::sync::Arc;

use annals_persistence::StreamId;

use super::CheckpointError;
use super::request::CheckpointOptions;
use crate::Aggregate;
use crate::kind::{Kind, Known};

/// When the instances of a type make checkpoints by themselves, and what of their events they keep then.
///
/// ```
/// use annals_actors::{AggregateOptions, CheckpointPolicy, Node};
/// # use annals_actors::doc::Account;
/// use std::num::NonZeroU64;
///
/// // After every 10,000 events; the 500 before stay for those who look at what happened.
/// let policy = CheckpointPolicy { every_events: NonZeroU64::new(10_000).ok_or("more than none")?, keep_events: Some(500) };
/// let options = AggregateOptions { checkpoints: Some(policy), ..AggregateOptions::default() };
/// let node = Node::builder().aggregate_with::<Account>(options);
/// # let _ = node;
/// # Ok::<(), &'static str>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointPolicy {
    /// After how many events of an instance.
    pub every_events: NonZeroU64,
    /// How many events in front of the checkpoint stay; all, where nothing is said. What somebody has still to read stays
    /// whatever this says.
    pub keep_events: Option<u64>,
}

/// Has a checkpoint made that is due, beside whatever else the instance does.
pub(crate) fn by_policy<A: Aggregate>(kind: &Arc<Kind<A>>, stream: &StreamId, keep: Option<u64>) {
    let (kind, stream) = (Arc::clone(kind), stream.clone());
    tokio::spawn(async move {
        let options = CheckpointOptions::of(keep, None);
        match kind.checkpoint(&stream, &Known::nothing(), options).await {
            Err(CheckpointError::Held(held)) => {
                kind.metrics.truncations_held.increment(1);
                let (by, position) = (held.by, held.position.0);
                tracing::info!(%stream, by, position, "a checkpoint waits: its events are still to be read");
            }
            Err(error) if !matches!(error, CheckpointError::Stopping) => {
                let code = error.code();
                tracing::warn!(%stream, code, %error, "a checkpoint that was due could not be made");
            }
            _ => {}
        }
    });
}
