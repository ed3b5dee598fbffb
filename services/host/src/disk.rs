//! What a service keeps on its disk: given back by itself, measured, and shown where that keeps failing.

use std::sync::Arc;
use std::time::Duration;

use annals_bus::JournalCursors;
use annals_persistence::{
    DiskUsage, EmbeddedJournal, ExpiringStreams, Journal, Scavenger, ScavengerOptions, ScavengerStatus,
};
use metrics::{counter, gauge};

use crate::gateway::KEY_STREAMS;

/// How services look after their disks.
#[derive(Debug, Clone)]
pub struct DiskOptions {
    /// How often each journal is looked through for space to give back; `None` for never.
    pub scavenge_every: Option<Duration>,
    /// How long a request is remembered under its `Idempotency-Key`, at the least.
    pub keys_kept: Duration,
}

impl Default for DiskOptions {
    /// Every hour; keys for a day.
    fn default() -> Self {
        Self {
            scavenge_every: Some(Duration::from_secs(60 * 60)),
            keys_kept: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl DiskOptions {
    /// The streams that go as a whole.
    pub(crate) fn expiring(&self) -> Vec<ExpiringStreams> {
        vec![ExpiringStreams { prefix: KEY_STREAMS.to_owned(), after: self.keys_kept }]
    }
}

/// Looks after a service's journal on its disk. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    service: &'static str,
    journal: Arc<EmbeddedJournal>,
    scavenger: Option<Scavenger>,
}

impl Disk {
    /// Starts to, once the service's relays and read models have said how far they are.
    pub(crate) fn look_after(
        service: &'static str,
        journal: &Arc<EmbeddedJournal>,
        options: &DiskOptions,
    ) -> Self {
        let journal = Arc::clone(journal);
        let scavenger = options.scavenge_every.map(|every| {
            let scavenging = ScavengerOptions {
                every,
                first_after: every.min(ScavengerOptions::default().first_after),
                expiring: options.expiring(),
                ..ScavengerOptions::default()
            };
            let as_any: Arc<dyn Journal> = Arc::clone(&journal) as Arc<dyn Journal>;
            let cursors = Arc::new(JournalCursors::of(&as_any));
            Scavenger::start(Arc::clone(&journal), Some(cursors), scavenging)
        });
        Self { service, journal, scavenger }
    }

    /// What somebody should know.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.scavenger.as_ref()?.trouble()
    }

    /// Ends what is under way, so that the journal can be closed.
    pub(crate) async fn stop(&self) {
        if let Some(scavenger) = &self.scavenger {
            scavenger.stop().await;
        }
    }

    /// Shows how things are now.
    pub(crate) fn measure(&self) {
        self.measure_usage(self.journal.disk_usage());
        if let Some(scavenger) = &self.scavenger {
            self.measure_scavenging(&scavenger.status());
        }
    }

    fn measure_usage(&self, usage: DiskUsage) {
        let DiskUsage { segments, log_bytes, garbage_bytes, free_bytes, .. } = usage;
        let service = self.service;
        gauge!("annals_journal_segments", "service" => service).set(float(segments as u64));
        gauge!("annals_journal_log_bytes", "service" => service).set(float(log_bytes));
        gauge!("annals_journal_garbage_bytes", "service" => service).set(float(garbage_bytes));
        if let Some(free) = free_bytes {
            gauge!("annals_disk_free_bytes", "service" => service).set(float(free));
        }
    }

    fn measure_scavenging(&self, status: &ScavengerStatus) {
        let service = self.service;
        counter!("annals_scavenge_runs_total", "service" => service).absolute(status.runs);
        counter!("annals_scavenge_failures_total", "service" => service).absolute(status.failures);
        counter!("annals_scavenge_reclaimed_bytes_total", "service" => service).absolute(status.bytes);
        counter!("annals_scavenge_reclaimed_events_total", "service" => service).absolute(status.events);
        if let Some(last) = status.last_run {
            let seconds = float(u64::try_from(last.0).unwrap_or(0)) / 1e6;
            gauge!("annals_scavenge_last_run_timestamp_seconds", "service" => service).set(seconds);
        }
        let end = self.journal.durable().borrow().external.0;
        let held = status.held_by.as_ref().map_or(0, |reader| end.saturating_sub(reader.position.0));
        gauge!("annals_scavenge_held_events", "service" => service).set(float(held));
    }
}

#[expect(clippy::cast_precision_loss, reason = "metrics are floats; no disk has 2^52 bytes")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests;
