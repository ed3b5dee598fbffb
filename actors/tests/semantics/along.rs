//! Events for one more stream: with the command's own, or not at all.

use annals_actors::{Retry, SendError};
use annals_persistence::{AppendError, Direction, Expected, JournalExt, StreamId, Version};
use futures_util::TryStreamExt;

use crate::support::{
    Command, amounts_of, answer, ledger, let_run, placed, raw_event, sent, start, to_stream, write_past,
};

async fn count(node: &annals_actors::testing::TestNode, stream: &str) -> usize {
    let stream: StreamId = stream.parse().unwrap();
    node.node
        .journal()
        .read_stream(&stream, Version(1), Direction::Forward)
        .try_collect::<Vec<_>>()
        .await
        .unwrap()
        .len()
}

#[tokio::test]
async fn both_or_neither() {
    let node = start().await;
    let one = ledger(&node, "a");
    let append = || to_stream("$inbox", Expected::Any);
    let receipt = one.send(Command::AddMany(vec![1, 2])).along(append()).await.unwrap();
    assert_eq!((receipt.version, receipt.position, receipt.events), (Version(2), Some(placed(2)), 2));
    assert_eq!(count(&node, "$inbox").await, 1);

    assert!(one.send(Command::Refuse).along(append()).await.is_err());
    assert_eq!(one.send(Command::Nothing).along(append()).await.unwrap().events, 0);
    assert!(one.send(Command::Add(1)).expecting(Version(9)).along(append()).await.is_err());
    assert!(one.send(Command::PanicInHandle).along(append()).await.is_err());
    assert_eq!(count(&node, "$inbox").await, 1, "without events of the command there are none along");

    node.journal.fail_append(1, AppendError::Busy { bytes: 1 });
    assert!(one.send(Command::Add(1)).along(append()).await.is_err());
    assert_eq!((count(&node, "$inbox").await, count(&node, "ledger-a").await), (1, 2));
}

#[tokio::test]
async fn a_duplicate_appends_nothing_along() {
    let node = start().await;
    let one = ledger(&node, "a");
    for _ in 0..3 {
        let id = crate::support::id(1);
        one.send(Command::Add(1)).command_id(id).along(to_stream("$inbox", Expected::Any)).await.unwrap();
    }
    assert_eq!(count(&node, "$inbox").await, 1);
}

#[tokio::test]
async fn a_conflict_on_the_other_stream_names_it_and_the_instance_goes_on() {
    let node = start().await;
    let one = ledger(&node, "a");
    node.journal.hold();
    let before = sent(one.send(Command::Add(1)));
    let conflicting =
        sent(one.send(Command::Add(2)).along(to_stream("$inbox", Expected::Version(Version(5)))));
    let on_top = sent(one.send(Command::Add(3)));
    let behind = [sent(one.send(Command::Nothing)), sent(one.send(Command::Refuse))];
    let_run().await;
    node.journal.release();
    answer(before).await.unwrap();
    let error = answer(conflicting).await.unwrap_err();
    assert_eq!((error.code(), error.retry()), ("version_conflict", Retry::Safe));
    let SendError::NotCommitted(AppendError::Conflict { stream, actual, .. }) = error else {
        panic!("{error:?}")
    };
    assert_eq!((stream.as_str(), actual), ("$inbox", Version(0)));
    assert!(matches!(answer(on_top).await, Err(SendError::NotCommitted(_))));
    for answered in behind {
        let error = answer(answered).await.unwrap_err();
        assert_eq!(
            (error.code(), error.retry()),
            ("append_superseded", Retry::Safe),
            "the conflict is not theirs"
        );
    }
    assert_eq!(one.send(Command::Add(4)).await.unwrap().version, Version(2));
    assert_eq!(amounts_of(&*node.journal, "a").await, [1, 4]);
}

#[tokio::test]
async fn the_commands_own_stream_cannot_go_along() {
    let node = start().await;
    let one = ledger(&node, "a");
    let error = one.send(Command::Add(1)).along(to_stream("ledger-a", Expected::Any)).await.unwrap_err();
    assert_eq!((error.code(), error.retry()), ("invalid_batch", Retry::Never));
    one.send(Command::Add(1)).await.unwrap();
}

#[tokio::test]
async fn an_instance_takes_in_what_others_appended_along_to_it() {
    let node = start().await;
    let (one, other) = (ledger(&node, "a"), ledger(&node, "b"));
    other.send(Command::Add(10)).await.unwrap();
    one.send(Command::Add(1)).along(to_stream("ledger-b", Expected::Any)).await.unwrap();
    write_past(&node, "b", raw_event("added", 1, r#"{"amount":100}"#)).await;
    assert!(matches!(other.send(Command::Add(1)).await, Err(SendError::NotCommitted(_))));
    assert_eq!(other.state().await.unwrap().state.sum, 111);
}
