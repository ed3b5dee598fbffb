//! Two nodes over one journal: two actors for one instance can exist for a moment, two histories cannot.

use std::sync::Arc;

use annals_actors::{Aggregate, Context, Event, Node, Receipt, SendError, Shape};
use annals_persistence::{
    Direction, EmbeddedJournal, EmbeddedOptions, Journal, MemoryJournal, RecordedEvent, StreamId, Version,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use crate::support::{answer, calm, cases, sent};

const INSTANCES: u64 = 2;
const SENDERS: usize = 4;
/// How many commands each sender sends.
const COMMANDS: u64 = 60;

/// Knows its whole history by one number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Shape)]
struct Chain {
    trail: u64,
}

impl Chain {
    fn then(&self, command: u64) -> u64 {
        self.trail.wrapping_mul(31).wrapping_add(command + 7)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Link(u64);

/// Says what it was decided on.
#[derive(Debug, Clone, PartialEq, Eq, Event)]
enum Linked {
    #[event("linked")]
    Linked { command: u64, decided_on: u64 },
}

impl Aggregate for Chain {
    const TYPE: &'static str = "chain";
    type Command = Link;
    type Event = Linked;
    type Rejection = std::convert::Infallible;

    fn handle(&self, Link(command): Link, _context: &Context) -> Result<Vec<Linked>, Self::Rejection> {
        Ok(vec![Linked::Linked { command, decided_on: self.trail }])
    }

    fn apply(&mut self, event: Linked) {
        let Linked::Linked { command, .. } = event;
        self.trail = self.then(command);
    }
}

/// A command and what came of it.
struct Told {
    instance: String,
    command: u64,
    expecting: Option<Version>,
    receipt: Option<Receipt>,
}

struct Sent {
    instance: String,
    command: u64,
    expecting: Option<Version>,
    answer: JoinHandle<Result<Receipt, SendError<Chain>>>,
}

impl Sent {
    async fn told(self) -> Told {
        let receipt = match answer(self.answer).await {
            Ok(receipt) => Some(receipt),
            // Another writer was first.
            Err(SendError::Conflict { .. } | SendError::NotCommitted(_)) => None,
            Err(other) => panic!("{other:?}"),
        };
        Told { instance: self.instance, command: self.command, expecting: self.expecting, receipt }
    }
}

/// Sends to either node, some of it without waiting, with and without an expectation of what is there.
async fn send(nodes: [Node; 2], sender: usize, mut random: StdRng) -> Vec<Told> {
    let (mut told, mut under_way) = (Vec::<Told>::new(), Vec::new());
    for number in 0..COMMANDS {
        let instance = random.random_range(0..INSTANCES).to_string();
        let command = number * SENDERS as u64 + sender as u64;
        let last = told.iter().rfind(|told| told.instance == instance && told.receipt.is_some());
        let last = last.and_then(|told| told.receipt).map_or(Version::NONE, |receipt| receipt.version);
        let expecting = random.random_ratio(1, 3).then_some(last);
        let mut request = nodes[random.random_range(0..2)].aggregate::<Chain>(&instance).send(Link(command));
        if let Some(version) = expecting {
            request = request.expecting(version);
        }
        under_way.push(Sent { instance, command, expecting, answer: sent(request) });
        if random.random_ratio(1, 3) {
            for sent in under_way.drain(..) {
                told.push(sent.told().await);
            }
        }
    }
    for sent in under_way {
        told.push(sent.told().await);
    }
    told
}

/// What was acknowledged is the history, each of it where its receipt says, and decided on all that is before it.
fn check(events: &[RecordedEvent], told: &[&Told]) {
    let mut state = Chain::default();
    for (event, version) in events.iter().zip(1..) {
        let Linked::Linked { command, decided_on } = linked(event);
        assert_eq!(event.version, Version(version));
        assert_eq!(decided_on, state.trail, "version {version} was decided on another history");
        state.trail = state.then(command);
        let told = told.iter().find(|told| told.command == command).expect("somebody sent it");
        let receipt = told.receipt.unwrap_or_else(|| panic!("{command} was refused and is there"));
        assert_eq!((receipt.version, receipt.position), (event.version, Some(event.position)));
        if let Some(expecting) = told.expecting {
            assert_eq!(expecting.next(), event.version, "{command} expected another version");
        }
    }
    let acknowledged = told.iter().filter(|told| told.receipt.is_some()).count();
    assert_eq!(acknowledged, events.len(), "what was acknowledged is there once");
}

fn linked(event: &RecordedEvent) -> Linked {
    event.decode::<Linked>().unwrap().remove(0)
}

async fn node(journal: &Arc<dyn Journal>) -> Node {
    let node = Node::builder().journal(Arc::clone(journal)).options(calm()).aggregate::<Chain>();
    node.start().await.unwrap()
}

async fn race(journal: &Arc<dyn Journal>, random: &mut StdRng) {
    let nodes = [node(journal).await, node(journal).await];
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| tokio::spawn(send(nodes.clone(), sender, StdRng::seed_from_u64(random.random()))))
        .collect();
    let mut told = Vec::new();
    for sender in senders {
        told.extend(answer(sender).await);
    }
    for node in nodes {
        node.shutdown().await;
    }
    let refused = told.iter().filter(|told| told.receipt.is_none()).count();
    assert!(refused > 0 && refused < told.len(), "{refused} of {} were refused: no race", told.len());
    for instance in 0..INSTANCES {
        let instance = instance.to_string();
        let stream = StreamId::aggregate(Chain::TYPE, &instance).unwrap();
        let page = journal.stream_page(&stream, Version(1), Direction::Forward, usize::MAX).await.unwrap();
        let told: Vec<_> = told.iter().filter(|told| told.instance == instance).collect();
        check(&page.events, &told);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_writer() {
    cases(5, async |mut random| {
        let dir = tempfile::tempdir().unwrap();
        let options = EmbeddedOptions { segment_bytes: 64 << 10, ..EmbeddedOptions::default() };
        let embedded = EmbeddedJournal::open(dir.path(), options).unwrap();
        race(&(Arc::new(embedded) as Arc<dyn Journal>), &mut random).await;
        race(&(Arc::new(MemoryJournal::new()) as Arc<dyn Journal>), &mut random).await;
    })
    .await;
}
