//! Whether a store is so quick that loading aside takes longer than loading.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A load that takes longer most likely waited for a disk, or for a network.
const QUICK: Duration = Duration::from_micros(100);
/// After so many quick loads in a row, the next are thought to be quick too.
const IN_A_ROW: u32 = 16;

/// How a store has done lately.
#[derive(Debug)]
pub(super) struct Pace {
    /// How many quick loads in a row are still wanted.
    wanted: AtomicU32,
    /// Whether a load is under way where it was asked for.
    is_here: AtomicBool,
}

/// A load that is done where it was asked for; there is one at a time.
pub(super) struct Here<'a>(&'a Pace);

impl Drop for Here<'_> {
    fn drop(&mut self) {
        self.0.is_here.store(false, Ordering::Release);
    }
}

impl Pace {
    /// Of a store that nothing is known of.
    pub(super) const fn new() -> Self {
        Self { wanted: AtomicU32::new(IN_A_ROW), is_here: AtomicBool::new(false) }
    }

    /// Whether the last loads were quick, so that the next may be done where it is asked for. One at a time: should it be slow
    /// after all, it holds up one of the runtime's threads, and not all of them.
    pub(super) fn may_load_here(&self) -> Option<Here<'_>> {
        let may = self.is_quick() && !self.is_here.swap(true, Ordering::Acquire);
        // Not made before it is known: dropped, it would say that nobody loads here.
        may.then(|| Here(self))
    }

    fn is_quick(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) == 0
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
            self.wanted.store(IN_A_ROW, Ordering::Relaxed);
        } else {
            // Where it is 0 already, it stays.
            let _before =
                self.wanted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
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
        let here = pace.may_load_here();
        assert!(here.is_some());
        for _ in 0..2 {
            assert!(pace.may_load_here().is_none(), "one at a time");
        }
        drop(here);
        assert!(pace.may_load_here().is_some());
        pace.learn(QUICK + Duration::from_nanos(1));
        assert!(!pace.is_quick(), "from one slow load on");
        (1..IN_A_ROW).for_each(|_| pace.learn(QUICK));
        assert!(!pace.is_quick());
        pace.learn(QUICK);
        assert!(pace.is_quick(), "as many again");
    }
}
