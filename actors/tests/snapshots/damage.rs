//! Files of a sled store disappear, end early, grow, change.

use std::fs;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use crate::support::{Ground, balances, block_on, number, seeds};

/// `ANNALS_SLED_DIRECTORIES` directories, each damaged in one to four places.
#[test]
fn a_damaged_sled_directory_changes_no_state() {
    let (mut directories, mut put_aside) = (0, 0);
    for seed in seeds(number("ANNALS_SLED_DIRECTORIES", 8)) {
        put_aside += block_on(damaged(seed));
        directories += 1;
    }
    println!("{directories} directories, {put_aside} of them put aside");
}

/// Answers how many directories were put aside.
async fn damaged(seed: u64) -> usize {
    let mut random = StdRng::seed_from_u64(seed);
    let home = TempDir::new().unwrap();
    let ground = Ground::on_sled(home.path()).await;
    ground.work(&mut random, 150).await;
    let before = balances(&ground.check("before").await);
    ground.end().await;
    let damage: Vec<_> = (0..random.random_range(1..5)).map(|_| damage(home.path(), &mut random)).collect();
    let case = format!("ANNALS_SEED={seed}, {damage:?}");
    let ground = Ground::on_sled(home.path()).await;
    assert_eq!(balances(&ground.check(&case).await), before, "{case}");
    assert_eq!(ground.work(&mut random, 60).await, 60, "{case}: it goes on");
    let after = balances(&ground.check(&case).await);
    ground.end().await;
    // What was snapshot in the meantime is as good.
    let ground = Ground::on_sled(home.path()).await;
    assert_eq!(balances(&ground.check(&case).await), after, "{case}: after another start");
    ground.end().await;
    let aside = quarantined(home.path());
    assert!(aside <= 1, "{case}: {aside} put aside");
    aside
}

fn quarantined(home: &Path) -> usize {
    let names = fs::read_dir(home).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().contains(".quarantine-")).count()
}

/// What was done to a file.
#[derive(Debug)]
#[expect(dead_code, reason = "a failed test shows it")]
enum Damage {
    Removed(PathBuf),
    Cut(PathBuf, usize),
    Grown(PathBuf, usize),
    Flipped(PathBuf, usize),
    Zeroed(PathBuf, usize),
    RemovedAll,
    Nothing,
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn damage(home: &Path, random: &mut StdRng) -> Damage {
    let dir = home.join("snapshots");
    let files = if dir.exists() { files(&dir) } else { Vec::new() };
    if files.is_empty() {
        return Damage::Nothing;
    }
    let file = files[random.random_range(0..files.len())].clone();
    let mut bytes = fs::read(&file).unwrap();
    let place = random.random_range(0..bytes.len().max(1));
    let done = match random.random_range(0..20) {
        0..4 => {
            fs::remove_file(&file).unwrap();
            return Damage::Removed(file);
        }
        4..7 => {
            bytes.truncate(place);
            Damage::Cut(file.clone(), place)
        }
        7..9 => {
            bytes.resize(bytes.len() + place, 0xa5);
            Damage::Grown(file.clone(), place)
        }
        9..16 => {
            flip(&mut bytes, random);
            Damage::Flipped(file.clone(), place)
        }
        16..19 => {
            bytes.iter_mut().skip(place).take(512).for_each(|byte| *byte = 0);
            Damage::Zeroed(file.clone(), place)
        }
        _ => {
            fs::remove_dir_all(&dir).unwrap();
            return Damage::RemovedAll;
        }
    };
    fs::write(&file, bytes).unwrap();
    done
}

/// Some bits, where something was written.
fn flip(bytes: &mut [u8], random: &mut StdRng) {
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for _ in 0..random.random_range(1..20) {
        if used > 0 {
            bytes[random.random_range(0..used)] ^= 1 << random.random_range(0..8);
        }
    }
}
