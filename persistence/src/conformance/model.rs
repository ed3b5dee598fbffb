//! Random histories, on a journal and on a model of one that is too simple to be wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::JournalFactory;
use super::kit::{event, everything, soon};
use crate::{
    AppendError, Batch, Direction, Durable, Expected, Filter, Journal, JournalExt, NewEvent, Position,
    RecordedEvent, StreamId, StreamInfo, Version,
};

/// A small generator of random numbers that a seed reproduces (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 when that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next_u64().checked_rem(end).unwrap_or(0)
    }

    /// A place below `end`; 0 when that is 0.
    pub fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap_or(0)
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// The seeds to run: the one in `ANNALS_SEED`, or else `ANNALS_CASES` (`default` without it) new ones.
///
/// # Panics
/// When one of the variables is no number.
#[must_use]
pub fn replayable(default: usize) -> Vec<u64> {
    let number = |name| std::env::var(name).ok().map(|text: String| text.parse().expect("a number"));
    if let Some(seed) = number("ANNALS_SEED") {
        return vec![seed];
    }
    let cases = number("ANNALS_CASES").map_or(default, |cases| usize::try_from(cases).unwrap_or(default));
    let first = crate::EventId::generate().as_uuid().as_u64_pair().1;
    (0..cases as u64).map(|n| first.wrapping_add(n)).collect()
}

/// Says on a panic which seed it was.
pub(super) struct Seed(pub(super) u64);

impl Drop for Seed {
    #[allow(clippy::print_stderr, reason = "a failing test tells whoever runs it how to run it again")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with seed {}; run it again with ANNALS_SEED={}", self.0, self.0);
        }
    }
}

/// Whatever is done to it, a journal does what a plain list of events would.
pub async fn random_histories_match_a_model(factory: &impl JournalFactory) {
    for seed in replayable(4) {
        let _told = Seed(seed);
        let mut run = Run::new(factory.open().await, seed);
        while let Some(journal) = run.until_restart(factory).await {
            run.journal = journal;
            run.compare_all().await;
        }
    }
}

/// What a journal is, as plainly as it can be said.
#[derive(Default)]
struct Model {
    events: Vec<RecordedEvent>,
}

impl Model {
    fn of<'a>(&'a self, stream: &'a StreamId) -> impl DoubleEndedIterator<Item = &'a RecordedEvent> {
        self.events.iter().filter(move |event| event.stream == *stream)
    }

    fn version(&self, stream: &StreamId) -> Version {
        Version(self.of(stream).count() as u64)
    }

    /// The versions after a batch, or the first stream that is not as expected.
    fn append(&mut self, batch: &Batch) -> Result<Vec<Version>, StreamId> {
        let conflict = batch.streams.iter().find(|s| !s.expected.allows(self.version(&s.stream)));
        if let Some(conflict) = conflict {
            return Err(conflict.stream.clone());
        }
        for append in &batch.streams {
            append.events.iter().for_each(|event| self.push(&append.stream, event));
        }
        Ok(batch.streams.iter().map(|append| self.version(&append.stream)).collect())
    }

    fn push(&mut self, stream: &StreamId, event: &NewEvent) {
        let position = Position(self.events.len() as u64 + 1);
        let version = self.version(stream).next();
        self.events.push(RecordedEvent { position, stream: stream.clone(), version, event: event.clone() });
    }

    fn durable(&self) -> Durable {
        let external = self.events.iter().rev().find(|event| !event.stream.is_internal());
        Durable {
            position: Position(self.events.len() as u64),
            external: external.map_or(Position::START, |event| event.position),
        }
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

struct Run {
    journal: Arc<dyn Journal>,
    model: Model,
    random: Random,
    restarts_left: u32,
}

impl Run {
    fn new(journal: Arc<dyn Journal>, seed: u64) -> Self {
        Self { journal, model: Model::default(), random: Random::new(seed), restarts_left: 3 }
    }

    /// Some steps, then the journal opened anew: `None` when this was the last time, or the engine cannot.
    async fn until_restart(&mut self, factory: &impl JournalFactory) -> Option<Arc<dyn Journal>> {
        const STEPS: usize = 30;
        for _ in 0..STEPS {
            self.step().await;
        }
        self.compare_all().await;
        self.restarts_left = self.restarts_left.checked_sub(1)?;
        soon("the end of closing", self.journal.close()).await;
        factory.reopen().await
    }

    async fn step(&mut self) {
        match self.random.below(19) {
            0..12 => self.append().await,
            12..15 => self.read_stream().await,
            15..17 => self.read_filtered().await,
            _ => self.list_streams().await,
        }
    }

    /// Submits a few batches without waiting, then looks at every answer.
    async fn append(&mut self) {
        let batches: Vec<_> = (0..=self.random.below(4)).map(|_| self.batch()).collect();
        let journal = Arc::clone(&self.journal);
        let tickets: Vec<_> = batches.iter().map(|batch| journal.append(batch.clone())).collect();
        for (batch, ticket) in batches.iter().zip(tickets) {
            let first = Position(self.model.events.len() as u64 + 1);
            let expected = self.model.append(batch);
            match (soon("an append's answer", ticket).await, expected) {
                (Ok(appended), Ok(versions)) => {
                    assert_eq!((appended.first, appended.versions.to_vec()), (first, versions));
                    assert_eq!(appended.last.0, self.model.events.len() as u64);
                }
                (Err(AppendError::Conflict { stream, actual, .. }), Err(_)) => {
                    assert_eq!(actual, self.model.version(&stream));
                }
                (answer, expected) => panic!("answered {answer:?}, the model says {expected:?}"),
            }
        }
        assert_eq!(*journal.durable().borrow(), self.model.durable());
    }

    fn batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        for _ in 0..=self.random.below(3) {
            let stream = self.stream();
            if batch.streams.iter().any(|append| append.stream == stream) {
                continue;
            }
            let (expected, events) = (self.expected(&stream), self.events());
            batch = batch.and(stream, expected, events);
        }
        batch
    }

    fn stream(&mut self) -> StreamId {
        let id = self.random.below(6);
        let name = match self.random.below(3) {
            0 => format!("order-{id}"),
            1 => format!("invoice-{id}"),
            _ => format!("$own-{id}"),
        };
        StreamId::parse(&name).expect("a valid name")
    }

    fn expected(&mut self, stream: &StreamId) -> Expected {
        let there = self.model.version(stream).0;
        match self.random.below(8) {
            0 => Expected::NoStream,
            1 => Expected::Exists,
            2 => Expected::Version(Version(self.random.below(there + 3))),
            3 => Expected::Version(Version(there)),
            _ => Expected::Any,
        }
    }

    fn events(&mut self) -> Vec<NewEvent> {
        (0..=self.random.below(3)).map(|_| self.event()).collect()
    }

    fn event(&mut self) -> NewEvent {
        let mut event = event(["opened", "changed", "closed"][self.random.index(3)]);
        let tags = ["eu", "us", "big"].into_iter().filter(|_| self.random.one_in(3)).map(Arc::from).collect();
        event.tags = tags;
        let payload_bytes = self.random.below(3) * self.random.below(3000);
        event.payload = (0..payload_bytes).map(|_| self.random.next_u64() as u8).collect();
        event.command.command_hash = self.random.next_u64();
        event
    }

    async fn read_stream(&mut self) {
        let stream = self.stream();
        let from = Version(self.random.below(self.model.version(&stream).0 + 3));
        let limit = self.random.index(20);
        let journal = Arc::clone(&self.journal);
        let forward = journal.stream_page(&stream, from, Direction::Forward, limit).await.expect("readable");
        let expected = self.model.of(&stream).filter(|event| event.version >= from).take(limit);
        assert!(forward.events.iter().eq(expected), "{limit} forward from {from} in {stream}");
        let backward =
            journal.stream_page(&stream, from, Direction::Backward, limit).await.expect("readable");
        let expected = self.model.of(&stream).rev().filter(|event| event.version <= from).take(limit);
        assert!(backward.events.iter().eq(expected), "{limit} backward from {from} in {stream}");
    }

    async fn read_filtered(&mut self) {
        let filter = self.filter();
        let from = Position(self.random.below(self.model.events.len() as u64 + 3));
        let read = super::kit::rest(self.journal.read_all(from, filter.clone())).await;
        let expected = self.model.events.iter().filter(|e| e.position >= from && filter.matches(e));
        assert!(read.iter().eq(expected), "from {from} with {filter:?}");
    }

    fn filter(&mut self) -> Filter {
        let mut filter = if self.random.one_in(2) { Filter::everything() } else { Filter::default() };
        if self.random.one_in(3) {
            filter = filter.category(["order", "invoice", "$own"][self.random.index(3)]);
        }
        if self.random.one_in(3) {
            filter = filter.event_type(["opened", "closed"][self.random.index(2)]);
        }
        if self.random.one_in(3) {
            filter = filter.tag(["eu", "us"][self.random.index(2)]);
        }
        filter
    }

    async fn list_streams(&mut self) {
        let prefix = ["", "order-", "$own", "in"][self.random.index(4)];
        let after = self.random.one_in(2).then(|| self.stream());
        let limit = self.random.index(12);
        let page = self.journal.streams_page(prefix, after.as_ref(), limit).await.expect("readable");
        let streams = self.model.streams().into_iter();
        let expected: Vec<_> = streams
            .filter(|info| info.stream.as_str().starts_with(prefix))
            .filter(|info| after.as_ref().is_none_or(|after| info.stream > *after))
            .take(limit)
            .collect();
        assert_eq!(page, expected, "{limit} streams {prefix:?} after {after:?}");
    }

    async fn compare_all(&self) {
        assert!(everything(&self.journal).await == self.model.events, "the events differ");
    }
}
