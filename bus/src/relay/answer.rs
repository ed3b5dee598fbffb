//! Where the answers of a publisher go that takes events without being waited for.

use std::fmt;
use std::sync::Arc;

use super::lanes::{Job, LaneKey};
use crate::broker::PublishError;
use crate::mailbox::Mailbox;
use crate::schema::LazyValidator;

/// What became of an event that was offered.
pub(super) struct Answered {
    pub(super) key: LaneKey,
    pub(super) job: Job,
    pub(super) result: Result<(), PublishError>,
}

/// Where the answers to all events that were offered go.
pub(super) type Answers = Mailbox<Answered>;

/// Where the answer to one event goes that a publisher takes without being waited for
/// ([`Publisher::offer`](crate::Publisher::offer)). Dropped without an answer, it says that the event is to be published
/// again.
pub struct Answer(Option<Open>);

struct Open {
    key: LaneKey,
    job: Job,
    answers: Arc<Answers>,
    /// The schema that the event was found to satisfy on its way.
    satisfies: Option<Arc<LazyValidator>>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let event = self.0.as_ref().map(|open| &open.job.envelope.id);
        f.debug_struct("Answer").field("event", &event).finish()
    }
}

impl Answer {
    pub(super) fn new(answers: &Arc<Answers>, key: LaneKey, job: Job) -> Self {
        Self(Some(Open { key, job, answers: Arc::clone(answers), satisfies: None }))
    }

    /// Says what became of the event; `Ok` only when it is safe with whoever took it.
    pub fn give(mut self, result: Result<(), PublishError>) {
        self.send(result);
    }

    /// The event satisfies this schema.
    pub(crate) fn satisfies(mut self, schema: Option<Arc<LazyValidator>>) -> Self {
        if let Some(open) = &mut self.0 {
            open.satisfies = schema;
        }
        self
    }

    /// The schema that the event was found to satisfy, if it was held against one.
    pub(crate) fn satisfied(&self) -> Option<&Arc<LazyValidator>> {
        self.0.as_ref().and_then(|open| open.satisfies.as_ref())
    }

    /// Nobody takes the event.
    pub(super) fn take_back(mut self) -> Option<(LaneKey, Job)> {
        self.0.take().map(|Open { key, job, .. }| (key, job))
    }

    fn send(&mut self, result: Result<(), PublishError>) {
        if let Some(Open { key, job, answers, .. }) = self.0.take() {
            // A relay that is gone has left its cursor below the event.
            drop(answers.put(Answered { key, job, result }));
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.0.is_some() {
            self.send(Err(PublishError::unavailable("it was given up by whoever took it")));
        }
    }
}
