//! A node over a journal in memory.

use std::sync::Arc;

use annals_persistence::{MemoryJournal, SnapshotStore};

use crate::{Aggregate, AggregateOptions, Node, NodeBuilder, NodeOptions, StartError, VirtualClock};

/// A node over a journal in memory and a clock that stands still, with both at hand.
#[derive(Debug)]
pub struct TestNode {
    /// The node.
    pub node: Node,
    /// Its journal, with switches for everything that can go wrong.
    pub journal: Arc<MemoryJournal>,
    /// Its clock.
    pub clock: VirtualClock,
}

impl TestNode {
    /// Begins to describe one.
    pub fn builder() -> TestNodeBuilder {
        TestNodeBuilder::over(Arc::new(MemoryJournal::new()), VirtualClock::default())
    }

    /// Begins to describe the node that a crash of this one leaves: the same clock, and the journal as far as it
    /// was durable.
    pub fn crashed(&self) -> TestNodeBuilder {
        TestNodeBuilder::over(Arc::new(self.journal.reopened()), self.clock.clone())
    }
}

/// Describes a [`TestNode`].
#[derive(Debug)]
#[must_use = "a node starts only with `start`"]
pub struct TestNodeBuilder {
    node: NodeBuilder,
    journal: Arc<MemoryJournal>,
    clock: VirtualClock,
}

impl TestNodeBuilder {
    fn over(journal: Arc<MemoryJournal>, clock: VirtualClock) -> Self {
        let node = Node::builder().journal(Arc::clone(&journal) as _).clock(Arc::new(clock.clone()));
        Self { node, journal, clock }
    }

    /// With this aggregate type.
    pub fn aggregate<A: Aggregate>(mut self) -> Self {
        self.node = self.node.aggregate::<A>();
        self
    }

    /// With this aggregate type, and habits of its own.
    pub fn aggregate_with<A: Aggregate>(mut self, options: AggregateOptions) -> Self {
        self.node = self.node.aggregate_with::<A>(options);
        self
    }

    /// With these limits.
    pub fn options(mut self, options: NodeOptions) -> Self {
        self.node = self.node.options(options);
        self
    }

    /// With snapshots.
    pub fn snapshots(mut self, store: Arc<dyn SnapshotStore>) -> Self {
        self.node = self.node.snapshots(store);
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(self) -> Result<TestNode, StartError> {
        Ok(TestNode { node: self.node.start().await?, journal: self.journal, clock: self.clock })
    }
}
