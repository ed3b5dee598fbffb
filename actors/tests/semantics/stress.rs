//! Many tasks, many instances, every kind of command: afterwards the streams and the answers tell one story.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use annals_actors::{Node, NodeOptions, Receipt, SendError};
use annals_persistence::{CommandId, MemoryJournal, RecordedEvent, Version};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::{Command, Kept, Ledger, answer, cases, events_of};

struct Told {
    instance: String,
    command: CommandId,
    amounts: Vec<i64>,
    answer: Result<Receipt, &'static str>,
}

async fn run(node: Node, mut random: StdRng) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::new();
    let mut version = HashMap::new();
    for _ in 0..400 {
        let instance = random.random_range(0..50).to_string();
        let repeats =
            told.iter().rfind(|told| told.instance == instance).filter(|_| random.random_ratio(1, 5));
        let (command, amounts) = match repeats {
            Some(earlier) => (earlier.command, earlier.amounts.clone()),
            None => (
                CommandId::generate(),
                (0..random.random_range(0..4)).map(|_| random.random_range(0..1000)).collect::<Vec<_>>(),
            ),
        };
        let reference = node.aggregate::<Ledger>(&instance);
        let mut request = reference.send(Command::AddMany(amounts.clone())).command_id(command);
        if random.random_ratio(1, 3) {
            request = request.expecting(version.get(&instance).copied().unwrap_or(Version(0)));
        }
        let answer = match request.await {
            Ok(receipt) => {
                version.insert(instance.clone(), receipt.version);
                Ok(receipt)
            }
            Err(SendError::Conflict { actual, .. }) => {
                version.insert(instance.clone(), actual);
                Err("conflict")
            }
            Err(other) => panic!("{other:?}"),
        };
        told.push(Told { instance, command, amounts, answer });
    }
    told
}

/// Every acknowledged command stands where its receipt says, and nothing else stands anywhere.
fn check(told: &[Told], streams: &HashMap<String, Vec<RecordedEvent>>) {
    let mut accounted = 0_usize;
    for one in told {
        let Ok(receipt) = one.answer else { continue };
        if receipt.events == 0 {
            continue;
        }
        let last = usize::try_from(receipt.version.0).unwrap();
        let first = last - receipt.events as usize;
        let events = &streams[&one.instance][first..last];
        assert!(events.iter().all(|event| event.command.command_id == one.command));
        assert_eq!(events.len(), one.amounts.len());
        assert_eq!(events.last().map(|event| event.position), receipt.position);
        accounted += if receipt.duplicate { 0 } else { events.len() };
    }
    assert_eq!(accounted, streams.values().map(Vec::len).sum::<usize>(), "nothing is invented");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_missing_and_nothing_is_invented() {
    cases(3, async |mut random| {
        let journal = Arc::new(MemoryJournal::new());
        let options = NodeOptions {
            passivate_after: Duration::from_millis(random.random_range(0..20)),
            live_instances_max: random.random_range(5..60),
            snapshot_every_events: random.random_range(1..30),
            ..NodeOptions::default()
        };
        let node = Node::builder()
            .journal(journal.clone())
            .snapshots(Arc::new(Kept::default()))
            .options(options)
            .aggregate::<Ledger>()
            .start()
            .await
            .unwrap();
        let seeds: Vec<u64> = (0..8).map(|_| random.random()).collect();
        let tasks: Vec<_> = seeds
            .into_iter()
            .map(|seed| tokio::spawn(run(node.clone(), StdRng::seed_from_u64(seed))))
            .collect();
        let mut told = Vec::new();
        for task in tasks {
            told.extend(answer(task).await);
        }
        node.shutdown().await;
        let mut streams = HashMap::new();
        for instance in 0..50 {
            let events = events_of(&*journal, &instance.to_string()).await;
            assert!(events.iter().zip(1..).all(|(event, version)| event.version == Version(version)));
            streams.insert(instance.to_string(), events);
        }
        check(&told, &streams);
    })
    .await;
}
