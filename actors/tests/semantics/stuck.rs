//! What is stuck is told of while it still is, by instance; and what a node has on its hands can be asked for.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use annals_actors::testing::TestNode;
use annals_actors::{Aggregate, Context, Event, KindLoad, NodeOptions, Shape, Stuck, StuckInstance};
use annals_persistence::Version;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::support::{Command, answer, calm, eventually, ledger, let_run, sent, test_node};

/// An aggregate whose handler waits until its test lets it go.
#[derive(Debug, Clone, Default, Serialize, Deserialize, Shape)]
struct Slow {
    handled: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum SlowCommand {
    Quick,
    Wait { key: String },
}

#[derive(Debug, Event)]
enum Done {
    #[event("done")]
    Done,
}

#[derive(Debug, thiserror::Error)]
#[error("never")]
struct Never;

static GATES: Mutex<Option<HashMap<String, Receiver<()>>>> = Mutex::new(None);

/// The handler of a command with this key ends when the answer is dropped.
fn gate(key: &str) -> Sender<()> {
    let (open, gate) = channel();
    GATES.lock().get_or_insert_default().insert(key.to_owned(), gate);
    open
}

impl Aggregate for Slow {
    const TYPE: &'static str = "slow";
    type Command = SlowCommand;
    type Event = Done;
    type Rejection = Never;

    fn handle(&self, command: SlowCommand, _context: &Context) -> Result<Vec<Done>, Never> {
        if let SlowCommand::Wait { key } = command {
            let gate = GATES.lock().get_or_insert_default().remove(&key).expect("a gate");
            // Nothing is ever sent: it ends with the sender.
            gate.recv().expect_err("the gate opens");
        }
        Ok(vec![Done::Done])
    }

    fn apply(&mut self, Done::Done: Done) {
        self.handled += 1;
    }
}

fn limits() -> NodeOptions {
    // The watcher comes by often, and by the clock of the test nothing lasts unless it is moved.
    NodeOptions {
        handling_max: Duration::from_millis(20),
        mailbox_age_max: Duration::from_millis(40),
        ..calm()
    }
}

fn load(node: &TestNode, kind: &str) -> KindLoad {
    node.node.kind(kind).unwrap().load()
}

/// Moves the clock until something of this kind is stuck. The clock runs fast: what a real handler does in a moment lasts
/// as well.
async fn stuck(node: &TestNode, kind: &str, is_it: impl Fn(&Stuck) -> bool) -> StuckInstance {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = load(node, kind).stuck.into_iter().find(|one| is_it(&one.what)) {
            return found;
        }
        assert!(Instant::now() < deadline, "nothing is reported");
        node.clock.advance(Duration::from_millis(15));
        let_run().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_does_not_end_is_told_of_while_it_runs() {
    let node = TestNode::builder().aggregate::<Slow>().options(limits()).start().await.unwrap();
    let one = node.node.aggregate::<Slow>("one");
    one.send(SlowCommand::Quick).await.unwrap();
    let opened = gate("a handler");
    let waiting = sent(one.send(SlowCommand::Wait { key: "a handler".into() }));
    let found = stuck(&node, "slow", |what| *what == Stuck::Handler { command: "Wait" }).await;
    assert_eq!(found.stream.as_str(), "slow-one");
    assert!(found.lasting >= Duration::from_millis(20), "{found:?}");
    let behind = sent(one.send(SlowCommand::Quick));
    assert!(!waiting.is_finished());
    // Others are not in its way.
    node.node.aggregate::<Slow>("two").send(SlowCommand::Quick).await.unwrap();
    drop(opened);
    assert_eq!(answer(waiting).await.unwrap().version, Version(2));
    assert_eq!(answer(behind).await.unwrap().version, Version(3));
    eventually("it is over", || load(&node, "slow").stuck.is_empty()).await;
}

#[tokio::test]
async fn a_mailbox_whose_first_request_waits_is_told_of() {
    let node = test_node().options(limits()).start().await.unwrap();
    // The instance fails and begins anew only when every append of the one before is answered.
    node.journal.hold();
    let held = sent(ledger(&node, "a").send(Command::Add(1)));
    eventually("it is submitted", || node.journal.held() == 1).await;
    let panicking = sent(ledger(&node, "a").send(Command::PanicInHandle));
    eventually("it is taken", || load(&node, "ledger").in_flight == 2).await;
    let behind: Vec<_> = (0..3).map(|_| sent(ledger(&node, "a").send(Command::Add(1)))).collect();
    let found = stuck(&node, "ledger", |what| matches!(what, Stuck::Mailbox { waiting: 3 })).await;
    assert_eq!(found.stream.as_str(), "ledger-a");
    assert!(found.lasting >= Duration::from_millis(40), "{found:?}");
    node.journal.release();
    answer(held).await.unwrap();
    answer(panicking).await.unwrap_err();
    for command in behind {
        answer(command).await.unwrap();
    }
    assert!(load(&node, "ledger").stuck.is_empty());
}

#[tokio::test]
async fn what_is_under_way_is_counted() {
    let node = test_node().start().await.unwrap();
    assert_eq!(load(&node, "ledger").in_flight, 0);
    node.journal.hold();
    let commands: Vec<_> =
        (0..7).map(|nth| sent(ledger(&node, &(nth % 2).to_string()).send(Command::Add(1)))).collect();
    eventually("all are submitted", || node.journal.held() == 7).await;
    let now = load(&node, "ledger");
    assert_eq!((now.live, now.in_flight, now.waiting, now.deepest), (2, 7, 0, 0));
    assert_eq!(now.oldest, Duration::ZERO);
    node.journal.release();
    for command in commands {
        answer(command).await.unwrap();
    }
    assert_eq!(load(&node, "ledger").in_flight, 0);
}

/// A queue that moves is not stuck, however long it is.
#[tokio::test]
async fn a_mailbox_that_moves_is_not_stuck() {
    let node = test_node().options(limits()).start().await.unwrap();
    for _ in 0..50 {
        let burst: Vec<_> = (0..20).map(|_| sent(ledger(&node, "a").send(Command::Add(1)))).collect();
        assert!(load(&node, "ledger").stuck.is_empty());
        for command in burst {
            answer(command).await.unwrap();
        }
        node.clock.advance(Duration::from_millis(39));
        assert!(load(&node, "ledger").stuck.is_empty());
    }
}
