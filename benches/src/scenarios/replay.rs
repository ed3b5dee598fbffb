//! Replay of one long stream into an aggregate.

use std::time::Duration;

use annals::persistence::{CodecId, Direction, RecordedEvent};
use annals::prelude::*;
use futures_util::TryStreamExt;

use crate::scenarios::commands::OURS;
use crate::scenarios::repeat;
use crate::workload::{Order, apply, instance_id, stream};
use crate::{Failure, Measurement, System, Workshop, alternate, journals};

const SLICE: &str = "decoding + applying a slice";
/// What replay is to reach of it.
const GOAL: f64 = 0.7;

/// Ours beside decoding and applying the same events from a slice, in both codecs.
pub(super) fn replay(workshop: &Workshop) -> Result<Vec<Measurement>, Failure> {
    Ok(vec![replay_of(workshop, CodecId::Json)?, replay_of(workshop, CodecId::Bincode)?])
}

fn replay_of(workshop: &Workshop, codec: CodecId) -> Result<Measurement, Failure> {
    let Workshop { runtime, plan, .. } = workshop;
    let (dir, count) = (workshop.dir()?, plan.stream_events);
    let (journal, events) = runtime.block_on(async {
        let journal = journals::open(dir.path())?;
        journals::fill_as(codec, &journal, 0, count).await?;
        let events = journal.read_stream(&stream(0)?, Version(1), Direction::Forward);
        Ok::<_, Failure>((journal, events.try_collect::<Vec<_>>().await?))
    })?;
    let systems = vec![
        System::new(OURS, |window| {
            repeat(window, count, || runtime.block_on(bring_up(&journal, Version(count as u64))))
        }),
        System::new(SLICE, |window| repeat(window, count, || fold(&events))),
    ];
    let measured = alternate(format!("replay of {count} events, {codec:?}"), "events/s", plan, systems)?;
    runtime.block_on(journal.close());
    Ok(measured.with_goal(SLICE, GOAL))
}

/// A node of its own each time, so that nothing is live yet.
async fn bring_up(journal: &std::sync::Arc<dyn Journal>, expected: Version) -> Result<Duration, Failure> {
    let node = journals::node(journal).await?;
    let order = node.aggregate::<Order>(instance_id(0));
    let begin = std::time::Instant::now();
    let current = order.state().await?;
    let elapsed = begin.elapsed();
    node.shutdown().await;
    if current.version != expected {
        return Err(format!("version {} was replayed, expected was {expected}", current.version).into());
    }
    Ok(elapsed)
}

fn fold(events: &[RecordedEvent]) -> Result<Duration, Failure> {
    let begin = std::time::Instant::now();
    let mut order = Order::default();
    events.iter().try_for_each(|event| apply(&mut order, event))?;
    std::hint::black_box(&order);
    Ok(begin.elapsed())
}
