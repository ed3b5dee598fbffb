//! A handler that never ends, on the only thread that tasks run on. A program of its own, since what is logged is decided
//! for the whole program.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use annals_actors::testing::TestNode;
use annals_actors::{Aggregate, Context, Event, NodeOptions, Shape};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// An aggregate whose handler waits until its test lets it go.
#[derive(Debug, Clone, Default, Serialize, Deserialize, Shape)]
struct Slow {
    handled: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum SlowCommand {
    Wait,
}

#[derive(Debug, Event)]
enum Done {
    #[event("done")]
    Done,
}

#[derive(Debug, thiserror::Error)]
#[error("never")]
struct Never;

static GATE: Mutex<Option<Receiver<()>>> = Mutex::new(None);

impl Aggregate for Slow {
    const TYPE: &'static str = "slow";
    type Command = SlowCommand;
    type Event = Done;
    type Rejection = Never;

    fn handle(&self, command: SlowCommand, _context: &Context) -> Result<Vec<Done>, Never> {
        let SlowCommand::Wait = command;
        let gate = GATE.lock().take().expect("a gate");
        // Nothing is ever sent: it ends with the sender.
        gate.recv().expect_err("the gate opens");
        Ok(vec![Done::Done])
    }

    fn apply(&mut self, Done::Done: Done) {
        self.handled += 1;
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
    fn begin() -> Self {
        let log = Self::default();
        let writer = log.clone();
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
        log
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

/// Only a thread of its own can see it.
#[test]
fn a_handler_that_holds_every_thread_is_told_of() {
    let log = Log::begin();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let options = NodeOptions { handling_max: Duration::from_millis(20), ..NodeOptions::default() };
    let node = runtime
        .block_on(async { TestNode::builder().aggregate::<Slow>().options(options).start().await.unwrap() });
    let (open, gate) = channel::<()>();
    *GATE.lock() = Some(gate);
    let one = node.node.aggregate::<Slow>("held");
    let waiting = runtime.spawn(async move { one.send(SlowCommand::Wait).await });
    let deadline = Instant::now() + Duration::from_secs(30);
    while !log.text().contains("stream=slow-held") {
        assert!(Instant::now() < deadline, "nothing is reported:\n{}", log.text());
        node.clock.advance(Duration::from_millis(15));
        std::thread::yield_now();
    }
    let text = log.text();
    for part in ["WARN", "aggregate=\"slow\"", "command=\"Wait\"", "lasting=", "code=\"handler_stuck\""] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    drop(open);
    runtime.block_on(waiting).unwrap().unwrap();
    while !log.text().contains("has ended") {
        assert!(Instant::now() < deadline, "its end is not told:\n{}", log.text());
        std::thread::yield_now();
    }
    assert_eq!(log.text().matches("code=\"handler_stuck\"").count(), 1, "it is told once:\n{}", log.text());
    runtime.block_on(node.node.shutdown());
}
