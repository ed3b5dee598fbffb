//! The power goes while a node works over a journal and snapshots on one simulated disk.

use std::path::Path;
use std::sync::Arc;

use annals_persistence::{
    EmbeddedJournal, EmbeddedOptions, FileSnapshotOptions, FileSnapshots, Journal, SimVfs, Survival,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::{Ground, balances, block_on, number, seeds};

const SURVIVALS: [Survival; 5] = [
    Survival::Nothing,
    Survival::Everything,
    Survival::Prefix,
    Survival::Sectors(512),
    Survival::Sectors(4096),
];

async fn ground(disk: &SimVfs) -> Option<Ground> {
    let vfs = Arc::new(disk.clone());
    let options = EmbeddedOptions { segment_bytes: 8192, vfs: vfs.clone(), ..EmbeddedOptions::default() };
    let journal: Arc<dyn Journal> = Arc::new(EmbeddedJournal::open(Path::new("/journal"), options).ok()?);
    let options = FileSnapshotOptions { budget_bytes: 20_000, vfs };
    let store = FileSnapshots::open("/snapshots", options).ok()?;
    // Whoever lost the power as the node started has answered nobody.
    Ground::over(journal, Arc::new(store)).await.ok()
}

/// `ANNALS_NODE_CRASHES` crashes at random calls, each with five images.
#[test]
fn power_lost_under_a_node_leaves_states_that_are_what_replay_makes() {
    let mut images = 0;
    for seed in seeds(number("ANNALS_NODE_CRASHES", 20)) {
        let mut random = StdRng::seed_from_u64(seed);
        let disk = SimVfs::new();
        disk.crash_at(random.random_range(1..500));
        let answered = block_on(work(&disk, &mut random));
        for survival in SURVIVALS {
            let case = format!("ANNALS_SEED={seed}, {survival:?}");
            block_on(check(&disk.image(survival, seed), answered, &case));
            images += 1;
        }
    }
    println!("{images} images");
}

async fn work(disk: &SimVfs, random: &mut StdRng) -> u64 {
    let Some(ground) = ground(disk).await else { return 0 };
    let answered = ground.work(random, 300).await;
    ground.end().await;
    answered as u64
}

async fn check(disk: &SimVfs, answered: u64, case: &str) {
    let ground = ground(disk).await.expect("what a crash leaves opens");
    let states = balances(&ground.check(case).await);
    let events: u64 = states.iter().flatten().map(|(version, _)| version).sum();
    assert!(events >= answered, "{case}: {answered} were answered, {events} are there");
    ground.end().await;
}
