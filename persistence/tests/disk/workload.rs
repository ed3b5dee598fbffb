//! What is done to a journal, and what is known of it afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_persistence::{
    AppendError, Appended, Batch, CodecId, CommandMetadata, EventId, Expected, Journal, JournalExt, NewEvent,
    Outcome, SimVfs, StreamId, Ticket, Timestamp, Version,
};
use rand::Rng;
use rand::rngs::StdRng;

use crate::support::open;

/// A batch that was submitted: its events, by stream, in their order.
#[derive(Debug, Clone)]
pub(crate) struct Submitted {
    pub(crate) events: Vec<(StreamId, EventId)>,
    pub(crate) outcome: Known,
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
    let Ok(mut journal) = open(disk) else { return all };
    for _ in 0..steps {
        if random.random_ratio(1, 12) {
            journal.close().await;
            drop(journal);
            match open(disk) {
                Ok(opened) => journal = opened,
                Err(_) => return all,
            }
        }
        if !burst(&journal, random, &mut versions, &mut all).await {
            break;
        }
    }
    journal.close().await;
    all
}

/// Submits some batches one behind the other, then waits for all of them; `false` when the journal takes no more.
async fn burst(
    journal: &Arc<dyn Journal>,
    random: &mut StdRng,
    versions: &mut BTreeMap<StreamId, u64>,
    all: &mut Vec<Submitted>,
) -> bool {
    let mut waiting: Vec<(Vec<(StreamId, EventId)>, Ticket)> = Vec::new();
    for _ in 0..[1, 1, 1, 2, 4][random.random_range(0..5)] {
        let (events, batch) = batch(random, versions);
        waiting.push((events, journal.append(batch)));
    }
    let mut goes_on = true;
    for (events, ticket) in waiting {
        let outcome = known(ticket.await);
        goes_on &= outcome != Known::Unknown;
        if let Known::Appended(_) = outcome {
            for (stream, _) in &events {
                *versions.entry(stream.clone()).or_default() += 1;
            }
        }
        all.push(Submitted { events, outcome });
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

/// One or two streams with one to three events each, sometimes with an expectation that does not hold.
fn batch(random: &mut StdRng, versions: &BTreeMap<StreamId, u64>) -> (Vec<(StreamId, EventId)>, Batch) {
    let first = random.random_range(0..4);
    let streams = if random.random_ratio(1, 4) { vec![first, first + 1] } else { vec![first] };
    let (mut batch, mut ids) = (Batch::default(), Vec::new());
    for stream in streams {
        let stream = StreamId::aggregate("order", &stream.to_string()).unwrap();
        let events: Vec<_> = (0..[1, 1, 2, 3][random.random_range(0..4)]).map(|_| event(random)).collect();
        ids.extend(events.iter().map(|event| (stream.clone(), event.id)));
        let expected = match random.random_range(0..8) {
            0 => Expected::Version(Version(versions.get(&stream).copied().unwrap_or(0))),
            1 => Expected::Version(Version(1_000_000)),
            _ => Expected::Any,
        };
        batch = batch.and(stream, expected, events);
    }
    (ids, batch)
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
