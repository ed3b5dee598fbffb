//! The power goes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use annals_persistence::{Journal, SimVfs, Survival, Vfs};
use rand::Rng;
use rand::rngs::StdRng;

use crate::check::holds;
use crate::states::{Found, SNAPSHOTS, snapshots};
use crate::support::{DIR, SURVIVALS, any_survival, block_on, disk, number, open, seeds, with_seed};
use crate::workload::{Submitted, work, work_and_scavenge};

const STEPS: usize = 24;

/// A workload up to the call at which the power goes; `None` when it ends before that call.
fn crashed(seed: u64, call: u64) -> Option<(SimVfs, Vec<Submitted>)> {
    let disk = disk(seed);
    disk.crash_at(call);
    let mut submitted = Vec::new();
    with_seed(seed, |mut random: StdRng| submitted = block_on(work(&disk, &mut random, STEPS)));
    disk.crashed().then_some((disk, submitted))
}

/// What a seed is printed for.
#[test]
fn a_seed_leads_to_the_same_calls_again() {
    let seed = seeds().next().unwrap();
    let calls = || {
        let disk = disk(seed);
        with_seed(seed, |mut random| drop(block_on(work(&disk, &mut random, STEPS))));
        disk.history()
    };
    assert_eq!(calls(), calls(), "ANNALS_SEED={seed}");
}

/// `ANNALS_CRASHES` crash points (each with eight images), at every call of one workload after the other.
#[test]
fn power_lost_at_any_call_loses_nothing_acknowledged_and_invents_nothing() {
    let wanted = number("ANNALS_CRASHES", 250);
    let (mut points, mut recoveries, mut found) = (0, 0, Found::default());
    let mut calls = BTreeSet::new();
    for seed in seeds() {
        for call in 1.. {
            let Some((disk, submitted)) = crashed(seed, call) else { break };
            for (survival, nth) in SURVIVALS.into_iter().zip(0..) {
                let case = format!("ANNALS_SEED={seed}, crash at call {call}, {survival:?} ({nth})");
                found += block_on(holds(&disk.image(survival, nth), &submitted, &case));
                recoveries += 1;
            }
            points += 1;
            calls.extend(disk.history().last().map(|call| kind_of(call)));
            // Few of the random workloads leave a call out that all of them together must come to.
            let is_far = FAR.iter().all(|call| calls.contains(*call)) && found.outlived * found.needed > 0;
            let far = wanted < 250 || is_far;
            if points >= wanted && far {
                println!("{points} crash points, {recoveries} recoveries, {found:?}, at {calls:?}");
                assert!(found.snapshots > recoveries, "{found:?}");
                return;
            }
            assert!(points < 8 * wanted, "{calls:?}, {found:?}");
        }
    }
}

/// `ANNALS_SCAVENGINGS` workloads, with the power lost at every call of what gives space back behind them.
#[test]
fn power_lost_while_space_is_given_back_loses_nothing_that_is_kept() {
    let wanted = number("ANNALS_SCAVENGINGS", 1);
    let (mut done, mut recoveries) = (0, 0);
    for seed in seeds() {
        let run = |disk: &SimVfs| {
            let mut ran = (Vec::new(), 0);
            with_seed(seed, |mut random| ran = block_on(work_and_scavenge(disk, &mut random, STEPS)));
            ran
        };
        let whole = disk(seed);
        let (_, begun) = run(&whole);
        if !whole.history()[begun as usize..].iter().any(|call| kind_of(call) == "rename .log.new") {
            continue;
        }
        for call in begun + 1..=whole.calls() {
            let disk = disk(seed);
            disk.crash_at(call);
            let (submitted, _) = run(&disk);
            for (survival, nth) in SURVIVALS.into_iter().zip(0..) {
                let case = format!("ANNALS_SEED={seed}, crash at call {call}, {survival:?} ({nth})");
                block_on(holds(&disk.image(survival, nth), &submitted, &case));
                recoveries += 1;
            }
        }
        done += 1;
        if done >= wanted {
            println!("{recoveries} recoveries of scavenging");
            return;
        }
    }
}

/// Calls that only a workload makes in which segments are sealed and scavenged, and snapshots saved until old ones go.
const FAR: [&str; 7] = [
    "rename .idx.new",
    "rename .tbl.new",
    "rename .log.new",
    "rename spare",
    "set .log",
    "rename .unfinished",
    "remove .snapshot",
];

/// A call without its numbers.
fn kind_of(call: &str) -> String {
    let verb = call.split(' ').next().unwrap();
    let path = call.split(' ').find(|word| word.starts_with('/')).unwrap_or_default();
    let name = path.rsplit('/').next().unwrap();
    format!("{verb} {}", name.find('.').map_or(name, |dot| &name[dot..]))
}

/// `ANNALS_NESTED` recoveries (of random images of random crash points) that are crashed at every call of theirs.
#[test]
fn power_lost_during_recovery_is_recovered_from() {
    let wanted = number("ANNALS_NESTED", 250);
    let mut recoveries = 0;
    for seed in seeds() {
        let mut random: StdRng = rand::SeedableRng::seed_from_u64(seed);
        let Some((disk, submitted)) = crashed(seed, random.random_range(1..120)) else { continue };
        let (survival, nth) = (any_survival(&mut random), random.random());
        for call in 1.. {
            let image = disk.image(survival, nth);
            image.crash_at(call);
            let opened = open(&image);
            let store = snapshots(&image);
            if !image.crashed() {
                break;
            }
            let works = opened.is_ok() && store.is_working();
            assert!(!works, "ANNALS_SEED={seed}: all opened without power");
            let after = any_survival(&mut random);
            let case =
                format!("ANNALS_SEED={seed}, {survival:?}, recovery crashed at call {call}, {after:?}");
            block_on(holds(&image.image(after, random.random()), &submitted, &case));
            recoveries += 1;
        }
        if recoveries >= wanted {
            println!("{recoveries} recoveries of crashed recoveries");
            return;
        }
    }
}

/// What a recovery changes is the same however often it is done.
#[test]
fn recovery_is_idempotent() {
    let wanted = number("ANNALS_IDEMPOTENT", 20);
    for seed in seeds().take(usize::try_from(wanted).unwrap()) {
        let Some((disk, _)) = crashed(seed, 40 + seed % 40) else { continue };
        let once = disk.image(Survival::Sectors(512), seed);
        recover(&once);
        let bytes = contents(&once);
        recover(&once);
        assert_eq!(contents(&once), bytes, "ANNALS_SEED={seed}");
    }
}

fn recover(disk: &SimVfs) {
    block_on(open(disk).unwrap().close());
    drop(snapshots(disk));
}

fn contents(disk: &SimVfs) -> Vec<(PathBuf, Vec<u8>)> {
    let names = [DIR, SNAPSHOTS]
        .map(Path::new)
        .into_iter()
        .flat_map(|dir| disk.list(dir).unwrap().into_iter().map(move |name| dir.join(name)));
    let mut files: Vec<_> = names.map(|path| (path.clone(), disk.bytes(&path).unwrap())).collect();
    files.sort();
    files
}
