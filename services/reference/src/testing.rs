//! What the tests of both aggregates share.

use std::fmt::Debug;

use annals::persistence::CodecId;
use annals::prelude::Aggregate;
use annals::testing::TestNode;
use proptest::test_runner::Config;

use crate::Address;

pub(crate) fn address(street: &str) -> Address {
    Address {
        street: street.into(),
        city: "Dallas".into(),
        state: "Texas".into(),
        country: "USA".into(),
        postal_code: "75202".into(),
    }
}

/// As many cases as `ANNALS_CASES` says, or a few. On a failure proptest prints the smallest history that fails.
pub(crate) fn config() -> Config {
    let cases = std::env::var("ANNALS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(48);
    Config { cases, failure_persistence: None, ..Config::default() }
}

/// Sends the commands to a live instance; what the journal holds, and what a snapshot would, must give its state.
pub(crate) fn assert_replay_is_live<A: Aggregate + Debug + PartialEq>(commands: Vec<A::Command>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let test = TestNode::builder().aggregate::<A>().start().await.unwrap();
        let instance = test.node.aggregate::<A>("one");
        for command in commands {
            // That a rule says no is part of life.
            drop(instance.send(command).await);
        }
        let live = instance.state().await.unwrap();
        if let Some(replayed) = instance.state_at(live.version).await.unwrap() {
            assert_eq!(replayed, live);
        }
        let snapshot = CodecId::Bincode.encode(&live.state).unwrap();
        assert_eq!(CodecId::Bincode.decode::<A>(&snapshot).unwrap(), live.state);
        test.node.shutdown().await;
    });
}
