//! An instance that comes to life from a snapshot with any state in it.

use std::sync::Arc;

use annals_actors::doc::{Account, AccountCommand};
use annals_actors::{Node, NodeOptions};
use annals_persistence::{MemoryJournal, MemorySnapshots, Snapshot, SnapshotStore, StreamId};
use tokio::runtime::{Builder, Runtime};

/// A journal with one instance, and a snapshot of it that is right.
pub struct Activation {
    runtime: Runtime,
    journal: Arc<MemoryJournal>,
    snapshots: Arc<MemorySnapshots>,
    stream: StreamId,
    right: Snapshot,
}

impl Default for Activation {
    fn default() -> Self {
        Self::new()
    }
}

impl Activation {
    pub fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        let (journal, snapshots) = (Arc::new(MemoryJournal::new()), Arc::new(MemorySnapshots::new()));
        runtime.block_on(async {
            let node = node(&journal, &snapshots).await;
            let deposit = node.aggregate::<Account>("a").send(AccountCommand::Deposit { amount: 1 });
            deposit.await.expect("the deposit is taken");
            node.shutdown().await;
        });
        let stream = StreamId::aggregate("account", "a").expect("a valid id");
        let right = snapshots.load(&stream).remove(0);
        Self { runtime, journal, snapshots, stream, right }
    }

    /// What the snapshot that is right holds.
    pub fn right(&self) -> &Snapshot {
        &self.right
    }

    /// Brings the instance up from this state, or, where that is none, from its events.
    pub fn from(&mut self, state: &[u8]) {
        self.snapshots.remove(&self.stream);
        self.snapshots.save(&self.stream, &Snapshot { state: state.to_vec(), ..self.right.clone() });
        self.runtime.block_on(async {
            let node = node(&self.journal, &self.snapshots).await;
            let state = node.aggregate::<Account>("a").state().await;
            assert_eq!(state.expect("a snapshot is only a cache").version.0, 1);
            node.shutdown().await;
        });
    }
}

async fn node(journal: &Arc<MemoryJournal>, snapshots: &Arc<MemorySnapshots>) -> Node {
    let options = NodeOptions { snapshot_every_events: 1, ..NodeOptions::default() };
    Node::builder()
        .journal(Arc::clone(journal) as _)
        .snapshots_in_place(Arc::clone(snapshots) as _)
        .options(options)
        .aggregate::<Account>()
        .start()
        .await
        .expect("the node starts")
}
