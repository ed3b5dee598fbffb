//! How often and how long to try again.

use std::time::Duration;

use uuid::Uuid;

/// Exponential back-off with jitter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How often something is tried in all; then it has failed. At least 1.
    pub attempts: u32,
    /// The pause after the first failure; each later one is twice as long.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    /// 8 attempts, 50 ms to 30 s.
    fn default() -> Self {
        Self { attempts: 8, first_pause: Duration::from_millis(50), longest_pause: Duration::from_secs(30) }
    }
}

impl RetryPolicy {
    /// No second attempt.
    #[must_use]
    pub fn never() -> Self {
        Self { attempts: 1, ..Self::default() }
    }

    /// How long to wait after this many failures (at least one): half of it fixed, half by chance, so that those
    /// who failed together do not come back together.
    #[must_use]
    pub fn pause(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let whole = self.first_pause.saturating_mul(1 << doublings).min(self.longest_pause);
        whole.mul_f64(0.5 + chance() / 2.0)
    }
}

/// A number from 0 to 1.
fn chance() -> f64 {
    let (_, low) = Uuid::new_v4().as_u64_pair();
    f64::from(u32::try_from(low & u64::from(u32::MAX)).unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests;
