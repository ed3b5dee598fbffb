//! Several commands in one message: all of them or none, and each on its own.

use annals_actors::{NodeOptions, Refusal, Retry, SendError, SendOptions};
use annals_persistence::Version;

use crate::support::{Command, amounts_of, answer, calm, id, ledger, placed, sent, start, test_node};

fn adds(amounts: impl IntoIterator<Item = i64>) -> Vec<Command> {
    amounts.into_iter().map(Command::Add).collect()
}

#[tokio::test]
async fn all_are_one_append_each_decided_on_what_those_before_it_left() {
    let node = start().await;
    let one = ledger(&node, "a");
    one.send(Command::Add(5)).await.unwrap();
    let list = vec![Command::Add(1), Command::Nothing, Command::AddMany(vec![2, 3]), Command::Add(4)];
    let receipt = one.send_all(list).expecting(Version(1)).await.unwrap();
    assert_eq!((receipt.version, receipt.position, receipt.events), (Version(5), Some(placed(5)), 4));
    assert_eq!(one.state().await.unwrap().state.sum, 15);
    assert_eq!(one.state_at(Version(3)).await.unwrap().unwrap().state.sum, 8);
    assert_eq!(one.send(Command::Add(1)).expecting(Version(5)).await.unwrap().version, Version(6));
    assert_eq!(amounts_of(&*node.journal, "a").await, [5, 1, 2, 3, 4, 1]);
}

#[tokio::test]
async fn where_one_cannot_be_carried_out_none_is() {
    let node = start().await;
    let one = ledger(&node, "a");
    one.send(Command::Add(5)).await.unwrap();
    for (bad, code) in [
        (Command::Refuse, "rejected"),
        (Command::PanicInHandle, "handler_panicked"),
        (Command::Unwritable, "command_not_encodable"),
        (Command::PanicInTags, "handler_panicked"),
    ] {
        let error = one.send_all([Command::Add(1), bad, Command::Add(2)]).await.unwrap_err();
        let SendError::At { index: 1, error } = error else { panic!("{error:?}") };
        assert_eq!((error.code(), error.retry()), (code, Retry::Never));
    }
    let SendError::At { error, .. } = one.send_all([Command::Add(1), Command::Refuse]).await.unwrap_err()
    else {
        panic!("it was carried out")
    };
    assert!(matches!(*error, SendError::Rejected(no) if no.sum == 6), "it saw what the one before it did");
    let huge = one.send_all([Command::Add(1), Command::Huge]).await.unwrap_err();
    assert_eq!((huge.code(), huge.retry()), ("invalid_batch", Retry::Never));
    assert_eq!((one.state().await.unwrap().state.sum, amounts_of(&*node.journal, "a").await), (5, vec![5]));
    assert_eq!(one.send(Command::Add(1)).await.unwrap().version, Version(2), "and the instance goes on");
}

#[tokio::test]
async fn a_list_is_one_command_to_whoever_repeats_it() {
    let node = start().await;
    let one = ledger(&node, "a");
    let list = || one.send_all(adds([1, 2])).command_id(id(1));
    let first = list().await.unwrap();
    let again = list().await.unwrap();
    assert_eq!((again.duplicate, again.version, again.position), (true, first.version, first.position));
    let other = one.send_all(adds([1, 3])).command_id(id(1)).await.unwrap_err();
    assert_eq!(other.code(), "command_id_reused");
    let node = node.crashed().aggregate::<crate::support::Ledger>().start().await.unwrap();
    let one = ledger(&node, "a");
    assert!(one.send_all(adds([1, 2])).command_id(id(1)).await.unwrap().duplicate, "also after a restart");
    assert_eq!(amounts_of(&*node.journal, "a").await, [1, 2]);
}

#[tokio::test]
async fn a_list_without_events_appends_nothing() {
    let node = start().await;
    let one = ledger(&node, "a");
    for list in [vec![], vec![Command::Nothing, Command::Nothing]] {
        let receipt = one.send_all(list).await.unwrap();
        assert_eq!((receipt.version, receipt.position, receipt.events), (Version(0), None, 0));
    }
}

#[tokio::test]
async fn a_list_that_was_refused_by_the_journal_is_undone() {
    let node = start().await;
    let one = ledger(&node, "a");
    one.send(Command::Add(5)).await.unwrap();
    node.journal.fail_append(1, annals_persistence::AppendError::Busy { bytes: 1 });
    assert!(matches!(one.send_all(adds([1, 2])).await, Err(SendError::NotCommitted(_))));
    assert_eq!(one.state().await.unwrap().state.sum, 5);
}

#[tokio::test]
async fn each_on_its_own_has_an_answer_of_its_own() {
    let node = start().await;
    let one = ledger(&node, "a");
    let with = |number: u128| SendOptions { command_id: Some(id(number)), ..SendOptions::default() };
    let list = vec![
        (Command::Add(1), with(1)),
        (Command::Refuse, with(2)),
        (Command::PanicInHandle, with(3)),
        (Command::Add(2), with(4)),
        (Command::Add(1), with(1)),
        (Command::Add(9), SendOptions { expecting: Some(Version(7)), ..SendOptions::default() }),
    ];
    let answers = one.send_each(list).await.into_iter();
    let codes = answers.map(|answer| match answer {
        Ok(receipt) if receipt.duplicate => "duplicate",
        Ok(_) => "accepted",
        Err(error) => error.code(),
    });
    assert_eq!(
        codes.collect::<Vec<_>>(),
        ["accepted", "rejected", "handler_panicked", "accepted", "duplicate", "version_conflict"]
    );
    assert_eq!(amounts_of(&*node.journal, "a").await, [1, 2]);
}

#[tokio::test]
async fn everything_is_bounded_lists_that_find_no_room_come_back_whole() {
    let options = NodeOptions { mailbox_capacity: 4, ..calm() };
    let node = test_node().options(options).start().await.unwrap();
    let one = ledger(&node, "a");
    let each = one.send_each(adds(1..=5).into_iter().map(|add| (add, SendOptions::default()))).await;
    let back = each.into_iter().map(|answer| match answer {
        Err(SendError::MailboxFull { command, capacity: 4 }) => command,
        other => panic!("{other:?}"),
    });
    assert_eq!(back.collect::<Vec<_>>(), adds(1..=5));

    node.journal.hold();
    let waiting: Vec<_> = (1..=4).map(|amount| sent(one.send(Command::Add(amount)))).collect();
    crate::support::eventually("all are submitted", || node.journal.held() == 4).await;
    let error = one.send_all(adds([7, 8])).await.unwrap_err();
    assert_eq!((error.code(), error.retry()), ("mailbox_full", Retry::Safe));
    let SendError::AllRefused { commands, reason: Refusal::MailboxFull { capacity: 4 } } = error else {
        panic!("{error:?}")
    };
    assert_eq!(commands, adds([7, 8]));
    node.journal.release();
    for command in waiting {
        answer(command).await.unwrap();
    }
    node.node.shutdown().await;
    assert_eq!(one.send_all(adds([1])).await.unwrap_err().code(), "stopping");
    assert_eq!(
        one.send_each([(Command::Add(1), SendOptions::default())]).await[0].as_ref().unwrap_err().code(),
        "stopping"
    );
}

#[tokio::test]
async fn each_has_its_own_patience() {
    let node = start().await;
    let one = ledger(&node, "a");
    node.journal.hold();
    let timeout = Some(std::time::Duration::ZERO);
    let list = [(Command::Add(1), SendOptions { timeout, ..SendOptions::default() })];
    let dropped = one.send_each([(Command::Add(9), SendOptions::default())]).into_future();
    drop(dropped);
    let answers = one.send_each(list).await;
    assert_eq!(answers[0].as_ref().unwrap_err().code(), "timed_out");
    node.journal.release();
    crate::support::eventually("it was carried out all the same", || node.journal.held() == 0).await;
    one.send(Command::Add(2)).await.unwrap();
    assert_eq!(amounts_of(&*node.journal, "a").await, [1, 2], "what nobody waited for was never sent");
}
