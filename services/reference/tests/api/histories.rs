//! Random histories against a node: every recorded state can be read again, from events and from snapshots.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use annals::actors::{Node, VirtualClock};
use annals::persistence::{MemoryJournal, SledOptions, SledSnapshots, SnapshotStore};
use annals::prelude::{Aggregate, Current, Journal, Moment, NodeOptions, Timestamp, Version};
use annals_reference::Address;
use annals_reference::customer::{Customer, CustomerChange, CustomerCommand, CustomerDetails};
use annals_reference::order::{Order, OrderCommand, OrderDetails};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use uuid::Uuid;

use crate::process::{count, seed};

fn address(random: &mut StdRng) -> Address {
    Address { street: format!("{} Elm", random.random_range(0..4)), ..Address::default() }
}

fn customer_command(random: &mut StdRng) -> CustomerCommand {
    let shipping_address = address(random);
    match random.random_range(0..6) {
        0 => CustomerCommand::Remove,
        1 | 2 => CustomerCommand::Create(CustomerDetails { shipping_address, ..CustomerDetails::default() }),
        _ => CustomerCommand::Change(CustomerChange {
            first_name: "Anna".into(),
            last_name: format!("Nr {}", random.random_range(0..100)),
            shipping_address,
            credit_available: None,
        }),
    }
}

fn order_command(random: &mut StdRng) -> OrderCommand {
    let shipping_address = address(random);
    let customer_id = Uuid::from_u128(random.random_range(1..3));
    let details = OrderDetails { customer_id, shipping_address, ..OrderDetails::default() };
    match random.random_range(0..9) {
        0 => OrderCommand::Remove,
        1 => OrderCommand::Ship,
        2 => OrderCommand::Cancel,
        3 | 4 => OrderCommand::Create(details),
        5 | 6 => OrderCommand::Change(details),
        _ => OrderCommand::FollowCustomer {
            customer_id,
            sequence: Some(random.random_range(1..20)),
            shipping_address: details.shipping_address,
        },
    }
}

struct World {
    clock: VirtualClock,
    journal: Arc<dyn Journal>,
    snapshots: Arc<dyn SnapshotStore>,
}

impl World {
    /// Snapshots so often that most states come from one.
    async fn node<A: Aggregate>(&self, snapshots: bool) -> Node {
        let options = NodeOptions {
            snapshot_every_events: 3,
            snapshot_on_passivation_events: 1,
            ..NodeOptions::default()
        };
        let mut node = Node::builder().journal(Arc::clone(&self.journal)).clock(Arc::new(self.clock.clone()));
        if snapshots {
            node = node.snapshots(Arc::clone(&self.snapshots));
        }
        node.options(options).aggregate::<A>().start().await.expect("a node")
    }

    /// Histories of many instances, each checked against what was recorded while it was made.
    async fn check<A: Aggregate + Debug + PartialEq>(
        &self,
        random: &mut StdRng,
        histories: usize,
        command: impl Fn(&mut StdRng) -> A::Command,
    ) {
        let node = self.node::<A>(true).await;
        let mut all = Vec::new();
        for _ in 0..histories {
            let id = Uuid::from_u128(random.random()).to_string();
            let recorded = self.record::<A>(&node, &id, random, &command).await;
            all.push((id, recorded));
        }
        node.shutdown().await;
        // From snapshots and what came after them; then, as if they were deleted, from events alone.
        for snapshots in [true, false] {
            let node = self.node::<A>(snapshots).await;
            for (id, recorded) in &all {
                let now = node.aggregate::<A>(id).state().await.expect("a state");
                assert_eq!(Some(&now.state), recorded.last().map(|then| &then.state));
                look_back(&node, id, recorded).await;
            }
            node.shutdown().await;
        }
    }

    async fn record<A: Aggregate>(
        &self,
        node: &Node,
        id: &str,
        random: &mut StdRng,
        command: impl Fn(&mut StdRng) -> A::Command,
    ) -> Vec<Current<A>> {
        let instance = node.aggregate::<A>(id);
        let mut recorded = Vec::new();
        for _ in 0..random.random_range(1..16) {
            // Often no time passes between two commands.
            self.clock.advance(Duration::from_micros(random.random_range(0..3)));
            // That a rule says no is part of life.
            let accepted = instance.send(command(random)).await;
            if accepted.is_ok_and(|receipt| receipt.events > 0) {
                recorded.push(instance.state().await.expect("a state"));
            }
        }
        recorded.push(instance.state().await.expect("a state"));
        recorded
    }
}

/// Every recorded state, by its version and by its time: of those at one time the last is meant.
async fn look_back<A: Aggregate + Debug + PartialEq>(node: &Node, id: &str, recorded: &[Current<A>]) {
    let instance = node.aggregate::<A>(id);
    for (index, then) in recorded.iter().enumerate().filter(|(_, then)| then.version > Version::NONE) {
        let found = instance.state_at(then.version).await.expect("a state");
        assert_eq!(found.as_ref(), Some(then));
        let last = recorded[index..].iter().take_while(|later| later.time == then.time).last();
        let found = instance.state_at(Moment::Time(then.time)).await.expect("a state");
        assert_eq!(found.as_ref(), last);
    }
    if let Some(first) = recorded.first().filter(|first| first.version > Version::NONE) {
        let before = Moment::Time(Timestamp(first.time.0 - 1));
        assert_eq!(instance.state_at(before).await.expect("no state"), None);
    }
}

#[tokio::test]
async fn every_recorded_state_can_be_read_again() {
    let histories = count("ANNALS_CASES", 100);
    let mut random = StdRng::seed_from_u64(seed());
    let directory = TempDir::new().expect("a directory");
    let snapshots = SledSnapshots::open(directory.path(), SledOptions::default()).expect("snapshots");
    let world = World {
        clock: VirtualClock::default(),
        journal: Arc::new(MemoryJournal::new()),
        snapshots: Arc::new(snapshots),
    };
    world.check::<Customer>(&mut random, histories.div_ceil(2), customer_command).await;
    world.check::<Order>(&mut random, histories / 2, order_command).await;
}
