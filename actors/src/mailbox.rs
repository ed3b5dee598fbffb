//! The bounded queue in front of an instance. It, not ractor's mailbox, holds what was accepted, so that nothing is
//! lost when an actor ends.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use annals_persistence::{CommandId, StreamAppend, Version};
use parking_lot::{Mutex, MutexGuard};

use crate::Aggregate;
use crate::checkpoint::Order;
use crate::command::SendOptions;
use crate::commits::Reply;
use crate::error::{Failure, StateError};
use crate::queue::ShortQueue;
use crate::turn::{A_CHECKPOINT, A_READ};
use crate::work::Work;
use crate::worker::Live;

/// A command that waits for its turn.
pub(crate) struct CommandRequest<A: Aggregate> {
    pub(crate) work: Work<A>,
    pub(crate) hash: u64,
    /// What it is called, as a number of [`CommandNames`](crate::names::CommandNames).
    pub(crate) name: u32,
    pub(crate) options: Option<Box<SendOptions>>,
    pub(crate) span: tracing::Span,
    pub(crate) reply: Reply<A>,
}

impl<A: Aggregate> CommandRequest<A> {
    pub(crate) fn expecting(&self) -> Option<Version> {
        self.options.as_ref()?.expecting
    }

    /// The id that the sender chose: only then can it be a repetition.
    pub(crate) fn chosen_id(&self) -> Option<CommandId> {
        self.options.as_ref()?.command_id
    }

    pub(crate) fn take_along(&mut self) -> Option<Box<StreamAppend>> {
        self.options.as_mut()?.along.take()
    }
}

/// Looks at the live state and makes the answer; the answer leaves when the state is durable.
pub(crate) type Look<A> = Box<dyn FnOnce(&Live<A>) -> Box<dyn FnOnce(Result<(), Failure>) + Send> + Send>;

/// A look at the state that waits for its turn.
pub(crate) struct ReadRequest<A: Aggregate> {
    pub(crate) look: Look<A>,
    pub(crate) refuse: Box<dyn FnOnce(StateError) + Send>,
}

/// What an instance can be asked. Boxed, so that it is not moved again until its turn comes.
pub(crate) enum Request<A: Aggregate> {
    Command(Box<CommandRequest<A>>),
    Read(Box<ReadRequest<A>>),
    Checkpoint(Box<Order>),
}

/// What can be admitted: one request, or several that are admitted together or not at all.
pub(crate) trait Requests<A: Aggregate> {
    fn count(&self) -> usize;
    fn put_into(self, queue: &mut ShortQueue<Request<A>>);
}

impl<A: Aggregate> Requests<A> for Box<CommandRequest<A>> {
    fn count(&self) -> usize {
        1
    }

    fn put_into(self, queue: &mut ShortQueue<Request<A>>) {
        queue.push_back(Request::Command(self));
    }
}

impl<A: Aggregate> Requests<A> for Box<ReadRequest<A>> {
    fn count(&self) -> usize {
        1
    }

    fn put_into(self, queue: &mut ShortQueue<Request<A>>) {
        queue.push_back(Request::Read(self));
    }
}

impl<A: Aggregate> Requests<A> for Box<Order> {
    fn count(&self) -> usize {
        1
    }

    fn put_into(self, queue: &mut ShortQueue<Request<A>>) {
        queue.push_back(Request::Checkpoint(self));
    }
}

impl<A: Aggregate> Requests<A> for Vec<Box<CommandRequest<A>>> {
    fn count(&self) -> usize {
        self.len()
    }

    fn put_into(self, queue: &mut ShortQueue<Request<A>>) {
        self.into_iter().for_each(|request| queue.push_back(Request::Command(request)));
    }
}

impl<A: Aggregate> Request<A> {
    /// What it is called, as a number of [`CommandNames`](crate::names::CommandNames).
    pub(crate) fn name(&self) -> u32 {
        match self {
            Self::Command(request) => request.name,
            Self::Read(_) => A_READ,
            Self::Checkpoint(_) => A_CHECKPOINT,
        }
    }

    /// Answers with a failure instead of being carried out.
    pub(crate) fn refuse(self, failure: Failure) {
        match self {
            Self::Command(request) => {
                // Whoever no longer waits for the answer does not get it.
                drop(request.reply.send(Err(crate::SendError::from_failure(failure))));
            }
            Self::Read(request) => (request.refuse)(StateError::from_failure(failure)),
            Self::Checkpoint(order) => order.refuse(failure),
        }
    }
}

/// Why a request was not admitted; it comes back as what it was.
pub(crate) enum Refused<T> {
    Full(T),
    /// The instance is passivating: another incarnation takes it.
    Closed(T),
}

/// What an instance's actor is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    /// There are requests.
    Work,
    /// Go, if there is nothing to do.
    Passivate,
    /// Do what there is, then go.
    Drain,
}

struct State<A: Aggregate> {
    queue: ShortQueue<Request<A>>,
    closed: bool,
    passivate: bool,
    drain: bool,
    /// Whether the actor waits for something to do, and what wakes it.
    asleep: bool,
    waker: Option<Waker>,
    /// How many requests were taken so far.
    taken: u64,
}

/// What waits in a mailbox. Requests are numbered in the order in which they came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// How many were taken before the first of them.
    pub(crate) taken: u64,
    pub(crate) count: usize,
}

/// Wakes the actor if it waits, when the lock is free again.
fn wake<A: Aggregate>(mut state: MutexGuard<'_, State<A>>) {
    let waker = if std::mem::take(&mut state.asleep) { state.waker.clone() } else { None };
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The queue of one instance, and how its actor learns of what is in it: as a future does, without a message for each.
pub(crate) struct Mailbox<A: Aggregate>(Mutex<State<A>>);

impl<A: Aggregate> Mailbox<A> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State {
            queue: ShortQueue::new(),
            closed: false,
            passivate: false,
            drain: false,
            asleep: false,
            waker: None,
            taken: 0,
        }))
    }

    /// Admits a request, and wakes the actor for it.
    pub(crate) fn admit<T: Requests<A>>(&self, request: T, capacity: usize) -> Result<(), Refused<T>> {
        let mut state = self.0.lock();
        if state.closed {
            return Err(Refused::Closed(request));
        }
        if state.queue.len() + request.count() > capacity {
            return Err(Refused::Full(request));
        }
        request.put_into(&mut state.queue);
        wake(state);
        Ok(())
    }

    /// Tells the actor to go, when it comes to it.
    pub(crate) fn passivate(&self) {
        let mut state = self.0.lock();
        state.passivate = true;
        wake(state);
    }

    /// Tells the actor to do what there is and go.
    pub(crate) fn drain(&self) {
        let mut state = self.0.lock();
        state.drain = true;
        wake(state);
    }

    /// What the actor is to do next; where there is nothing, it is woken when there is.
    pub(crate) fn poll_call(&self, cx: &Context<'_>) -> Poll<Call> {
        let mut state = self.0.lock();
        state.asleep = false;
        if std::mem::take(&mut state.drain) {
            return Poll::Ready(Call::Drain);
        }
        if !state.queue.is_empty() {
            return Poll::Ready(Call::Work);
        }
        if std::mem::take(&mut state.passivate) {
            return Poll::Ready(Call::Passivate);
        }
        state.asleep = true;
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Takes the next request. Where more wait, at most `limit` in all are taken and put into `more`, which must be
    /// empty: one lock for all of them.
    pub(crate) fn take(&self, limit: usize, more: &mut VecDeque<Request<A>>) -> Option<Request<A>> {
        let mut state = self.0.lock();
        let first = state.queue.take(limit, more);
        state.taken += u64::from(first.is_some()) + more.len() as u64;
        first
    }

    /// Puts requests back at the front, in their order: they were taken and not begun.
    pub(crate) fn put_back(&self, first: Request<A>, more: &mut VecDeque<Request<A>>) {
        let mut state = self.0.lock();
        state.taken -= 1 + more.len() as u64;
        while let Some(request) = more.pop_back() {
            state.queue.push_front(request);
        }
        state.queue.push_front(first);
    }

    /// Takes the next request.
    pub(crate) fn next(&self) -> Option<Request<A>> {
        let mut state = self.0.lock();
        let next = state.queue.pop_front();
        state.taken += u64::from(next.is_some());
        next
    }

    /// What waits, as of now.
    pub(crate) fn waiting(&self) -> Waiting {
        let state = self.0.lock();
        Waiting { taken: state.taken, count: state.queue.len() }
    }

    /// Closes it if it is empty and `also` holds: from then on requests go to the next incarnation.
    pub(crate) fn close_if_empty(&self, also: impl FnOnce() -> bool) -> bool {
        let mut state = self.0.lock();
        if state.queue.is_empty() && !state.closed && also() {
            state.closed = true;
        }
        state.closed
    }

    /// Whether it was closed: its instance has left.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.lock().closed
    }

    /// Whether no request waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().queue.is_empty()
    }
}
