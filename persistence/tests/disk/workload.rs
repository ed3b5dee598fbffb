//! What is done to a journal, and what is known of it afterwards.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use annals_persistence::{
    AppendError, Appended, Batch, EmbeddedJournal, EventId, Expected, FileSnapshots, Journal, JournalExt,
    JournalHealth, NewEvent, OpenError, Outcome, Retention, ScavengeError, ScavengeOptions, ScavengeProgress,
    SimVfs, SnapshotStore, StreamAppend, StreamId, StreamRetention, Version,
};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;

use crate::states::{Folded, snapshots};
use crate::support::{dynamic, event, open};

/// A batch that was submitted: its events, by stream, in their order, and what it sets to be kept.
#[derive(Debug, Clone)]
pub(crate) struct Submitted {
    pub(crate) events: Vec<(StreamId, EventId)>,
    pub(crate) retention: Vec<StreamRetention>,
    pub(crate) outcome: Known,
}

impl Submitted {
    fn of(batch: &Batch) -> Self {
        let ids = |append: &StreamAppend| {
            append.events.iter().map(|event| (append.stream.clone(), event.id)).collect::<Vec<_>>()
        };
        let events = batch.streams.iter().flat_map(ids).collect();
        Self { events, retention: batch.retention().to_vec(), outcome: Known::Unknown }
    }

    /// The version of each event, where they are known.
    pub(crate) fn versions(&self) -> Vec<u64> {
        let Known::Appended(appended) = &self.outcome else { return Vec::new() };
        let mut streams: Vec<(&StreamId, u64)> = Vec::new();
        for (stream, _) in &self.events {
            match streams.last_mut() {
                Some((last, count)) if *last == stream => *count += 1,
                _ => streams.push((stream, 1)),
            }
        }
        let versions = streams.iter().zip(&appended.versions);
        versions.flat_map(|((_, count), last)| last.0 - count + 1..=last.0).collect()
    }
}

/// What its submitter was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Known {
    Appended(Appended),
    /// For certain not.
    NotAppended,
    Unknown,
}

/// Works on a journal, with snapshots beside it, as long as its disk works; answers all that was submitted.
pub(crate) async fn work(disk: &SimVfs, random: &mut StdRng, steps: usize) -> Vec<Submitted> {
    let Some(mut node) = Node::start(disk, open) else { return Vec::new() };
    for _ in 0..steps {
        if random.random_ratio(1, 12) {
            match node.restart(disk).await {
                Ok(again) => node = again,
                Err(all) => return all,
            }
        }
        if !node.burst(random).await {
            // Whoever tries again all the same is told the same.
            node.burst(random).await;
            break;
        }
        if random.random_ratio(1, 3) && !node.save(random).await {
            break;
        }
        if random.random_ratio(1, 5) && !node.scavenge(random.random_range(1..4)) {
            break;
        }
    }
    node.stop().await
}

/// Works on a journal, then gives back all the space there is to give; answers all that was submitted, and after which
/// call the giving back began.
pub(crate) async fn work_and_scavenge(
    disk: &SimVfs,
    random: &mut StdRng,
    steps: usize,
) -> (Vec<Submitted>, u64) {
    let Some(mut node) = Node::start(disk, open) else { return (Vec::new(), 0) };
    let mut steps = 0..steps;
    while steps.next().is_some() && node.burst(random).await && node.save(random).await {}
    let begun = disk.calls();
    node.scavenge(usize::MAX);
    (node.stop().await, begun)
}

/// How a node opens its journal.
pub(crate) type Open = fn(&SimVfs) -> Result<Arc<EmbeddedJournal>, OpenError>;

/// A journal and its snapshots as a runtime has them, and what it knows.
pub(crate) struct Node {
    pub(crate) journal: Arc<EmbeddedJournal>,
    open: Open,
    store: FileSnapshots,
    /// The state of each stream with all that was acknowledged.
    states: BTreeMap<StreamId, Folded>,
    all: Vec<Submitted>,
}

impl Node {
    pub(crate) fn start(disk: &SimVfs, open: Open) -> Option<Self> {
        let journal = open(disk).ok()?;
        Some(Self { journal, open, store: snapshots(disk), states: BTreeMap::new(), all: Vec::new() })
    }

    /// Where it does not start again, all that was submitted.
    pub(crate) async fn restart(self, disk: &SimVfs) -> Result<Self, Vec<Submitted>> {
        self.journal.close().await;
        drop((self.journal, self.store));
        match Self::start(disk, self.open) {
            Some(again) => Ok(Self { states: self.states, all: self.all, ..again }),
            None => Err(self.all),
        }
    }

    pub(crate) async fn stop(self) -> Vec<Submitted> {
        self.journal.close().await;
        self.store.close();
        self.all
    }

    /// Saves the state of some stream, all of which is durable, and sometimes truncates the stream behind that; `false`
    /// when the journal takes no more.
    pub(crate) async fn save(&mut self, random: &mut StdRng) -> bool {
        let Some((stream, state)) = self.states.iter().choose(random) else { return true };
        let snapshot = state.snapshot(self.journal.id()).expect("a stream that is known has events");
        self.store.save(stream, &snapshot);
        match random.random() {
            true => self.submit(vec![truncation(stream, state, snapshot.version, random)]).await,
            false => true,
        }
    }

    /// Gives space back, of so many segments; `false` when the journal takes no more.
    fn scavenge(&self, most: usize) -> bool {
        let end = self.journal.durable().borrow().position.next();
        let options = ScavengeOptions { percent_min: 0, duty_percent: 100, ..ScavengeOptions::below(end) };
        let stop = |progress: ScavengeProgress| match progress.rewritten < most {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        match self.journal.scavenge(&options, stop) {
            Ok(_) | Err(ScavengeError::NoSpace { .. }) => true,
            Err(_) => self.journal.health() == JournalHealth::Healthy,
        }
    }

    /// Submits some batches; `false` when the journal takes no more.
    pub(crate) async fn burst(&mut self, random: &mut StdRng) -> bool {
        let count = [1, 1, 1, 2, 4][random.random_range(0..5)];
        let batches = (0..count).map(|_| self.batch(random)).collect();
        self.submit(batches).await
    }

    /// Submits batches one behind the other, then waits for all of them; `false` when the journal takes no more.
    async fn submit(&mut self, batches: Vec<Batch>) -> bool {
        let journal = dynamic(&self.journal);
        let submit = |batch: Batch| (Submitted::of(&batch), journal.append(batch));
        let waiting: Vec<_> = batches.into_iter().map(submit).collect();
        while self.journal.drive() {}
        let mut goes_on = true;
        for (submitted, ticket) in waiting {
            let outcome = known(ticket.await);
            goes_on &= outcome != Known::Unknown;
            let submitted = Submitted { outcome, ..submitted };
            if let Known::Appended(_) = submitted.outcome {
                self.follow(&submitted);
            }
            self.all.push(submitted);
        }
        goes_on
    }

    /// Takes over what was appended.
    fn follow(&mut self, appended: &Submitted) {
        for (stream, id) in &appended.events {
            self.states.entry(stream.clone()).or_default().apply(*id);
        }
        for gone in appended.retention.iter().filter(|set| set.retention.tombstone) {
            self.states.remove(&gone.stream);
            self.store.remove(&gone.stream);
        }
    }

    fn state(&self, stream: &StreamId) -> Folded {
        self.states.get(stream).copied().unwrap_or_default()
    }

    /// One or two streams with one to three events each, sometimes with an expectation that does not hold, sometimes with
    /// something that is no longer to be kept.
    fn batch(&self, random: &mut StdRng) -> Batch {
        let first = random.random_range(0..7);
        let streams = if random.random_ratio(1, 4) { vec![first, first + 1] } else { vec![first] };
        let mut batch = Batch::default();
        for number in streams {
            let stream = stream(number);
            let own: Vec<_> = (0..[1, 1, 2, 3][random.random_range(0..4)]).map(|_| noted(random)).collect();
            let expected = match random.random_range(0..8) {
                0 => Expected::Version(self.state(&stream).version()),
                1 => Expected::Version(Version(1_000_000)),
                _ => Expected::Any,
            };
            batch = batch.and(stream, expected, own);
        }
        if random.random_ratio(1, 6) {
            let (stream, retention) = self.retention(random);
            batch = batch.retaining(stream, retention);
        }
        batch
    }

    fn retention(&self, random: &mut StdRng) -> (StreamId, Retention) {
        let none = Retention::default();
        let number = random.random_range(2..8);
        let stream = stream(number);
        let retention = match number {
            2 | 7 if random.random_ratio(1, 6) => Retention::gone(),
            2 => none,
            _ if random.random() => Retention { max_count: Some(random.random_range(1..4)), ..none },
            _ => {
                let end = self.state(&stream).version().next();
                Retention { truncate_before: Version(random.random_range(0..=end.0)), ..none }
            }
        };
        (stream, retention)
    }
}

/// What no longer keeps events in front of a state that was saved. An order's stream then begins with the state, in an
/// event; of one of the runtime's own nothing but the snapshot tells it.
fn truncation(stream: &StreamId, state: &Folded, saved: Version, random: &mut StdRng) -> Batch {
    let before = |truncate_before| Retention { truncate_before, ..Retention::default() };
    if stream.is_internal() {
        return Batch::default().retaining(stream.clone(), before(saved));
    }
    let checkpoint = state.checkpoint(EventId::from_u128(random.random()));
    let truncate_before = if random.random() { saved } else { saved.next() };
    Batch::of(stream.clone(), Expected::Version(saved), [checkpoint])
        .retaining(stream.clone(), before(truncate_before))
}

fn known(result: Result<Appended, AppendError>) -> Known {
    match result {
        Ok(appended) => Known::Appended(appended),
        Err(error) if error.outcome() == Outcome::NotCommitted => Known::NotAppended,
        Err(_) => Known::Unknown,
    }
}

/// Three of orders, the others the runtime's own.
fn stream(number: usize) -> StreamId {
    match number {
        0..3 => StreamId::aggregate("order", &number.to_string()).unwrap(),
        _ => StreamId::internal(&format!("note-{number}")).unwrap(),
    }
}

fn noted(random: &mut StdRng) -> NewEvent {
    let bytes =
        if random.random_ratio(1, 10) { random.random_range(0..6000) } else { random.random_range(0..200) };
    event(EventId::from_u128(random.random()), "noted", vec![random.random(); bytes])
}
