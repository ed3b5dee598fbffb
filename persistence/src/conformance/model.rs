//! Random histories, on a journal and on a model of one that is too simple to be wrong. A history is a list of steps, so
//! that one that fails can be told in few of them.

use std::collections::{BTreeMap, BTreeSet};

use super::{JournalFactory, Random, Seed, replayable};
use crate::{
    AppendError, AppendResult, Batch, Durable, NewEvent, Position, RecordedEvent, StreamId, StreamInfo,
    Version,
};

mod run;
mod step;

use run::run;
use step::Step;

/// How long a history is.
const STEPS: usize = 50;

/// Whatever is done to it, a journal does what a plain list of events would: `ANNALS_CASES` histories of 50 steps.
pub async fn random_histories_match_a_model(factory: &impl JournalFactory) {
    let seeds = replayable(12);
    for &seed in &seeds {
        let _told = Seed(seed);
        let mut random = Random::new(seed);
        let steps: Vec<_> = (0..STEPS).map(|_| Step::any(&mut random)).collect();
        if let Err(wrong) = run(factory, &steps).await {
            let (steps, wrong) = shortest(factory, steps, wrong).await;
            panic!("{wrong}; {} steps that show it: {steps:#?}", steps.len());
        }
    }
    told(seeds.len());
}

#[allow(clippy::print_stdout, reason = "whoever runs many wants to read that there were many")]
fn told(histories: usize) {
    println!("{histories} histories of {STEPS} steps are what the model says");
}

/// Leaves steps out, many at first and at last one by one, as long as it goes wrong without them.
async fn shortest(
    factory: &impl JournalFactory,
    mut steps: Vec<Step>,
    mut wrong: String,
) -> (Vec<Step>, String) {
    let mut at_once = steps.len() / 2;
    while at_once > 0 {
        let mut from = 0;
        while from < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(from..(from + at_once).min(steps.len()));
            match run(factory, &fewer).await {
                Err(still) => (steps, wrong) = (fewer, still),
                Ok(()) => from += at_once,
            }
        }
        at_once /= 2;
    }
    (steps, wrong)
}

/// What a journal is, as plainly as it can be said.
#[derive(Default)]
struct Model {
    events: Vec<RecordedEvent>,
    /// The lineages that a refusal has ended.
    ended: BTreeSet<u64>,
}

/// What a model says of a batch: the answer, but for what else an error tells.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Appended { first: Position, last: Position, versions: Vec<Version> },
    Conflict { stream: StreamId, actual: Version },
    Superseded,
}

impl Verdict {
    /// The same of an answer; itself when no model gives it.
    fn of(answer: AppendResult) -> Result<Self, AppendError> {
        match answer {
            Ok(appended) => Ok(Self::Appended {
                first: appended.first,
                last: appended.last,
                versions: appended.versions.to_vec(),
            }),
            Err(AppendError::Conflict { stream, actual, .. }) => Ok(Self::Conflict { stream, actual }),
            Err(AppendError::Superseded) => Ok(Self::Superseded),
            Err(other) => Err(other),
        }
    }
}

impl Model {
    fn of<'a>(&'a self, stream: &'a StreamId) -> impl DoubleEndedIterator<Item = &'a RecordedEvent> {
        self.events.iter().filter(move |event| event.stream == *stream)
    }

    fn version(&self, stream: &StreamId) -> Version {
        Version(self.of(stream).count() as u64)
    }

    fn end(&self) -> Position {
        Position(self.events.len() as u64)
    }

    fn append(&mut self, batch: &Batch, lineage: Option<u64>) -> Verdict {
        if lineage.is_some_and(|lineage| self.ended.contains(&lineage)) {
            return Verdict::Superseded;
        }
        let conflict = batch.streams.iter().find(|s| !s.expected.allows(self.version(&s.stream)));
        if let Some(conflict) = conflict {
            self.ended.extend(lineage);
            let (stream, actual) = (conflict.stream.clone(), self.version(&conflict.stream));
            return Verdict::Conflict { stream, actual };
        }
        let first = self.end().next();
        for append in &batch.streams {
            append.events.iter().for_each(|event| self.push(&append.stream, event));
        }
        let versions = batch.streams.iter().map(|append| self.version(&append.stream)).collect();
        Verdict::Appended { first, last: self.end(), versions }
    }

    fn push(&mut self, stream: &StreamId, event: &NewEvent) {
        let (position, version) = (self.end().next(), self.version(stream).next());
        self.events.push(RecordedEvent { position, stream: stream.clone(), version, event: event.clone() });
    }

    fn durable(&self) -> Durable {
        let external = self.events.iter().rev().find(|event| !event.stream.is_internal());
        Durable { position: self.end(), external: external.map_or(Position::START, |event| event.position) }
    }

    fn streams(&self) -> Vec<StreamInfo> {
        let mut streams = BTreeMap::new();
        for event in &self.events {
            let (stream, version, last_time) = (event.stream.clone(), event.version, event.command.time);
            streams.insert(stream.clone(), StreamInfo { stream, version, last_time });
        }
        streams.into_values().collect()
    }
}

#[cfg(test)]
mod tests;
