//! What a node counts, by aggregate type. Handles are looked up once, so that counting costs an atomic each.

use metrics::{Counter, Gauge, counter, gauge};

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
    pub(crate) live: Gauge,
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
            live: gauge!("annals_instances_live", "aggregate" => type_name),
        }
    }
}
