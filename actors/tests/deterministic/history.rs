//! What was asked and what was answered, and what answers a [`Tally`] would have given that does one thing at a time.

use std::collections::BTreeMap;

use annals_actors::{CheckpointError, CheckpointReceipt, Receipt, SendError, StateError};
use annals_persistence::conformance::{Operation, Sequential};
use annals_persistence::{CommandId, Version};

use crate::tally::{Command, Refused, Tally};

/// Something that a client wants done, however often it has to ask for it.
#[derive(Debug, Clone)]
pub(crate) struct Op {
    pub(crate) number: u32,
    pub(crate) instance: usize,
    pub(crate) commands: Vec<Command>,
    pub(crate) id: CommandId,
    /// How often anything had been asked of the instance before.
    pub(crate) asked_before: usize,
}

/// One asking.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) instance: usize,
    pub(crate) call: Call,
    pub(crate) at: u64,
    pub(crate) answer: Option<(u64, Answer)>,
}

#[derive(Debug, Clone)]
pub(crate) enum Call {
    Do { op: u32, commands: Vec<Command>, expecting: Option<Version> },
    Read,
    Checkpoint,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Done(Receipt),
    Refused(u64),
    Conflict {
        expected: Version,
        actual: Version,
    },
    Panicked,
    Saw(Version, Tally),
    /// A checkpoint, at this version.
    Made(Version),
    /// It did not happen, and says nothing of the state.
    NotDone(&'static str),
    Unknown(&'static str),
}

impl Answer {
    pub(crate) fn to_command(result: Result<Receipt, SendError<Tally>>) -> Self {
        match result {
            Ok(receipt) => Self::Done(receipt),
            Err(error) => Self::to_failed(&error),
        }
    }

    fn to_failed(error: &SendError<Tally>) -> Self {
        match error {
            SendError::Rejected(Refused { count }) => Self::Refused(*count),
            SendError::Conflict { expected, actual } => {
                Self::Conflict { expected: *expected, actual: *actual }
            }
            SendError::Panicked { .. } => Self::Panicked,
            SendError::At { error, .. } => Self::to_failed(error),
            SendError::OutcomeUnknown { .. } => Self::Unknown(error.code()),
            SendError::NotCommitted(_)
            | SendError::MailboxFull { .. }
            | SendError::AllRefused { .. }
            | SendError::Parked { .. }
            | SendError::Stopping { .. } => Self::NotDone(error.code()),
            other => panic!("no command is answered like this: {other:?}"),
        }
    }

    pub(crate) fn to_checkpoint(result: Result<CheckpointReceipt, CheckpointError>) -> Self {
        match result {
            Ok(receipt) => Self::Made(receipt.version),
            Err(error @ CheckpointError::OutcomeUnknown { .. }) => Self::Unknown(error.code()),
            Err(
                error @ (CheckpointError::NotCommitted(_)
                | CheckpointError::NotFound { .. }
                | CheckpointError::Read(_)
                | CheckpointError::MailboxFull { .. }
                | CheckpointError::Parked { .. }
                | CheckpointError::Stopping),
            ) => Self::NotDone(error.code()),
            Err(other) => panic!("no checkpoint fails like this: {other:?}"),
        }
    }

    pub(crate) fn to_read(result: Result<(Version, Tally), StateError>) -> Self {
        match result {
            Ok((version, state)) => Self::Saw(version, state),
            Err(error) => Self::NotDone(error.code()),
        }
    }
}

impl Attempt {
    pub(crate) fn is_of(&self, op: u32) -> bool {
        matches!(self.call, Call::Do { op: asked, .. } if asked == op)
    }

    pub(crate) fn was_told_no(&self) -> bool {
        let answer = self.answer.as_ref().map(|(_, answer)| answer);
        matches!(answer, Some(Answer::Refused(_) | Answer::Conflict { .. } | Answer::Panicked))
    }

    pub(crate) fn may_have_happened(&self) -> bool {
        let answer = self.answer.as_ref().map(|(_, answer)| answer);
        matches!(answer, None | Some(Answer::Done(_) | Answer::Unknown(_)))
    }

    /// For the search for an order. What is known not to have been is no part of the history: what was said not to be, and
    /// what was never answered and has not happened when all is over.
    pub(crate) fn operation(&self, happened: impl Fn(u32) -> bool) -> Option<Operation<Call, Answer>> {
        let answered = match &self.answer {
            Some((_, Answer::NotDone(_))) => return None,
            None | Some((_, Answer::Unknown(_))) => None,
            Some((at, answer)) => Some((*at, answer.clone())),
        };
        let known = match self.call {
            Call::Read => answered.is_some(),
            Call::Checkpoint => answered.is_some(),
            Call::Do { op, .. } => answered.is_some() || happened(op),
        };
        known.then(|| Operation { call: self.call.clone(), called: self.at, answered })
    }
}

/// An instance, as its clients are to see it.
pub(crate) struct Instance;

/// What it is between two commands: what it has counted, and where each operation that it carried out ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Known {
    tally: Tally,
    version: u64,
    /// The last version that something happened at: nothing but checkpoints has come since.
    since: u64,
    done: BTreeMap<u32, u64>,
}

impl Sequential for Instance {
    type State = Known;
    type Call = Call;
    type Answer = Answer;

    fn begin(&self) -> Known {
        Known { tally: Tally::default(), version: 0, since: 0, done: BTreeMap::new() }
    }

    fn after(&self, known: &Known, call: &Call, answer: Option<&Answer>) -> Option<Known> {
        match (call, answer) {
            (Call::Read, Some(Answer::Saw(version, state))) => {
                (*state == known.tally && version.0 == known.version).then(|| known.clone())
            }
            (Call::Read, _) => None,
            (Call::Checkpoint, None) => (known.version > 0).then(|| known.with_checkpoint()),
            (Call::Checkpoint, Some(Answer::Made(version))) => {
                (known.version > 0 && version.0 == known.version + 1).then(|| known.with_checkpoint())
            }
            (Call::Checkpoint, _) => None,
            (Call::Do { op, .. }, Some(Answer::Done(receipt))) if receipt.duplicate => {
                (known.done.get(op) == Some(&receipt.version.0)).then(|| known.clone())
            }
            (Call::Do { op, .. }, _) if known.done.contains_key(op) => None,
            (Call::Do { op, commands, expecting }, answer) => known.decide(*op, commands, *expecting, answer),
        }
    }
}

impl Known {
    fn decide(
        &self,
        op: u32,
        commands: &[Command],
        expecting: Option<Version>,
        answer: Option<&Answer>,
    ) -> Option<Self> {
        let expected = expecting.is_none_or(|expected| (self.since..=self.version).contains(&expected.0));
        let panics = commands.iter().any(|command| matches!(command, Command::Panic { .. }));
        let after = self.tally.after(commands);
        match (answer, after) {
            (Some(Answer::Conflict { actual, .. }), _) => {
                (!expected && actual.0 == self.version).then(|| self.clone())
            }
            _ if !expected => None,
            (Some(Answer::Panicked), _) => panics.then(|| self.clone()),
            (Some(Answer::Refused(count)), Err(refused)) => (refused.count == *count).then(|| self.clone()),
            _ if panics => None,
            (Some(Answer::Done(receipt)), Ok(tally)) => {
                (receipt.version.0 == self.version_with(&tally)).then(|| self.with(op, tally))
            }
            (None, Ok(tally)) => (tally != self.tally).then(|| self.with(op, tally)),
            _ => None,
        }
    }

    fn version_with(&self, tally: &Tally) -> u64 {
        self.version + tally.count - self.tally.count
    }

    fn with(&self, op: u32, tally: Tally) -> Self {
        // An operation without events leaves nothing to remember it by.
        if tally == self.tally {
            return self.clone();
        }
        let (version, mut done) = (self.version_with(&tally), self.done.clone());
        done.insert(op, version);
        Self { tally, version, since: version, done }
    }

    fn with_checkpoint(&self) -> Self {
        Self { version: self.version + 1, ..self.clone() }
    }
}
