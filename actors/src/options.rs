//! What can be set of a node.

use std::time::Duration;

use crate::CheckpointPolicy;

/// Limits and habits of a node. The defaults suit a service on one machine.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// How many requests one instance may have open, from admission until the answer leaves, waiting for the disk
    /// included; more are refused. Default 4,096.
    pub mailbox_capacity: usize,
    /// How many command ids an instance remembers, beside its creating one. Default 256.
    pub command_ids_max: usize,
    /// A snapshot is taken after this many events. Default 100.
    pub snapshot_every_events: u64,
    /// A snapshot is taken on passivation if at least this many events lie behind the last one. Default 20.
    pub snapshot_on_passivation_events: u64,
    /// An instance passivates after doing nothing for this long. Default 2 minutes.
    pub passivate_after: Duration,
    /// How many instances of one type stay live; beyond it the least recently used passivate. Default 10,000.
    pub live_instances_max: usize,
    /// How many instances are brought up from the journal at once. Default 64.
    pub recoveries_max: usize,
    /// A request that is handled for longer than this is reported, while it still is. Default 1 second.
    pub handling_max: Duration,
    /// A mailbox whose first request waits for longer than this is reported. Default 10 seconds.
    pub mailbox_age_max: Duration,
}

/// What can be set of one aggregate type of a node.
#[derive(Debug, Clone, Default)]
pub struct AggregateOptions {
    /// When its instances make checkpoints by themselves, and give up the events in front of them. Default never.
    pub checkpoints: Option<CheckpointPolicy>,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            mailbox_capacity: 4096,
            command_ids_max: 256,
            snapshot_every_events: 100,
            snapshot_on_passivation_events: 20,
            passivate_after: Duration::from_secs(120),
            live_instances_max: 10_000,
            recoveries_max: 64,
            handling_max: Duration::from_secs(1),
            mailbox_age_max: Duration::from_secs(10),
        }
    }
}
