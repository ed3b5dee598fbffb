//! What waits for a call: by topic, and how many calls there are.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::relay::Answer;
use crate::{Envelope, PublishError, Topic};

/// How many bytes share a call, at most: the sidecar's own limit is 4 MiB, and an event may be larger than this alone.
const CALL_BYTES_MAX: usize = 1024 * 1024;
/// What an event has beside its content, and how much longer that may become as it is written, as a rule.
const ATTRIBUTES_BYTES: usize = 1024;

/// An event that waits for its call.
pub(super) struct Waiting {
    pub(super) envelope: Arc<Envelope>,
    pub(super) reply: Reply,
}

/// Who wants to know what becomes of an event.
pub(super) enum Reply {
    /// Somebody who waits for it.
    Caller(oneshot::Sender<Result<(), PublishError>>),
    /// A relay, which goes on meanwhile.
    Relay(Answer),
}

impl Reply {
    pub(super) fn give(self, result: Result<(), PublishError>) {
        match self {
            // Who no longer waits publishes again, under the same id.
            Self::Caller(caller) => drop(caller.send(result)),
            Self::Relay(answer) => answer.give(result),
        }
    }
}

/// What waits, and who works on it. Topics take turns.
pub(super) struct Queue {
    state: Mutex<State>,
    calls_max: usize,
    events_in_call: usize,
}

#[derive(Default)]
struct State {
    topics: HashMap<Topic, VecDeque<Waiting>>,
    /// The topics on which something waits.
    turns: VecDeque<Topic>,
    /// How many calls there are.
    calls: usize,
}

/// One of the calls that there may be at once. It is given up when it is dropped.
pub(super) struct Call {
    queue: Arc<Queue>,
    over: bool,
}

impl Queue {
    pub(super) fn new(calls_max: usize, events_in_call: usize) -> Self {
        Self { state: Mutex::default(), calls_max: calls_max.max(1), events_in_call: events_in_call.max(1) }
    }

    /// Puts an event in its place; comes back with a call where there may be another.
    pub(super) fn put(self: &Arc<Self>, one: Waiting) -> Option<Call> {
        let mut state = self.state.lock();
        state.push(one);
        if state.calls == self.calls_max {
            return None;
        }
        state.calls += 1;
        Some(Call { queue: Arc::clone(self), over: false })
    }
}

impl Call {
    /// What waits longest on the topic whose turn it is, as much as shares a call. Where nothing waits the call is over,
    /// and whoever puts something in gets another.
    pub(super) fn next(&mut self) -> Option<(Topic, Vec<Waiting>)> {
        let mut state = self.queue.state.lock();
        let next = state.take(self.queue.events_in_call);
        if next.is_none() {
            self.over = true;
            state.calls -= 1;
        }
        next
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.over {
            self.queue.state.lock().calls -= 1;
        }
    }
}

impl State {
    fn push(&mut self, one: Waiting) {
        let topic = &one.envelope.topic;
        match self.topics.get_mut(topic) {
            Some(queue) => queue.push_back(one),
            None => {
                self.turns.push_back(topic.clone());
                self.topics.insert(topic.clone(), VecDeque::from([one]));
            }
        }
    }

    fn take(&mut self, events: usize) -> Option<(Topic, Vec<Waiting>)> {
        let topic = self.turns.pop_front()?;
        let queue = self.topics.get_mut(&topic)?;
        let batch = take_some(queue, events);
        if queue.is_empty() {
            self.topics.remove(&topic);
        } else {
            self.turns.push_back(topic.clone());
        }
        Some((topic, batch))
    }
}

fn take_some(queue: &mut VecDeque<Waiting>, events: usize) -> Vec<Waiting> {
    let mut bytes = 0;
    let mut fits = |one: &Waiting| {
        bytes += bytes_of(&one.envelope);
        bytes <= CALL_BYTES_MAX
    };
    let count = queue.iter().take(events).take_while(|one| fits(one)).count();
    queue.drain(..count.max(1)).collect()
}

/// About as many bytes as an event takes in a call: half as many again where it goes in base64.
fn bytes_of(envelope: &Envelope) -> usize {
    ATTRIBUTES_BYTES + envelope.data.as_ref().map_or(0, |data| data.get().len() * 3 / 2)
}
