//! What must hold, whatever happened.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use annals_actors::{Checkpoint, StateError};
use annals_persistence::conformance::{Operation, linearize};
use annals_persistence::{EmbeddedJournal, Position, RecordedEvent, StreamId, Version};

use crate::history::{Answer, Attempt, Call, Instance};
use crate::life::DIR;
use crate::tally::Tally;
use crate::world::World;

/// The log, as far as it was ever read.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    events: Vec<RecordedEvent>,
    /// The places of each operation's events.
    ops: HashMap<u32, Vec<usize>>,
    /// Each instance's states, one for every version from 0 on.
    states: HashMap<usize, Vec<Tally>>,
    /// Of each instance the versions of its checkpoints, what it was truncated before with each, and of which version each is.
    checkpoints: HashMap<usize, Vec<(Version, Version, Version)>>,
}

#[derive(serde::Deserialize)]
struct Payload {
    op: u32,
    seen: u64,
}

impl Seen {
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn checkpoints(&self) -> usize {
        self.checkpoints.values().map(Vec::len).sum()
    }

    /// The position behind all that was read.
    pub(crate) fn end(&self) -> Position {
        Position(self.events.len() as u64 + 1)
    }

    /// Takes in what the log has now: what was read before and not given up since, and more.
    fn go_on(&mut self, log: Vec<RecordedEvent>) {
        let (before, after): (Vec<_>, Vec<_>) =
            log.into_iter().partition(|event| event.position < self.end());
        let mut now = before.iter().peekable();
        for before in &self.events {
            if now.peek().is_some_and(|now| now.position == before.position) {
                assert_eq!(Some(before), now.next(), "what was read once reads otherwise");
            } else {
                assert!(self.may_go(before), "the log lost what it had shown: {before:?}");
            }
        }
        after.into_iter().for_each(|event| self.take(event));
    }

    fn may_go(&self, event: &RecordedEvent) -> bool {
        !event.stream.is_internal()
            && event.version < self.kept_from(event.stream.instance().parse().unwrap())
    }

    fn kept_from(&self, instance: usize) -> Version {
        let truncated =
            self.checkpoints.get(&instance).into_iter().flatten().map(|(_, kept_from, _)| *kept_from);
        truncated.max().unwrap_or_default()
    }

    /// The first version whose state can still be told.
    fn told_from(&self, instance: usize) -> Version {
        let kept_from = self.kept_from(instance);
        let mut made = self.checkpoints.get(&instance).into_iter().flatten();
        let first = made.find(|(at, ..)| *at >= kept_from).filter(|_| kept_from > Version(1));
        first.map_or(Version(1), |(.., of)| *of)
    }

    fn take(&mut self, event: RecordedEvent) {
        let place = self.events.len();
        assert_eq!(event.position.0, place as u64 + 1, "positions have no gap");
        if event.stream.is_internal() {
            // What the node wrote for itself, such as how the events look, has a position and is nobody's operation.
            return self.events.push(event);
        }
        let instance = event.stream.instance().parse().unwrap();
        let states = self.states.entry(instance).or_insert_with(|| vec![Tally::default()]);
        assert_eq!(event.version.0, states.len() as u64, "versions have no gap");
        let mut state = states.last().unwrap().clone();
        if let Some(checkpoint) = Checkpoint::of(&event).unwrap() {
            assert_eq!(checkpoint.state::<Tally>().unwrap(), state, "it says what the events come to");
            states.push(state);
            let checkpoints = self.checkpoints.entry(instance).or_default();
            checkpoints.push((event.version, checkpoint.kept_from, checkpoint.version));
            return self.events.push(event);
        }
        let Payload { op, seen } = serde_json::from_slice(&event.payload).unwrap();
        assert_eq!(state.trail, seen, "event {place} was decided on another state than the one before it");
        state.count_in(op);
        states.push(state);
        let places = self.ops.entry(op).or_default();
        assert!(places.last().is_none_or(|last| last + 1 == place), "operation {op} was carried out twice");
        places.push(place);
        self.events.push(event);
    }

    fn state(&self, instance: usize, version: Version) -> Option<&Tally> {
        static NOTHING: Tally = Tally { count: 0, trail: 0 };
        match self.states.get(&instance) {
            Some(states) => states.get(usize::try_from(version.0).unwrap()),
            None => (version == Version::NONE).then_some(&NOTHING),
        }
    }
}

impl World {
    /// Reads the log and compares it with everything known.
    pub(crate) fn check_log(&mut self) {
        if self.disk.crashed() {
            return;
        }
        let log = self.life().log();
        self.seen.go_on(log);
        self.hear();
        self.say(format_args!("{} events are there", self.seen.len()));
        for (op, places) in &self.seen.ops {
            let op = &self.ops[*op as usize];
            let first = &self.seen.events[places[0]];
            assert_eq!(first.stream, StreamId::aggregate("tally", &op.instance.to_string()).unwrap());
            assert_eq!(first.command.command_id, op.id);
            let before = self.seen.state(op.instance, Version(first.version.0 - 1)).unwrap();
            let after = before.after(&op.commands).unwrap();
            assert_eq!(places.len() as u64, after.count - before.count, "operation {} is torn", op.number);
        }
    }

    /// What an answer tells of is durable when it leaves.
    pub(crate) fn check_answer(&self, attempt: usize, answer: &Answer) {
        let told = match answer {
            Answer::Saw(version, _) | Answer::Conflict { actual: version, .. } | Answer::Made(version) => {
                *version
            }
            Answer::Done(receipt) => receipt.version,
            Answer::Refused(count) => Version(*count),
            Answer::Panicked | Answer::NotDone(_) | Answer::Unknown(_) => return,
        };
        let Attempt { instance, ref call, .. } = self.attempts[attempt];
        // One of several commands may be refused on what those before it in the same message would have left.
        let ahead = matches!(call, Call::Do { commands, .. } if commands.len() > 1);
        let durable = self.life().version(instance);
        assert!(ahead || told <= durable, "attempt {attempt} tells of {told}, durable is {durable}");
    }

    /// At the end: each answer against the log.
    pub(crate) fn check_answers(&self) {
        for attempt in &self.attempts {
            match (&attempt.call, attempt.answer.as_ref().map(|(_, answer)| answer)) {
                (_, Some(Answer::Saw(version, state))) => {
                    assert_eq!(self.seen.state(attempt.instance, *version), Some(state), "{attempt:?}");
                }
                (Call::Do { op, .. }, Some(Answer::Done(receipt))) if receipt.events > 0 => {
                    let places = &self.seen.ops[op];
                    let last = &self.seen.events[*places.last().unwrap()];
                    assert_eq!((last.version, Some(last.position)), (receipt.version, receipt.position));
                    assert_eq!(places.len(), receipt.events as usize, "{attempt:?}");
                }
                (_, Some(Answer::Made(version))) => {
                    let made = &self.seen.checkpoints[&attempt.instance];
                    assert!(made.iter().any(|(at, ..)| at == version), "{attempt:?}");
                }
                _ => {}
            }
        }
        self.check_refused();
        self.check_repeats();
        self.check_order();
    }

    /// What nobody was ever told could have happened is not there.
    fn check_refused(&self) {
        for op in self.seen.ops.keys() {
            let possible =
                self.attempts.iter().any(|attempt| attempt.is_of(*op) && attempt.may_have_happened());
            assert!(possible, "operation {op} is there, and every answer said that it is not");
        }
    }

    /// Who repeats what may have happened, and is told no, may rely on it: it has not happened, and will not by itself.
    fn check_repeats(&self) {
        for (op, places) in &self.seen.ops {
            let attempts: Vec<_> = self.attempts.iter().filter(|attempt| attempt.is_of(*op)).collect();
            for (at, said_no) in attempts.iter().enumerate().filter(|(_, attempt)| attempt.was_told_no()) {
                let possible = attempts.iter().enumerate().any(|(other, attempt)| {
                    let over = attempt.answer.as_ref().is_some_and(|(told, _)| *told < said_no.at);
                    other != at && attempt.may_have_happened() && !over
                });
                assert!(possible, "operation {op} is there at {places:?}, although {said_no:?} says no");
            }
        }
    }

    /// What is known of an instance, for the search for an order.
    pub(crate) fn history(&self, instance: usize) -> Vec<Operation<Call, Answer>> {
        let of = self.attempts.iter().filter(|attempt| attempt.instance == instance);
        let asked = of.filter_map(|attempt| attempt.operation(|op| self.seen.ops.contains_key(&op)));
        asked.chain(self.made_by_itself(instance)).collect()
    }

    /// The checkpoints that nobody was told of: made by policy, or asked for and never answered.
    fn made_by_itself(&self, instance: usize) -> impl Iterator<Item = Operation<Call, Answer>> {
        let told = |version: Version| {
            let of = self.attempts.iter().filter(|attempt| attempt.instance == instance);
            let mut answers = of.filter_map(|attempt| attempt.answer.as_ref());
            answers.any(|(_, answer)| *answer == Answer::Made(version))
        };
        let made = self.seen.checkpoints.get(&instance).into_iter().flatten();
        let untold: Vec<_> = made.map(|(at, ..)| *at).filter(|at| !told(*at)).collect();
        untold.into_iter().map(|at| Operation {
            call: Call::Checkpoint,
            called: 0,
            // Where it stands is known; when it was, is not.
            answered: Some((u64::MAX / 2, Answer::Made(at))),
        })
    }

    /// Each instance did one thing at a time.
    fn check_order(&self) {
        for instance in 0..self.instances {
            let history = self.history(instance);
            if let Err(error) = linearize(&Instance, &history) {
                let stuck: Vec<_> = error.stuck.iter().map(|place| &history[*place]).collect();
                panic!("instance {instance} did not do one thing after the other; next were {stuck:#?}");
            }
        }
    }

    /// Replay gives every state that there was; and the log is whole.
    pub(crate) fn check_replays(&mut self) {
        for instance in 0..self.instances {
            let last = self.seen.states.get(&instance).map_or(0, |states| states.len() as u64 - 1);
            for version in [1, last / 2, last].into_iter().filter(|version| *version > 0) {
                let version = Version(version);
                match self.life().state_at(instance, version) {
                    Ok(replayed) => {
                        assert_eq!(replayed.as_ref(), self.seen.state(instance, version));
                        assert!(
                            version >= self.seen.told_from(instance),
                            "{version} of {instance} was given up"
                        );
                    }
                    Err(StateError::Truncated { available, .. }) => {
                        assert_eq!(available, self.seen.told_from(instance));
                        assert!(version < available, "{version} of {instance} is told from {available} on");
                    }
                    Err(error) => panic!("{version} of {instance}: {error}"),
                }
            }
        }
        self.life().stop();
        self.life().close();
        let report = EmbeddedJournal::verify(Path::new(DIR), Arc::new(self.disk.clone()), |_| {}).unwrap();
        assert!(report.damage.is_empty(), "{report:?}");
    }
}
