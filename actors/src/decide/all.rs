//! Commands of which all are carried out or none: on a copy of the state, which takes the state's place when all went
//! well.

use std::sync::Arc;

use annals_persistence::{Batch, CommandMetadata, NewEvent, StreamAppend};
use smallvec::SmallVec;

use super::{Decision, answer, complete, encode, own_append, submit};
use crate::commits::Reply;
use crate::error::catch;
use crate::instance::Instance;
use crate::worker::Live;
use crate::{Aggregate, Context, Receipt, SendError};

/// What the commands come to.
struct Outcome<A> {
    state: A,
    events: SmallVec<[NewEvent; 1]>,
}

pub(super) fn carry_out_all<A: Aggregate>(
    instance: &Arc<Instance<A>>,
    live: &mut Live<A>,
    commands: Vec<A::Command>,
    metadata: &CommandMetadata,
    along: Option<Box<StreamAppend>>,
    reply: Reply<A>,
) -> Decision {
    let outcome = match on_a_copy(instance, live, commands, metadata) {
        Ok(outcome) => outcome,
        Err(error) => {
            note(instance, &error);
            answer(instance, reply, Err(error));
            return Decision::Standing;
        }
    };
    if outcome.events.is_empty() {
        let receipt = Receipt { version: live.version, position: None, events: 0, duplicate: false };
        answer(instance, reply, Ok(receipt));
        return Decision::Standing;
    }
    let mut batch = Batch::default();
    *own_append(&mut batch, instance, live) = outcome.events;
    if let Err(error) = complete(&mut batch, along) {
        answer(instance, reply, Err(error));
        return Decision::Standing;
    }
    live.state = outcome.state;
    submit(instance, live, batch, metadata, reply);
    Decision::Standing
}

fn on_a_copy<A: Aggregate>(
    instance: &Instance<A>,
    live: &Live<A>,
    commands: Vec<A::Command>,
    metadata: &CommandMetadata,
) -> Result<Outcome<A>, SendError<A>> {
    let state = catch(|| live.state.clone()).map_err(|message| SendError::Panicked { message })?;
    let mut outcome = Outcome { state, events: SmallVec::new() };
    for (index, command) in commands.into_iter().enumerate() {
        let version = live.version.plus(outcome.events.len() as u64);
        let context = Context::new(instance.stream.clone(), version, metadata.clone());
        let done = catch(|| outcome.take_in(command, &context));
        done.unwrap_or_else(|message| Err(SendError::Panicked { message }))
            .map_err(|error| SendError::At { index, error: Box::new(error) })?;
    }
    Ok(outcome)
}

impl<A: Aggregate> Outcome<A> {
    fn take_in(&mut self, command: A::Command, context: &Context) -> Result<(), SendError<A>> {
        for event in self.state.handle(command, context).map_err(SendError::Rejected)? {
            self.events.push(encode::<A>(&event, context.metadata()).map_err(SendError::Codec)?);
            self.state.apply(event);
        }
        Ok(())
    }
}

/// The state that is live was not touched: a panic on the copy is no reason to rebuild it.
fn note<A: Aggregate>(instance: &Instance<A>, error: &SendError<A>) {
    let metrics = &instance.kind.metrics;
    match error {
        SendError::At { error, .. } if matches!(**error, SendError::Rejected(_)) => {
            metrics.rejections.increment(1)
        }
        SendError::At { error, index } => {
            tracing::error!(stream = %instance.stream, index, reason = %error, "a list of commands was not carried out");
            metrics.panics.increment(u64::from(matches!(**error, SendError::Panicked { .. })));
        }
        _ => {}
    }
}
