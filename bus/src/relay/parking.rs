//! What is parked: waits until somebody mends something, and shows for as long as it does.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Shared;

/// Everything that is parked, in the order in which it was, each with its reason.
#[derive(Debug, Default)]
pub(super) struct Parked {
    last: u64,
    reasons: BTreeMap<u64, String>,
}

impl Parked {
    /// The reason of what was parked first.
    pub(super) fn first(&self) -> Option<&str> {
        self.reasons.first_key_value().map(|(_, reason)| reason.as_str())
    }

    fn insert(&mut self, place: Option<u64>, reason: &str) -> u64 {
        let place = place.unwrap_or_else(|| {
            self.last += 1;
            self.last
        });
        self.reasons.insert(place, reason.to_owned());
        place
    }
}

/// The place of one that may have to park: an event on its way, or the reading. Given up by [`Parking::leave`], and
/// when it is dropped.
#[derive(Debug)]
pub(super) struct Parking {
    shared: Arc<Shared>,
    place: Option<u64>,
}

impl Parking {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), place: None }
    }

    /// Parks. Sounds the alarm, once for each reason that nothing else is parked for.
    pub(super) fn park(&mut self, reason: &str) {
        let known = {
            let parked = &mut self.shared.trouble.lock().parked;
            let known = parked.reasons.values().any(|other| other == reason);
            self.place = Some(parked.insert(self.place, reason));
            known
        };
        self.shared.failed(reason);
        if !known {
            tracing::error!(relay = %self.shared.name, reason, "the relay is parked until somebody mends this");
        }
        self.show();
    }

    /// Goes on; no more than nothing where it was not parked.
    pub(super) fn leave(&mut self) {
        if self.remove() {
            tracing::info!(relay = %self.shared.name, "nothing of the relay is parked any more");
        }
    }

    /// Whether it was the last one parked.
    fn remove(&mut self) -> bool {
        let Some(place) = self.place.take() else { return false };
        self.shared.trouble.lock().parked.reasons.remove(&place);
        self.show()
    }

    /// Shows in the gauge how it is; whether nothing is parked.
    fn show(&self) -> bool {
        // Under the lock, so that what is shown last is what is true last.
        let trouble = self.shared.trouble.lock();
        let free = trouble.parked.reasons.is_empty();
        let gauge = metrics::gauge!("annals_bus_relay_parked", "relay" => self.shared.name.to_string());
        gauge.set(if free { 0.0 } else { 1.0 });
        free
    }
}

impl Drop for Parking {
    fn drop(&mut self) {
        self.remove();
    }
}
