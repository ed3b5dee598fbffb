//! Waiting until nothing works on in the background: what one system leaves to be done is not to slow the next one down.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long it is looked at a time.
const LOOK: Duration = Duration::from_millis(100);

/// Waits until this process has used no processor time for a while, no longer than `patience`: what never rests is a
/// part of all systems.
pub(crate) fn settle(patience: Duration) {
    let until = Instant::now() + patience;
    let mut before = ticks();
    while Instant::now() < until {
        sleep(LOOK);
        let now = ticks();
        // Where the system does not tell, there is nothing to wait for.
        if now.is_none() || now == before {
            return;
        }
        before = now;
    }
}

/// The processor time used by all threads, in the system's ticks of ten milliseconds.
fn ticks() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name may have blanks; what is counted comes after it.
    let fields: Vec<_> = stat.rsplit(')').next()?.split_ascii_whitespace().collect();
    let parsed = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(parsed(11)? + parsed(12)?)
}

#[cfg(test)]
mod tests;
