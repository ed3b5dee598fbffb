//! A process that appends with all its might is killed at random moments, again and again: the log keeps every append
//! that the process said was acknowledged, whole and once. `ANNALS_KILLS` times.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "it is how the process tells of what was acknowledged")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use annals_persistence::conformance::{Random, Seed, seeds};
use annals_persistence::{
    Batch, CodecId, CommandMetadata, EmbeddedJournal, EmbeddedOptions, EventId, Expected, Filter, Journal,
    JournalExt, NewEvent, Position, RecordedEvent, StreamId, Timestamp,
};
use futures_util::StreamExt;
use tempfile::TempDir;

/// Where the process that is to be killed finds its directory.
const DIR: &str = "ANNALS_KILLED_DIR";
/// After so many a new log is begun: to look through one that grows would take longer and longer.
const KILLS_OF_ONE_LOG: usize = 25;
/// How many append at once.
const WRITERS: u64 = 16;

#[tokio::test]
async fn killed_again_and_again_the_log_keeps_what_it_acknowledged() {
    let seeds = seeds("ANNALS_KILLS", 5);
    let mut acknowledged = 0;
    for seeds in seeds.chunks(KILLS_OF_ONE_LOG) {
        acknowledged += one_log(seeds).await;
    }
    println!("{} kills, {acknowledged} acknowledged appends, all there", seeds.len());
    assert!(acknowledged > 0, "it was killed before it did anything");
}

/// A log whose process is killed as often as there are seeds; answers how many appends were acknowledged.
async fn one_log(seeds: &[u64]) -> usize {
    let dir = TempDir::new().expect("a directory");
    let mut acknowledged = Vec::new();
    for seed in seeds {
        let _told = Seed(*seed);
        let moment = Duration::from_micros(Random::new(*seed).below(60_000));
        acknowledged.extend(under_load_and_killed(dir.path(), moment));
        check(&events(dir.path()).await, &acknowledged);
    }
    acknowledged.len()
}

/// An append that was acknowledged: the positions of its first event and its last, and what all of them say.
struct Acknowledged {
    first: usize,
    last: usize,
    says: String,
}

/// What the process told of until it was killed.
fn under_load_and_killed(dir: &Path, moment: Duration) -> Vec<Acknowledged> {
    let mut process = Command::new(std::env::current_exe().expect("this test's program"))
        .args(["--exact", "the_process_that_is_killed", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines().map_while(Result::ok);
    // Only then is there any load.
    let begun = lines.by_ref().any(|line| line.ends_with("begins"));
    assert!(begun, "the journal does not open");
    // The moment is what is random here.
    std::thread::sleep(moment);
    process.kill().expect("it runs");
    process.wait().expect("it ends");
    lines.filter_map(|line| parse(&line)).collect()
}

fn parse(line: &str) -> Option<Acknowledged> {
    let mut words = line.strip_prefix("acknowledged ")?.split(' ');
    let mut number = || words.next()?.parse().ok();
    Some(Acknowledged { first: number()?, last: number()?, says: words.next()?.to_owned() })
}

async fn events(dir: &Path) -> Vec<RecordedEvent> {
    let journal: Arc<dyn Journal> =
        Arc::new(EmbeddedJournal::open(dir, options()).expect("the journal opens again"));
    let all: Vec<_> = journal.read_all(Position::START, Filter::everything()).collect().await;
    journal.close().await;
    all.into_iter().map(|event| event.expect("it can be read")).collect()
}

fn check(log: &[RecordedEvent], acknowledged: &[Acknowledged]) {
    let (mut versions, mut appends) = (HashMap::new(), HashMap::<_, Vec<usize>>::new());
    for (place, event) in log.iter().enumerate() {
        let version = versions.entry(&event.stream).or_insert(0);
        *version += 1;
        assert_eq!((event.position.0, event.version.0), (place as u64 + 1, *version), "there is no gap");
        appends.entry(&event.payload).or_default().push(place + 1);
    }
    for (says, places) in &appends {
        let said = says.rsplit(|byte| *byte == b'/').next().and_then(|of| std::str::from_utf8(of).ok());
        assert_eq!(
            said.and_then(|of| of.parse().ok()),
            Some(places.len()),
            "an append is torn, or there twice"
        );
    }
    for append in acknowledged {
        let there = appends.get(&bytes::Bytes::copy_from_slice(append.says.as_bytes()));
        let expected: Vec<_> = (append.first..=append.last).collect();
        assert_eq!(there, Some(&expected), "\"{}\" was acknowledged", append.says);
    }
}

fn options() -> EmbeddedOptions {
    EmbeddedOptions { segment_bytes: 64 * 1024, ..EmbeddedOptions::default() }
}

/// No test, but what is killed: it says what was acknowledged, a line each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let journal: Arc<dyn Journal> =
        Arc::new(EmbeddedJournal::open(dir, options()).expect("the journal opens"));
    let run = EventId::generate();
    println!("\nbegins");
    let writers =
        (0..WRITERS).map(|writer| tokio::spawn(write(Arc::clone(&journal), format!("{run}-{writer}"))));
    futures_util::future::join_all(writers).await;
}

/// Appends until it is killed, or nobody listens any more.
async fn write(journal: Arc<dyn Journal>, name: String) {
    for number in 0_usize.. {
        let count = number % 3 + 1;
        let says = format!("{name}-{number}/{count}");
        let streams = ["a", "b", &*name].into_iter().cycle().skip(number).take(count);
        let batch = streams.fold(Batch::default(), |batch, stream| {
            let stream = StreamId::aggregate("order", stream).expect("a valid id");
            batch.and(stream, Expected::Any, [event(&says)])
        });
        let appended = journal.append(batch).await.expect("a disk that works");
        println!("acknowledged {} {} {says}", appended.first, appended.last);
    }
}

fn event(says: &str) -> NewEvent {
    NewEvent {
        id: EventId::generate(),
        type_name: "noted".into(),
        schema_version: 1,
        codec: CodecId::Json,
        payload: says.to_owned().into(),
        command: CommandMetadata::internal(Timestamp::now()),
        tags: Vec::new(),
    }
}
