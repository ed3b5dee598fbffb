//! Bytes that were once durable change: one bit, or sectors that are zeroed, doubled, stale or misdirected, or a file
//! that ends early. The log is refused, or what is read is what was written.
//!
//! One change goes unnoticed and must: a last group that is not whole is what a loss of power leaves of a group that was
//! never acknowledged, so damage to nothing but the log's last groups is taken for that, and they are cut off; but only
//! where it was not noted yet how far the log goes, as it is when a journal is closed.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_persistence::{
    Batch, CodecId, CommandMetadata, EmbeddedJournal, EventId, Expected, Filter, Journal, JournalExt,
    NewEvent, OpenError, Position, ReadError, RecordedEvent, SimVfs, StreamId, Survival, Timestamp, Vfs,
};
use futures_util::StreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::check::everything;
use crate::support::{self, DIR, block_on, dynamic, number, open, seeds};

/// A log in which every batch is a group of its own, and where each of them lies.
struct Log {
    disk: SimVfs,
    events: Vec<RecordedEvent>,
    groups: Vec<Group>,
    /// The segments, and the file that was made ahead of them.
    files: Vec<PathBuf>,
    /// How the files looked some time before.
    earlier: SimVfs,
}

#[derive(Debug)]
struct Group {
    file: PathBuf,
    bytes: Range<usize>,
    /// How many events there are up to and with it.
    events: usize,
}

impl Log {
    fn written(seed: u64, batches: usize) -> Self {
        let disk = SimVfs::new();
        let mut random = StdRng::seed_from_u64(seed);
        let journal = open(&disk).unwrap();
        let (mut groups, mut events, mut earlier) = (Vec::new(), 0, SimVfs::new());
        for nth in 0..batches {
            if nth == batches / 2 {
                earlier = disk.image(Survival::Everything, 0);
            }
            events += block_on(append(&journal, &mut random));
            let used = |file: &PathBuf| end_of_data(&disk.bytes(file).unwrap()) > 0;
            let file = files(&disk).into_iter().rfind(used).unwrap();
            let start =
                groups.last().filter(|last: &&Group| last.file == file).map_or(4096, |last| last.bytes.end);
            let bytes = start..end_of_data(&disk.bytes(&file).unwrap());
            groups.push(Group { file, bytes, events });
        }
        let events = block_on(everything(&journal));
        block_on(journal.close());
        let files = files(&disk);
        Self { disk, events, groups, files, earlier }
    }

    /// Spoils bytes of a file, and holds what comes of it against what may. Of a log that is `marked`, nothing may be
    /// cut off.
    fn spoilt(
        &self,
        file: &Path,
        range: Range<usize>,
        marked: bool,
        change: impl FnOnce(&mut Vec<u8>),
        case: &str,
    ) -> Found {
        let disk = self.disk.image(Survival::Everything, 0);
        disk.spoil(file, change);
        if !marked {
            disk.remove(&Path::new(DIR).join("watermark")).unwrap();
        }
        let journal = match open(&disk) {
            Err(OpenError::Damaged { .. } | OpenError::Format { .. }) => return Found::Noticed,
            Err(other) => panic!("{case}: {other}"),
            Ok(journal) => journal,
        };
        let (read, error) = block_on(as_far_as_it_goes(&journal));
        assert!(self.events.starts_with(&read), "{case}: a wrong event is served");
        match error {
            Some(ReadError::Damaged { .. }) => return Found::Noticed,
            Some(other) => panic!("{case}: {other}"),
            None if read.len() == self.events.len() => return Found::Harmless,
            None => assert!(!marked, "{case}: events are gone, and nobody notices"),
        }
        let lost: Vec<_> = self.groups.iter().filter(|group| group.events > read.len()).collect();
        for group in &lost {
            let hit = group.file == file && group.bytes.start < range.end && range.start < group.bytes.end;
            assert!(hit, "{case}: {group:?} is gone although nothing happened to it");
        }
        Found::Cut
    }

    /// Everything in the directory that is not empty.
    fn all_files(&self) -> Vec<PathBuf> {
        let mut files = self.disk.list(Path::new(DIR)).unwrap();
        files.sort();
        let paths = files.into_iter().map(|name| Path::new(DIR).join(name));
        paths.filter(|path| self.disk.bytes(path).is_some_and(|bytes| !bytes.is_empty())).collect()
    }
}

async fn as_far_as_it_goes(journal: &Arc<EmbeddedJournal>) -> (Vec<RecordedEvent>, Option<ReadError>) {
    let mut events = Vec::new();
    let mut read = dynamic(journal).read_all(Position::START, Filter::everything());
    while let Some(event) = read.next().await {
        match event {
            Ok(event) => events.push(event),
            Err(error) => return (events, Some(error)),
        }
    }
    (events, None)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// The journal is refused, or what reads it.
    Noticed,
    /// All is there.
    Harmless,
    /// The last groups, all of them hit, were cut off.
    Cut,
}

async fn append(journal: &Arc<EmbeddedJournal>, random: &mut StdRng) -> usize {
    let count = random.random_range(1..4);
    let events: Vec<_> = (0..count).map(|_| event(random)).collect();
    let stream = StreamId::aggregate("order", &random.random_range(0..5).to_string()).unwrap();
    support::append(journal, Batch::of(stream, Expected::Any, events)).await.unwrap();
    count
}

fn event(random: &mut StdRng) -> NewEvent {
    let payload: Vec<u8> = (0..random.random_range(0..300)).map(|_| random.random()).collect();
    NewEvent {
        id: EventId::from_u128(random.random()),
        type_name: "noted".into(),
        schema_version: 1,
        codec: CodecId::Bincode,
        payload: payload.into(),
        command: CommandMetadata::internal(Timestamp(1_700_000_000_000_000)),
        tags: vec!["red".into()],
    }
}

fn files(disk: &SimVfs) -> Vec<PathBuf> {
    let mut files = disk.list(Path::new(DIR)).unwrap();
    files.retain(|name| name.extension().is_some_and(|extension| extension == "log"));
    files.sort();
    files.into_iter().map(|name| Path::new(DIR).join(name)).collect()
}

/// Behind the last byte that is not zero, in whole frames.
fn end_of_data(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| (last + 1).next_multiple_of(8))
}

/// `ANNALS_FLIPS` random bits of a log, one at a time; 0 for every bit of a shorter one, but of the bytes of derived files
/// that are zero one bit each.
#[test]
fn a_flipped_bit_is_noticed_or_harmless() {
    let wanted = number("ANNALS_FLIPS", 4000);
    let seed = seeds().next().unwrap();
    let log = Log::written(seed, if wanted == 0 { 16 } else { 60 });
    let mut random = StdRng::seed_from_u64(seed);
    let files = log.all_files();
    let all = files.iter().flat_map(|file| {
        let bytes = log.disk.bytes(file).unwrap();
        let is_log = file.extension().is_some_and(|extension| extension == "log");
        let counts = move |bit: &usize| is_log || bytes[bit / 8] != 0 || bit / 8 % 8 == bit % 8;
        (0..end_of_data(&log.disk.bytes(file).unwrap()) * 8).filter(counts).map(move |bit| (file, bit))
    });
    let chosen: Vec<_> = match wanted {
        0 => all.collect(),
        wanted => {
            let all: Vec<_> = all.collect();
            (0..wanted).map(|_| all[random.random_range(0..all.len())]).collect()
        }
    };
    let mut found = [[0_u64; 3]; 2];
    for (file, bit) in &chosen {
        let at = bit / 8;
        let marked = random.random();
        let case = format!("ANNALS_SEED={seed}, bit {bit} of {}, marked: {marked}", file.display());
        let flip = |bytes: &mut Vec<u8>| bytes[at] ^= 1 << (bit % 8);
        let outcome = log.spoilt(file, at..at + 1, marked, flip, &case);
        let is_log = file.extension().is_some_and(|extension| extension == "log");
        assert!(is_log || outcome == Found::Harmless, "{case}: {outcome:?}, and nothing depends on it");
        found[usize::from(!is_log)][outcome as usize] += 1;
    }
    let [[noticed, harmless, cut], [_, derived, _]] = found;
    println!(
        "{} bits of segments: {noticed} noticed, {harmless} harmless, {cut} cut off",
        noticed + harmless + cut
    );
    println!("{derived} bits of other files: made anew");
    // Nothing but the last group can go unnoticed.
    assert!(harmless == 0 && noticed * 10 > cut * 9, "{found:?}");
}

/// `ANNALS_SECTORS` of each way in which sectors go wrong; only those count that change anything.
#[test]
fn wrong_sectors_are_noticed_or_harmless() {
    let wanted = number("ANNALS_SECTORS", 150);
    let ways = ["zeroed", "doubled", "stale", "misdirected"];
    let (mut tried, mut noticed) = ([0; 4], [0; 4]);
    for seed in seeds() {
        if tried.iter().all(|tried| *tried >= wanted) {
            break;
        }
        let log = Log::written(seed, 40);
        let mut random = StdRng::seed_from_u64(seed);
        let size = if random.random() { 512 } else { 4096 };
        let (file, other) = (any(&log.files, &mut random), any(&log.files, &mut random));
        let sectors = log.disk.bytes(file).unwrap().len() / size;
        let (at, from) = (random.random_range(0..sectors) * size, random.random_range(0..sectors) * size);
        let piece = |disk: &SimVfs, file: &Path, from: usize| {
            disk.bytes(file).and_then(|bytes| bytes.get(from..from + size).map(<[u8]>::to_vec))
        };
        let right = piece(&log.disk, file, at);
        let wrongs = [
            Some(vec![0; size]),
            piece(&log.disk, file, from),
            piece(&log.earlier, file, at),
            piece(&log.disk, other, at),
        ];
        for (way, wrong) in wrongs.into_iter().enumerate() {
            let changes = |wrong: &Vec<u8>| tried[way] < wanted && Some(wrong) != right.as_ref();
            let Some(wrong) = wrong.filter(changes) else { continue };
            let what = ways[way];
            let case = format!("ANNALS_SEED={seed}, {what} sector of {size} at {at} of {}", file.display());
            let (marked, change) = (random.random(), |bytes: &mut Vec<u8>| {
                bytes[at..at + size].copy_from_slice(&wrong);
            });
            let found = log.spoilt(file, at..at + size, marked, change, &case);
            tried[way] += 1;
            noticed[way] += u64::from(found == Found::Noticed);
        }
    }
    println!("sectors {ways:?}: {tried:?} changed, {noticed:?} noticed");
    // The rest was the last group, which a crash may cost, or what is made anew.
    assert!(
        tried.iter().zip(noticed).all(|(tried, noticed)| noticed * 5 > *tried * 4),
        "{tried:?} {noticed:?}"
    );
}

fn any<'a>(files: &'a [PathBuf], random: &mut StdRng) -> &'a Path {
    &files[random.random_range(0..files.len())]
}

/// Every file of a log, cut off at every byte of it (`ANNALS_CUTS` in between are left out).
#[test]
fn a_file_that_ends_early_is_noticed_or_loses_only_what_was_cut() {
    let step = number("ANNALS_CUTS", 40) as usize + 1;
    let seed = seeds().next().unwrap();
    let log = Log::written(seed, 60);
    for file in &log.files {
        let len = log.disk.bytes(file).unwrap().len();
        for at in (0..len).step_by(step) {
            let case = format!("ANNALS_SEED={seed}, {} cut off at {at}", file.display());
            log.spoilt(file, at..len, at % 2 == 0, |bytes| bytes.truncate(at), &case);
        }
    }
}
