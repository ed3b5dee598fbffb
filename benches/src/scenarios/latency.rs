//! How long an answer takes while there is half as much to do as can be done.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals::persistence::{RealVfs, Vfs};

use crate::baselines::filled::filled;
use crate::baselines::raw::RawActors;
use crate::percentile::percentile;
use crate::scenarios::commands::{OURS, Orders};
use crate::{Failure, Measurement, System, Workshop, alternate, paced, tasks};

const SYNC: &str = "p90 of a bare fdatasync";
/// What the slowest of a hundred of the disk's own answers take: a command waits for one sync, and as a rule for the rest of
/// the one before it.
const SLOW_SYNC: &str = "p99 of a bare fdatasync";
/// What the slowest of a hundred take at the same rate with neither a disk nor a journal: what the machine's own pauses come to.
const NO_DISK: &str = "p99 of a ractor call at that rate";
/// What the slowest of a hundred answers may take of it.
const LIMIT: f64 = 3.0;
/// With how many clients it is found out how much can be done.
const CLIENTS: usize = 1024;
const FILE_BYTES: u64 = 16 << 20;

/// The slowest of a hundred commands beside writing and syncing one event by hand.
pub(super) fn latency(workshop: &Workshop) -> Result<Vec<Measurement>, Failure> {
    let Workshop { runtime, plan, .. } = workshop;
    let (bytes, dir, instances) = (workshop.encoded_event()?, workshop.dir()?, plan.instances);
    let orders = Orders::live(workshop, instances)?;
    let bare =
        |window, percent| Ok(percentile(&mut syncs(&dir.path().join("log"), &bytes, window)?, percent));
    let raw = Arc::new(runtime.block_on(RawActors::start(instances))?);
    let rate = Cell::new(1.0);
    let systems = vec![
        System::new(OURS, |window| {
            // Anew in each round: what a shared machine can do is another amount every few seconds.
            rate.set(tasks(runtime, &orders, CLIENTS.min(instances), instances, window / 4)? / 2.0);
            Ok(percentile(&mut paced(runtime, &orders, rate.get(), instances, window)?, 99))
        }),
        System::new(NO_DISK, |window| {
            Ok(percentile(&mut paced(runtime, &raw, rate.get(), instances, window)?, 99))
        }),
        System::new(SYNC, |window| bare(window, 90)),
        System::new(SLOW_SYNC, |window| bare(window, 99)),
    ];
    let measured = alternate("p99 of a durable command at half load", "us", plan, systems)?;
    orders.stop(workshop);
    Ok(vec![measured.with_limit(SYNC, LIMIT)])
}

/// Writes these bytes and syncs, one after the other; answers how long each took, in microseconds.
fn syncs(path: &std::path::Path, bytes: &[u8], window: Duration) -> Result<Vec<f64>, Failure> {
    let file = filled(path, FILE_BYTES)?;
    let (begin, mut end, mut times) = (Instant::now(), 0, Vec::new());
    while (begin.elapsed() < window || times.is_empty()) && end + (bytes.len() as u64) < FILE_BYTES {
        file.write_all_at(bytes, end)?;
        let sync = Instant::now();
        file.sync_data()?;
        times.push(sync.elapsed().as_secs_f64() * 1e6);
        end += bytes.len() as u64;
    }
    RealVfs.remove(path)?;
    Ok(times)
}
