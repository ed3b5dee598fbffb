//! Random numbers that a seed gives again, and which seeds to run.

/// A small generator of random numbers that a seed reproduces (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The numbers of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 when that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next_u64().checked_rem(end).unwrap_or(0)
    }

    /// A place below `end`; 0 when that is 0.
    pub fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap_or(0)
    }

    /// True once in `times`.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// The seeds to run: the one in `ANNALS_SEED`, or else `ANNALS_CASES` (`default` without it) new ones.
///
/// # Panics
/// When one of the variables is no number.
#[must_use]
pub fn replayable(default: usize) -> Vec<u64> {
    seeds("ANNALS_CASES", default)
}

/// The seeds to run: the one in `ANNALS_SEED`, or else as many new ones as this variable says (`default` without it).
///
/// # Panics
/// When one of the variables is no number.
#[must_use]
pub fn seeds(count: &str, default: usize) -> Vec<u64> {
    if let Some(seed) = number("ANNALS_SEED") {
        return vec![seed];
    }
    let cases = number(count).map_or(default, |cases| usize::try_from(cases).unwrap_or(default));
    let first = crate::EventId::generate().as_uuid().as_u64_pair().1;
    (0..cases as u64).map(|n| first.wrapping_add(n)).collect()
}

/// What an environment variable says, where it is set.
pub(crate) fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Held while a seed runs: says on a panic which it was.
#[derive(Debug)]
pub struct Seed(pub u64);

impl Drop for Seed {
    #[allow(clippy::print_stderr, reason = "a failing test tells whoever runs it how to run it again")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with seed {}; run it again with ANNALS_SEED={}", self.0, self.0);
        }
    }
}
