//! Panics in the author's code hurt the command that met them, and nobody else.

use annals_actors::{Retry, SendError, StateError};
use annals_persistence::Version;

use crate::support::{Command, amounts_of, answer, arm, disarm, ledger, let_run, sent, start};

#[tokio::test]
async fn a_panic_in_handle_fails_its_command_alone() {
    let node = start().await;
    let (one, other) = (ledger(&node, "a"), ledger(&node, "b"));
    other.send(Command::Add(1)).await.unwrap();
    node.journal.hold();
    let before = sent(one.send(Command::Add(1)));
    let panics = sent(one.send(Command::PanicInHandle));
    let behind: Vec<_> = (2..=200).map(|amount| sent(one.send(Command::Add(amount)))).collect();
    let beside = sent(other.send(Command::Add(2)));
    let_run().await;
    assert_eq!(node.journal.held(), 2, "what is behind the panic waits for the rebuild");
    node.journal.release();

    assert_eq!(answer(before).await.unwrap().version, Version(1));
    let error = answer(panics).await.unwrap_err();
    assert!(matches!(&error, SendError::Panicked { message } if message == "a bug in handle"));
    assert_eq!((error.code(), error.retry()), ("handler_panicked", Retry::Never));
    for (at, command) in behind.into_iter().enumerate() {
        assert_eq!(
            answer(command).await.unwrap().version,
            Version(at as u64 + 2),
            "in order, after the rebuild"
        );
    }
    assert_eq!(answer(beside).await.unwrap().version, Version(2));
    let expected: Vec<i64> = (1..=200).collect();
    assert_eq!(amounts_of(&*node.journal, "a").await, expected);
}

#[tokio::test]
async fn many_panics_in_a_row_are_all_answered() {
    let node = start().await;
    let one = ledger(&node, "a");
    let panics: Vec<_> = (0..100).map(|_| sent(one.send(Command::PanicInHandle))).collect();
    for command in panics {
        assert!(matches!(answer(command).await, Err(SendError::Panicked { .. })));
    }
    assert_eq!(one.send(Command::Add(1)).await.unwrap().version, Version(1));
}

#[tokio::test]
async fn a_panic_in_apply_of_a_new_event_appends_nothing() {
    let node = start().await;
    let one = ledger(&node, "a");
    one.send(Command::Add(1)).await.unwrap();
    arm("live");
    let error = one.send(Command::Fragile("live".into())).await.unwrap_err();
    assert!(matches!(&error, SendError::Panicked { message } if message == "a bug in apply"));
    // The half-applied state is gone: `count` was already raised when it panicked.
    let now = one.state().await.unwrap();
    assert_eq!((now.version, now.state.count), (Version(1), 1));
    disarm("live");
    assert_eq!(one.send(Command::Fragile("live".into())).await.unwrap().version, Version(2));
}

#[tokio::test]
async fn a_panic_in_tags_fails_its_command_alone() {
    let node = start().await;
    let one = ledger(&node, "a");
    let panics = sent(one.send(Command::PanicInTags));
    let behind = sent(one.send(Command::Add(1)));
    let error = answer(panics).await.unwrap_err();
    assert!(matches!(&error, SendError::Panicked { message } if message == "a bug in tags"), "{error:?}");
    assert_eq!(answer(behind).await.unwrap().version, Version(1));
}

#[tokio::test]
async fn a_panic_of_a_reader_is_the_readers_own() {
    let node = start().await;
    let one = ledger(&node, "a");
    one.send(Command::Add(1)).await.unwrap();
    let reads = tokio::spawn({
        let one = one.clone();
        async move { one.read(|_, _| -> u8 { panic!("a bug in the reader") }).await }
    });
    let behind: Vec<_> = (0..50).map(|_| sent(one.send(Command::Add(1)))).collect();
    let error = answer(reads).await.unwrap_err();
    assert!(matches!(&error, StateError::ReadPanicked { message } if message == "a bug in the reader"));
    assert_eq!(error.code(), "read_panicked");
    for command in behind {
        answer(command).await.unwrap();
    }
}
