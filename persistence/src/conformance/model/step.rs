//! What can be done to a journal, as data: the same whatever was done before, so that steps can be left out.

use std::sync::Arc;
use std::time::Duration;

use super::super::Random;
use super::super::kit::event;
use super::keeping::Keeping;
use super::wanted::Wanted;
use crate::{
    Batch, CHECKPOINT_EVENT_TYPE, Direction, EventId, Expected, ExpiringStreams, NewEvent, Position,
    ScavengeOptions, StreamId, Timestamp, Version,
};

/// When the events are whose time is not just any.
const TIMES_FROM: Timestamp = Timestamp(1_700_000_000_000_000);

/// One thing done to a journal.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Batches submitted without waiting for one another.
    Append(Vec<Planned>),
    /// A page of a stream. From a version that is taken by its remainder, so that it is near those there are.
    ReadStream { stream: StreamId, from: u64, direction: Direction, limit: usize },
    /// All events from a position, likewise, page by page.
    ReadAll { from: u64, wanted: Wanted, limit: usize },
    /// Where a stream ends.
    Info(StreamId),
    /// A page of streams.
    ListStreams { prefix: &'static str, after: Option<StreamId>, limit: usize },
    /// Closed and opened anew, where the engine can.
    Reopen,
    /// Given back what is no longer kept, where the engine can.
    Scavenge(Scavenging),
    /// The subscription of this number begins anew, from a position as when all is read.
    Subscribe { number: u64, from: u64, wanted: Wanted },
    /// Something is appended that the subscription wants, and at most so many events are taken from it.
    Deliver { number: u64, limit: usize },
}

/// A scavenging that is yet to learn where the journal ends.
#[derive(Debug, Clone)]
pub(super) struct Scavenging {
    /// Below a position as when all is read; `None` is the end.
    below: Option<u64>,
    own_below: Option<u64>,
    expiring: Option<ExpiringStreams>,
    now: Timestamp,
    percent_min: u8,
}

/// A batch that is yet to learn which versions there are.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) streams: Vec<(StreamId, Expecting, Vec<NewEvent>)>,
    pub(super) keeping: Vec<Keeping>,
    pub(super) lineage: Option<u64>,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Expecting {
    Just(Expected),
    /// The version that is there.
    Right,
    /// A version near it.
    Near(u64),
}

impl Step {
    pub(super) fn any(random: &mut Random) -> Self {
        let limit = random.index(20);
        match random.below(26) {
            0..10 => Self::Append((0..=random.below(5)).map(|_| Planned::any(random)).collect()),
            10..13 => {
                let direction = if random.one_in(2) { Direction::Forward } else { Direction::Backward };
                Self::ReadStream { stream: stream(random), from: random.next_u64(), direction, limit }
            }
            13 | 14 => {
                Self::ReadAll { from: random.next_u64(), wanted: Wanted::any(random), limit: limit + 1 }
            }
            15 => Self::Info(stream(random)),
            16 => {
                let after = random.one_in(2).then(|| stream(random));
                Self::ListStreams { prefix: ["", "order-", "$own", "in"][random.index(4)], after, limit }
            }
            17 => Self::Reopen,
            18 | 19 => Self::Scavenge(Scavenging::any(random)),
            20 | 21 => {
                let number = random.below(2);
                Self::Subscribe { number, from: random.next_u64(), wanted: Wanted::any(random) }
            }
            _ => {
                let limit = if random.one_in(2) { usize::MAX } else { limit + 1 };
                Self::Deliver { number: random.below(2), limit }
            }
        }
    }
}

impl Scavenging {
    fn any(random: &mut Random) -> Self {
        let mut below = || random.one_in(2).then(|| random.next_u64());
        Self {
            below: below(),
            own_below: below(),
            expiring: random.one_in(2).then(|| ExpiringStreams {
                prefix: ["$key-", "$key-1"][random.index(2)].to_owned(),
                after: Duration::from_secs(100 * random.below(6)),
            }),
            now: any_time(random),
            percent_min: [0, 10, 60][random.index(3)],
        }
    }

    /// As it is for a journal that ends here.
    pub(super) fn options(&self, end: Position) -> ScavengeOptions {
        let below = |number: Option<u64>| number.map_or(end.next(), |number| Position(number % (end.0 + 3)));
        ScavengeOptions {
            own_below: below(self.own_below),
            expiring: self.expiring.iter().cloned().collect(),
            now: self.now,
            percent_min: self.percent_min,
            duty_percent: 100,
            ..ScavengeOptions::below(below(self.below))
        }
    }
}

impl Planned {
    fn any(random: &mut Random) -> Self {
        let mut planned = Self {
            streams: Vec::new(),
            keeping: Vec::new(),
            lineage: random.one_in(3).then(|| random.below(8)),
        };
        let keeps = random.one_in(3);
        if !(keeps && random.one_in(2)) {
            (0..=random.below(3)).for_each(|_| planned.add_events(random));
        }
        if keeps {
            (0..=random.below(2)).for_each(|_| planned.add_keeping(random));
        }
        planned
    }

    fn add_events(&mut self, random: &mut Random) {
        let stream = stream(random);
        if self.streams.iter().all(|(other, ..)| *other != stream) {
            let events = (0..=random.below(3)).map(|_| any_event(random)).collect();
            self.streams.push((stream, Expecting::any(random), events));
        }
    }

    /// As a rule with the checkpoint that it takes.
    fn add_keeping(&mut self, random: &mut Random) {
        let stream = stream(random);
        let keeping = Keeping::any(random, stream);
        if keeping.wants_checkpoint() && !random.one_in(6) {
            let mut checkpoint = any_event(random);
            checkpoint.type_name = CHECKPOINT_EVENT_TYPE.into();
            self.streams.retain(|(stream, ..)| *stream != keeping.stream);
            self.streams.push((
                keeping.stream.clone(),
                Expecting::Right,
                vec![checkpoint, any_event(random)],
            ));
        }
        self.keeping.push(keeping);
    }

    /// As a batch, on what is there now.
    pub(super) fn batch(&self, version: impl Fn(&StreamId) -> Version) -> Batch {
        let planned = self.streams.iter();
        let batch = planned.fold(Batch::default(), |batch, (stream, expecting, events)| {
            let expected = expecting.expected(version(stream));
            batch.and(stream.clone(), expected, events.iter().cloned())
        });
        self.keeping.iter().fold(batch, |batch, keeping| {
            batch.retaining(keeping.stream.clone(), keeping.retention(version(&keeping.stream)))
        })
    }
}

impl Expecting {
    fn any(random: &mut Random) -> Self {
        match random.below(16) {
            0 => Self::Just(Expected::NoStream),
            1 => Self::Just(Expected::Exists),
            2 => Self::Near(random.next_u64()),
            3..7 => Self::Right,
            _ => Self::Just(Expected::Any),
        }
    }

    const fn expected(self, there: Version) -> Expected {
        match self {
            Self::Just(expected) => expected,
            Self::Right => Expected::Version(there),
            Self::Near(number) => Expected::Version(Version(number % (there.0 + 3))),
        }
    }
}

/// A few to which much is done, and some of the runtime's own to which little is.
fn stream(random: &mut Random) -> StreamId {
    let id = random.below(4);
    let name = match random.below(8) {
        0..3 => format!("order-{id}"),
        3 | 4 => format!("invoice-{id}"),
        5 | 6 => format!("$own-{id}"),
        _ => format!("$key-{}", random.below(20)),
    };
    StreamId::parse(&name).expect("a valid name")
}

fn any_event(random: &mut Random) -> NewEvent {
    let mut event = event(["opened", "changed", "closed"][random.index(3)]);
    event.id = EventId::from_u128(u128::from(random.next_u64()));
    event.tags = ["eu", "us", "big"].into_iter().filter(|_| random.one_in(3)).map(Arc::from).collect();
    let most = if random.one_in(12) { 9000 } else { 120 };
    let payload_bytes = random.index(most);
    event.payload = vec![random.below(256) as u8; payload_bytes].into();
    event.command.command_hash = random.next_u64();
    event.command.time =
        if random.one_in(4) { Timestamp(random.next_u64().cast_signed()) } else { any_time(random) };
    if random.one_in(2) {
        event.command.actor = Some("bob".into());
    }
    event
}

fn any_time(random: &mut Random) -> Timestamp {
    TIMES_FROM.plus(Duration::from_secs(random.below(1000)))
}
