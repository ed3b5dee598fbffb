//! Reading the whole journal.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals::persistence::Filter;
use annals::prelude::*;
use futures_util::TryStreamExt;

use crate::baselines::frames::Segment;
use crate::scenarios::commands::OURS;
use crate::scenarios::repeat;
use crate::{Failure, Measurement, System, Workshop, alternate, journals};

const EVENTS_EACH: usize = 20;
const FROM_MEMORY: &str = "checking + decoding from memory";
/// What a scan is to reach of it.
const GOAL: f64 = 0.5;

/// Ours beside checking and decoding the same frames from memory.
pub(super) fn scan(workshop: &Workshop) -> Result<Vec<Measurement>, Failure> {
    let Workshop { runtime, plan, .. } = workshop;
    let (dir, count) = (workshop.dir()?, plan.stream_events);
    let journal = runtime.block_on(filled(dir.path(), count / EVENTS_EACH))?;
    let segment = Segment::first(dir.path())?;
    let systems = vec![
        System::new(OURS, |window| repeat(window, count, || runtime.block_on(read_all(&journal, count)))),
        System::new(FROM_MEMORY, |window| repeat(window, count, || decode_all(&segment, count))),
    ];
    let measured = alternate(format!("reading all {count} events"), "events/s", plan, systems)?;
    runtime.block_on(journal.close());
    Ok(vec![measured.with_goal(FROM_MEMORY, GOAL)])
}

/// All in one segment, which is what the baseline reads.
async fn filled(dir: &Path, streams: usize) -> Result<Arc<dyn Journal>, Failure> {
    // What is filled with zeros begins with a short segment.
    let options =
        EmbeddedOptions { segment_bytes: 256 << 20, zero_fill: false, ..EmbeddedOptions::default() };
    let journal: Arc<dyn Journal> = Arc::new(EmbeddedJournal::open(dir, options)?);
    journals::fill_many(&journal, streams, EVENTS_EACH).await?;
    Ok(journal)
}

async fn read_all(journal: &Arc<dyn Journal>, expected: usize) -> Result<Duration, Failure> {
    let begin = Instant::now();
    let mut events = journal.read_all(Position::START, Filter::default());
    let mut count = 0;
    while let Some(event) = events.try_next().await? {
        std::hint::black_box(&event);
        count += 1;
    }
    all(count, expected, begin)
}

fn decode_all(segment: &Segment, expected: usize) -> Result<Duration, Failure> {
    let begin = Instant::now();
    let count = segment.for_each(|event| drop(std::hint::black_box(event)))?;
    all(usize::try_from(count)?, expected, begin)
}

fn all(count: usize, expected: usize, begin: Instant) -> Result<Duration, Failure> {
    let elapsed = begin.elapsed();
    if count != expected {
        return Err(format!("{count} events were read, expected were {expected}").into());
    }
    Ok(elapsed)
}
