//! Where the data goes, and journals with something in them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals::persistence::{Batch, CodecId, Expected};
use annals::prelude::*;
use futures_util::future::try_join_all;
use tempfile::TempDir;

use crate::baselines::frames::Segment;
use crate::workload::{Order, new_event_as, stream};
use crate::{Failure, Plan};

/// Events appended with one sync, while a journal is filled.
const FILL_EVENTS: usize = 100;

/// Where scenarios do their work.
#[derive(Debug)]
pub struct Workshop {
    /// What runs the tasks.
    pub runtime: tokio::runtime::Handle,
    /// How long and how large.
    pub plan: Plan,
    data: PathBuf,
}

impl Workshop {
    /// A workshop over a directory, which is made if need be; what is put there is removed again.
    ///
    /// # Errors
    /// What the system said.
    pub fn new(runtime: tokio::runtime::Handle, plan: Plan, data: &Path) -> Result<Self, Failure> {
        std::fs::create_dir_all(data)?;
        Ok(Self { runtime, plan, data: data.to_owned() })
    }

    /// A directory of its own for a scenario, gone when it is dropped.
    ///
    /// # Errors
    /// What the system said.
    pub fn dir(&self) -> Result<TempDir, Failure> {
        Ok(tempfile::tempdir_in(&self.data)?)
    }

    /// The bytes that one event takes in the log.
    ///
    /// # Errors
    /// What the journal said.
    pub fn encoded_event(&self) -> Result<Arc<[u8]>, Failure> {
        let dir = self.dir()?;
        self.runtime.block_on(async {
            let journal = open(dir.path())?;
            fill(&journal, 0, 1).await?;
            journal.close().await;
            Segment::first(dir.path())?.first_frame()
        })
    }
}

/// Opens a journal with the options that services have.
///
/// # Errors
/// What the journal said.
pub(crate) fn open(dir: &Path) -> Result<Arc<dyn Journal>, Failure> {
    Ok(Arc::new(EmbeddedJournal::open(dir, EmbeddedOptions::default())?))
}

/// Appends as many events to the stream of an instance that has none.
///
/// # Errors
/// What the journal said.
pub(crate) async fn fill(journal: &Arc<dyn Journal>, instance: usize, events: usize) -> Result<(), Failure> {
    fill_as(CodecId::Json, journal, instance, events).await
}

/// The same in this codec.
///
/// # Errors
/// What the journal said.
pub(crate) async fn fill_as(
    codec: CodecId,
    journal: &Arc<dyn Journal>,
    instance: usize,
    events: usize,
) -> Result<(), Failure> {
    let stream = stream(instance)?;
    for first in (0..events).step_by(FILL_EVENTS) {
        let count = FILL_EVENTS.min(events - first);
        let events = (0..count).map(|_| new_event_as(codec)).collect::<Result<Vec<_>, _>>()?;
        journal.append(Batch::of(stream.clone(), Expected::Any, events)).await?;
    }
    Ok(())
}

/// Appends as many events to the streams of as many instances.
///
/// # Errors
/// What the journal said.
pub(crate) async fn fill_many(
    journal: &Arc<dyn Journal>,
    instances: usize,
    events: usize,
) -> Result<(), Failure> {
    try_join_all((0..instances).map(|instance| fill(journal, instance, events))).await?;
    Ok(())
}

/// A node over a journal, whose instances stay until it is stopped.
///
/// # Errors
/// What the node said.
pub(crate) async fn node(journal: &Arc<dyn Journal>) -> Result<Node, Failure> {
    let builder = Node::builder().journal(Arc::clone(journal)).options(options());
    Ok(builder.aggregate::<Order>().start().await?)
}

/// The defaults, but that nothing passivates while others are measured.
#[must_use]
pub(crate) fn options() -> NodeOptions {
    NodeOptions {
        passivate_after: std::time::Duration::from_secs(3600),
        live_instances_max: usize::MAX / 2,
        ..NodeOptions::default()
    }
}
