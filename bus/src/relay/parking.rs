//! What is parked: waits until somebody mends something, and shows for as long as it does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use metrics::Gauge;

use super::Shared;
use super::lanes::Beside;
use crate::broker::PublishError;

/// Everything that is parked, as it shows.
#[derive(Debug, Default)]
pub(super) struct Parked {
    /// Why nothing more is read.
    reading: Option<String>,
    /// Keys that are set aside, by what they wait for, the first that was first.
    aside: BTreeMap<u64, Shown>,
    /// How many keys are set aside, by the code of what they wait for.
    keys: BTreeMap<&'static str, usize>,
}

/// Keys that wait for the same.
#[derive(Debug)]
struct Shown {
    keys: usize,
    /// One of them, where it is known of one that is still there why it failed.
    key: Option<Arc<str>>,
    /// Why one of them failed, which may have left since.
    error: Arc<PublishError>,
}

/// A key, and why its event failed.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) key: Arc<str>,
    pub(super) error: Arc<PublishError>,
}

impl Parked {
    /// What was parked first, and why; of many with the same cause one.
    pub(super) fn first(&self) -> Option<String> {
        let aside = || self.aside.first_key_value().map(|(_, shown)| shown.text());
        self.reading.clone().or_else(aside)
    }

    /// How many keys are set aside.
    pub(super) fn keys(&self) -> usize {
        self.keys.values().sum()
    }

    /// How many of them for an error with this code.
    fn keys_with(&self, code: &str) -> usize {
        self.keys.get(code).copied().unwrap_or(0)
    }

    fn is_empty(&self) -> bool {
        self.reading.is_none() && self.aside.is_empty()
    }

    /// Shows how many keys wait for the same, and why the first of them failed, where that is known of one that is there.
    pub(super) fn show(&mut self, group: u64, code: &'static str, keys: usize, first: Option<&Told>) {
        let before = self.aside.get(&group).map_or(0, |shown| shown.keys);
        let all = self.keys.entry(code).or_default();
        *all = *all + keys - before;
        if keys == 0 {
            self.aside.remove(&group);
        } else if let Some(shown) = self.aside.get_mut(&group) {
            shown.keys = keys;
            shown.key = first.map(|told| Arc::clone(&told.key));
            shown.error = Arc::clone(first.map_or(&shown.error, |told| &told.error));
        } else if let Some(Told { key, error }) = first.cloned() {
            self.aside.insert(group, Shown { keys, key: Some(key), error });
        }
    }
}

impl Shown {
    fn text(&self) -> String {
        let error = &self.error;
        match (&self.key, self.keys) {
            (Some(key), 1) => format!("{error} (key \"{key}\")"),
            (Some(key), keys) => format!("{error} (key \"{key}\", as {} others)", keys - 1),
            (None, 1) => format!("{error} (of one key)"),
            (None, keys) => format!("{error} (of {keys} keys)"),
        }
    }
}

/// The place of the reading, which may have to park. Given up by [`Parking::leave`], and when it is dropped.
#[derive(Debug)]
pub(super) struct Parking {
    shared: Arc<Shared>,
    is_parked: bool,
}

impl Parking {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), is_parked: false }
    }

    /// Parks. Sounds the alarm, once for each reason.
    pub(super) fn park(&mut self, reason: &str) {
        self.is_parked = true;
        let before = self.shared.trouble.lock().parked.reading.replace(reason.to_owned());
        self.shared.failed(reason);
        if before.is_none_or(|before| before != reason) {
            tracing::error!(relay = %self.shared.name, reason, "the relay is parked until somebody mends this");
        }
        show(&self.shared);
    }

    /// Goes on; no more than nothing where it was not parked.
    pub(super) fn leave(&mut self) {
        if self.remove() {
            tell_free(&self.shared);
        }
    }

    /// Whether nothing is parked any more.
    fn remove(&mut self) -> bool {
        if !std::mem::take(&mut self.is_parked) {
            return false;
        }
        self.shared.trouble.lock().parked.reading = None;
        show(&self.shared)
    }
}

impl Drop for Parking {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Says that all goes on.
pub(super) fn tell_free(shared: &Shared) {
    tracing::info!(relay = %shared.name, "nothing of the relay is parked any more");
}

/// Shows in the gauges how it is with what is parked for an error with this code; whether nothing is parked.
pub(super) fn show_gauges(shared: &Shared, code: &'static str) -> bool {
    {
        let trouble = shared.trouble.lock();
        let relay = shared.name.to_string();
        let gauge = metrics::gauge!("annals_bus_relay_parked_keys", "relay" => relay, "code" => code);
        gauge.set(metric(trouble.parked.keys_with(code)));
    }
    show(shared)
}

/// Shows in the gauge whether something is parked; whether nothing is.
fn show(shared: &Shared) -> bool {
    // Under the lock, so that what is shown last is what is true last.
    let trouble = shared.trouble.lock();
    let free = trouble.parked.is_empty();
    let gauge = metrics::gauge!("annals_bus_relay_parked", "relay" => shared.name.to_string());
    gauge.set(if free { 0.0 } else { 1.0 });
    free
}

/// Shows how much keeps nothing up; nothing when it is dropped.
#[derive(Debug)]
pub(super) struct Gauges {
    shared: Arc<Shared>,
    shown: Beside,
    events: Gauge,
    bytes: Gauge,
}

impl Gauges {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let name = || shared.name.to_string();
        let events = metrics::gauge!("annals_bus_relay_parked_events", "relay" => name());
        let bytes = metrics::gauge!("annals_bus_relay_parked_bytes", "relay" => name());
        Self { shared: Arc::clone(shared), shown: Beside::default(), events, bytes }
    }

    pub(super) fn show(&mut self, beside: Beside) {
        if beside != self.shown {
            self.shown = beside;
            self.shared.parked_events.store(beside.events, Ordering::Relaxed);
            self.events.set(metric(beside.events));
            self.bytes.set(metric(beside.bytes));
        }
    }
}

impl Drop for Gauges {
    fn drop(&mut self) {
        self.show(Beside::default());
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; nobody has 2^52 of anything")]
fn metric(count: usize) -> f64 {
    count as f64
}
