//! Writing snapshots behind the command path, as a rule on a thread of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use annals_persistence::{Snapshot, SnapshotStore, StreamId};
use parking_lot::Mutex;

use crate::error::catch;

/// How many snapshots may wait; more are left out, since the next one is as good.
const WAITING_MAX: usize = 256;

/// A snapshot to keep.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) stream: StreamId,
    pub(crate) snapshot: Snapshot,
}

/// Hands snapshots to whoever writes them. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotWriter(Arc<Inner>);

#[derive(Debug)]
enum Inner {
    Behind(Behind),
    InPlace(Arc<dyn SnapshotStore>),
}

/// The thread that writes them.
#[derive(Debug)]
struct Behind {
    jobs: Mutex<Option<SyncSender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    left_out: metrics::Counter,
}

impl SnapshotWriter {
    pub(crate) fn start(store: Arc<dyn SnapshotStore>) -> std::io::Result<Self> {
        let (sender, jobs) = sync_channel(WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("annals-snapshots".to_owned())
            .spawn(move || write_all(&jobs, &*store))?;
        Ok(Self(Arc::new(Inner::Behind(Behind {
            jobs: Mutex::new(Some(sender)),
            thread: Mutex::new(Some(thread)),
            left_out: metrics::counter!("annals_snapshots_left_out_total"),
        }))))
    }

    /// One that writes each where it is handed over.
    pub(crate) fn in_place(store: Arc<dyn SnapshotStore>) -> Self {
        Self(Arc::new(Inner::InPlace(store)))
    }

    /// Keeps a snapshot soon, or leaves it out where too many wait.
    pub(crate) fn write(&self, job: Job) {
        match &*self.0 {
            Inner::Behind(behind) => behind.write(job),
            Inner::InPlace(store) => save(&**store, &job),
        }
    }

    /// Ends when everything that waited is written and the store is closed.
    pub(crate) async fn close(&self) {
        match &*self.0 {
            Inner::Behind(behind) => behind.close().await,
            Inner::InPlace(store) => store.close(),
        }
    }
}

impl Behind {
    fn write(&self, job: Job) {
        let jobs = self.jobs.lock();
        match jobs.as_ref().map(|jobs| jobs.try_send(job)) {
            Some(Ok(())) => {}
            Some(Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) | None => {
                self.left_out.increment(1);
            }
        }
    }

    async fn close(&self) {
        drop(self.jobs.lock().take());
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the snapshot writer panicked; snapshots are only a cache, nothing is lost");
            }
        }
    }
}

fn write_all(jobs: &Receiver<Job>, store: &dyn SnapshotStore) {
    while let Ok(job) = jobs.recv() {
        save(store, &job);
    }
    store.close();
}

/// A store that panics over one snapshot is no reason to keep none of the others.
fn save(store: &dyn SnapshotStore, job: &Job) {
    if let Err(reason) = catch(|| store.save(&job.stream, &job.snapshot)) {
        metrics::counter!("annals_snapshots_failed_total").increment(1);
        tracing::error!(stream = %job.stream, reason, "the snapshot store panicked; the snapshot is left out");
    }
}
