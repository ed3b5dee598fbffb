//! Many commands for one instance in each message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals::persistence::{RealVfs, Vfs};
use annals::prelude::*;

use crate::scenarios::commands::OURS;
use crate::workload::{Order, command, instance_id};
use crate::{Failure, Measurement, System, Target, Workshop, alternate, journals, tasks};

const WRITES: &str = "large writes + fdatasync";
/// What bulk commands are to reach of the disk's bandwidth.
const GOAL: f64 = 0.5;
/// Commands in a message.
const COMMANDS: usize = 2000;
const CLIENTS: usize = 4;
/// As long as a segment.
const FILE_BYTES: usize = 64 << 20;
const MEBIBYTE: f64 = 1_048_576.0;

struct Bulk(AggregateRef<Order>);

impl Target for Bulk {
    async fn call(&self, _instance: usize) -> Result<(), Failure> {
        self.0.send_all((0..COMMANDS).map(|_| command())).await?;
        Ok(())
    }
}

/// The bytes that the log takes beside a loop that writes as many at a time by hand.
pub(super) fn bulk(workshop: &Workshop) -> Result<Vec<Measurement>, Failure> {
    let Workshop { runtime, plan, .. } = workshop;
    let (ours, theirs) = (workshop.dir()?, workshop.dir()?);
    let message = workshop.encoded_event()?.len() * COMMANDS;
    let (journal, node) = runtime.block_on(async {
        let journal = journals::open(ours.path())?;
        let node = journals::node(&journal).await?;
        Ok::<_, Failure>((journal, node))
    })?;
    let target = Arc::new(Bulk(node.aggregate::<Order>(instance_id(0))));
    let mebibytes = message as f64 / MEBIBYTE;
    let systems = vec![
        System::new(OURS, |window| Ok(tasks(runtime, &target, CLIENTS, 1, window)? * mebibytes)),
        System::new(WRITES, |window| write(theirs.path(), &vec![7; message], window)),
    ];
    let name = format!("bulk: {COMMANDS} commands a message to one instance, {CLIENTS} clients");
    let measured = alternate(name, "MiB/s", plan, systems)?;
    runtime.block_on(async {
        node.shutdown().await;
        journal.close().await;
    });
    Ok(vec![measured.with_goal(WRITES, GOAL)])
}

/// Fills files whose space is reserved, one after the other; answers MiB a second.
fn write(dir: &std::path::Path, block: &[u8], window: Duration) -> Result<f64, Failure> {
    let (begin, mut written) = (Instant::now(), 0);
    while written == 0 || begin.elapsed() < window {
        let path = dir.join("block");
        let file = RealVfs.create(&path)?;
        file.reserve(FILE_BYTES as u64)?;
        for at in (0..=FILE_BYTES - block.len()).step_by(block.len()) {
            file.write_all_at(block, at as u64)?;
            file.sync_data()?;
            written += block.len();
            if begin.elapsed() >= window {
                break;
            }
        }
        RealVfs.remove(&path)?;
    }
    Ok(written as f64 / MEBIBYTE / begin.elapsed().as_secs_f64())
}
