//! Making a checkpoint of a live state: in the instance's own turn, when everything before it is durable.

use std::sync::Arc;

use annals_persistence::{
    BATCH_BYTES_MAX, Batch, CHECKPOINT_EVENT_TYPE, CodecId, CommandId, CommandMetadata, Completes,
    Completion, EventId, Expected, NewEvent, Position, Retention, Version, batch_bytes, validate_batch,
};
use tokio::sync::oneshot;

use super::plan::Plan;
use super::{Checkpoint, CheckpointError, CheckpointReceipt, SCHEMA_VERSION};
use crate::Aggregate;
use crate::error::Failure;
use crate::instance::Instance;
use crate::worker::Live;

/// A checkpoint that is to be made.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) plan: Plan,
    /// Who asks for it.
    pub(crate) actor: Option<Arc<str>>,
    pub(crate) reply: oneshot::Sender<Result<CheckpointReceipt, CheckpointError>>,
}

impl Order {
    pub(crate) fn refuse(self, failure: Failure) {
        self.answer(Err(CheckpointError::from_failure(failure)));
    }

    fn answer(self, result: Result<CheckpointReceipt, CheckpointError>) {
        // Whoever no longer waits for the answer does not get it.
        drop(self.reply.send(result));
    }
}

/// Appends a checkpoint. Nothing may wait for the disk: of commands under way the memory does not know the position yet.
pub(crate) fn make<A: Aggregate>(instance: &Arc<Instance<A>>, live: &mut Live<A>, mut order: Order) {
    debug_assert!(instance.commits.is_idle(), "a checkpoint knows the positions of all that it remembers");
    match batch(instance, live, &mut order) {
        Ok(batch) => submit(instance, live, batch, order),
        Err(error) => {
            instance.kind.metrics.checkpoints_failed.increment(1);
            order.answer(Err(error));
        }
    }
}

fn batch<A: Aggregate>(
    instance: &Instance<A>,
    live: &Live<A>,
    order: &mut Order,
) -> Result<Batch, CheckpointError> {
    let stream = &instance.stream;
    if live.version == Version::NONE {
        return Err(CheckpointError::NotFound { stream: stream.clone() });
    }
    let kept_from = order.plan.kept_from.min(live.version.next());
    let marks = std::mem::take(&mut order.plan.marks);
    let memory = instance.commits.memory();
    let since = (live.checkpoint.unchanged_since(live.version), live.time);
    let payload = Checkpoint::write(&live.state, since, &memory, (kept_from, marks))?;
    let event = event(payload, metadata(instance, live, order.actor.take()));
    let mut batch = Batch::of(stream.clone(), Expected::Version(live.version), [event]);
    if kept_from > Version::NONE {
        let retention = Retention { truncate_before: kept_from, ..Retention::default() };
        batch = batch.retaining(stream.clone(), retention);
    }
    fits(&batch)?;
    Ok(batch)
}

fn fits(batch: &Batch) -> Result<(), CheckpointError> {
    let bytes = batch_bytes(batch);
    if bytes > BATCH_BYTES_MAX {
        return Err(CheckpointError::TooLarge { bytes, most: BATCH_BYTES_MAX });
    }
    validate_batch(batch).map_err(CheckpointError::NotCommitted)
}

fn metadata<A: Aggregate>(
    instance: &Instance<A>,
    live: &Live<A>,
    actor: Option<Arc<str>>,
) -> CommandMetadata {
    let time = instance.kind.clock.now().max(live.time);
    let command_id = CommandId::generate_at(time);
    CommandMetadata {
        time,
        command_id,
        command_hash: 0,
        correlation_id: command_id.into(),
        causation_id: command_id.into(),
        actor,
        trace: None,
    }
}

fn event(payload: Vec<u8>, command: CommandMetadata) -> NewEvent {
    NewEvent {
        id: EventId::generate_at(command.time),
        type_name: CHECKPOINT_EVENT_TYPE.into(),
        schema_version: SCHEMA_VERSION,
        codec: CodecId::Json,
        payload: payload.into(),
        command,
        tags: Vec::new(),
    }
}

fn submit<A: Aggregate>(instance: &Arc<Instance<A>>, live: &mut Live<A>, batch: Batch, order: Order) {
    live.checkpoint = live.checkpoint.followed_by(live.version.next());
    live.version = live.version.next();
    if let Some(event) = batch.streams.first().and_then(|own| own.events.last()) {
        (live.last_event, live.time) = (Some(event.id), event.command.time);
    }
    let (version, plan) = (live.version, order.plan.clone());
    let made = instance.kind.metrics.checkpoints.clone();
    let done = move |appended: Result<Position, Failure>| {
        let receipt = |position| plan.receipt(version, position);
        made.increment(u64::from(appended.is_ok()));
        order.answer(appended.map(receipt).map_err(CheckpointError::from_failure));
    };
    let sequence = instance.commits.append_own(Box::new(done));
    let done = Completion::shared(Arc::clone(instance) as Arc<dyn Completes>, sequence);
    instance.kind.journal.submit(batch, done);
    instance.after_events(live);
}
