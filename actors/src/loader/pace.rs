//! Whether a store is so quick that loading aside takes longer than loading.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A load that takes longer most likely waited for a disk, or for a network.
const QUICK: Duration = Duration::from_micros(100);
/// After so many quick loads in a row, the next are thought to be quick too.
const IN_A_ROW: u32 = 16;

/// How many quick loads in a row are still wanted.
#[derive(Debug)]
pub(super) struct Pace(AtomicU32);

impl Pace {
    /// Of a store that nothing is known of.
    pub(super) const fn new() -> Self {
        Self(AtomicU32::new(IN_A_ROW))
    }

    /// Whether the last loads were quick, so that the next may be done where it is asked for: one slow load holds somebody up
    /// at most until it is known.
    pub(super) fn is_quick(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// Does a load, and learns from it.
    pub(super) fn of<R>(&self, load: impl FnOnce() -> R) -> R {
        let begun = Instant::now();
        let loaded = load();
        self.learn(begun.elapsed());
        loaded
    }

    fn learn(&self, took: Duration) {
        if took > QUICK {
            self.0.store(IN_A_ROW, Ordering::Relaxed);
        } else {
            // Where it is 0 already, it stays.
            let _before =
                self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_quick_after_many_quick_loads_until_a_slow_one() {
        let pace = Pace::new();
        for _ in 1..IN_A_ROW {
            pace.learn(QUICK);
            assert!(!pace.is_quick());
        }
        pace.learn(QUICK);
        pace.learn(QUICK);
        assert!(pace.is_quick());
        pace.learn(QUICK + Duration::from_nanos(1));
        assert!(!pace.is_quick(), "from one slow load on");
        (1..IN_A_ROW).for_each(|_| pace.learn(QUICK));
        assert!(!pace.is_quick());
        pace.learn(QUICK);
        assert!(pace.is_quick(), "as many again");
    }
}
