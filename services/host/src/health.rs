//! Whether the process lives, has started, and should get requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use annals_bus::{BrokerHealth, Bus};
use annals_persistence::{Journal, JournalHealth};
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde::Serialize;

use crate::disk::Disk;
use crate::read_model::Follows;
use crate::{HostError, json_response};

#[cfg(test)]
mod tests;

/// What readiness hangs on, one for each service.
pub(crate) struct Watched {
    pub(crate) service: &'static str,
    pub(crate) bus: Option<Bus>,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) read_models: Vec<Arc<dyn Follows>>,
    pub(crate) disk: Option<Disk>,
}

/// Whether the process should get requests. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Health(Arc<Inner>);

struct Inner {
    services: Vec<Watched>,
    broker: &'static str,
    started: AtomicBool,
    draining: AtomicBool,
}

#[derive(Serialize)]
pub(crate) struct Readiness {
    status: &'static str,
    broker: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    services: BTreeMap<&'static str, ServiceReadiness>,
}

#[derive(Serialize)]
struct ServiceReadiness {
    broker: &'static str,
    /// The release of the sidecar, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    sidecar: Option<String>,
    /// What goes wrong with some events; the service is ready all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    degraded: Vec<String>,
    /// What would work better with another release.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    journal: &'static str,
}

impl Health {
    pub(crate) fn new(broker: &'static str, services: Vec<Watched>) -> Self {
        let (started, draining) = (AtomicBool::new(false), AtomicBool::new(false));
        Self(Arc::new(Inner { services, broker, started, draining }))
    }

    /// Waits for every read model, then says that the process has started.
    ///
    /// # Errors
    /// [`HostError::ReadModel`] when one cannot be built.
    pub(crate) async fn start(&self) -> Result<(), HostError> {
        for Watched { service, read_models, .. } in &self.0.services {
            for model in read_models {
                model.caught_up().await.map_err(|source| HostError::ReadModel { service, source })?;
            }
        }
        self.0.started.store(true, Ordering::Release);
        Ok(())
    }

    /// No more requests, please.
    pub(crate) fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.0.draining.load(Ordering::Acquire) {
            reasons.push("shutting down".to_owned());
        } else if !self.0.started.load(Ordering::Acquire) {
            reasons.push("read models are being rebuilt".to_owned());
        }
        for service in &self.0.services {
            if let Some(reason) = journal_reason(&service.journal.health()) {
                reasons.push(format!("{}: {reason}", service.service));
            }
            let broker = service.bus.iter().flat_map(|bus| bus.health().reasons);
            reasons.extend(broker.map(|reason| format!("{}: {reason}", service.service)));
            let models = service.read_models.iter().filter_map(|model| model.not_ready());
            reasons.extend(models.map(|reason| format!("{}: {reason}", service.service)));
        }
        reasons
    }

    pub(crate) fn readiness(&self) -> Readiness {
        let reasons = self.reasons();
        let services = self.0.services.iter().map(|service| (service.service, service.readiness()));
        Readiness {
            status: if reasons.is_empty() { "ready" } else { "not_ready" },
            broker: self.0.broker,
            reasons,
            services: services.collect(),
        }
    }

    /// `/livez`, `/readyz`, `/startupz`.
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route("/livez", get(|| async { Json(serde_json::json!({ "status": "alive" })) }))
            .route("/readyz", get(ready))
            .route("/startupz", get(started))
            .with_state(self)
    }
}

impl Watched {
    fn readiness(&self) -> ServiceReadiness {
        let BrokerHealth { version, mut degraded, notes, .. } =
            self.bus.as_ref().map(Bus::health).unwrap_or_default();
        degraded.extend(self.disk.as_ref().and_then(Disk::trouble));
        ServiceReadiness {
            broker: self.bus.as_ref().map_or("none", Bus::broker),
            sidecar: version,
            degraded,
            notes,
            journal: journal_word(&self.journal.health()),
        }
    }
}

fn journal_reason(health: &JournalHealth) -> Option<String> {
    match health {
        JournalHealth::Healthy => None,
        JournalHealth::DiskFull => Some("no space left for the journal (disk_full)".to_owned()),
        JournalHealth::Poisoned { reason } => {
            Some(format!("the journal takes no more appends (outcome_unknown): {reason}"))
        }
        _ => Some("the journal is closed".to_owned()),
    }
}

fn journal_word(health: &JournalHealth) -> &'static str {
    match health {
        JournalHealth::Healthy => "healthy",
        JournalHealth::DiskFull => "disk_full",
        JournalHealth::Poisoned { .. } => "poisoned",
        _ => "closed",
    }
}

async fn ready(State(health): State<Health>) -> Response {
    let readiness = health.readiness();
    let ok = readiness.reasons.is_empty();
    json_response(if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, None, &readiness)
}

async fn started(State(health): State<Health>) -> Response {
    let started = health.0.started.load(Ordering::Acquire);
    let status = if started { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    json_response(
        status,
        None,
        &serde_json::json!({ "status": if started { "started" } else { "starting" } }),
    )
}
