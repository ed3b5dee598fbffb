//! Publishing through the sidecar.

use std::collections::HashMap;
use std::sync::Arc;

use dapr::dapr::proto::runtime::v1::{
    BulkPublishRequest, BulkPublishRequestEntry, BulkPublishResponse, PublishEventRequest,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tonic::{Code, Status};

use super::components::Components;
use super::sidecar::Sidecar;
use super::state::SidecarState;
use super::wire::{self, ENVELOPE_TYPE};
use super::{DaprOptions, PublishCalls};
use crate::broker::{PublishError, Publisher};
use crate::envelope::trace_text;
use crate::relay::Answer;
use crate::{Envelope, Topic};

mod queue;

use queue::{Call, Queue, Reply, Waiting};

type Taken = Result<(), PublishError>;

/// Hands events to the sidecar. There are so many calls at once; each takes what waits for a topic, so that it is as full
/// as the load makes it, and nobody waits for more to come.
pub(super) struct DaprPublisher {
    caller: Caller,
    queue: Arc<Queue>,
    /// The calls under way. They end with the publisher.
    calls: Mutex<JoinSet<()>>,
}

/// What a call needs.
#[derive(Clone)]
struct Caller {
    sidecar: Sidecar,
    state: watch::Sender<SidecarState>,
    components: Components,
}

impl DaprPublisher {
    pub(super) fn new(sidecar: Sidecar, state: watch::Sender<SidecarState>, options: &DaprOptions) -> Self {
        let (calls, events) = match options.publish {
            PublishCalls::Single { calls } => (calls, 1),
            PublishCalls::Bulk { calls, events } => (calls, events),
        };
        let components = Components::new(options);
        Self {
            caller: Caller { sidecar, state, components },
            queue: Arc::new(Queue::new(calls, events)),
            calls: Mutex::default(),
        }
    }

    fn put(&self, envelope: Arc<Envelope>, reply: Reply) {
        if let Some(call) = self.queue.put(Waiting { envelope, reply }) {
            let mut calls = self.calls.lock();
            while calls.try_join_next().is_some() {}
            calls.spawn(self.caller.clone().serve(call));
        }
    }
}

impl Publisher for DaprPublisher {
    fn publish<'a>(&'a self, envelope: &'a Arc<Envelope>) -> BoxFuture<'a, Taken> {
        async move {
            let (caller, answer) = oneshot::channel();
            self.put(Arc::clone(envelope), Reply::Caller(caller));
            answer.await.unwrap_or_else(|_| Err(given_up()))
        }
        .boxed()
    }

    fn takes_offers(&self) -> bool {
        true
    }

    fn offer(&self, envelope: Arc<Envelope>, answer: Answer) -> Option<Answer> {
        self.put(envelope, Reply::Relay(answer));
        None
    }
}

impl Caller {
    /// Makes one call after the other, as long as something waits.
    async fn serve(self, mut call: Call) {
        while let Some((topic, batch)) = call.next() {
            self.send(&topic, batch).await;
        }
    }

    async fn send(&self, topic: &Topic, mut batch: Vec<Waiting>) {
        if let Some(reason) = self.refused() {
            let refusal = PublishError::configuration(reason);
            batch.into_iter().for_each(|one| one.reply.give(Err(refusal.clone())));
        } else if batch.len() > 1 {
            self.bulk(topic, batch).await;
        } else if let Some(one) = batch.pop() {
            self.single(one).await;
        }
    }

    /// Why nothing may be published through this sidecar.
    fn refused(&self) -> Option<String> {
        match &*self.state.borrow() {
            SidecarState::Refused { reason } => Some(reason.clone()),
            _ => None,
        }
    }

    async fn single(&self, one: Waiting) {
        let Waiting { envelope, reply } = one;
        reply.give(match body(&envelope) {
            Ok(data) => self.publish(&envelope, data).await,
            Err(error) => Err(error),
        });
    }

    async fn publish(&self, envelope: &Envelope, data: Vec<u8>) -> Taken {
        let event = PublishEventRequest {
            pubsub_name: self.components.of(&envelope.topic).to_string(),
            topic: envelope.topic.to_string(),
            data,
            data_content_type: ENVELOPE_TYPE.to_owned(),
            metadata: wire::metadata(envelope),
        };
        let trace = envelope.trace.as_ref().map(trace_text);
        self.sidecar.publish(event, trace.as_deref()).await.map_err(|status| refusal(&status))
    }

    async fn bulk(&self, topic: &Topic, batch: Vec<Waiting>) {
        let (request, batch) = self.request(topic, batch);
        match self.sidecar.publish_bulk(request).await {
            Ok(response) => answer_each(batch, &response),
            // One event that the sidecar does not take has it refuse all: alone, each gets its own answer.
            Err(status)
                if matches!(
                    status.code(),
                    Code::InvalidArgument | Code::ResourceExhausted | Code::Unimplemented
                ) =>
            {
                for one in batch {
                    self.single(one).await;
                }
            }
            Err(status) => batch.into_iter().for_each(|one| one.reply.give(Err(refusal(&status)))),
        }
    }

    /// A call with all events that can be written, in their order; the others are told so.
    fn request(&self, topic: &Topic, batch: Vec<Waiting>) -> (BulkPublishRequest, Vec<Waiting>) {
        let (mut entries, mut written) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for one in batch {
            match body(&one.envelope) {
                Ok(event) => {
                    entries.push(entry(entries.len(), &one.envelope, event));
                    written.push(one);
                }
                Err(error) => one.reply.give(Err(error)),
            }
        }
        let (pubsub_name, topic) = (self.components.of(topic).to_string(), topic.to_string());
        (BulkPublishRequest { pubsub_name, topic, entries, metadata: HashMap::new() }, written)
    }
}

fn body(envelope: &Envelope) -> Result<Vec<u8>, PublishError> {
    wire::body(envelope).map_err(|error| PublishError::configuration(error.to_string()))
}

fn entry(index: usize, envelope: &Envelope, event: Vec<u8>) -> BulkPublishRequestEntry {
    BulkPublishRequestEntry {
        entry_id: index.to_string(),
        event,
        content_type: ENVELOPE_TYPE.to_owned(),
        metadata: wire::metadata(envelope),
    }
}

fn answer_each(batch: Vec<Waiting>, response: &BulkPublishResponse) {
    let failed: HashMap<&str, &str> =
        response.failed_entries.iter().map(|entry| (entry.entry_id.as_str(), entry.error.as_str())).collect();
    for (index, one) in batch.into_iter().enumerate() {
        let failure = if failed.is_empty() { None } else { failed.get(index.to_string().as_str()) };
        one.reply.give(failure.map_or(Ok(()), |reason| Err(PublishError::unavailable(*reason))));
    }
}

fn given_up() -> PublishError {
    PublishError::unavailable("the call that it was part of was given up")
}

/// Whether trying again may help, by what the sidecar says. Whatever fails behind it is `Internal`, for good or not.
fn refusal(status: &Status) -> PublishError {
    let reason = format!("{:?}: {}", status.code(), status.message());
    match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::Unauthenticated
        | Code::ResourceExhausted
        | Code::OutOfRange
        | Code::Unimplemented => PublishError::configuration(reason),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::AlreadyExists
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => PublishError::unavailable(reason),
    }
}
