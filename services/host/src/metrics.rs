//! Metrics as Prometheus reads them.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use http::{Method, header};
use metrics::{Histogram, Label, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::RwLock;

/// The histogram of requests.
const REQUESTS: &str = "annals_http_request_duration_seconds";
/// Its buckets, in seconds.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// How often values gathered since the last scrape are folded together, so that memory stays bounded unscraped.
const UPKEEP: Duration = Duration::from_secs(30);

/// The process's one recorder.
static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the recorder, once in a process; `None` when the process has another one already.
pub(crate) fn install() -> Option<PrometheusHandle> {
    HANDLE
        .get_or_init(|| {
            let matcher = Matcher::Suffix("_seconds".to_owned());
            let recorder = PrometheusBuilder::new()
                .set_buckets_for_metric(matcher, &BUCKETS)
                .unwrap_or_default()
                .build_recorder();
            let handle = recorder.handle();
            metrics::set_global_recorder(recorder)
                .inspect_err(|_| {
                    tracing::warn!("the process has a metrics recorder of its own; /metrics stays empty");
                })
                .ok()
                .map(|()| handle)
        })
        .clone()
}

/// Keeps memory bounded while nobody scrapes.
pub(crate) async fn upkeep() {
    let Some(handle) = install() else { return };
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        handle.run_upkeep();
    }
}

/// `/metrics`.
pub(crate) fn router() -> Router {
    Router::new().route("/metrics", get(scrape))
}

async fn scrape() -> ([(header::HeaderName, &'static str); 1], String) {
    let text = install().map(|handle| handle.render()).unwrap_or_default();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

type ByOutcome = HashMap<(&'static str, u16), Histogram>;

/// The histograms of requests, found again by route, method and status: looking one up by its labels costs more than a
/// small request.
#[derive(Default)]
pub(crate) struct RequestMetrics(RwLock<HashMap<String, ByOutcome>>);

impl RequestMetrics {
    pub(crate) fn record(&self, route: &str, method: &Method, status: u16, took: Duration) {
        let outcome = (method_word(method), status);
        if let Some(known) = self.0.read().get(route).and_then(|by_outcome| by_outcome.get(&outcome)) {
            return known.record(took);
        }
        let mut routes = self.0.write();
        let by_outcome = routes.entry(route.to_owned()).or_default();
        by_outcome.entry(outcome).or_insert_with(|| request_histogram(route, outcome)).record(took);
    }
}

fn request_histogram(route: &str, (method, status): (&'static str, u16)) -> Histogram {
    let labels = vec![
        Label::new("route", route.to_owned()),
        Label::new("method", method),
        Label::new("status", status.to_string()),
    ];
    histogram!(REQUESTS, labels)
}

/// A client may invent methods; a label may not.
fn method_word(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "PATCH" => "PATCH",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}
