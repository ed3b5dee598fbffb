//! Appends that fail: what was decided on top of them fails too, and the instance goes on from the journal.

use annals_actors::{Retry, SendError, StateError};
use annals_persistence::{AppendError, Batch, Expected, JournalExt, Retention, StreamId, Version};

use crate::support::{
    Answer, Command, Ledger, amounts_of, answer, events_of, id, ledger, let_run, passivate_all, raw_event,
    sent, start, write_past,
};

fn busy() -> AppendError {
    AppendError::Busy { bytes: 1 }
}

fn not_committed(answer: &Answer) -> bool {
    matches!(answer, Err(error @ SendError::NotCommitted(_)) if error.retry() == Retry::Safe)
}

fn unknown(answer: &Answer) -> bool {
    matches!(answer, Err(error @ SendError::OutcomeUnknown { .. }) if error.retry() == Retry::SameCommandId)
}

#[tokio::test]
async fn a_failed_append_takes_down_everything_decided_on_top_and_nothing_before() {
    let node = start().await;
    let one = ledger(&node, "a");
    node.journal.hold();
    node.journal.fail_append(3, busy());
    let before: Vec<_> = (1..=2).map(|amount| sent(one.send(Command::Add(amount)))).collect();
    let failing = sent(one.send(Command::Add(3)));
    let on_top: Vec<_> = (4..=6).map(|amount| sent(one.send(Command::Add(amount)))).collect();
    let rejected = sent(one.send(Command::Refuse));
    let no_op = sent(one.send(Command::Nothing));
    let read = tokio::spawn({
        let one = one.clone();
        async move { one.state().await }
    });
    crate::support::eventually("all are submitted", || node.journal.held() == 6).await;
    let_run().await;
    node.journal.release();

    for command in before {
        answer(command).await.unwrap();
    }
    assert!(not_committed(&answer(failing).await));
    for command in on_top {
        assert!(not_committed(&answer(command).await));
    }
    assert!(not_committed(&answer(rejected).await), "a rejection that was decided on sand is none");
    assert!(not_committed(&answer(no_op).await));
    assert!(matches!(answer(read).await, Err(StateError::Doubtful { .. })));

    // It rebuilds from the journal and goes on.
    assert_eq!(one.send(Command::Add(7)).await.unwrap().version, Version(3));
    assert_eq!(amounts_of(&*node.journal, "a").await, [1, 2, 7]);
    assert_eq!(one.state().await.unwrap().state.sum, 10);
}

#[tokio::test]
async fn a_command_that_was_not_committed_is_not_remembered() {
    let node = start().await;
    let one = ledger(&node, "a");
    node.journal.fail_append(1, busy());
    assert!(not_committed(&one.send(Command::Add(1)).command_id(id(1)).await));
    let receipt = one.send(Command::Add(1)).command_id(id(1)).await.unwrap();
    assert_eq!((receipt.version, receipt.duplicate), (Version(1), false));
}

#[tokio::test]
async fn a_duplicate_shares_the_failure_of_what_it_repeats() {
    let node = start().await;
    let one = ledger(&node, "a");
    node.journal.hold();
    node.journal.fail_append(1, busy());
    let first = sent(one.send(Command::Add(1)).command_id(id(1)));
    let again = sent(one.send(Command::Add(1)).command_id(id(1)));
    let_run().await;
    node.journal.release();
    assert!(not_committed(&answer(first).await) && not_committed(&answer(again).await));
}

#[tokio::test]
async fn after_a_lost_answer_the_same_command_id_has_one_effect() {
    let node = start().await;
    let one = ledger(&node, "a");
    node.journal.hold();
    node.journal.lose_answer(1);
    let lost = sent(one.send(Command::Add(1)).command_id(id(1)));
    let behind = sent(one.send(Command::Add(2)).command_id(id(2)));
    let doubtful = sent(one.send(Command::Nothing));
    let_run().await;
    node.journal.release();
    assert!(unknown(&answer(lost).await));
    assert_eq!(answer(behind).await.unwrap().version, Version(2), "this one is durable, and known to be");
    assert!(unknown(&answer(doubtful).await));

    let retried = one.send(Command::Add(1)).command_id(id(1)).await.unwrap();
    assert_eq!((retried.version, retried.duplicate), (Version(1), true));
    assert_eq!(amounts_of(&*node.journal, "a").await, [1, 2]);
}

#[tokio::test]
async fn failure_is_final_at_the_disk() {
    let node = start().await;
    let one = ledger(&node, "a");
    one.send(Command::Add(1)).command_id(id(1)).await.unwrap();
    node.journal.hold();
    let held = sent(one.send(Command::Add(2)).command_id(id(2)));
    let_run().await;
    node.journal.poison("the disk is gone");
    assert!(unknown(&answer(held).await));
    // No later acknowledgement, and reads serve what is durable.
    assert!(unknown(&one.send(Command::Add(3)).await));
    assert_eq!(one.state().await.unwrap().state.sum, 1);
    assert!(unknown(&one.send(Command::Nothing).await));
    assert!(unknown(&one.send(Command::Refuse).await), "it may repeat one whose events are there after all");

    let after = node.crashed().aggregate::<crate::support::Ledger>().start().await.unwrap();
    let retried = ledger(&after, "a").send(Command::Add(2)).command_id(id(2)).await.unwrap();
    assert_eq!((retried.version, retried.duplicate), (Version(2), false));
    assert_eq!(amounts_of(&*after.journal, "a").await, [1, 2]);
}

#[tokio::test]
async fn another_writer_is_noticed_and_its_events_are_taken_in() {
    let node = start().await;
    let one = ledger(&node, "a");
    one.send(Command::Add(1)).await.unwrap();
    write_past(&node, "a", raw_event("added", 1, r#"{"amount":10}"#)).await;
    let error = one.send(Command::Add(2)).await.unwrap_err();
    let SendError::NotCommitted(AppendError::Conflict { expected, actual, .. }) = error else {
        panic!("{error:?}")
    };
    assert_eq!((expected, actual), (Expected::Version(Version(1)), Version(2)));
    assert_eq!(one.send(Command::Add(2)).await.unwrap().version, Version(3));
    assert_eq!(one.state().await.unwrap().state.sum, 13);
}

fn gone(answer: &Answer) -> bool {
    match answer {
        Err(error @ SendError::NotCommitted(AppendError::StreamGone { .. })) => {
            assert_eq!((error.code(), error.retry()), ("stream_gone", Retry::Never));
            assert!(!error.to_string().contains("again"), "{error}");
            true
        }
        _ => false,
    }
}

#[tokio::test]
async fn a_live_instance_whose_stream_is_gone_says_so_and_is_not_stuck() {
    let node = start().await;
    let one = ledger(&node, "a");
    one.send(Command::Add(1)).await.unwrap();
    let stream = StreamId::aggregate("ledger", "a").unwrap();
    node.node.journal().append(Batch::default().retaining(stream, Retention::gone())).await.unwrap();

    // It learns of it with an append, as of another writer's events.
    let sent: Vec<_> = (2..=4).map(|amount| sent(one.send(Command::Add(amount)))).collect();
    let mut told = Vec::new();
    for command in sent {
        told.push(answer(command).await);
    }
    assert!(gone(&told[0]), "{told:?}");
    assert!(told[1..].iter().all(|answer| gone(answer) || not_committed(answer)), "{told:?}");
    // From then on it is an instance that never was, and that nothing can make.
    for _ in 0..2 {
        let current = one.state().await.unwrap();
        assert_eq!((current.version, current.state), (Version::NONE, Ledger::default()));
        assert!(gone(&one.send(Command::Add(5)).await));
        assert!(matches!(one.send(Command::Refuse).await, Err(SendError::Rejected(_))));
        passivate_all(&node).await;
    }
    assert_eq!(ledger(&node, "b").send(Command::Add(1)).await.unwrap().version, Version(1));
}

#[tokio::test]
async fn a_command_decided_on_a_refused_one_is_refused_even_where_the_versions_fit() {
    let node = start().await;
    let one = ledger(&node, "a");
    one.send(Command::Add(1)).await.unwrap();
    node.journal.hold();
    let other = tokio::spawn({
        let (journal, event) = (node.node.journal().clone(), raw_event("added", 1, r#"{"amount":10}"#));
        let stream = one.stream().unwrap().clone();
        async move { journal.append(Batch::of(stream, Expected::Any, [event])).await }
    });
    crate::support::eventually("the other writer is first", || node.journal.held() == 1).await;
    let conflicting = sent(one.send(Command::Add(2)));
    let on_top = sent(one.send(Command::Add(3)));
    crate::support::eventually("both are submitted", || node.journal.held() == 3).await;
    node.journal.release();
    other.await.unwrap().unwrap();
    assert!(not_committed(&answer(conflicting).await));
    assert!(not_committed(&answer(on_top).await), "it was decided on a state that never was");
    assert_eq!(amounts_of(&*node.journal, "a").await, [1, 10]);
    assert_eq!(one.send(Command::Add(4)).await.unwrap().version, Version(3));
}

#[tokio::test]
async fn a_batch_no_journal_takes_fails_alone() {
    let node = start().await;
    let one = ledger(&node, "a");
    one.send(Command::Add(1)).await.unwrap();
    node.journal.hold();
    let huge = sent(one.send(Command::Huge));
    let innocent = sent(one.send(Command::Add(2)));
    let no_op = sent(one.send(Command::Nothing));
    let_run().await;
    node.journal.release();
    let error = answer(huge).await.unwrap_err();
    assert_eq!((error.code(), error.retry()), ("invalid_batch", Retry::Never));
    assert_eq!(answer(innocent).await.unwrap().version, Version(2));
    assert_eq!(answer(no_op).await.unwrap().version, Version(2));
}

#[tokio::test]
async fn an_event_that_cannot_be_encoded_appends_nothing_and_changes_nothing() {
    let node = start().await;
    let one = ledger(&node, "a");
    let error = one.send(Command::Unwritable).await.unwrap_err();
    assert_eq!((error.code(), error.retry()), ("command_not_encodable", Retry::Never));
    assert_eq!(one.send(Command::Add(1)).await.unwrap().version, Version(1));
    assert_eq!(one.state().await.unwrap().state.count, 1);
    assert_eq!(events_of(&*node.journal, "a").await.len(), 1);
}

#[tokio::test]
async fn a_journal_that_goes_away_is_an_error_and_no_silence() {
    use annals_persistence::Journal;
    let node = start().await;
    let one = ledger(&node, "a");
    one.send(Command::Add(1)).await.unwrap();
    node.journal.close().await;
    let error = one.send(Command::Add(2)).await.unwrap_err();
    assert_eq!((error.code(), error.retry()), ("journal_closed", Retry::Safe));
    // It cannot be rebuilt either, and says so.
    let error = one.send(Command::Add(2)).await.unwrap_err();
    assert!(matches!(error, SendError::Parked { code: "journal_closed", .. }), "{error:?}");
}

#[tokio::test]
async fn no_is_said_of_nothing_that_may_have_been_carried_out() {
    let node = start().await;
    let one = ledger(&node, "a");
    node.journal.poison("the disk is gone");
    assert!(unknown(&one.send(Command::Add(1)).command_id(id(1)).await));
    // It may be on the disk. Who repeats it must not be told that it is not.
    assert!(unknown(&one.send(Command::Add(1)).command_id(id(1)).expecting(Version(1)).await));
    for command in [Command::Refuse, Command::Nothing, Command::PanicInHandle] {
        assert!(unknown(&one.send(command).await));
    }
    let all = vec![Command::Add(1), Command::Refuse];
    assert!(unknown(&one.send_all(all).await));
    assert_eq!(one.state().await.unwrap().version, Version::NONE, "reads go on");
}
