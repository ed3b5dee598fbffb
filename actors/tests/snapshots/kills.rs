//! A process that uses a sled store is killed.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use crate::support::{Ground, balances, block_on, number, seeds};

/// Where the child works, and with which seed.
const HOME: &str = "ANNALS_CHILD_HOME";
const SEED: &str = "ANNALS_CHILD_SEED";
/// How many lines the child is let write before it is killed, at the most.
const LINES_MAX: u64 = 60;

/// `ANNALS_SLED_KILLS` times a process is killed while it writes snapshots, three times in each directory.
#[test]
fn a_process_killed_over_sled_changes_no_state() {
    let mut kills = 0;
    for seed in seeds(number("ANNALS_SLED_KILLS", 6).div_ceil(3)) {
        let mut random = StdRng::seed_from_u64(seed);
        let home = TempDir::new().unwrap();
        let mut answered = 0;
        for nth in 0..3 {
            answered += work_and_be_killed(home.path(), seed + nth, random.random_range(1..LINES_MAX));
            let case = format!("ANNALS_SEED={seed}, kill {nth}");
            block_on(check(home.path(), answered, &case));
            kills += 1;
        }
    }
    println!("{kills} kills");
}

/// Answers how many commands were answered for certain.
fn work_and_be_killed(home: &Path, seed: u64, lines: u64) -> u64 {
    let mut child = start(home, seed);
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut answered = 0;
    let mut line = String::new();
    while answered < lines {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the child ended by itself");
        answered += u64::from(line.starts_with("answered"));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    answered
}

fn start(home: &Path, seed: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kills::a_child_at_work", "--ignored", "--nocapture"])
        .env(HOME, home)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

async fn check(home: &Path, answered: u64, case: &str) {
    let ground = Ground::on_sled(home).await;
    let states = balances(&ground.check(case).await);
    let events: u64 = states.iter().flatten().map(|(version, _)| version).sum();
    assert!(events >= answered, "{case}: {answered} were answered, {events} are there");
    ground.end().await;
}

/// Works until it is killed. Only as a child of the test above.
#[test]
#[ignore = "the child of another test"]
fn a_child_at_work() {
    let (Ok(home), Ok(seed)) = (std::env::var(HOME), std::env::var(SEED)) else { return };
    let mut random = StdRng::seed_from_u64(seed.parse().unwrap());
    block_on(async {
        let ground = Ground::on_sled(Path::new(&home)).await;
        loop {
            assert_eq!(ground.work(&mut random, 1).await, 1);
            // Not `println!`, which the test harness may hold back.
            writeln!(std::io::stdout(), "answered").unwrap();
        }
    });
}
