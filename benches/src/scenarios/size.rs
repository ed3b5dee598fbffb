//! What an event takes in the log when all that can be said of it is said.

use annals::persistence::{
    Batch, CausationId, CommandId, CommandMetadata, CorrelationId, Expected, NewEvent, Timestamp,
    TraceContext,
};
use annals::prelude::*;
use futures_util::future::try_join_all;

use crate::baselines::frames::{Extent, Segment};
use crate::scenarios::commands::OURS;
use crate::workload::{new_event, stream};
use crate::{Failure, Measurement, System, Workshop, alternate, journals};

const RECORDS: &str = "the encoded records";
const ALLOWED: &str = "160 bytes";
/// What the log may take of the records that are in it.
const LIMIT: f64 = 1.1;
/// What a record may have beside its payload.
const METADATA_BYTES: f64 = 160.0;
/// Batches that are under way at once, and so share a group, as the commands of as many clients do.
const AT_ONCE: usize = 256;

/// Bytes, which are the same in every run: not rates, and no round differs from another.
pub(super) fn size(workshop: &Workshop) -> Result<Vec<Measurement>, Failure> {
    let Workshop { runtime, plan, .. } = workshop;
    let dir = workshop.dir()?;
    let journal = journals::open(dir.path())?;
    runtime.block_on(append(&journal, plan.instances))?;
    runtime.block_on(journal.close());
    let Extent { log, records, payloads, count } = Segment::first(dir.path())?.extent()?;
    let each = |bytes: u64| bytes as f64 / count as f64;
    let log = alternate(
        "an event in the log, all metadata set",
        "bytes",
        plan,
        vec![System::new(OURS, |_| Ok(each(log))), System::new(RECORDS, |_| Ok(each(records)))],
    )?;
    let metadata = alternate(
        "a record beside its payload, all metadata set",
        "bytes",
        plan,
        vec![
            System::new(OURS, |_| Ok(each(records - payloads))),
            System::new(ALLOWED, |_| Ok(METADATA_BYTES)),
        ],
    )?;
    Ok(vec![log.with_limit(RECORDS, LIMIT), metadata.with_limit(ALLOWED, 1.0)])
}

async fn append(journal: &std::sync::Arc<dyn Journal>, count: usize) -> Result<(), Failure> {
    for first in (0..count).step_by(AT_ONCE) {
        let batches = (first..count.min(first + AT_ONCE)).map(|instance| {
            let batch = Batch::of(stream(instance)?, Expected::NoStream, [full_event()?]);
            Ok::<_, Failure>(journal.append(batch))
        });
        try_join_all(batches.collect::<Result<Vec<_>, _>>()?).await?;
    }
    Ok(())
}

/// The event with everything set that can be: ids that differ from one another, the sender, the trace, a tag.
fn full_event() -> Result<NewEvent, Failure> {
    let command = CommandMetadata {
        time: Timestamp::now(),
        command_id: CommandId::generate(),
        command_hash: 0x0123_4567_89ab_cdef,
        correlation_id: CorrelationId::generate(),
        causation_id: CausationId::generate(),
        actor: Some("user-4711".into()),
        trace: Some(TraceContext { trace_id: 1 << 127, span_id: 1 << 63, flags: 1 }),
    };
    Ok(NewEvent { command, tags: vec!["eu".into()], ..new_event()? })
}
