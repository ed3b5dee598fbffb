//! The answers of one instance that wait for the disk: they leave in order, each when all that it was decided on
//! is durable, or with the failure of what it was decided on.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use annals_persistence::planted::{Fault, planted};
use annals_persistence::{AppendError, AppendResult, CommandId, Position};
use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;
use tokio::sync::{Notify, oneshot};

use crate::error::Failure;
use crate::memory::{CommandMemory, Remembered};
use crate::queue::ShortQueue;
use crate::{Aggregate, Receipt, SendError};

/// Where the answer to a command goes.
pub(crate) type Reply<A> = oneshot::Sender<Result<Receipt, SendError<A>>>;

/// An answer that was decided without an append; called with the failure where what it was decided on failed.
pub(crate) type Answer = Box<dyn FnOnce(Result<(), Failure>) + Send>;

/// Keeps a snapshot whose state has become durable, with the memory of commands that belongs to it.
pub(crate) type Keep = Box<dyn FnOnce(CommandMemory) + Send>;

/// Told of what became of an append of the instance's own; with where its last event stands.
pub(crate) type Own = Box<dyn FnOnce(Result<Position, Failure>) + Send>;

/// How many outcomes are taken in under one lock.
const COMPLETED_AT_ONCE: usize = 32;

enum Entry<A: Aggregate> {
    /// A command whose events are on their way to the disk. Outcomes come in order but for a failing disk, so that
    /// hardly ever one has to be kept.
    Append { sequence: u64, command: Remembered, reply: Reply<A>, outcome: Option<Box<AppendResult>> },
    /// Events of the instance's own that no command is behind.
    Own { sequence: u64, done: Own, outcome: Option<Box<AppendResult>> },
    /// A command that repeats an earlier one.
    Repeat { command: Remembered, reply: Reply<A> },
    /// A read, a rejection, a conflict, a command without events.
    Answer(Answer),
    /// A snapshot of a state that is not durable yet.
    Snapshot(Keep),
}

struct State<A: Aggregate> {
    next_sequence: u64,
    entries: ShortQueue<Entry<A>>,
    /// The first failure since the state was last rebuilt: all that was decided later fails too.
    failure: Option<Box<Failure>>,
    /// Whether an append was refused that others wait in front of: its failure comes when they have left, and nothing is
    /// to be decided on it meanwhile.
    refused: bool,
    /// What is durable. When an entry leaves, this is the memory as it was when the entry was decided.
    memory: CommandMemory,
    /// How many commands are remembered.
    capacity: usize,
    /// Whether somebody waits for the end of all of this.
    idle_awaited: bool,
}

/// The waiting answers, and the memory of commands, which takes in a command as its answer leaves.
pub(crate) struct Commits<A: Aggregate> {
    state: Mutex<State<A>>,
    /// How many entries there are, to be asked without the lock.
    waiting: AtomicUsize,
    /// Whether there is a failure, likewise.
    failed: AtomicBool,
    idle: Notify,
}

impl<A: Aggregate> Commits<A> {
    /// Without anything that waits; it remembers `capacity` commands, at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::new(State {
                next_sequence: 0,
                entries: ShortQueue::new(),
                failure: None,
                refused: false,
                memory: CommandMemory::default(),
                capacity: capacity.max(1),
                idle_awaited: false,
            }),
            waiting: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            idle: Notify::new(),
        }
    }

    /// Begins anew with the memory of a rebuilt state. Only when nothing waits.
    pub(crate) fn reset(&self, memory: CommandMemory) {
        let mut state = self.state.lock();
        debug_assert!(state.entries.is_empty(), "a new incarnation begins only when the old one is answered");
        state.failure = None;
        state.refused = false;
        self.failed.store(false, Ordering::Release);
        state.memory = memory;
    }

    /// The remembered command with this id, durable or under way.
    pub(crate) fn find(&self, command_id: CommandId) -> Option<Remembered> {
        self.state.lock().find(command_id).copied()
    }

    /// Whether an append failed, so that the live state is built on sand.
    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Acquire) && !planted(Fault::StateKeptAfterFailure)
    }

    /// How many answers wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.state.lock().entries.is_empty()
    }

    /// Ends when nothing waits.
    pub(crate) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.idle_or_awaited() {
                return;
            }
            idle.await;
        }
    }

    fn idle_or_awaited(&self) -> bool {
        let mut state = self.state.lock();
        let idle = state.entries.is_empty();
        state.idle_awaited |= !idle;
        idle
    }

    /// Takes in a command whose events are about to be appended; its sequence number is for [`Commits::complete`].
    pub(crate) fn append(&self, command: Remembered, reply: Reply<A>) -> u64 {
        let mut state = self.state.lock();
        let sequence = state.next_sequence;
        state.next_sequence += 1;
        state.entries.push_back(Entry::Append { sequence, outcome: None, command, reply });
        self.waiting.store(state.entries.len(), Ordering::Relaxed);
        sequence
    }

    /// Takes in an append that no command is behind.
    pub(crate) fn append_own(&self, done: Own) -> u64 {
        let mut state = self.state.lock();
        let sequence = state.next_sequence;
        state.next_sequence += 1;
        state.entries.push_back(Entry::Own { sequence, outcome: None, done });
        self.waiting.store(state.entries.len(), Ordering::Relaxed);
        sequence
    }

    /// The memory of the commands that are durable.
    pub(crate) fn memory(&self) -> CommandMemory {
        self.state.lock().memory.clone()
    }

    /// Answers a repeated command, when the first is answered.
    pub(crate) fn repeat(&self, command: Remembered, reply: Reply<A>) {
        self.enqueue(Entry::Repeat { command, reply });
    }

    /// Calls `answer` when everything decided before is durable: at once, where it is.
    pub(crate) fn answer(&self, answer: Answer) {
        if planted(Fault::AnswerOvertakes) {
            return answer(Ok(()));
        }
        self.enqueue(Entry::Answer(answer));
    }

    /// Calls `keep` with the memory as it is now, when everything decided before is durable; never, if it fails.
    pub(crate) fn snapshot(&self, keep: Keep) {
        if planted(Fault::SnapshotAhead) {
            let memory = self.state.lock().memory.clone();
            return keep(memory);
        }
        self.enqueue(Entry::Snapshot(keep));
    }

    fn enqueue(&self, entry: Entry<A>) {
        let mut state = self.state.lock();
        state.entries.push_back(entry);
        self.release(state, Departures::new());
    }

    /// Reports the outcome of an append.
    pub(crate) fn complete(&self, sequence: u64, result: AppendResult) {
        self.complete_all(&mut std::iter::once((sequence, result)));
    }

    /// Reports the outcomes of several appends.
    pub(crate) fn complete_all(&self, outcomes: &mut dyn Iterator<Item = (u64, AppendResult)>) {
        while self.complete_some(outcomes) {}
    }

    /// Reports the outcomes of a few, so that the actor does not wait for the lock while many leave; `false` when there
    /// are no more.
    fn complete_some(&self, outcomes: &mut dyn Iterator<Item = (u64, AppendResult)>) -> bool {
        let mut outcomes = outcomes.take(COMPLETED_AT_ONCE).peekable();
        if outcomes.peek().is_none() {
            return false;
        }
        let mut leaving = Departures::new();
        let mut state = self.state.lock();
        for (sequence, result) in outcomes {
            leaving.extend(state.complete(sequence, result));
            state.leave_ready(&mut leaving);
        }
        self.release(state, leaving);
        true
    }

    /// Lets every answer at the front go that has nothing left to wait for, behind those that leave already. They are
    /// sent when the lock is free again: waking a caller takes longer than everything else here, and the actor must not
    /// wait for it.
    fn release(&self, mut state: MutexGuard<'_, State<A>>, mut leaving: Departures<A>) {
        state.leave_ready(&mut leaving);
        if state.failure.is_some() || state.refused {
            self.failed.store(true, Ordering::Release);
        }
        self.waiting.store(state.entries.len(), Ordering::Relaxed);
        let awaited = state.entries.is_empty() && std::mem::take(&mut state.idle_awaited);
        drop(state);
        leaving.into_iter().for_each(Leaving::send);
        if awaited {
            self.idle.notify_waiters();
        }
    }
}

/// Answers that leave together.
type Departures<A> = SmallVec<[Leaving<A>; 1]>;

/// An answer that has nothing left to wait for.
enum Leaving<A: Aggregate> {
    Reply(Reply<A>, Result<Receipt, SendError<A>>),
    Answer(Answer, Result<(), Failure>),
    Own(Own, Result<Position, Failure>),
    Keep(Keep, CommandMemory),
}

impl<A: Aggregate> Leaving<A> {
    fn send(self) {
        match self {
            // Whoever no longer waits for the answer does not get it.
            Self::Reply(reply, result) => drop(reply.send(result)),
            Self::Answer(answer, durable) => answer(durable),
            Self::Own(done, outcome) => done(outcome),
            Self::Keep(keep, memory) => keep(memory),
        }
    }
}

impl<A: Aggregate> Entry<A> {
    fn is_ready(&self) -> bool {
        !matches!(self, Self::Append { outcome: None, .. } | Self::Own { outcome: None, .. })
    }
}

impl<A: Aggregate> State<A> {
    /// Takes in the outcome of an append; the answer, where it is the one that leaves next.
    fn complete(&mut self, sequence: u64, result: AppendResult) -> Option<Leaving<A>> {
        if !matches!(self.entries.front(), Some(Entry::Append { sequence: s, .. }) if *s == sequence) {
            self.keep(sequence, result);
            return None;
        }
        match self.entries.pop_front() {
            Some(Entry::Append { command, reply, .. }) => {
                Some(Leaving::Reply(reply, self.settle(command, result)))
            }
            _ => None,
        }
    }

    fn keep(&mut self, sequence: u64, result: AppendResult) {
        let waiting = self.entries.iter_mut().find_map(|entry| match entry {
            Entry::Append { sequence: s, outcome, .. } | Entry::Own { sequence: s, outcome, .. }
                if *s == sequence =>
            {
                Some(outcome)
            }
            _ => None,
        });
        if let Some(outcome) = waiting {
            self.refused |= result.is_err();
            *outcome = Some(Box::new(result));
        }
    }

    fn leave_ready(&mut self, leaving: &mut Departures<A>) {
        while self.entries.front().is_some_and(Entry::is_ready) {
            leaving.extend(self.entries.pop_front().and_then(|entry| self.leave(entry)));
        }
    }

    /// What an entry says as it leaves.
    fn leave(&mut self, entry: Entry<A>) -> Option<Leaving<A>> {
        match entry {
            Entry::Append { outcome, command, reply, .. } => {
                outcome.map(|result| Leaving::Reply(reply, self.settle(command, *result)))
            }
            Entry::Own { outcome, done, .. } => {
                outcome.map(|result| Leaving::Own(done, self.settle_own(*result)))
            }
            Entry::Repeat { command, reply } => Some(Leaving::Reply(reply, self.repeated(&command))),
            Entry::Answer(answer) => {
                let durable = self.failure.as_deref().cloned().map_or(Ok(()), Err);
                Some(Leaving::Answer(answer, durable))
            }
            Entry::Snapshot(keep) => self.failure.is_none().then(|| Leaving::Keep(keep, self.memory.clone())),
        }
    }

    fn settle(&mut self, mut command: Remembered, result: AppendResult) -> Result<Receipt, SendError<A>> {
        match result {
            Ok(appended) => {
                command.position = last_of_first_stream(&command, appended.first);
                self.memory.push(command, self.capacity);
                Ok(Receipt { duplicate: false, ..command.receipt() })
            }
            Err(error) => Err(SendError::from_failure(self.fail(error))),
        }
    }

    fn settle_own(&mut self, result: AppendResult) -> Result<Position, Failure> {
        result.map(|appended| appended.last).map_err(|error| self.fail(error))
    }

    /// An append was refused: everything behind it goes with it.
    fn fail(&mut self, error: AppendError) -> Failure {
        let failure = Failure::from(error);
        self.failure.get_or_insert_with(|| Box::new(failure.of_those_behind()));
        failure
    }

    fn repeated(&self, command: &Remembered) -> Result<Receipt, SendError<A>> {
        match &self.failure {
            Some(failure) => Err(SendError::from_failure((**failure).clone())),
            // It was remembered when this was decided, and that is the memory now.
            None => Ok(self.memory.find(command.command_id, self.capacity).unwrap_or(command).receipt()),
        }
    }

    /// Looks among the last commands, first at those under way: they are later than the durable ones.
    fn find(&self, command_id: CommandId) -> Option<&Remembered> {
        let is_it = |command: &&Remembered| command.command_id == command_id;
        let within = self.capacity.saturating_sub(self.under_way().count());
        let under_way = self.under_way().rev().take(self.capacity).find(is_it);
        let found = under_way.or_else(|| self.memory.find(command_id, within));
        found.or_else(|| self.under_way().next().filter(|_| self.memory.is_empty()).filter(is_it))
    }

    /// The commands of the appends that wait, in their order.
    fn under_way(&self) -> impl DoubleEndedIterator<Item = &Remembered> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Append { command, .. } => Some(command),
            Entry::Own { .. } | Entry::Repeat { .. } | Entry::Answer(_) | Entry::Snapshot(_) => None,
        })
    }
}

/// The command's own events come first in its batch, so that this is where the last of them stands.
fn last_of_first_stream(command: &Remembered, first: Position) -> Position {
    Position(first.0 + u64::from(command.events.saturating_sub(1)))
}

#[cfg(test)]
mod tests;
