//! The answers of one instance that wait for the disk: they leave in order, each when all that it was decided on
//! is durable, or with the failure of what it was decided on.

use std::collections::VecDeque;
use std::sync::Arc;

use annals_persistence::{AppendResult, CommandId, Position};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};

use crate::error::Failure;
use crate::memory::{CommandMemory, Remembered};
use crate::{Aggregate, Receipt, SendError};

/// Where the answer to a command goes.
pub(crate) type Reply<A> = oneshot::Sender<Result<Receipt, SendError<A>>>;

/// An answer that was decided without an append; called with the failure where what it was decided on failed.
pub(crate) type Answer = Box<dyn FnOnce(Result<(), Failure>) + Send>;

/// Keeps a snapshot whose state has become durable.
pub(crate) type Keep = Box<dyn FnOnce(CommandMemory) + Send>;

enum Entry<A: Aggregate> {
    /// A command whose events are on their way to the disk.
    Append { sequence: u64, outcome: Option<AppendResult>, receipt: Receipt, reply: Reply<A> },
    /// A command that repeats an earlier one.
    Repeat { command: Remembered, reply: Reply<A> },
    /// A read, a rejection, a conflict, a command without events.
    Answer(Answer),
    /// A snapshot of a state that is not durable yet, with the memory it had.
    Snapshot { memory: CommandMemory, keep: Keep },
}

struct State<A: Aggregate> {
    next_sequence: u64,
    entries: VecDeque<Entry<A>>,
    /// The first failure since the state was last rebuilt: all that was decided later fails too.
    failure: Option<Failure>,
    memory: CommandMemory,
}

/// The waiting answers, and the memory of commands, which learns positions as they leave.
pub(crate) struct Commits<A: Aggregate> {
    state: Mutex<State<A>>,
    idle: Notify,
}

impl<A: Aggregate> Commits<A> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                next_sequence: 0,
                entries: VecDeque::new(),
                failure: None,
                memory: CommandMemory::default(),
            }),
            idle: Notify::new(),
        })
    }

    /// Begins anew with the memory of a rebuilt state. Only when nothing waits.
    pub(crate) fn reset(&self, memory: CommandMemory) {
        let mut state = self.state.lock();
        debug_assert!(state.entries.is_empty(), "a new incarnation begins only when the old one is answered");
        state.failure = None;
        state.memory = memory;
    }

    /// The remembered command with this id.
    pub(crate) fn find(&self, command_id: CommandId) -> Option<Remembered> {
        self.state.lock().memory.find(command_id).copied()
    }

    /// Whether an append failed, so that the live state is built on sand.
    pub(crate) fn failed(&self) -> bool {
        self.state.lock().failure.is_some()
    }

    /// Whether nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.state.lock().entries.is_empty()
    }

    /// Ends when nothing waits.
    pub(crate) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            if self.is_idle() {
                return;
            }
            idle.await;
        }
    }

    /// Takes in a command whose events are about to be appended; its sequence number is for [`Commits::complete`].
    pub(crate) fn append(&self, command: Remembered, capacity: usize, reply: Reply<A>) -> u64 {
        let mut state = self.state.lock();
        let sequence = state.next_sequence;
        state.next_sequence += 1;
        state.memory.push(command, capacity);
        let receipt =
            Receipt { version: command.version, position: None, events: command.events, duplicate: false };
        state.entries.push_back(Entry::Append { sequence, outcome: None, receipt, reply });
        sequence
    }

    /// Answers a repeated command, when the first is answered.
    pub(crate) fn repeat(&self, command: Remembered, reply: Reply<A>) {
        self.enqueue(Entry::Repeat { command, reply });
    }

    /// Calls `answer` when everything decided before is durable: at once, where it is.
    pub(crate) fn answer(&self, answer: Answer) {
        self.enqueue(Entry::Answer(answer));
    }

    /// Calls `keep` with the memory as it is now, when everything decided before is durable; never, if it fails.
    pub(crate) fn snapshot(&self, keep: Keep) {
        let mut state = self.state.lock();
        let memory = state.memory.clone();
        state.entries.push_back(Entry::Snapshot { memory, keep });
        self.release(state);
    }

    fn enqueue(&self, entry: Entry<A>) {
        let mut state = self.state.lock();
        state.entries.push_back(entry);
        self.release(state);
    }

    /// Reports the outcome of an append.
    pub(crate) fn complete(&self, sequence: u64, result: AppendResult) {
        let mut state = self.state.lock();
        let waiting = state.entries.iter_mut().find_map(|entry| match entry {
            Entry::Append { sequence: s, outcome, .. } if *s == sequence => Some(outcome),
            _ => None,
        });
        if let Some(outcome) = waiting {
            *outcome = Some(result);
        }
        self.release(state);
    }

    /// Lets every answer at the front go that has nothing left to wait for.
    fn release(&self, mut state: MutexGuard<'_, State<A>>) {
        let waited = !state.entries.is_empty();
        while let Some(entry) = state.entries.pop_front() {
            if let Err(entry) = state.leave(entry) {
                state.entries.push_front(entry);
                return;
            }
        }
        drop(state);
        if waited {
            self.idle.notify_waiters();
        }
    }
}

impl<A: Aggregate> State<A> {
    /// Sends an answer, or gives it back where its append is still under way.
    fn leave(&mut self, entry: Entry<A>) -> Result<(), Entry<A>> {
        match entry {
            Entry::Append { outcome: Some(result), receipt, reply, .. } => {
                // Whoever no longer waits for the answer does not get it.
                drop(reply.send(self.settle(receipt, result)));
            }
            Entry::Append { .. } => return Err(entry),
            Entry::Repeat { command, reply } => drop(reply.send(self.repeated(&command))),
            Entry::Answer(answer) => answer(self.failure.clone().map_or(Ok(()), Err)),
            Entry::Snapshot { memory, keep } if self.failure.is_none() => {
                if let Some(memory) = memory.settled_by(&self.memory) {
                    keep(memory);
                }
            }
            Entry::Snapshot { .. } => {}
        }
        Ok(())
    }

    fn settle(&mut self, receipt: Receipt, result: AppendResult) -> Result<Receipt, SendError<A>> {
        match result {
            Ok(appended) => {
                let position = last_of_first_stream(receipt, appended.first);
                self.memory.settle(receipt.version, position);
                Ok(Receipt { position: Some(position), ..receipt })
            }
            Err(error) => {
                let failure = Failure::from(error);
                self.failure.get_or_insert_with(|| failure.clone());
                Err(SendError::from_failure(failure))
            }
        }
    }

    fn repeated(&self, command: &Remembered) -> Result<Receipt, SendError<A>> {
        match &self.failure {
            Some(failure) => Err(SendError::from_failure(failure.clone())),
            None => Ok(self.memory.find(command.command_id).unwrap_or(command).receipt()),
        }
    }
}

/// The command's own events come first in its batch, so that this is where the last of them stands.
fn last_of_first_stream(receipt: Receipt, first: Position) -> Position {
    Position(first.0 + u64::from(receipt.events.saturating_sub(1)))
}

#[cfg(test)]
mod tests;
