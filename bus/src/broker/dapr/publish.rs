//! Publishing through the sidecar.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use dapr::dapr::proto::runtime::v1::{
    BulkPublishRequest, BulkPublishRequestEntry, BulkPublishResponse, PublishEventRequest,
};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot, watch};
use tonic::{Code, Status};

use super::probe::SidecarState;
use super::sidecar::Sidecar;
use super::wire::{self, ENVELOPE_TYPE};
use super::{DaprOptions, PublishCalls};
use crate::broker::{PublishError, Publisher};
use crate::envelope::trace_text;
use crate::{Envelope, Topic};

/// How many bytes share a call, at most: the sidecar's own limit is 4 MiB, and an event may be larger than this alone.
const CALL_BYTES_MAX: usize = 1024 * 1024;

type Answer = Result<(), PublishError>;

/// An event that waits for its call.
struct Waiting {
    event: PublishEventRequest,
    trace: Option<String>,
    answer: oneshot::Sender<Answer>,
}

/// Hands events to the sidecar. Whoever gets one of the calls takes what waits for the same topic along, so that a
/// call is as full as the load makes it, and nobody waits for more to come.
pub(super) struct DaprPublisher {
    sidecar: Sidecar,
    state: watch::Sender<SidecarState>,
    pubsub: Arc<str>,
    calls: Semaphore,
    events_in_call: usize,
    waiting: Mutex<HashMap<Topic, VecDeque<Waiting>>>,
}

impl DaprPublisher {
    pub(super) fn new(sidecar: Sidecar, state: watch::Sender<SidecarState>, options: &DaprOptions) -> Self {
        let (calls, events_in_call) = match options.publish {
            PublishCalls::Single { calls } => (calls, 1),
            PublishCalls::Bulk { calls, events } => (calls, events.max(1)),
        };
        Self {
            sidecar,
            state,
            pubsub: Arc::clone(&options.pubsub),
            calls: Semaphore::new(calls.max(1)),
            events_in_call,
            waiting: Mutex::default(),
        }
    }

    async fn send(&self, envelope: &Envelope) -> Answer {
        if let SidecarState::Refused { reason } = &*self.state.borrow() {
            return Err(PublishError::configuration(reason));
        }
        let data = wire::body(envelope).map_err(|error| PublishError::configuration(error.to_string()))?;
        let (answer, mut answered) = oneshot::channel();
        let event = PublishEventRequest {
            pubsub_name: self.pubsub.to_string(),
            topic: envelope.topic.to_string(),
            data,
            data_content_type: ENVELOPE_TYPE.to_owned(),
            metadata: wire::metadata(envelope),
        };
        let trace = envelope.trace.as_ref().map(trace_text);
        self.waiting.lock().entry(envelope.topic.clone()).or_default().push_back(Waiting {
            event,
            trace,
            answer,
        });
        // The own event may stand behind a full call's worth of others.
        loop {
            tokio::select! {
                biased;
                answer = &mut answered => return answer.unwrap_or_else(|_| Err(given_up())),
                // The semaphore is never closed.
                _permit = self.calls.acquire() => if !self.call(&envelope.topic).await { break },
            }
        }
        // Another's call has taken the own event along.
        answered.await.unwrap_or_else(|_| Err(given_up()))
    }

    /// Uses a call for what waits on a topic, if anything does.
    async fn call(&self, topic: &Topic) -> bool {
        let mut batch = self.take(topic);
        if batch.len() > 1 {
            self.bulk(topic, batch).await;
        } else if let Some(one) = batch.pop() {
            self.single(one).await;
        } else {
            return false;
        }
        true
    }

    /// What waits longest on a topic, as much as shares a call.
    fn take(&self, topic: &Topic) -> Vec<Waiting> {
        let mut waiting = self.waiting.lock();
        let Some(queue) = waiting.get_mut(topic) else { return Vec::new() };
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(next) = queue.front() {
            bytes += next.event.data.len();
            let full = batch.len() == self.events_in_call || bytes > CALL_BYTES_MAX;
            if full && !batch.is_empty() {
                break;
            }
            batch.extend(queue.pop_front());
        }
        if queue.is_empty() {
            waiting.remove(topic);
        }
        batch
    }

    async fn single(&self, one: Waiting) {
        let Waiting { event, trace, answer } = one;
        let result = self.sidecar.publish(event, trace.as_deref()).await;
        // Who no longer waits publishes again, under the same id.
        drop(answer.send(result.map_err(|status| refusal(&status))));
    }

    async fn bulk(&self, topic: &Topic, batch: Vec<Waiting>) {
        match self.sidecar.publish_bulk(self.request(topic, &batch)).await {
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
            Err(status) => batch.into_iter().for_each(|one| drop(one.answer.send(Err(refusal(&status))))),
        }
    }

    fn request(&self, topic: &Topic, batch: &[Waiting]) -> BulkPublishRequest {
        let entry = |(index, one): (usize, &Waiting)| BulkPublishRequestEntry {
            entry_id: index.to_string(),
            event: one.event.data.clone(),
            content_type: ENVELOPE_TYPE.to_owned(),
            metadata: one.event.metadata.clone(),
        };
        BulkPublishRequest {
            pubsub_name: self.pubsub.to_string(),
            topic: topic.to_string(),
            entries: batch.iter().enumerate().map(entry).collect(),
            metadata: HashMap::new(),
        }
    }
}

impl Publisher for DaprPublisher {
    fn publish<'a>(&'a self, envelope: &'a Arc<Envelope>) -> BoxFuture<'a, Result<(), PublishError>> {
        self.send(envelope).boxed()
    }
}

fn answer_each(batch: Vec<Waiting>, response: &BulkPublishResponse) {
    let failed: HashMap<&str, &str> =
        response.failed_entries.iter().map(|entry| (entry.entry_id.as_str(), entry.error.as_str())).collect();
    for (index, one) in batch.into_iter().enumerate() {
        let failure = failed.get(index.to_string().as_str());
        drop(one.answer.send(failure.map_or(Ok(()), |reason| Err(PublishError::unavailable(*reason)))));
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
