//! What is done to the parts while they work.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fault {
    KillPublisher,
    KillSubscriber,
    EndPublisher,
    EndSubscriber,
    KillPublishersSidecar,
    KillSubscribersSidecar,
    EndPublishersSidecar,
    EndSubscribersSidecar,
    RestartBroker,
}

const ALL: [Fault; 9] = [
    Fault::KillSubscriber,
    Fault::KillPublisher,
    Fault::KillSubscribersSidecar,
    Fault::RestartBroker,
    Fault::EndSubscriber,
    Fault::KillPublishersSidecar,
    Fault::EndSubscribersSidecar,
    Fault::EndPublisher,
    Fault::EndPublishersSidecar,
];

/// So many faults in some order, each at some part of the way (0 to 1). None comes twice as long as another has not come
/// as often: which of them are left out, where there are few, is the seed's to say.
pub(crate) fn schedule(seed: u64, faults: u64) -> Vec<(f64, Fault)> {
    let (mut random, faults) = (StdRng::seed_from_u64(seed), usize::try_from(faults).unwrap());
    let mut kinds = Vec::new();
    while kinds.len() < faults {
        let mut all = ALL;
        all.shuffle(&mut random);
        kinds.extend(all.into_iter().take(faults - kinds.len()));
    }
    let mut moments: Vec<f64> = kinds.iter().map(|_| random.random_range(0.02..0.95)).collect();
    moments.sort_by(f64::total_cmp);
    moments.into_iter().zip(kinds).collect()
}
