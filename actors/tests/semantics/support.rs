//! The aggregate that the tests are about, and what waits for conditions.

use std::collections::{HashMap, HashSet};
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_actors::testing::{TestNode, TestNodeBuilder};
use annals_actors::{
    Aggregate, AggregateRef, Context, Event, NodeOptions, Receipt, SendError, SendRequest, Shape,
};
use annals_persistence::{
    Batch, CodecId, CommandId, CommandMetadata, Direction, EventId, Expected, Journal, JournalExt, NewEvent,
    Position, RecordedEvent, Snapshot, SnapshotStore, StreamAppend, StreamId, Timestamp, Version,
};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize, Serializer};
use tokio::task::JoinHandle;

/// A state in which every event and its order shows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Shape)]
pub(crate) struct Ledger {
    pub(crate) sum: i64,
    pub(crate) count: u64,
    pub(crate) trail: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Command {
    Add(i64),
    AddMany(Vec<i64>),
    Nothing,
    Refuse,
    PanicInHandle,
    /// Its event panics in `apply` as long as the key is armed.
    Fragile(String),
    /// Its event cannot be encoded.
    Unwritable,
    /// Its event's tags panic.
    PanicInTags,
    /// Its event is larger than any journal takes.
    Huge,
}

/// Encodes to nothing but an error.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Unwritable;

impl Serialize for Unwritable {
    fn serialize<S: Serializer>(&self, _serializer: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("this cannot be written"))
    }
}

impl Shape for Unwritable {
    fn describe(shape: &mut annals_persistence::ShapeWriter) {
        shape.leaf("unwritable");
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Event)]
pub(crate) enum Happened {
    #[event("added")]
    Added { amount: i64 },
    #[event("fragile")]
    Fragile { key: String },
    #[event("unwritable")]
    Unwritable { what: Unwritable },
    #[event("untagged")]
    Untagged,
    #[event("huge")]
    Huge { text: String },
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused at {sum}")]
pub(crate) struct Refused {
    pub(crate) sum: i64,
}

static ARMED: Mutex<Option<HashSet<String>>> = Mutex::new(None);

/// From now on events with this key panic in `apply`.
pub(crate) fn arm(key: &str) {
    ARMED.lock().get_or_insert_default().insert(key.to_owned());
}

/// From now on they do not.
pub(crate) fn disarm(key: &str) {
    ARMED.lock().get_or_insert_default().remove(key);
}

fn armed(key: &str) -> bool {
    ARMED.lock().get_or_insert_default().contains(key)
}

impl Aggregate for Ledger {
    const TYPE: &'static str = "ledger";
    type Command = Command;
    type Event = Happened;
    type Rejection = Refused;

    fn handle(&self, command: Command, _context: &Context) -> Result<Vec<Happened>, Refused> {
        Ok(match command {
            Command::Add(amount) => vec![Happened::Added { amount }],
            Command::AddMany(amounts) => {
                amounts.into_iter().map(|amount| Happened::Added { amount }).collect()
            }
            Command::Nothing => vec![],
            Command::Refuse => return Err(Refused { sum: self.sum }),
            Command::PanicInHandle => panic!("a bug in handle"),
            Command::Fragile(key) => vec![Happened::Fragile { key }],
            Command::Unwritable => {
                vec![Happened::Added { amount: 1 }, Happened::Unwritable { what: Unwritable }]
            }
            Command::PanicInTags => vec![Happened::Untagged],
            Command::Huge => vec![Happened::Huge { text: "x".repeat(17 * 1024 * 1024) }],
        })
    }

    fn apply(&mut self, event: Happened) {
        self.count += 1;
        let amount = match event {
            Happened::Added { amount } => amount,
            Happened::Fragile { key } if armed(&key) => panic!("a bug in apply"),
            _ => 0,
        };
        self.sum = self.sum.checked_add(amount).expect("there is room for the sum");
        self.trail = self.trail.wrapping_mul(31).wrapping_add(amount.unsigned_abs() + 7);
    }

    fn tags(event: &Happened) -> Vec<Arc<str>> {
        match event {
            Happened::Untagged => panic!("a bug in tags"),
            _ => vec![],
        }
    }
}

pub(crate) type Answer = Result<Receipt, SendError<Ledger>>;

/// Limits at which nothing happens by itself.
pub(crate) fn calm() -> NodeOptions {
    NodeOptions { passivate_after: Duration::from_secs(600), ..NodeOptions::default() }
}

pub(crate) fn test_node() -> TestNodeBuilder {
    TestNode::builder().aggregate::<Ledger>().options(calm())
}

/// Where the `nth` event after a node's start is: behind the record of what its events look like.
pub(crate) fn placed(nth: u64) -> Position {
    Position(nth + 1)
}

pub(crate) async fn start() -> TestNode {
    test_node().start().await.unwrap()
}

pub(crate) fn ledger(node: &TestNode, id: &str) -> AggregateRef<Ledger> {
    node.node.aggregate::<Ledger>(id)
}

/// Sends a command without waiting for the answer; commands sent one after the other arrive in that order.
pub(crate) fn sent<A: Aggregate>(request: SendRequest<A>) -> JoinHandle<Result<Receipt, SendError<A>>> {
    tokio::spawn(request.into_future())
}

/// The answer to a command that was sent; a command without an answer fails the test.
pub(crate) async fn answer<T>(sent: JoinHandle<T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), sent).await.expect("no answer came").unwrap()
}

/// Waits until something is so.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "it never came to be that {what}");
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

/// Gives everything that could go on the chance to.
pub(crate) async fn let_run() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Moves the clock until no instance is live.
pub(crate) async fn passivate_all(node: &TestNode) {
    let kind = node.node.kind("ledger").unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while kind.live_instances() > 0 {
        assert!(Instant::now() < deadline, "the instances never passivated");
        node.clock.advance(Duration::from_secs(700));
        let_run().await;
    }
}

pub(crate) async fn events_of(journal: &impl Journal, id: &str) -> Vec<RecordedEvent> {
    let stream = StreamId::aggregate("ledger", id).unwrap();
    journal.stream_page(&stream, Version(1), Direction::Forward, usize::MAX).await.unwrap().events
}

pub(crate) async fn amounts_of(journal: &impl Journal, id: &str) -> Vec<i64> {
    let amount = |event: &RecordedEvent| -> i64 {
        serde_json::from_slice::<serde_json::Value>(&event.payload).unwrap()["amount"].as_i64().unwrap()
    };
    events_of(journal, id).await.iter().map(amount).collect()
}

/// An event as something else may have written it.
pub(crate) fn raw_event(type_name: &'static str, schema_version: u16, payload: &'static str) -> NewEvent {
    NewEvent {
        id: EventId::generate(),
        type_name: type_name.into(),
        schema_version,
        codec: CodecId::Json,
        payload: payload.into(),
        command: CommandMetadata::internal(Timestamp(1)),
        tags: vec![],
    }
}

pub(crate) fn to_stream(name: &str, expected: Expected) -> StreamAppend {
    StreamAppend {
        stream: name.parse().unwrap(),
        expected,
        events: [raw_event("added", 1, r#"{"amount":1}"#)].into_iter().collect(),
    }
}

/// Appends past the node, as another writer would.
pub(crate) async fn write_past(node: &TestNode, id: &str, event: NewEvent) {
    let stream = StreamId::aggregate("ledger", id).unwrap();
    node.node.journal().append(Batch::of(stream, Expected::Any, [event])).await.unwrap();
}

pub(crate) fn id(number: u128) -> CommandId {
    CommandId::from_u128(number)
}

/// Keeps snapshots, and lets tests look at them and spoil them.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<HashMap<StreamId, Vec<Snapshot>>>);

impl Kept {
    pub(crate) fn versions(&self, id: &str) -> Vec<u64> {
        let stream = StreamId::aggregate("ledger", id).unwrap();
        self.0.lock().get(&stream).into_iter().flatten().map(|snapshot| snapshot.version.0).collect()
    }

    pub(crate) fn spoil(&self, spoil: impl Fn(&mut Snapshot)) {
        self.0.lock().values_mut().flatten().for_each(spoil);
    }
}

impl SnapshotStore for Kept {
    fn load(&self, stream: &StreamId) -> Vec<Snapshot> {
        let mut found = self.0.lock().get(stream).cloned().unwrap_or_default();
        found.reverse();
        found
    }

    fn save(&self, stream: &StreamId, snapshot: &Snapshot) {
        self.0.lock().entry(stream.clone()).or_default().push(snapshot.clone());
    }

    fn remove(&self, stream: &StreamId) {
        self.0.lock().remove(stream);
    }

    fn close(&self) {}
}

/// Runs random cases: as many as `ANNALS_CASES` says, or the one of `ANNALS_SEED`.
pub(crate) async fn cases<F: Future<Output = ()>>(default: u64, run: impl Fn(StdRng) -> F) {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seeds = match number("ANNALS_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("ANNALS_CASES").unwrap_or(default)).map(|_| rand::rng().random()).collect(),
    };
    for seed in seeds {
        println!("ANNALS_SEED={seed}");
        run(StdRng::seed_from_u64(seed)).await;
    }
}
