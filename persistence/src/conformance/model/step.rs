//! What can be done to a journal, as data: the same whatever was done before, so that steps can be left out.

use std::sync::Arc;

use super::super::Random;
use super::super::kit::event;
use crate::{Batch, Direction, EventId, Expected, Filter, NewEvent, StreamId, Timestamp, Version};

/// One thing done to a journal.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Batches submitted without waiting for one another.
    Append(Vec<Planned>),
    /// A page of a stream. From a version that is taken by its remainder, so that it is near those there are.
    ReadStream { stream: StreamId, from: u64, direction: Direction, limit: usize },
    /// All events from a position, likewise, page by page.
    ReadAll { from: u64, filter: Filter, limit: usize },
    /// Where a stream ends.
    Info(StreamId),
    /// A page of streams.
    ListStreams { prefix: &'static str, after: Option<StreamId>, limit: usize },
    /// Closed and opened anew, where the engine can.
    Reopen,
}

/// A batch that is yet to learn which versions there are.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) streams: Vec<(StreamId, Expecting, Vec<NewEvent>)>,
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
        match random.below(20) {
            0..10 => Self::Append((0..=random.below(5)).map(|_| Planned::any(random)).collect()),
            10..14 => {
                let direction = if random.one_in(2) { Direction::Forward } else { Direction::Backward };
                Self::ReadStream { stream: stream(random), from: random.next_u64(), direction, limit }
            }
            14..16 => Self::ReadAll { from: random.next_u64(), filter: filter(random), limit: limit + 1 },
            16 => Self::Info(stream(random)),
            17 | 18 => {
                let after = random.one_in(2).then(|| stream(random));
                Self::ListStreams { prefix: ["", "order-", "$own", "in"][random.index(4)], after, limit }
            }
            _ => Self::Reopen,
        }
    }
}

impl Planned {
    fn any(random: &mut Random) -> Self {
        let mut streams: Vec<(StreamId, Expecting, Vec<NewEvent>)> = Vec::new();
        for _ in 0..=random.below(3) {
            let stream = stream(random);
            if streams.iter().all(|(other, ..)| *other != stream) {
                let events = (0..=random.below(3)).map(|_| any_event(random)).collect();
                streams.push((stream, Expecting::any(random), events));
            }
        }
        Self { streams, lineage: random.one_in(3).then(|| random.below(4)) }
    }

    /// As a batch, on what is there now.
    pub(super) fn batch(&self, version: impl Fn(&StreamId) -> Version) -> Batch {
        let planned = self.streams.iter();
        planned.fold(Batch::default(), |batch, (stream, expecting, events)| {
            let expected = expecting.expected(version(stream));
            batch.and(stream.clone(), expected, events.iter().cloned())
        })
    }
}

impl Expecting {
    fn any(random: &mut Random) -> Self {
        match random.below(8) {
            0 => Self::Just(Expected::NoStream),
            1 => Self::Just(Expected::Exists),
            2 => Self::Near(random.next_u64()),
            3 | 4 => Self::Right,
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

fn stream(random: &mut Random) -> StreamId {
    let id = random.below(6);
    let name = match random.below(3) {
        0 => format!("order-{id}"),
        1 => format!("invoice-{id}"),
        _ => format!("$own-{id}"),
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
    event.command.time = Timestamp(random.next_u64().cast_signed());
    if random.one_in(2) {
        event.command.actor = Some("bob".into());
    }
    event
}

fn filter(random: &mut Random) -> Filter {
    let mut filter = if random.one_in(2) { Filter::everything() } else { Filter::default() };
    if random.one_in(3) {
        filter = filter.category(["order", "invoice", "$own"][random.index(3)]);
    }
    if random.one_in(3) {
        filter = filter.event_type(["opened", "closed"][random.index(2)]);
    }
    if random.one_in(3) {
        filter = filter.tag(["eu", "us"][random.index(2)]);
    }
    filter
}
