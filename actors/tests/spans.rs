//! What a command tells of itself: one tree of spans, from the sender's through the wait for the disk. A program of its
//! own, since what is logged at all is decided for the whole program.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::future::IntoFuture;
use std::io;
use std::sync::Arc;

use annals_actors::testing::TestNode;
use annals_actors::{Aggregate, Context, Event, Shape};
use annals_persistence::{CommandId, Version};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::{Instrument, Level};
use tracing_subscriber::fmt::format::FmtSpan;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, Shape)]
struct Counter(i64);

#[derive(Serialize, Deserialize)]
enum Command {
    Add(i64),
    Refuse,
}

#[derive(Debug, PartialEq, Event)]
#[event("added")]
#[derive(Serialize, Deserialize)]
struct Added(i64);

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("refused")]
struct Refused;

impl Aggregate for Counter {
    const TYPE: &'static str = "counter";
    type Command = Command;
    type Event = Added;
    type Rejection = Refused;

    fn handle(&self, command: Command, _: &Context) -> Result<Vec<Added>, Refused> {
        match command {
            Command::Add(amount) => Ok(vec![Added(amount)]),
            Command::Refuse => Err(Refused),
        }
    }

    fn apply(&mut self, Added(amount): Added) {
        self.0 += amount;
    }
}

/// Keeps the log as text.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn keep(&self, level: Level) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        let subscriber =
            tracing_subscriber::fmt().json().with_max_level(level).with_span_events(FmtSpan::CLOSE);
        tracing::subscriber::set_default(subscriber.with_writer(move || log.clone()).finish())
    }

    /// The spans of this name that have ended.
    fn closed(&self, name: &str) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().clone()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["fields"]["message"] == "close" && line["span"]["name"] == name).collect()
    }
}

#[tokio::test]
async fn a_command_is_a_span_in_its_senders_that_ends_with_its_answer() {
    let log = Log::default();
    let _logging = log.keep(Level::DEBUG);
    let node = TestNode::builder().aggregate::<Counter>().start().await.unwrap();
    let one = node.node.aggregate::<Counter>("a");
    let id = CommandId::from_u128(7);
    node.journal.hold();
    let request = tracing::info_span!("request");
    let adding =
        tokio::spawn(one.send(Command::Add(1)).command_id(id).into_future().instrument(request.clone()));
    let refusing = tokio::spawn(one.send(Command::Refuse).into_future().instrument(request));
    while log.closed("handle").len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(log.closed("command").len(), 0, "handled, not yet durable");
    node.journal.release();
    assert_eq!(adding.await.unwrap().unwrap().version, Version(1));
    refusing.await.unwrap().unwrap_err();

    let commands = log.closed("command");
    let (accepted, refused) = (&commands[0], &commands[1]);
    assert_eq!(accepted["span"]["stream"], "counter-a");
    assert_eq!(accepted["span"]["command_id"], id.to_string());
    assert_eq!((&accepted["span"]["version"], &accepted["span"]["outcome"]), (&1.into(), &"accepted".into()));
    assert_eq!(refused["span"]["outcome"], "rejected");
    for (closed, parents) in
        [(&commands[0], vec!["request"]), (&log.closed("handle")[0], vec!["request", "command"])]
    {
        let names: Vec<_> =
            closed["spans"].as_array().unwrap().iter().map(|span| span["name"].clone()).collect();
        assert!(parents.iter().all(|parent| names.contains(&(*parent).into())), "{names:?}");
    }
}
