//! Counts, seeds, and the journal under test.

use std::path::Path;
use std::sync::Arc;

use annals_persistence::{
    Batch, CodecId, CommandMetadata, Driver, EmbeddedJournal, EmbeddedOptions, EventId, Journal, JournalExt,
    NewEvent, OpenError, SimVfs, Survival, Ticket, Timestamp,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub(crate) const DIR: &str = "/journal";
const SEGMENT_BYTES: u64 = 8192;

/// A number from the environment.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// The seeds of a suite's cases: `ANNALS_SEED` replays one.
pub(crate) fn seeds() -> impl Iterator<Item = u64> {
    let replayed: Option<u64> = std::env::var("ANNALS_SEED").ok().map(|text| text.parse().expect("a seed"));
    let first = replayed.unwrap_or_else(|| rand::random::<u32>().into());
    println!("ANNALS_SEED={first}");
    first..
}

/// Runs a case; the seed is told when it fails.
pub(crate) fn with_seed(seed: u64, case: impl FnOnce(StdRng)) {
    struct Telling(u64);
    impl Drop for Telling {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("it failed with ANNALS_SEED={}", self.0);
            }
        }
    }
    let _telling = Telling(seed);
    case(StdRng::seed_from_u64(seed));
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// A disk; every other one takes only some of the bytes of a write now and then.
pub(crate) fn disk(seed: u64) -> SimVfs {
    let disk = SimVfs::new();
    if seed.is_multiple_of(2) {
        disk.write_short(seed);
    }
    disk
}

/// A journal of small segments, so that there are many; without a thread of its own, so that with one seed every call comes in
/// the same order.
pub(crate) fn open(disk: &SimVfs) -> Result<Arc<EmbeddedJournal>, OpenError> {
    open_with(disk, SEGMENT_BYTES)
}

/// The same with segments of this length from the next one on.
pub(crate) fn open_with(disk: &SimVfs, segment_bytes: u64) -> Result<Arc<EmbeddedJournal>, OpenError> {
    open_as(disk, EmbeddedOptions { segment_bytes, driver: Driver::Manual, ..EmbeddedOptions::default() })
}

/// One of small segments too, with the threads that a journal has.
pub(crate) fn open_threaded(disk: &SimVfs) -> Result<Arc<EmbeddedJournal>, OpenError> {
    open_as(disk, EmbeddedOptions { segment_bytes: SEGMENT_BYTES, ..EmbeddedOptions::default() })
}

fn open_as(disk: &SimVfs, options: EmbeddedOptions) -> Result<Arc<EmbeddedJournal>, OpenError> {
    let options = EmbeddedOptions { vfs: Arc::new(disk.clone()), ..options };
    Ok(Arc::new(EmbeddedJournal::open(Path::new(DIR), options)?))
}

/// As everybody else knows it.
pub(crate) fn dynamic(journal: &Arc<EmbeddedJournal>) -> Arc<dyn Journal> {
    journal.clone()
}

/// Submits a batch and writes all that waits.
pub(crate) fn append(journal: &Arc<EmbeddedJournal>, batch: Batch) -> Ticket {
    let ticket = dynamic(journal).append(batch);
    while journal.drive() {}
    ticket
}

/// Eight ways in which a disk may come out of it.
pub(crate) const SURVIVALS: [Survival; 8] = [
    Survival::Nothing,
    Survival::Everything,
    Survival::Prefix,
    Survival::Prefix,
    Survival::Sectors(512),
    Survival::Sectors(512),
    Survival::Sectors(4096),
    Survival::Sectors(4096),
];

pub(crate) fn any_survival(random: &mut StdRng) -> Survival {
    SURVIVALS[random.random_range(0..SURVIVALS.len())]
}

/// An event of the runtime's own.
pub(crate) fn event(id: EventId, type_name: &'static str, payload: Vec<u8>) -> NewEvent {
    NewEvent {
        id,
        type_name: type_name.into(),
        schema_version: 1,
        codec: CodecId::Json,
        payload: payload.into(),
        command: CommandMetadata::internal(Timestamp(1_700_000_000_000_000)),
        tags: Vec::new(),
    }
}
