use std::sync::Arc;
use std::time::Duration;

use annals_actors::doc::{Account, AccountCommand, AccountEvent};
use annals_actors::{Checkpoint, Node};
use annals_persistence::{
    Batch, CodecId, CommandMetadata, EventError, EventId, Expected, Filter, Journal, JournalExt,
    MemoryJournal, NewEvent, Position, RecordedEvent, StreamId, Timestamp,
};

use super::{Fold, Follows, ReadModel, ReadModelError};

/// Counts events, and notes whether a reader could have met half a command.
#[derive(Default)]
struct Count {
    events: usize,
    fail_at: Option<usize>,
    panic_at: Option<usize>,
}

impl Fold for Count {
    fn filter(&self) -> Filter {
        Filter::default().category("account")
    }

    fn apply(&mut self, event: &RecordedEvent) -> Result<(), EventError> {
        self.events += 1;
        assert!(self.panic_at != Some(self.events), "asked to panic");
        if self.fail_at == Some(self.events) {
            return Err(EventError::UnknownType { name: event.type_name.to_string(), version: 1 });
        }
        Ok(())
    }
}

fn journal() -> Arc<dyn Journal> {
    Arc::new(MemoryJournal::new())
}

fn events(count: usize) -> Vec<NewEvent> {
    let command = CommandMetadata::internal(Timestamp::now());
    let event = || NewEvent {
        id: EventId::generate(),
        type_name: "x".into(),
        schema_version: 1,
        codec: CodecId::Json,
        payload: b"{}".to_vec().into(),
        command: command.clone(),
        tags: Vec::new(),
    };
    std::iter::repeat_with(event).take(count).collect()
}

async fn append(journal: &Arc<dyn Journal>, stream: &str, count: usize) {
    let stream = StreamId::parse(stream).unwrap();
    journal.append(Batch::of(stream, Expected::Any, events(count))).await.unwrap();
}

#[tokio::test]
async fn what_was_acknowledged_is_read() {
    let journal = journal();
    let node = Node::builder().journal(Arc::clone(&journal)).aggregate::<Account>().start().await.unwrap();
    let model = ReadModel::start("count", Count::default(), journal);
    for done in 1..=200 {
        node.aggregate::<Account>("a").send(AccountCommand::Deposit { amount: 1 }).await.unwrap();
        assert_eq!(model.read(|count| count.events).await, Ok(done));
    }
    node.shutdown().await;
}

/// The balances of accounts, from their checkpoints too.
#[derive(Default)]
struct Balances(std::collections::BTreeMap<String, i64>);

impl Fold for Balances {
    fn filter(&self) -> Filter {
        Filter::default().category("account")
    }

    fn apply(&mut self, event: &RecordedEvent) -> Result<(), EventError> {
        let account = event.stream.instance().to_owned();
        if let Some(checkpoint) = Checkpoint::of(event)? {
            let state: Account = checkpoint.state().expect("an account");
            self.0.insert(account.clone(), state.balance);
        }
        for happened in event.decode::<AccountEvent>()? {
            if let (AccountEvent::Deposited { amount }, Some(balance)) = (happened, self.0.get_mut(&account))
            {
                *balance += amount;
            }
        }
        Ok(())
    }

    fn begins_at_checkpoints(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn who_must_see_every_event_at_every_start_keeps_them_there() {
    let journal = journal();
    let node = Node::builder().journal(Arc::clone(&journal)).aggregate::<Account>().start().await.unwrap();
    let account = node.aggregate::<Account>("a");
    account.send(AccountCommand::Deposit { amount: 7 }).await.unwrap();
    let (counts, balances) = (
        ReadModel::start("count", Count::default(), Arc::clone(&journal)),
        ReadModel::start("balances", Balances::default(), Arc::clone(&journal)),
    );
    node.readers().add(&counts.reader());
    node.readers().add(&balances.reader());
    let refused = account.checkpoint().and_truncate().await.unwrap_err();
    assert_eq!(refused.code(), "truncation_held");
    assert!(refused.to_string().contains("read model count"), "{refused}");
    drop(counts);
    account.checkpoint().and_truncate().await.unwrap();
    account.send(AccountCommand::Deposit { amount: 5 }).await.unwrap();
    assert_eq!(balances.read(|balances| balances.0["a"]).await, Ok(12));
    node.shutdown().await;
}

#[tokio::test]
async fn events_of_others_do_not_hold_an_answer_up() {
    let journal = journal();
    let model = ReadModel::start("count", Count::default(), Arc::clone(&journal));
    append(&journal, "account-1", 1).await;
    append(&journal, "other-1", 3).await;
    append(&journal, "$own-1", 3).await;
    assert_eq!(model.read(|count| count.events).await, Ok(1));
    append(&journal, "other-1", 1).await;
    assert_eq!(model.read(|count| count.events).await, Ok(1));
}

#[tokio::test]
async fn a_command_longer_than_a_page_goes_in_whole() {
    let journal = journal();
    // The page ends in the middle of the second command's events, and of the third's.
    for count in [500, 700, 1300] {
        append(&journal, "account-1", count).await;
    }
    let model = ReadModel::start("count", Count::default(), Arc::clone(&journal));
    loop {
        let seen = model.read_at(Position::START, Duration::ZERO, |count| count.events).await.unwrap();
        assert!([0, 500, 1200, 2500].contains(&seen), "{seen}");
        if seen == 2500 {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(model.position(), Position(2500));
}

#[tokio::test]
async fn a_position_that_does_not_come_is_behind() {
    let model = ReadModel::start("count", Count::default(), journal());
    let answer = model.read_at(Position(1), Duration::from_millis(1), |_| ()).await;
    let (position, wanted) = (Position::START, Position(1));
    assert_eq!(answer, Err(ReadModelError::Behind { name: "count", position, wanted }));
}

#[tokio::test]
async fn an_event_that_is_not_understood_stops_it() {
    let journal = journal();
    let model =
        ReadModel::start("count", Count { fail_at: Some(2), ..Count::default() }, Arc::clone(&journal));
    append(&journal, "account-1", 1).await;
    assert_eq!(model.read(|count| count.events).await, Ok(1));
    append(&journal, "account-1", 1).await;
    let answer = model.read(|_| ()).await;
    assert!(matches!(answer, Err(ReadModelError::Failed { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_panic_stops_it_with_the_event_and_the_reason() {
    let journal = journal();
    let model =
        ReadModel::start("count", Count { panic_at: Some(2), ..Count::default() }, Arc::clone(&journal));
    append(&journal, "account-1", 1).await;
    assert_eq!(model.read(|count| count.events).await, Ok(1));
    append(&journal, "account-1", 1).await;
    let reason = "event 2 of \"account-1\": it panicked: asked to panic".to_owned();
    assert_eq!(
        model.read(|_| ()).await,
        Err(ReadModelError::Failed { name: "count", reason: reason.clone(), damaged: false })
    );
    assert_eq!(model.not_ready(), Some(format!("read model \"count\" stopped: {reason}")));
    // Half an event may be in it, so it does not answer for what was before either.
    let before = model.read_at(Position(1), Duration::ZERO, |_| ()).await;
    assert!(matches!(before, Err(ReadModelError::Failed { .. })), "{before:?}");
}

#[tokio::test]
async fn a_read_model_keeps_in_the_journal_all_that_it_is_built_from() {
    let journal = journal();
    append(&journal, "account-1", 3).await;
    let model = ReadModel::start("count", Count::default(), Arc::clone(&journal));
    model.read(|count| assert_eq!(count.events, 3)).await.unwrap();
    let lowest = journal.readers().lowest().unwrap();
    assert_eq!((&*lowest.name, lowest.position), ("read model count", Position::START));
    assert_eq!(journal.readers().lowest_of_internal(), None, "it wants none of the runtime's own streams");
    drop(model);
    assert_eq!(journal.readers().lowest(), None);
}
