//! Random histories against a model that is too simple to be wrong.

use rand::{Rng, SeedableRng, rngs::StdRng};

use super::*;

/// From `ANNALS_SEED`, else new; printed, so that a failure can be run again.
pub(super) fn seed() -> u64 {
    let given = std::env::var("ANNALS_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    eprintln!("ANNALS_SEED={seed}");
    seed
}

/// From `ANNALS_CASES`, else as many as are run every time.
pub(super) fn cases(usual: usize) -> usize {
    std::env::var("ANNALS_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[derive(Default)]
struct Model {
    all: Vec<RecordedEvent>,
}

impl Model {
    fn of(&self, stream: &StreamId) -> Vec<RecordedEvent> {
        self.all.iter().filter(|event| event.stream == *stream).cloned().collect()
    }

    fn version(&self, stream: &StreamId) -> Version {
        Version(self.of(stream).len() as u64)
    }

    /// What a journal must answer; it appends if it must.
    fn append(&mut self, batch: &Batch) -> Result<(Position, Vec<Version>), Version> {
        for append in &batch.streams {
            let actual = self.version(&append.stream);
            if !append.expected.allows(actual) {
                return Err(actual);
            }
        }
        let first = Position(self.all.len() as u64 + 1);
        for append in &batch.streams {
            for event in &append.events {
                let (position, version) =
                    (Position(self.all.len() as u64 + 1), self.version(&append.stream).next());
                let (stream, event) = (append.stream.clone(), event.clone());
                self.all.push(RecordedEvent { position, stream, version, event });
            }
        }
        Ok((first, batch.streams.iter().map(|append| self.version(&append.stream)).collect()))
    }
}

fn some_stream(random: &mut StdRng) -> StreamId {
    match random.random_range(0..8) {
        0 => StreamId::internal("own").unwrap(),
        1 => StreamId::aggregate("customer", "0190e6a0-7b7c-7000-8000-00000000abcd").unwrap(),
        number => stream(&number.to_string()),
    }
}

fn some_event(random: &mut StdRng) -> NewEvent {
    let size = if random.random_bool(0.05) { 9000 } else { random.random_range(0..200) };
    let mut event = event(&vec![b'y'; size]);
    event.schema_version = random.random_range(1..u16::MAX);
    event.command.time = Timestamp(random.random());
    event.command.command_hash = random.random();
    if random.random() {
        event.command.actor = Some("bob".into());
        event.tags = vec!["a".into(), "b".into()];
    }
    if random.random() {
        event.command.correlation_id = EventId::generate().as_uuid().into();
        event.command.trace = Some(TraceContext { trace_id: random.random(), span_id: 3, flags: 0 });
    }
    event
}

fn some_batch(random: &mut StdRng, model: &Model) -> Batch {
    let mut batch = Batch::default();
    for _ in 0..random.random_range(1..4) {
        let stream = some_stream(random);
        if batch.streams.iter().any(|append| append.stream == stream) {
            continue;
        }
        let expected = match random.random_range(0..10) {
            0 => Expected::NoStream,
            1 => Expected::Exists,
            2..6 => Expected::Any,
            6 => Expected::Version(Version(random.random_range(0..9))),
            _ => Expected::Version(model.version(&stream)),
        };
        let events: Vec<_> = (0..random.random_range(1..5)).map(|_| some_event(random)).collect();
        batch = batch.and(stream, expected, events);
    }
    batch
}

async fn check_all(journal: &Arc<dyn Journal>, model: &Model, random: &mut StdRng) {
    assert_eq!(everything(journal).await, model.all);
    let mut names: Vec<StreamId> = model.all.iter().map(|event| event.stream.clone()).collect();
    names.sort();
    names.dedup();
    let listed = journal.streams_page("", None, 100).await.unwrap();
    assert_eq!(listed.iter().map(|info| info.stream.clone()).collect::<Vec<_>>(), names);
    for info in listed {
        let events = model.of(&info.stream);
        assert_eq!(info.version.0 as usize, events.len());
        assert_eq!(Some(info.last_time), events.last().map(|event| event.command.time));
    }
    let name = some_stream(random);
    let from = Version(random.random_range(0..30));
    let forward = journal.stream_page(&name, from, Direction::Forward, 7).await.unwrap().events;
    let events = model.of(&name);
    assert_eq!(forward, events.iter().filter(|e| e.version >= from).take(7).cloned().collect::<Vec<_>>());
    let backward = journal.stream_page(&name, from, Direction::Backward, 7).await.unwrap().events;
    let wanted: Vec<_> = events.iter().rev().filter(|e| e.version <= from).take(7).cloned().collect();
    assert_eq!(backward, wanted);
}

async fn run(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions { segment_bytes: random.random_range(8192..40_000), ..small() };
    let mut journal = open(dir.path(), options.clone());
    let mut model = Model::default();
    for _ in 0..random.random_range(5..25) {
        // Submitted together, so that they share groups; decided one on top of the other.
        let mut answers = Vec::new();
        for _ in 0..random.random_range(1..8) {
            let batch = some_batch(&mut random, &model);
            answers.push((journal.append(batch.clone()), model.append(&batch)));
        }
        for (ticket, wanted) in answers {
            match (ticket.await, wanted) {
                (Ok(appended), Ok((first, versions))) => {
                    assert_eq!((appended.first, appended.versions.to_vec()), (first, versions));
                }
                (Err(AppendError::Conflict { actual, .. }), Err(wanted)) => assert_eq!(actual, wanted),
                (answer, wanted) => panic!("{answer:?}, should be {wanted:?}"),
            }
        }
        if random.random_bool(0.3) {
            check_all(&journal, &model, &mut random).await;
        }
        if random.random_bool(0.3) {
            drop(journal);
            journal = open(dir.path(), options.clone());
            check_all(&journal, &model, &mut random).await;
        }
    }
}

#[tokio::test]
async fn random_histories_are_what_the_model_says() {
    let seed = seed();
    for case in 0..cases(30) as u64 {
        run(seed.wrapping_add(case)).await;
    }
}
