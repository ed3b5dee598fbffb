//! What a node counts, by aggregate type. Handles are looked up once, so that counting costs an atomic each.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// The counters of one aggregate type.
pub(crate) struct KindMetrics {
    pub(crate) commands: Counter,
    pub(crate) rejections: Counter,
    pub(crate) conflicts: Counter,
    pub(crate) duplicates: Counter,
    pub(crate) refused: Counter,
    pub(crate) panics: Counter,
    pub(crate) parked: Counter,
    pub(crate) activations: Counter,
    pub(crate) passivations: Counter,
    pub(crate) checkpoints: Counter,
    pub(crate) checkpoints_failed: Counter,
    pub(crate) truncations_held: Counter,
    pub(crate) live: Gauge,
    /// How long a request is handled: of one turn in sixteen, the time that it took by the requests that it had.
    pub(crate) handling: Histogram,
    pub(crate) in_flight: Gauge,
    pub(crate) waiting: Gauge,
    pub(crate) deepest: Gauge,
    pub(crate) oldest: Gauge,
    pub(crate) stuck_handlers: Gauge,
    pub(crate) stuck_mailboxes: Gauge,
    pub(crate) handlers_reported: Counter,
    pub(crate) mailboxes_reported: Counter,
}

impl KindMetrics {
    pub(crate) fn new(type_name: &'static str) -> Self {
        Self {
            commands: counter!("annals_commands_committing_total", "aggregate" => type_name),
            rejections: counter!("annals_commands_rejected_total", "aggregate" => type_name),
            conflicts: counter!("annals_commands_conflicting_total", "aggregate" => type_name),
            duplicates: counter!("annals_commands_repeated_total", "aggregate" => type_name),
            refused: counter!("annals_commands_refused_total", "aggregate" => type_name),
            panics: counter!("annals_handler_panics_total", "aggregate" => type_name),
            parked: counter!("annals_instances_parked_total", "aggregate" => type_name),
            activations: counter!("annals_activations_total", "aggregate" => type_name),
            passivations: counter!("annals_passivations_total", "aggregate" => type_name),
            checkpoints: counter!("annals_checkpoints_total", "aggregate" => type_name),
            checkpoints_failed: counter!("annals_checkpoints_failed_total", "aggregate" => type_name),
            truncations_held: counter!("annals_truncations_held_total", "aggregate" => type_name),
            live: gauge!("annals_instances_live", "aggregate" => type_name),
            handling: histogram!("annals_handling_seconds", "aggregate" => type_name),
            in_flight: gauge!("annals_requests_in_flight", "aggregate" => type_name),
            waiting: gauge!("annals_mailbox_requests", "aggregate" => type_name),
            deepest: gauge!("annals_mailbox_depth_max", "aggregate" => type_name),
            oldest: gauge!("annals_mailbox_age_seconds", "aggregate" => type_name),
            stuck_handlers: gauge!("annals_handlers_stuck", "aggregate" => type_name),
            stuck_mailboxes: gauge!("annals_mailboxes_stuck", "aggregate" => type_name),
            handlers_reported: counter!("annals_handlers_stuck_total", "aggregate" => type_name),
            mailboxes_reported: counter!("annals_mailboxes_stuck_total", "aggregate" => type_name),
        }
    }
}

/// A number as gauges have them.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; nobody has 2^52 of anything here")]
pub(crate) const fn count(number: usize) -> f64 {
    number as f64
}
