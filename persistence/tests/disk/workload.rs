//! What is done to a journal, and what is known of it afterwards.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use annals_persistence::{
    AppendError, Appended, Batch, CodecId, CommandMetadata, EmbeddedJournal, EventId, Expected, Journal,
    JournalExt, JournalHealth, NewEvent, Outcome, Retention, ScavengeError, ScavengeOptions,
    ScavengeProgress, SimVfs, StreamId, StreamRetention, Ticket, Timestamp, Version,
};
use rand::Rng;
use rand::rngs::StdRng;

use crate::support::open_by_hand;

/// A batch that was submitted: its events, by stream, in their order, and what it sets to be kept.
#[derive(Debug, Clone)]
pub(crate) struct Submitted {
    pub(crate) events: Vec<(StreamId, EventId)>,
    pub(crate) retention: Vec<StreamRetention>,
    pub(crate) outcome: Known,
}

impl Submitted {
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

/// Works on a journal as long as its disk works; answers all that was submitted.
pub(crate) async fn work(disk: &SimVfs, random: &mut StdRng, steps: usize) -> Vec<Submitted> {
    let mut all = Vec::new();
    let mut versions = BTreeMap::new();
    let Ok(mut journal) = open_by_hand(disk) else { return all };
    for _ in 0..steps {
        if random.random_ratio(1, 12) {
            journal.close().await;
            drop(journal);
            match open_by_hand(disk) {
                Ok(opened) => journal = opened,
                Err(_) => return all,
            }
        }
        if !burst(&journal, random, &mut versions, &mut all).await {
            // Whoever tries again all the same is told the same.
            burst(&journal, random, &mut versions, &mut all).await;
            break;
        }
        if random.random_ratio(1, 5) && !scavenge(&journal, random.random_range(1..4)) {
            break;
        }
    }
    journal.close().await;
    all
}

/// Works on a journal, then gives back all the space there is to give; answers all that was submitted, and after which
/// call the giving back began.
pub(crate) async fn work_and_scavenge(
    disk: &SimVfs,
    random: &mut StdRng,
    steps: usize,
) -> (Vec<Submitted>, u64) {
    let (mut all, mut versions) = (Vec::new(), BTreeMap::new());
    let Ok(journal) = open_by_hand(disk) else { return (all, 0) };
    let mut steps = 0..steps;
    while steps.next().is_some() && burst(&journal, random, &mut versions, &mut all).await {}
    let begun = disk.calls();
    scavenge(&journal, usize::MAX);
    journal.close().await;
    (all, begun)
}

/// Gives space back, of so many segments; `false` when the journal takes no more.
fn scavenge(journal: &EmbeddedJournal, most: usize) -> bool {
    let end = journal.durable().borrow().position.next();
    let options = ScavengeOptions { percent_min: 0, duty_percent: 100, ..ScavengeOptions::below(end) };
    let stop = |progress: ScavengeProgress| match progress.rewritten < most {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    };
    match journal.scavenge(&options, stop) {
        Ok(_) | Err(ScavengeError::NoSpace { .. }) => true,
        Err(_) => journal.health() == JournalHealth::Healthy,
    }
}

/// Submits some batches one behind the other, then waits for all of them; `false` when the journal takes no more.
async fn burst(
    journal: &Arc<EmbeddedJournal>,
    random: &mut StdRng,
    versions: &mut BTreeMap<StreamId, u64>,
    all: &mut Vec<Submitted>,
) -> bool {
    let dynamic: Arc<dyn Journal> = journal.clone();
    let mut waiting: Vec<(Submitted, Ticket)> = Vec::new();
    for _ in 0..[1, 1, 1, 2, 4][random.random_range(0..5)] {
        let (submitted, batch) = batch(random, versions);
        waiting.push((submitted, dynamic.append(batch)));
    }
    while journal.drive() {}
    let mut goes_on = true;
    for (submitted, ticket) in waiting {
        let outcome = known(ticket.await);
        goes_on &= outcome != Known::Unknown;
        if let Known::Appended(_) = outcome {
            for (stream, _) in &submitted.events {
                *versions.entry(stream.clone()).or_default() += 1;
            }
        }
        all.push(Submitted { outcome, ..submitted });
    }
    goes_on
}

fn known(result: Result<Appended, AppendError>) -> Known {
    match result {
        Ok(appended) => Known::Appended(appended),
        Err(error) if error.outcome() == Outcome::NotCommitted => Known::NotAppended,
        Err(_) => Known::Unknown,
    }
}

/// One or two streams with one to three events each, sometimes with an expectation that does not hold, sometimes with
/// something that is no longer to be kept.
fn batch(random: &mut StdRng, versions: &BTreeMap<StreamId, u64>) -> (Submitted, Batch) {
    let first = random.random_range(0..7);
    let streams = if random.random_ratio(1, 4) { vec![first, first + 1] } else { vec![first] };
    let (mut batch, mut events) = (Batch::default(), Vec::new());
    for number in streams {
        let stream = stream(number);
        let own: Vec<_> = (0..[1, 1, 2, 3][random.random_range(0..4)]).map(|_| event(random)).collect();
        events.extend(own.iter().map(|event| (stream.clone(), event.id)));
        let expected = match random.random_range(0..8) {
            0 => Expected::Version(Version(versions.get(&stream).copied().unwrap_or(0))),
            1 => Expected::Version(Version(1_000_000)),
            _ => Expected::Any,
        };
        batch = batch.and(stream, expected, own);
    }
    if random.random_ratio(1, 6) {
        let (stream, retention) = retention(random, versions);
        batch = batch.retaining(stream, retention);
    }
    let retention = batch.retention().to_vec();
    (Submitted { events, retention, outcome: Known::Unknown }, batch)
}

/// Three of orders, the others the runtime's own.
fn stream(number: usize) -> StreamId {
    match number {
        0..3 => StreamId::aggregate("order", &number.to_string()).unwrap(),
        _ => StreamId::internal(&format!("note-{number}")).unwrap(),
    }
}

fn retention(random: &mut StdRng, versions: &BTreeMap<StreamId, u64>) -> (StreamId, Retention) {
    let none = Retention::default();
    let number = random.random_range(2..8);
    let stream = stream(number);
    let last = versions.get(&stream).copied().unwrap_or(0);
    let retention = match number {
        2 | 7 if random.random_ratio(1, 6) => Retention::gone(),
        2 => none,
        _ if random.random() => Retention { max_count: Some(random.random_range(1..4)), ..none },
        _ => Retention { truncate_before: Version(random.random_range(0..=last + 1)), ..none },
    };
    (stream, retention)
}

fn event(random: &mut StdRng) -> NewEvent {
    let bytes =
        if random.random_ratio(1, 10) { random.random_range(0..6000) } else { random.random_range(0..200) };
    NewEvent {
        id: EventId::from_u128(random.random()),
        type_name: "noted".into(),
        schema_version: 1,
        codec: CodecId::Json,
        payload: vec![random.random(); bytes].into(),
        command: CommandMetadata::internal(Timestamp(1_700_000_000_000_000)),
        tags: Vec::new(),
    }
}
