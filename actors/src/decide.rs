//! One command, from request to append: the heart of the write path, without a single await.

use std::sync::Arc;

use annals_persistence::{
    Batch, CodecError, CommandId, CommandMetadata, Completes, Completion, Event, EventId, Expected,
    JournalHealth, NewEvent, Position, StreamAppend, Version, validate_batch,
};

use smallvec::SmallVec;

use crate::commits::Reply;
use crate::error::{Failure, catch};
use crate::instance::Instance;
use crate::mailbox::CommandRequest;
use crate::memory::Remembered;
use crate::work::Work;
use crate::worker::Live;
use crate::{Aggregate, Context, Receipt, SendError};

mod all;

use all::carry_out_all;

/// What a command leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The live state stands.
    Standing,
    /// User code panicked: the live state cannot be trusted.
    Rebuild,
}

/// Decides a command on the live state and sends its events on their way.
pub(crate) fn decide<A: Aggregate>(
    instance: &Arc<Instance<A>>,
    live: &mut Live<A>,
    request: Box<CommandRequest<A>>,
) -> Decision {
    let span = request.span.clone();
    let _entered = span.enter();
    if let Some(id) = request.chosen_id()
        && let Some(earlier) = instance.commits.find(id)
    {
        repeat(instance, earlier, *request);
        return Decision::Standing;
    }
    if let Some(expected) = request.expecting().filter(|expected| !live.is_at(*expected)) {
        instance.kind.metrics.conflicts.increment(1);
        let conflict = SendError::Conflict { expected, actual: live.version };
        answer(instance, request.reply, Err(conflict));
        return Decision::Standing;
    }
    carry_out(instance, live, request)
}

fn repeat<A: Aggregate>(instance: &Instance<A>, earlier: Remembered, request: CommandRequest<A>) {
    instance.kind.metrics.duplicates.increment(1);
    if earlier.hash == request.hash {
        instance.commits.repeat(earlier, request.reply);
    } else {
        let reused = SendError::CommandIdReused { command_id: earlier.command_id };
        answer(instance, request.reply, Err(reused));
    }
}

fn carry_out<A: Aggregate>(
    instance: &Arc<Instance<A>>,
    live: &mut Live<A>,
    mut request: Box<CommandRequest<A>>,
) -> Decision {
    let along = request.take_along();
    let metadata = metadata(instance, live, &request);
    let CommandRequest { work, reply, .. } = *request;
    let command = match work {
        Work::One(command) => command,
        Work::All(commands) => return carry_out_all(instance, live, commands, &metadata, along, reply),
    };
    let context = Context::new(instance.stream.clone(), live.version, metadata);
    let state = &live.state;
    match catch(|| tracing::debug_span!("handle").in_scope(|| state.handle(command, &context))) {
        Err(message) => panicked(instance, message, reply),
        Ok(Err(rejection)) => {
            instance.kind.metrics.rejections.increment(1);
            answer(instance, reply, Err(SendError::Rejected(rejection)));
            Decision::Standing
        }
        Ok(Ok(events)) if events.is_empty() => {
            let receipt = Receipt { version: live.version, position: None, events: 0, duplicate: false };
            answer(instance, reply, Ok(receipt));
            Decision::Standing
        }
        Ok(Ok(events)) => record(instance, live, events, context.metadata(), along, reply),
    }
}

/// The later of now and the instance's last event, so that time never runs backward in a stream.
fn metadata<A: Aggregate>(
    instance: &Instance<A>,
    live: &Live<A>,
    request: &CommandRequest<A>,
) -> CommandMetadata {
    let options = request.options.as_deref();
    let time = instance.kind.clock.now().max(live.time);
    let command_id = request.chosen_id().unwrap_or_else(|| CommandId::generate_at(time));
    request.span.record("command_id", tracing::field::display(command_id));
    let correlation = options.and_then(|options| options.correlation_id);
    let causation = options.and_then(|options| options.causation_id);
    CommandMetadata {
        time,
        command_id,
        command_hash: request.hash,
        correlation_id: correlation.unwrap_or_else(|| command_id.into()),
        causation_id: causation.unwrap_or_else(|| command_id.into()),
        actor: options.and_then(|options| options.actor.clone()),
        trace: options.and_then(|options| options.trace),
    }
}

/// Encodes, applies, submits. The state is ahead of the disk from here on; the answer waits.
fn record<A: Aggregate>(
    instance: &Arc<Instance<A>>,
    live: &mut Live<A>,
    events: Vec<A::Event>,
    metadata: &CommandMetadata,
    along: Option<Box<StreamAppend>>,
    reply: Reply<A>,
) -> Decision {
    let mut batch = Batch::default();
    match catch(|| fill(&mut batch, instance, live, &events, metadata, along)) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            answer(instance, reply, Err(error));
            return Decision::Standing;
        }
        Err(message) => return panicked(instance, message, reply),
    }
    if let Err(message) = catch(|| events.into_iter().for_each(|event| live.state.apply(event))) {
        return panicked(instance, message, reply);
    }
    submit(instance, live, batch, metadata, reply);
    Decision::Standing
}

fn fill<A: Aggregate>(
    batch: &mut Batch,
    instance: &Instance<A>,
    live: &Live<A>,
    events: &[A::Event],
    metadata: &CommandMetadata,
    along: Option<Box<StreamAppend>>,
) -> Result<(), SendError<A>> {
    let own = own_append(batch, instance, live);
    for event in events {
        own.push(encode::<A>(event, metadata).map_err(SendError::Codec)?);
    }
    complete(batch, along)
}

/// Room for the instance's own events in the batch: they are made there, since to move them costs.
fn own_append<'b, A: Aggregate>(
    batch: &'b mut Batch,
    instance: &Instance<A>,
    live: &Live<A>,
) -> &'b mut SmallVec<[NewEvent; 1]> {
    let expected = match live.version {
        Version::NONE => Expected::NoStream,
        version => Expected::Version(version),
    };
    batch.streams.push(StreamAppend { stream: instance.stream.clone(), expected, events: SmallVec::new() });
    let last = batch.streams.len() - 1;
    &mut batch.streams[last].events
}

/// The batch, whole. One that no journal can take is refused here, before the state moves: what is decided after it has
/// no part in it.
fn complete<A: Aggregate>(batch: &mut Batch, along: Option<Box<StreamAppend>>) -> Result<(), SendError<A>> {
    batch.streams.extend(along.map(|along| *along));
    validate_batch(batch).map_err(SendError::NotCommitted)
}

fn encode<A: Aggregate>(event: &A::Event, metadata: &CommandMetadata) -> Result<NewEvent, CodecError> {
    let event_type = event.event_type();
    Ok(NewEvent {
        id: EventId::generate_at(metadata.time),
        type_name: event_type.name.into(),
        schema_version: event_type.version,
        codec: event.codec(),
        payload: event.encode()?.into(),
        command: metadata.clone(),
        tags: A::tags(event),
    })
}

/// Sends the batch on its way; its events are in the state already.
fn submit<A: Aggregate>(
    instance: &Arc<Instance<A>>,
    live: &mut Live<A>,
    batch: Batch,
    metadata: &CommandMetadata,
    reply: Reply<A>,
) {
    let own = batch.streams.first().map_or(&[][..], |own| &own.events);
    let events = u32::try_from(own.len()).unwrap_or(u32::MAX);
    live.last_event = own.last().map(|event| event.id);
    live.version = live.version.plus(u64::from(events));
    live.time = metadata.time;
    let command = Remembered {
        command_id: metadata.command_id,
        hash: metadata.command_hash,
        version: live.version,
        events,
        position: Position::START,
    };
    let sequence = instance.commits.append(command, reply);
    let done = Completion::shared(Arc::clone(instance) as Arc<dyn Completes>, sequence);
    instance.kind.journal.submit(batch, done);
    instance.kind.metrics.commands.increment(1);
    instance.after_events(live);
}

/// Answers when everything decided before is durable; with its failure, where it failed.
/// Answers without an append, when what was decided on is durable.
fn answer<A: Aggregate>(instance: &Instance<A>, reply: Reply<A>, result: Result<Receipt, SendError<A>>) {
    let doubt = doubt(instance);
    instance.commits.answer(Box::new(move |durable| {
        let result = match durable.and(doubt) {
            Ok(()) => result,
            Err(failure) => Err(SendError::from_failure(failure)),
        };
        // Whoever no longer waits for the answer does not get it.
        drop(reply.send(result));
    }));
}

fn panicked<A: Aggregate>(instance: &Instance<A>, message: String, reply: Reply<A>) -> Decision {
    tracing::error!(stream = %instance.stream, reason = message, "the aggregate's code panicked; its state is rebuilt");
    instance.kind.metrics.panics.increment(1);
    answer(instance, reply, Err(SendError::Panicked { message }));
    Decision::Rebuild
}

/// What is durable in a journal whose disk has failed may be less than what is there when it is opened again: this very
/// command may have been carried out before, and nothing that says otherwise can be relied on.
pub(crate) fn doubt<A: Aggregate>(instance: &Instance<A>) -> Result<(), Failure> {
    match instance.kind.journal.health() {
        JournalHealth::Poisoned { reason } => Err(Failure::Unknown(reason)),
        _ => Ok(()),
    }
}
