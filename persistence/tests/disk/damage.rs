//! Bytes that were once durable change: one bit, or sectors that are zeroed, doubled, stale or misdirected, or a file
//! that ends early. The log is refused, or what is read is what was written; and what opening reads, opening refuses, since what is
//! appended behind damage is lost with it.
//!
//! One change goes unnoticed and must: a last group that is not whole is what a loss of power leaves of a group that was
//! never acknowledged, so damage to nothing but the log's last groups is taken for that, and they are cut off; but only
//! where it was not noted yet how far the log goes, as it is when a journal is closed.

use std::path::{Path, PathBuf};

use annals_persistence::SimVfs;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::{number, seeds};

mod log;

use log::{Found, Left, Log, Recipe};

const RECIPE: Recipe = Recipe { before: 40, behind: 20, segment_bytes: 8192 };
/// Short enough that every bit of it can be flipped.
const SHORT: Recipe = Recipe { before: 20, behind: 8, segment_bytes: 8192 };
/// One that has but one segment.
const FIRST: Recipe = Recipe { before: 0, behind: 24, segment_bytes: 64 * 1024 };
/// One whose last file is long.
const LONG: Recipe = Recipe { before: 40, behind: 240, segment_bytes: 256 * 1024 };
/// How much of that is cut off, byte by byte.
const CUT_BYTES: usize = 64 * 1024;

/// How many changes came to what.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    noticed: u64,
    harmless: u64,
    cut: u64,
}

impl Tally {
    fn add(&mut self, found: Found) {
        *match found {
            Found::Noticed => &mut self.noticed,
            Found::Harmless => &mut self.harmless,
            Found::Cut => &mut self.cut,
        } += 1;
    }

    fn count(&self) -> u64 {
        self.noticed + self.harmless + self.cut
    }

    fn only_the_last_group_goes_unnoticed(&self) {
        assert!(self.harmless == 0 && self.noticed > 9 * self.cut, "{self:?}");
    }
}

/// Behind the last byte that is not zero, in whole frames.
fn end_of_data(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| (last + 1).next_multiple_of(8))
}

/// Flips bits of a log, one at a time, so many as `ANNALS_FLIPS` says: of a short log and all of them, where that is 0.
fn flipped(bits: impl Fn(&Log) -> Vec<(PathBuf, usize)>) -> Tally {
    let wanted = number("ANNALS_FLIPS", 4000);
    flipped_of(if wanted == 0 { SHORT } else { RECIPE }, wanted, bits)
}

/// So many of the bits of a log, 0 for all of them.
fn flipped_of(recipe: Recipe, wanted: u64, bits: impl Fn(&Log) -> Vec<(PathBuf, usize)>) -> Tally {
    let seed = seeds().next().unwrap();
    let log = Log::written(seed, recipe);
    let mut random = StdRng::seed_from_u64(seed);
    let all = bits(&log);
    let any: Vec<usize> = (0..wanted).map(|_| random.random_range(0..all.len())).collect();
    let chosen = if wanted == 0 { (0..all.len()).collect() } else { any };
    let mut tally = Tally::default();
    for (file, bit) in chosen.into_iter().map(|nth| &all[nth]) {
        let (at, left) = (bit / 8, Left::any(&mut random));
        let case = format!("ANNALS_SEED={seed}, bit {bit} of {}, {left:?}", file.display());
        let flip = |bytes: &mut Vec<u8>| bytes[at] ^= 1 << (bit % 8);
        tally.add(log.spoilt(file, at..at + 1, left, flip, &case));
    }
    tally
}

fn bits_of(file: &Path, bytes: impl IntoIterator<Item = usize>) -> Vec<(PathBuf, usize)> {
    let bits = bytes.into_iter().flat_map(|at| at * 8..at * 8 + 8);
    bits.map(|bit| (file.to_owned(), bit)).collect()
}

/// The bits of a file up to its end, but for those of payloads.
fn bits_around_payloads(log: &Log, file: &Path) -> Vec<(PathBuf, usize)> {
    let is_payload = |at: &usize| log.payloads.iter().any(|(of, bytes)| of == file && bytes.contains(at));
    let end = end_of_data(&log.disk.bytes(file).unwrap());
    bits_of(file, (0..end).filter(|at| !is_payload(at)))
}

/// `ANNALS_FLIPS` random bits of payloads; 0 for all of those of a short log.
#[test]
fn a_flipped_bit_of_a_payload_is_noticed() {
    let tally = flipped(|log| {
        let of = |(file, bytes): &(PathBuf, _)| bits_of(file, Clone::clone(bytes));
        log.payloads.iter().flat_map(of).collect()
    });
    println!("{} bits of payloads: {tally:?}", tally.count());
    tally.only_the_last_group_goes_unnoticed();
}

/// `ANNALS_FLIPS` random bits of segments but for payloads: headers, the frames' own, records' metadata, commit markers, seals,
/// gaps, what sets retention; 0 for every bit of a short log.
#[test]
fn a_flipped_bit_is_noticed_or_harmless() {
    let tally = flipped(|log| log.files.iter().flat_map(|file| bits_around_payloads(log, file)).collect());
    println!("{} bits of segments: {tally:?}", tally.count());
    tally.only_the_last_group_goes_unnoticed();
}

/// The same of a log that has but one segment, of which nothing but this tells that it was ever begun.
#[test]
fn a_flipped_bit_of_the_only_segment_is_noticed_or_harmless() {
    let wanted = number("ANNALS_FLIPS", 4000);
    let tally = flipped_of(FIRST, wanted, |log| bits_around_payloads(log, &log.files[0]));
    println!("{} bits of the only segment: {tally:?}", tally.count());
    tally.only_the_last_group_goes_unnoticed();
}

/// `ANNALS_FLIPS` random bits of seals, each in front of what follows; 0 for every bit of a short log's.
#[test]
fn a_flipped_bit_of_a_seal_is_noticed_at_once() {
    let tally =
        flipped(|log| log.seals.iter().flat_map(|(file, bytes)| bits_of(file, bytes.clone())).collect());
    println!("{} bits of seals: {tally:?}", tally.count());
    assert_eq!(tally.noticed, tally.count());
}

/// `ANNALS_FLIPS` random bits of index files, tables, and the note how far the log goes; 0 for every bit of a short log.
#[test]
fn a_flipped_bit_of_what_is_derived_is_harmless() {
    let tally = flipped(|log| {
        let derived = log.all_files().into_iter().filter(|file| !log.files.contains(file));
        derived.flat_map(|file| bits_around_payloads(log, &file)).collect()
    });
    println!("{} bits of other files: {tally:?}", tally.count());
    assert_eq!(tally.harmless, tally.count(), "nothing depends on it");
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
        let log = Log::written(seed, RECIPE);
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
            let change = |bytes: &mut Vec<u8>| bytes[at..at + size].copy_from_slice(&wrong);
            let found = log.spoilt(file, at..at + size, Left::any(&mut random), change, &case);
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

fn step() -> usize {
    number("ANNALS_CUTS", 40) as usize + 1
}

/// Every file of a log, cut off at every byte of it (`ANNALS_CUTS` in between are left out).
#[test]
fn a_file_that_ends_early_is_noticed_or_loses_only_what_was_cut() {
    let step = step();
    let seed = seeds().next().unwrap();
    let log = Log::written(seed, RECIPE);
    for file in &log.files {
        let len = log.disk.bytes(file).unwrap().len();
        for at in (0..len).step_by(step) {
            let case = format!("ANNALS_SEED={seed}, {} cut off at {at}", file.display());
            let left = Left { marked: at % 2 == 0, spare: at % 3 == 0 };
            log.spoilt(file, at..len, left, |bytes| bytes.truncate(at), &case);
        }
    }
}

/// A log cut off at each of its last 64 KiB (`ANNALS_CUTS` in between are left out): where it was noted how far it goes that is
/// damage, else a torn tail.
#[test]
fn a_log_that_ends_early_is_damaged_or_torn() {
    let seed = seeds().next().unwrap();
    let log = Log::written(seed, LONG);
    let (file, end) = log.end();
    let len = log.disk.bytes(file).unwrap().len();
    let first = end.checked_sub(CUT_BYTES).unwrap();
    assert!(first > 4096, "{first}");
    let mut cuts = 0;
    for at in (first..end).step_by(step()) {
        for (marked, expected) in [(true, Found::Noticed), (false, Found::Cut)] {
            let left = Left { marked, spare: at % 3 == 0 };
            let case = format!("ANNALS_SEED={seed}, {} cut off at {at}, {left:?}", file.display());
            let found = log.spoilt(file, at..len, left, |bytes| bytes.truncate(at), &case);
            assert_eq!(found, expected, "{case}");
            cuts += 1;
        }
    }
    println!("{cuts} cuts in {CUT_BYTES} bytes up to {end} of {}", file.display());
}
