//! What `/metrics` says after known commands.
#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod program;

use http::Method;
use program::Program;
use serde_json::{Value, json};

const IDS: [&str; 2] = ["67e55044-10b1-426f-9247-bb680e5fe0c8", "67e55044-10b1-426f-9247-bb680e5fe0c9"];

/// A metric's value, by its name and labels as they stand in the text.
fn value(text: &str, metric: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    line.map(|value| value.parse().unwrap())
}

/// The metrics that `docs/metrics.md` lists by aggregate type.
fn documented_for_aggregates() -> Vec<&'static str> {
    let page = include_str!("../../../docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let names: Vec<_> =
        rows.filter(|(_, rest)| rest.contains("| `aggregate` |")).map(|(name, _)| name).collect();
    assert!(names.len() > 15, "{names:?}");
    names
}

#[tokio::test]
async fn each_metric_is_there_with_its_label_and_its_value() {
    let notes = Program::start(&["dev"]);
    let change = async |id: &str, version: &str, text: &str| {
        let headers = [("if-match", version), ("content-type", "application/json")];
        let body = json!({ "text": text }).to_string();
        notes.send(Method::PUT, &format!("/api/note/{id}"), &headers, &body).await.status
    };
    for id in IDS {
        let body = json!({ "id": id, "text": "one" }).to_string();
        assert_eq!(notes.post("/api/note", &[], &body).await.status, 201);
    }
    assert_eq!(change(IDS[0], "\"1\"", "two").await, 200);
    assert_eq!(change(IDS[0], "\"1\"", "stale").await, 409);

    let text = notes.get("/metrics").await.text;
    for (metric, expected) in [
        (r#"annals_commands_committing_total{aggregate="note"}"#, 3.0),
        (r#"annals_commands_conflicting_total{aggregate="note"}"#, 1.0),
        (r#"annals_instances_live{aggregate="note"}"#, 2.0),
        (r#"annals_activations_total{aggregate="note"}"#, 2.0),
        (r#"annals_requests_in_flight{aggregate="note"}"#, 0.0),
        (r#"annals_mailbox_requests{aggregate="note"}"#, 0.0),
        (r#"annals_mailbox_depth_max{aggregate="note"}"#, 0.0),
        (r#"annals_mailbox_age_seconds{aggregate="note"}"#, 0.0),
        (r#"annals_handlers_stuck{aggregate="note"}"#, 0.0),
        (r#"annals_mailboxes_stuck{aggregate="note"}"#, 0.0),
    ] {
        assert_eq!(value(&text, metric), Some(expected), "{metric} in\n{text}");
    }
    for name in documented_for_aggregates() {
        // A histogram shows as its buckets, their sum and their count.
        let labelled =
            [format!("{name}{{aggregate=\"note\"}} "), format!("{name}_count{{aggregate=\"note\"}} ")];
        assert!(labelled.iter().any(|metric| text.contains(metric)), "{name} is missing in\n{text}");
    }
    let at_least = |metric: &str, least: f64| {
        assert!(value(&text, metric).is_some_and(|value| value >= least), "{metric} in\n{text}");
    };
    // One more than the commands: the start has noted how the events look. A relay's cursor may come to it.
    for metric in ["events_count", "events_sum", "sync_seconds_count", "write_seconds_count"] {
        at_least(&format!("annals_commit_{metric}{{service=\"notes\"}}"), 4.0);
    }
    at_least(r#"annals_journal_log_bytes{service="notes"}"#, 4096.0);
    at_least(r#"annals_journal_segments{service="notes"}"#, 1.0);
    at_least(r#"annals_disk_free_bytes{service="notes"}"#, 1.0);
    for metric in
        ["annals_scavenge_runs_total", "annals_scavenge_failures_total", "annals_journal_garbage_bytes"]
    {
        at_least(&format!("{metric}{{service=\"notes\"}}"), 0.0);
    }
    // The first turn of each instance is measured.
    at_least(r#"annals_handling_seconds_count{aggregate="note"}"#, 2.0);
    at_least(r#"annals_handling_seconds_bucket{aggregate="note",le="0.00001"}"#, 0.0);
    at_least(r#"annals_commit_bytes_sum{service="notes"}"#, 300.0);
    at_least(r#"annals_commit_events_bucket{service="notes",le="1"}"#, 3.0);
}

#[tokio::test]
async fn operators_see_what_each_aggregate_has_on_its_hands() {
    let notes = Program::start(&["dev"]);
    let body = json!({ "id": IDS[0], "text": "one" }).to_string();
    assert_eq!(notes.post("/api/note", &[], &body).await.status, 201);
    let listed = notes.get("/admin/v1/aggregates").await.text;
    let lines: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = json!({
        "service": "notes", "type": "note", "live": 1, "inFlight": 0, "waiting": 0, "deepest": 0,
        "oldestSeconds": 0.0, "stuck": [],
    });
    let of_notes: Vec<_> = lines.into_iter().filter(|line| line["type"] == "note").collect();
    assert_eq!(of_notes, [expected]);
    let none = notes.get("/admin/v1/aggregates?service=others").await;
    assert_eq!(none.problem(), (404, "service_not_found".into()));
}
