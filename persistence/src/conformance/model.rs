//! Random histories, on a journal and on a model of one that is too simple to be wrong. A history is a list of steps, so
//! that one that fails can be told in few of them.

use super::{JournalFactory, Random, Seed, replayable};

mod keeping;
mod plain;
mod run;
mod step;
mod subscribed;
mod wanted;

use run::{Seen, run};
use step::Step;

/// How long a history is.
const STEPS: usize = 50;

/// Whatever is done to it, a journal does what a plain list of events would: `ANNALS_CASES` histories of 50 steps, which
/// append, read, set what is kept of streams, scavenge, subscribe and open the journal anew.
pub async fn random_histories_match_a_model(factory: &impl JournalFactory) {
    let seeds = replayable(12);
    let mut seen = Seen::default();
    for &seed in &seeds {
        let _told = Seed(seed);
        let steps = history(seed);
        match run(factory, &steps).await {
            Ok(here) => seen.add(here),
            Err(wrong) => {
                let (steps, wrong) = shortest(factory, steps, wrong).await;
                panic!("{wrong}; {} steps that show it: {steps:#?}", steps.len());
            }
        }
    }
    told(seeds.len(), seen);
}

fn history(seed: u64) -> Vec<Step> {
    let mut random = Random::new(seed);
    (0..STEPS).map(|_| Step::any(&mut random)).collect()
}

#[allow(clippy::print_stdout, reason = "whoever runs many wants to read that there were many")]
fn told(histories: usize, Seen { appended, refused, delivered, scavenged }: Seen) {
    println!(
        "{histories} histories of {STEPS} steps are what the model says: {appended} batches taken, {refused} refused, \
         {delivered} events delivered to subscriptions, {scavenged} scavenged"
    );
}

/// Leaves steps out, many at first and at last one by one, as long as it goes wrong without them.
async fn shortest(
    factory: &impl JournalFactory,
    mut steps: Vec<Step>,
    mut wrong: String,
) -> (Vec<Step>, String) {
    let mut at_once = steps.len() / 2;
    while at_once > 0 {
        let mut from = 0;
        while from < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(from..(from + at_once).min(steps.len()));
            match run(factory, &fewer).await {
                Err(still) => (steps, wrong) = (fewer, still),
                Ok(_) => from += at_once,
            }
        }
        at_once /= 2;
    }
    (steps, wrong)
}

#[cfg(test)]
mod tests;
