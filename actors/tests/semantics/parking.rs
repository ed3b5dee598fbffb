//! Invariant 8: nothing is silent. A stream that cannot be understood stops its instance, with a code.

use std::time::Duration;

use annals_actors::testing::TestNode;
use annals_actors::{NodeOptions, Retry, SendError, StateError};
use annals_persistence::Version;

use crate::support::{
    Answer, Command, Ledger, arm, calm, disarm, ledger, let_run, passivate_all, raw_event, start, write_past,
};

fn parked_code(answer: Answer) -> &'static str {
    match answer {
        Err(error @ SendError::Parked { code, .. }) => {
            assert_eq!((error.code(), error.retry()), ("instance_parked", Retry::Safe));
            code
        }
        other => panic!("{other:?}"),
    }
}

/// A new node over the same journal, in which nothing is live.
async fn again(node: &TestNode) -> TestNode {
    node.crashed().aggregate::<Ledger>().options(calm()).start().await.unwrap()
}

#[tokio::test]
async fn nothing_is_silent() {
    for (event, code) in [
        (raw_event("never-heard-of", 1, "{}"), "unknown_event_type"),
        (raw_event("added", 9, r#"{"amount":1}"#), "newer_event_version"),
        (raw_event("added", 1, r#"{"amount":"many"}"#), "undecodable_event"),
    ] {
        let node = start().await;
        ledger(&node, "b").send(Command::Add(1)).await.unwrap();
        ledger(&node, "a").send(Command::Add(1)).await.unwrap();
        write_past(&node, "a", event).await;
        let node = again(&node).await;
        let one = ledger(&node, "a");
        assert_eq!(parked_code(one.send(Command::Add(2)).await), code);
        let read = one.state().await.unwrap_err();
        assert!(matches!(&read, StateError::Parked { code: found, .. } if *found == code), "{read:?}");
        assert_eq!(one.state_at(Version(2)).await.unwrap_err().code(), code);
        assert_eq!(one.state_at(Version(1)).await.unwrap().unwrap().state.sum, 1, "before it, all is well");
        assert_eq!(ledger(&node, "b").send(Command::Add(1)).await.unwrap().version, Version(2));
    }
}

#[tokio::test]
async fn a_parked_instance_is_tried_again_after_its_back_off_and_then_works() {
    let node = start().await;
    ledger(&node, "a").send(Command::Fragile("replay".into())).await.unwrap();
    arm("replay");
    let node = again(&node).await;
    let one = ledger(&node, "a");
    let error = one.send(Command::Add(1)).await.unwrap_err();
    assert!(error.to_string().contains("a bug in apply"), "the reason is told: {error}");
    assert_eq!(parked_code(one.send(Command::Add(1)).await), "apply_panicked");

    disarm("replay");
    node.clock.advance(Duration::from_millis(499));
    assert_eq!(parked_code(one.send(Command::Add(1)).await), "apply_panicked", "not tried before its time");
    node.clock.advance(Duration::from_millis(1));
    assert_eq!(one.send(Command::Add(1)).await.unwrap().version, Version(2));
}

#[tokio::test]
async fn the_back_off_doubles_with_every_failure() {
    let node = start().await;
    ledger(&node, "a").send(Command::Fragile("doubles".into())).await.unwrap();
    arm("doubles");
    let node = again(&node).await;
    let one = ledger(&node, "a");
    parked_code(one.send(Command::Add(1)).await);
    node.clock.advance(Duration::from_millis(500));
    parked_code(one.send(Command::Add(1)).await);
    disarm("doubles");
    node.clock.advance(Duration::from_millis(999));
    parked_code(one.send(Command::Add(1)).await);
    node.clock.advance(Duration::from_millis(1));
    one.send(Command::Add(1)).await.unwrap();
}

#[tokio::test]
async fn a_parked_instance_passivates_when_nobody_asks() {
    let node = start().await;
    write_past(&node, "a", raw_event("never-heard-of", 1, "{}")).await;
    parked_code(ledger(&node, "a").send(Command::Add(1)).await);
    assert_eq!(node.node.kind("ledger").unwrap().live_instances(), 1);
    passivate_all(&node).await;
}

#[tokio::test]
async fn a_parked_instance_waits_its_time_however_many_others_want_its_room() {
    let node = start().await;
    ledger(&node, "a").send(Command::Fragile("crowded".into())).await.unwrap();
    arm("crowded");
    let options = NodeOptions { live_instances_max: 2, ..calm() };
    let node = node.crashed().aggregate::<Ledger>().options(options).start().await.unwrap();
    let one = ledger(&node, "a");
    parked_code(one.send(Command::Add(1)).await);
    disarm("crowded");
    for number in 0..20 {
        ledger(&node, &number.to_string()).send(Command::Add(1)).await.unwrap();
        let_run().await;
    }
    assert_eq!(parked_code(one.send(Command::Add(1)).await), "apply_panicked", "it was not tried again");
    node.clock.advance(Duration::from_millis(500));
    one.send(Command::Add(1)).await.unwrap();
}
