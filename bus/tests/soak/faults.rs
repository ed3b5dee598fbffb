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

/// So many faults in some order, each kind about as often, each at some part of the way (0 to 1).
pub(crate) fn schedule(seed: u64, faults: u64) -> Vec<(f64, Fault)> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut kinds: Vec<_> = ALL.iter().copied().cycle().take(usize::try_from(faults).unwrap()).collect();
    kinds.shuffle(&mut random);
    let mut moments: Vec<f64> = kinds.iter().map(|_| random.random_range(0.02..0.95)).collect();
    moments.sort_by(f64::total_cmp);
    moments.into_iter().zip(kinds).collect()
}
