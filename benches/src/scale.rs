//! A log of millions of events over as many streams as there are customers: how long it takes to open, what it takes of
//! memory, and what scavenging half of it costs those that are served meanwhile.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use annals::persistence::{Batch, Expected, Retention, ScavengeOptions, StreamAppend};
use annals::prelude::*;
use futures_util::TryStreamExt;
use futures_util::stream::{self, StreamExt};

use crate::harness::Scenario;
use crate::workload::{Order, command, instance_id, new_event, stream};
use crate::{Failure, Measurement, Plan, System, Target, Workshop, alternate, journals, tasks};

/// All there are.
pub const ALL: &[Scenario] = &[Scenario { name: "scale", run: scale }];

const OURS: &str = "annals";
/// Events of each stream.
const EVENTS_EACH: usize = 10;
/// Events that are appended as one batch, each to another stream, and how many batches are under way at once.
const BATCH_EVENTS: usize = 1000;
const BATCHES_AT_ONCE: usize = 16;
const CLIENTS: usize = 1024;
/// How many instances are live at most.
const LIVE: usize = 10_000;

const ALLOWED_MILLIS: f64 = 2000.0;
const ALLOWED_MEBIBYTES: f64 = 600.0;
/// What those that are served keep of their rate while half of the log is scavenged.
const KEPT: f64 = 0.7;
/// A log with a tenth of the events opens at least in this part of the time, where it has as many segments.
const OPENING_RATIO: f64 = 2.0;

fn scale(workshop: &Workshop) -> Result<Vec<Measurement>, Failure> {
    let (large, small) = (workshop.dir()?, workshop.dir()?);
    let events = workshop.plan.scale_events;
    fill(workshop, large.path(), events, EVENTS_EACH, SEGMENT_BYTES)?;
    fill(workshop, small.path(), events / EVENTS_EACH, 1, SEGMENT_BYTES / EVENTS_EACH as u64)?;
    let mut measurements = opening(workshop, large.path(), small.path())?;
    drop(small);
    measurements.extend(serving(workshop, large.path())?);
    Ok(measurements)
}

const SEGMENT_BYTES: u64 = 64 << 20;

fn options(segment_bytes: u64) -> EmbeddedOptions {
    EmbeddedOptions { segment_bytes, ..EmbeddedOptions::default() }
}

/// Fills a journal round by round: each stream's events lie spread over all of it.
fn fill(
    workshop: &Workshop,
    dir: &Path,
    events: usize,
    rounds: usize,
    segment_bytes: u64,
) -> Result<(), Failure> {
    let begin = Instant::now();
    let journal: Arc<dyn Journal> = Arc::new(EmbeddedJournal::open(dir, options(segment_bytes))?);
    workshop.runtime.block_on(async {
        let streams = events / rounds;
        let firsts = (0..rounds).flat_map(|_| (0..streams).step_by(BATCH_EVENTS));
        let appends = firsts.map(|first| {
            let batch = batch(first..streams.min(first + BATCH_EVENTS));
            let journal = Arc::clone(&journal);
            async move { Ok::<_, Failure>(journal.append(batch?).await?) }
        });
        stream::iter(appends).buffered(BATCHES_AT_ONCE).try_for_each(|_| async { Ok(()) }).await?;
        fill_segment(&journal, dir).await?;
        journal.close().await;
        Ok::<_, Failure>(())
    })?;
    println!("  {events} events in {:.1} s", begin.elapsed().as_secs_f64());
    Ok(())
}

/// Goes on to the next segment: how full the last one happens to be is no matter of how many events there are.
async fn fill_segment(journal: &Arc<dyn Journal>, dir: &Path) -> Result<(), Failure> {
    let (filler, before) = (StreamId::internal("scale-filler")?, segments(dir)?);
    while segments(dir)? == before {
        let events = (0..BATCH_EVENTS).map(|_| new_event()).collect::<Result<Vec<_>, _>>()?;
        journal.append(Batch::of(filler.clone(), Expected::Any, events)).await?;
    }
    Ok(())
}

fn segments(dir: &Path) -> Result<usize, Failure> {
    let paths =
        std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, Failure>>()?;
    Ok(paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "log")).count())
}

fn batch(instances: std::ops::Range<usize>) -> Result<Batch, Failure> {
    let appends = instances.map(|instance| {
        let events = std::iter::once(new_event()?).collect();
        Ok::<_, Failure>(StreamAppend { stream: stream(instance)?, expected: Expected::Any, events })
    });
    Ok(Batch::of_all(appends.collect::<Result<Vec<_>, _>>()?))
}

fn opening(workshop: &Workshop, large: &Path, small: &Path) -> Result<Vec<Measurement>, Failure> {
    const ALLOWED: &str = "2 s";
    const SMALL: &str = "a tenth of the events in as many segments";
    let plan = &workshop.plan;
    let systems = vec![
        System::new(OURS, |_| open_and_close(workshop, large, SEGMENT_BYTES)),
        System::new(ALLOWED, |_| Ok(ALLOWED_MILLIS)),
    ];
    let name = format!("opening {} events", plan.scale_events);
    let opened = alternate(&name, "ms", plan, systems)?.with_limit(ALLOWED, 1.0);
    let systems = vec![
        System::new(OURS, |_| open_and_close(workshop, large, SEGMENT_BYTES)),
        System::new(SMALL, |_| open_and_close(workshop, small, SEGMENT_BYTES / EVENTS_EACH as u64)),
    ];
    let name = format!("{name}, beside fewer");
    Ok(vec![opened, alternate(name, "ms", plan, systems)?.with_limit(SMALL, OPENING_RATIO)])
}

/// How long opening took, in milliseconds.
fn open_and_close(workshop: &Workshop, dir: &Path, segment_bytes: u64) -> Result<f64, Failure> {
    let begin = Instant::now();
    let journal = EmbeddedJournal::open(dir, options(segment_bytes))?;
    let millis = begin.elapsed().as_secs_f64() * 1e3;
    workshop.runtime.block_on(journal.close());
    Ok(millis)
}

/// Handles on instances that are used at random, so that no more than these are live.
struct Served(Vec<AggregateRef<Order>>);

impl Target for Served {
    async fn call(&self, instance: usize) -> Result<(), Failure> {
        self.0[instance].send(command()).await?;
        Ok(())
    }
}

fn serving(workshop: &Workshop, dir: &Path) -> Result<Vec<Measurement>, Failure> {
    const ALONE: &str = "nothing else going on";
    let Workshop { runtime, plan, .. } = workshop;
    let embedded = Arc::new(EmbeddedJournal::open(dir, options(SEGMENT_BYTES))?);
    let journal: Arc<dyn Journal> = Arc::clone(&embedded) as _;
    let node = runtime.block_on(journals::node(&journal))?;
    let live = LIVE.min(plan.scale_events / EVENTS_EACH);
    let handles = (0..live).map(|instance| node.aggregate::<Order>(instance_id(instance))).collect();
    let served = Arc::new(Served(handles));
    let serve = |window| tasks(runtime, &served, CLIENTS.min(live), live, window);
    serve(plan.window)?;
    let memory = resident(plan, &format!("resident with {live} instances live"))?;
    runtime.block_on(let_half_go(&journal, plan.scale_events / EVENTS_EACH, live))?;
    let mut scavenged = 0;
    let systems = vec![
        System::new(OURS, |window| {
            let (rate, events) = while_scavenging(&embedded, || serve(window))?;
            scavenged += events;
            Ok(rate)
        }),
        System::new(ALONE, serve),
    ];
    let served_meanwhile = alternate("commands while half is scavenged", "commands/s", plan, systems)?;
    // A run of one round, which measures nothing, has too few events for that.
    if scavenged == 0 && plan.rounds > 1 {
        return Err("nothing was scavenged while commands were served".into());
    }
    let memory_after = resident(plan, &format!("resident with {live} live, a part scavenged beside them"))?;
    let (rest, took) = scavenge_all(&embedded)?;
    println!("  scavenged {scavenged} events while serving, the other {rest} in {:.1} s", took.as_secs_f64());
    runtime.block_on(async {
        node.shutdown().await;
        journal.close().await;
    });
    Ok(vec![memory, served_meanwhile.with_goal(ALONE, KEPT), memory_after])
}

/// Every other stream is given up, but those that are served: their events may go.
async fn let_half_go(journal: &Arc<dyn Journal>, streams: usize, live: usize) -> Result<(), Failure> {
    let gone = Retention { tombstone: true, ..Retention::default() };
    let chosen: Vec<usize> = (live..streams).step_by(2).collect();
    for instances in chosen.chunks(BATCH_EVENTS) {
        let batch = instances.iter().try_fold(Batch::default(), |batch, instance| {
            Ok::<_, Failure>(batch.retaining(stream(*instance)?, gone))
        })?;
        // A batch has at least one event; this one goes with the others of its stream.
        let marker = StreamId::internal("scale-retention")?;
        journal.append(batch.and(marker, Expected::Any, [new_event()?])).await?;
    }
    Ok(())
}

/// What `serve` answers, and how many events were scavenged meanwhile.
fn while_scavenging(
    journal: &EmbeddedJournal,
    serve: impl FnOnce() -> Result<f64, Failure>,
) -> Result<(f64, u64), Failure> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let scavenger = scope.spawn(|| {
            journal.scavenge(&everything(journal), |_| match stop.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            })
        });
        let served = serve();
        stop.store(true, Ordering::Relaxed);
        let scavenged = scavenger.join().map_err(|_| "the scavenger panicked")??;
        Ok((served?, scavenged.events))
    })
}

fn scavenge_all(journal: &EmbeddedJournal) -> Result<(u64, Duration), Failure> {
    let begin = Instant::now();
    let options = ScavengeOptions { duty_percent: 100, ..everything(journal) };
    let done = journal.scavenge(&options, |_| ControlFlow::Continue(()))?;
    Ok((done.events, begin.elapsed()))
}

fn everything(journal: &EmbeddedJournal) -> ScavengeOptions {
    ScavengeOptions::below(journal.durable().borrow().position.next())
}

/// What is resident now, beside what may be.
fn resident(plan: &Plan, name: &str) -> Result<Measurement, Failure> {
    const ALLOWED: &str = "600 MiB";
    let systems =
        vec![System::new(OURS, |_| resident_mebibytes()), System::new(ALLOWED, |_| Ok(ALLOWED_MEBIBYTES))];
    Ok(alternate(name, "MiB", plan, systems)?.with_limit(ALLOWED, 1.0))
}

/// What the process has in memory, as Linux counts it.
fn resident_mebibytes() -> Result<f64, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    let kibibytes: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kibibytes / 1024.0)
}
