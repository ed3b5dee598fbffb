//! Metrics as Prometheus reads them.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use annals_actors::Node;
use annals_persistence::{CommittedGroup, EmbeddedOptions, JournalObserver};
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::{Method, header};
use metrics::{Histogram, Label, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use parking_lot::RwLock;

use crate::disk::Disk;

/// The histogram of requests.
const REQUESTS: &str = "annals_http_request_duration_seconds";
/// Its buckets, in seconds.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// Of the time that an aggregate's code takes for a request, which is microseconds.
const HANDLING_BUCKETS: [f64; 10] =
    [0.000_001, 0.000_002, 0.000_005, 0.000_01, 0.000_05, 0.000_1, 0.001, 0.01, 0.1, 1.0];
/// Of how many events and bytes are made durable with one sync.
const EVENT_BUCKETS: [f64; 8] = [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0];
const BYTE_BUCKETS: [f64; 7] = [512.0, 4096.0, 16384.0, 65536.0, 262_144.0, 1_048_576.0, 4_194_304.0];

/// How often values gathered since the last scrape are folded together, so that memory stays bounded unscraped.
const UPKEEP: Duration = Duration::from_secs(30);

/// The process's one recorder.
static HANDLE: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Installs the recorder, once in a process; `None` when the process has another one already.
pub(crate) fn install() -> Option<PrometheusHandle> {
    HANDLE
        .get_or_init(|| {
            let recorder = with_buckets(PrometheusBuilder::new()).unwrap_or_default().build_recorder();
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

fn with_buckets(builder: PrometheusBuilder) -> Result<PrometheusBuilder, BuildError> {
    builder
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)?
        .set_buckets_for_metric(Matcher::Full("annals_handling_seconds".to_owned()), &HANDLING_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full("annals_commit_events".to_owned()), &EVENT_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full("annals_commit_bytes".to_owned()), &BYTE_BUCKETS)
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

/// What is measured when it is asked for.
#[derive(Clone)]
pub(crate) struct Measured {
    pub(crate) nodes: Arc<[Node]>,
    pub(crate) disks: Arc<[Disk]>,
}

/// `/metrics` of these.
pub(crate) fn router(measured: Measured) -> Router {
    Router::new().route("/metrics", get(scrape)).with_state(measured)
}

async fn scrape(State(measured): State<Measured>) -> ([(header::HeaderName, &'static str); 1], String) {
    measured.nodes.iter().for_each(Node::update_metrics);
    measured.disks.iter().for_each(Disk::measure);
    let text = install().map(|handle| handle.render()).unwrap_or_default();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

/// The histograms of what a service's journal writes.
#[derive(Debug)]
pub(crate) struct CommitMetrics {
    events: Histogram,
    bytes: Histogram,
    write: Histogram,
    sync: Histogram,
    /// Who was told before there were these.
    also: Option<Arc<dyn JournalObserver>>,
}

impl CommitMetrics {
    /// Options whose observer also counts for a service.
    pub(crate) fn observing(service: &'static str, mut options: EmbeddedOptions) -> EmbeddedOptions {
        options.observer = Some(Arc::new(Self {
            events: histogram!("annals_commit_events", "service" => service),
            bytes: histogram!("annals_commit_bytes", "service" => service),
            write: histogram!("annals_commit_write_seconds", "service" => service),
            sync: histogram!("annals_commit_sync_seconds", "service" => service),
            also: options.observer,
        }));
        options
    }
}

impl JournalObserver for CommitMetrics {
    fn group_committed(&self, group: CommittedGroup) {
        #[expect(clippy::cast_precision_loss, reason = "no group has 2^52 events or bytes")]
        let (events, bytes) = (group.events as f64, group.bytes as f64);
        self.events.record(events);
        self.bytes.record(bytes);
        self.write.record(group.write_time);
        self.sync.record(group.sync_time);
        if let Some(also) = &self.also {
            also.group_committed(group);
        }
    }
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

#[cfg(test)]
mod tests;
