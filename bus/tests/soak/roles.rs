//! What the processes do.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use annals_actors::{Aggregate, Node};
use annals_bus::dapr::{AppChannel, DaprBroker, DaprOptions, SidecarEndpoint};
use annals_bus::{Bus, BusBuilder, Delivery, HandlerError, Reaction, RetryPolicy, SubscriptionOptions};
use annals_persistence::{
    Direction, EmbeddedJournal, EmbeddedOptions, Filter, Journal, JournalExt, Position, StreamId, Version,
};
use futures_util::StreamExt;
use rand::Rng;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::domain::{Counted, Counter, Tally, publications};
use crate::member::{PUBSUB, told};

/// How many commands the publisher sends at once.
const SENDERS: u64 = 64;
/// Of how many handlings one fails.
const FAILS_ONE_IN: u32 = 100;

/// Plays the role that the environment gives, if it gives one.
pub(crate) fn play() {
    let Ok(role) = std::env::var(told::ROLE) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        match role.as_str() {
            "publisher" => publisher().await,
            _ => subscriber().await,
        }
    });
}

fn tell<T: FromStr>(name: &str) -> T {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{name} is not told"))
}

/// A service: its journal, its node, and a bus to be described.
struct Stage {
    dir: PathBuf,
    end: Signal,
    journal: Arc<dyn Journal>,
    node: Node,
}

impl Stage {
    async fn open() -> Self {
        let dir: PathBuf = tell(told::DIR);
        let end = signal(SignalKind::terminate()).unwrap();
        std::fs::write(dir.join("begun"), std::process::id().to_string()).unwrap();
        let journal = open(&dir.join("journal"));
        let shared = Arc::clone(&journal);
        let node = Node::builder()
            .journal(shared)
            .aggregate::<Counter>()
            .aggregate::<Tally>()
            .start()
            .await
            .unwrap();
        Self { dir, end, journal, node }
    }

    fn bus(&self, service: &'static str) -> BusBuilder {
        let mut options = DaprOptions::new(PUBSUB);
        options.endpoint = SidecarEndpoint::local(tell(told::SIDECAR));
        options.app_channel = AppChannel::Grpc(([127, 0, 0, 1], tell(told::APP)).into());
        Bus::builder(self.node.clone(), service).broker(Arc::new(DaprBroker::new(options)))
    }

    /// Waits for the end, then stops in order.
    async fn end(mut self, bus: Bus) {
        self.end.recv().await;
        bus.shutdown().await;
        self.node.shutdown().await;
        self.journal.close().await;
    }
}

fn open(dir: &Path) -> Arc<dyn Journal> {
    Arc::new(EmbeddedJournal::open(dir, EmbeddedOptions::default()).unwrap())
}

/// Says how far it has come, for who watches: whole or not at all.
fn say(dir: &Path, progress: u64) {
    let new = dir.join("progress.new");
    std::fs::write(&new, progress.to_string()).unwrap();
    std::fs::rename(new, dir.join("progress")).unwrap();
}

async fn publisher() {
    let stage = Stage::open().await;
    let bus = stage.bus("publisher").publications(publications()).start().await.unwrap();
    let (node, journal, dir) = (stage.node.clone(), Arc::clone(&stage.journal), stage.dir.clone());
    tokio::spawn(async move {
        let (keys, rounds): (u64, u64) = (tell(told::KEYS), tell(told::ROUNDS));
        let committed = Arc::new(AtomicU64::new(0));
        let senders = (0..SENDERS).map(|sender| {
            let (node, journal, committed) = (node.clone(), Arc::clone(&journal), Arc::clone(&committed));
            tokio::spawn(async move {
                for key in (sender..keys).step_by(usize::try_from(SENDERS).unwrap()) {
                    let counter = node.aggregate::<Counter>(key.to_string());
                    // An earlier process may have come some way.
                    for _ in version(&journal, key).await..rounds {
                        counter.send(()).await.unwrap();
                    }
                    committed.fetch_add(rounds, Ordering::Relaxed);
                }
            })
        });
        for sender in senders.collect::<Vec<_>>() {
            sender.await.unwrap();
        }
        say(&dir, committed.load(Ordering::Relaxed));
    });
    stage.end(bus).await;
}

async fn version(journal: &Arc<dyn Journal>, key: u64) -> u64 {
    let stream = StreamId::aggregate(Counter::TYPE, &key.to_string()).unwrap();
    let last = journal.stream_page(&stream, Version(u64::MAX), Direction::Backward, 1).await.unwrap();
    last.events.first().map_or(0, |event| event.version.0)
}

async fn subscriber() {
    let stage = Stage::open().await;
    let retry = RetryPolicy {
        attempts: 50,
        first_pause: Duration::from_millis(5),
        longest_pause: Duration::from_millis(500),
    };
    let options = SubscriptionOptions { retry, ..SubscriptionOptions::default() };
    let bus =
        stage.bus("subscriber").subscribe_with::<Counted>("tally", options, hear).start().await.unwrap();
    let (journal, dir) = (Arc::clone(&stage.journal), stage.dir.clone());
    tokio::spawn(async move {
        let mut heard = 0;
        let mut events = journal.subscribe(Position(1), Filter::default().category(Tally::TYPE));
        let mut next = tokio::time::interval(Duration::from_millis(50));
        loop {
            tokio::select! {
                Some(Ok(_)) = events.next() => heard += 1,
                _ = next.tick() => say(&dir, heard),
            }
        }
    });
    stage.end(bus).await;
}

/// Fails now and then.
async fn hear(event: Counted, _: Delivery) -> Result<Reaction, HandlerError> {
    if rand::rng().random_ratio(1, FAILS_ONE_IN) {
        return Err(HandlerError::retry("as it pleases"));
    }
    Ok(Reaction::none().command::<Tally>(event.key, event.n))
}

/// The numbers that a journal has of each instance of this type, in order.
pub(crate) fn written<A: Aggregate>(journal: &Path) -> HashMap<String, Vec<u64>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let journal = open(journal);
        let mut written: HashMap<String, Vec<u64>> = HashMap::new();
        let mut events = journal.read_all(Position(1), Filter::default().category(A::TYPE));
        while let Some(event) = events.next().await {
            let event = event.unwrap();
            let content: serde_json::Value = serde_json::from_slice(&event.payload).unwrap();
            let of_key = written.entry(event.stream.instance().to_owned()).or_default();
            of_key.push(content["n"].as_u64().unwrap());
        }
        written
    })
}
