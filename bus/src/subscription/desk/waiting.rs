//! Which keys wait for an event that has not come, and for how long.

use std::collections::HashSet;
use std::time::Duration;

use annals_persistence::Timestamp;

use crate::identity::KeyMap;
use crate::inbox::OrderKey;

/// How many keys are waited with. One more is still waited for, only that nobody knows since when.
const KEYS_MAX: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Waiting {
    since: KeyMap<OrderKey, Timestamp>,
    /// Those that have waited for so long that somebody should know.
    stalled: HashSet<OrderKey>,
}

impl Waiting {
    /// A key waits from now on, unless it does.
    pub(super) fn begin(&mut self, key: OrderKey, now: Timestamp) {
        if self.since.len() < KEYS_MAX {
            self.since.entry(key).or_insert(now);
        }
    }

    /// The same for a key that has waited since then, however many others do. So it is only for keys of which an event is
    /// kept, which are bounded otherwise.
    pub(super) fn insist(&mut self, key: OrderKey, since: Timestamp) {
        self.since.entry(key).or_insert(since);
    }

    /// Since when it has waited, if it does.
    pub(super) fn since(&self, key: OrderKey) -> Option<Timestamp> {
        self.since.get(&key).copied()
    }

    /// What it waited for has come, or is not waited for any more.
    pub(super) fn end(&mut self, key: OrderKey) {
        if !self.since.is_empty() {
            self.since.remove(&key);
            self.stalled.remove(&key);
        }
    }

    /// How long it has waited.
    pub(super) fn lasts(&self, key: OrderKey, now: Timestamp) -> Duration {
        self.since.get(&key).map_or(Duration::ZERO, |since| now.since(*since))
    }

    /// Somebody should know of it.
    pub(super) fn stalls(&mut self, key: OrderKey) {
        self.stalled.insert(key);
    }

    /// How many somebody should know of.
    pub(super) fn stalled(&self) -> usize {
        self.stalled.len()
    }

    /// Forgets those that began to wait so long ago that nobody can still bring what they wait with.
    pub(super) fn forget(&mut self, longer_than: Duration, now: Timestamp) {
        if self.since.len() >= KEYS_MAX {
            self.since.retain(|_, since| now.since(*since) <= longer_than);
            let since = &self.since;
            self.stalled.retain(|key| since.contains_key(key));
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.since.is_empty() && self.stalled.is_empty()
    }
}
