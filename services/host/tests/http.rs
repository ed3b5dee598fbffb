//! A service over HTTP, in a process of its own.
#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod program;

use futures_util::future::join_all;
use http::Method;
use program::Program;
use serde_json::{Value, json};

const ID: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";

fn note(id: &str, text: &str) -> String {
    json!({ "id": id, "text": text }).to_string()
}

#[tokio::test]
async fn a_note_lives() {
    let notes = Program::start(&["dev"]);
    let created = notes.post("/api/note", &[("x-actor", "anna")], &note(ID, "one")).await;
    assert_eq!((created.status, created.header("etag")), (201, Some("\"1\"")));
    let place = format!("/api/note/{ID}");
    assert_eq!(created.header("location"), Some(&*place));
    assert_eq!(created.json(), json!({ "id": ID, "text": "one", "eTag": "1" }));

    let put = async |headers: &[(&str, &str)], body: &str| {
        let headers: Vec<_> = headers.iter().copied().chain([("content-type", "application/json")]).collect();
        notes.send(Method::PUT, &place, &headers, body).await
    };
    assert_eq!(put(&[], r#"{"text":"two"}"#).await.problem(), (428, "precondition_required".into()));
    let mismatch = put(&[("if-match", "\"1\"")], r#"{"text":"two","eTag":"2"}"#).await;
    assert_eq!(mismatch.problem(), (422, "etag_mismatch".into()));
    assert_eq!(put(&[], r#"{"text":"two","eTag":"7"}"#).await.problem(), (409, "version_conflict".into()));
    assert_eq!(put(&[("if-match", "1")], r#"{"text":"two"}"#).await.json()["eTag"], "2");

    assert_eq!(notes.get(&place).await.json()["text"], "two");
    let before = notes.get(&format!("{place}?version=1")).await;
    assert_eq!((before.header("etag"), &before.json()["text"]), (Some("\"1\""), &json!("one")));
    assert_eq!(notes.get(&format!("{place}?version=3")).await.problem(), (404, "not_found".into()));
    assert_eq!(notes.get(&format!("{place}?version=x")).await.problem(), (422, "invalid_query".into()));

    let history = notes.get(&format!("{place}/history")).await.json();
    assert_eq!(history.as_array().map(Vec::len), Some(2));
    assert_eq!((&history[0]["actor"], &history[0]["data"]), (&json!("anna"), &json!({ "text": "one" })));
    let then = history[0]["time"].as_str().unwrap();
    assert_eq!(notes.get(&format!("{place}?at={then}")).await.json()["eTag"], "1");
    assert_eq!(notes.get(&format!("{place}/history?from=2")).await.json()[0]["version"], 2);
    assert_eq!(notes.get("/api/note").await.json(), json!([ID]));
}

#[tokio::test]
async fn the_root_lists_what_there_is() {
    let notes = Program::start(&["dev"]);
    let root = notes.get("/").await;
    assert_eq!((root.status, root.header("content-type")), (200, Some("application/json")));
    let root = root.json();
    let health = &root["health"];
    for link in [
        &root["openapi"],
        &root["docs"],
        &root["metrics"],
        &health["live"],
        &health["ready"],
        &health["started"],
    ] {
        let path = link.as_str().unwrap();
        let answer = notes.until(path, |answer| answer.status != 503).await;
        assert!((200..400).contains(&answer.status), "{path}: {}", answer.status);
    }
    assert_eq!(notes.post("/", &[], "{}").await.problem(), (404, "route_not_found".into()));
}

#[tokio::test]
async fn what_operators_ask_with_a_misspelt_parameter_is_refused() {
    let notes = Program::start(&["dev"]);
    for path in ["/admin/v1/streams?prefx=note", "/admin/v1/bus?servce=notes", "/api/schema?servce=notes"] {
        assert_eq!(notes.get(path).await.problem(), (422, "invalid_query".into()), "{path}");
    }
}

#[tokio::test]
async fn errors_are_problems_wherever_they_come_from() {
    let notes = Program::start(&["dev"]);
    assert_eq!(notes.get("/nowhere").await.problem(), (404, "route_not_found".into()));
    for path in ["/api/note/7", "/api/note/%FF", "/api/note/%FF/history", "/admin/v1/streams/%FF"] {
        assert_eq!(notes.get(path).await.problem(), (404, "not_found".into()), "{path}");
    }
    let headers = [("content-type", "application/json")];
    let both = notes.send(Method::PUT, "/api/note/%FF", &headers, "{}").await;
    assert_eq!(both.problem(), (422, "invalid_body".into()), "what is wrong with the body comes first");
    let wrong_method = notes.send(Method::DELETE, "/api/note", &[], "").await;
    assert_eq!(wrong_method.problem(), (405, "method_not_allowed".into()));
    assert!(wrong_method.header("allow").unwrap().contains("POST"));
    let large = "x".repeat(1024 * 1024 + 1);
    let sent = |kind: &'static str, body: String| {
        let notes = &notes;
        async move { notes.send(Method::POST, "/api/note", &[("content-type", kind)], &body).await.problem() }
    };
    assert_eq!(sent("text/plain", large).await, (413, "body_too_large".into()));
    assert_eq!(sent("text/plain", "{".into()).await, (415, "unsupported_media_type".into()));
    assert_eq!(sent("application/json", "{".into()).await, (400, "malformed_json".into()));
    assert_eq!(sent("application/json", "{}".into()).await, (422, "invalid_body".into()));
    assert_eq!(sent("application/json", note(ID, "panic")).await, (500, "handler_panicked".into()));
    let after = notes.post("/api/note", &[], &note(ID, "fine")).await;
    assert_eq!(after.status, 201);
    assert_eq!(
        notes.post("/api/note", &[], &note(ID, "fine")).await.problem(),
        (409, "already_exists".into())
    );
}

#[tokio::test]
async fn a_handler_that_panics_is_an_error_for_its_caller_and_for_nobody_else() {
    let notes = Program::start(&["dev"]);
    let (panicking, other) = ("67e55044-10b1-426f-9247-bb680e5fe0c8", "67e55044-10b1-426f-9247-bb680e5fe0c9");
    let change = async |id: &str, text: &str| {
        let headers = [("if-match", "*"), ("content-type", "application/json")];
        let body = json!({ "text": text }).to_string();
        notes.send(Method::PUT, &format!("/api/note/{id}"), &headers, &body).await
    };
    for id in [panicking, other] {
        assert_eq!(notes.post("/api/note", &[], &note(id, "one")).await.status, 201);
    }
    // Others are under way all the while, and notice nothing.
    let others = join_all((0..50).map(|n| change(other, if n % 2 == 0 { "even" } else { "odd" })));
    let (panicked, others) = tokio::join!(change(panicking, "panic"), others);
    assert_eq!(panicked.problem(), (500, "handler_panicked".into()));
    assert!(others.iter().all(|answer| answer.status == 200));
    assert_eq!(
        change(panicking, "two").await.json()["eTag"],
        "2",
        "the next command succeeds, on what stood before"
    );

    let log = notes.log();
    assert!(log.contains(&format!("stream=note-{panicking}")), "the log does not name the instance:\n{log}");
    assert!(
        !log.contains(&format!("note-{other}")),
        "the log names an instance that noticed nothing:\n{log}"
    );
    let metrics = notes.get("/metrics").await.text;
    assert!(metrics.contains(r#"annals_handler_panics_total{aggregate="note"} 1"#), "{metrics}");
}

#[tokio::test]
async fn a_read_model_that_panics_is_named_and_answers_with_an_error() {
    let notes = Program::start(&["dev"]);
    assert_eq!(notes.post("/api/note", &[], &note(ID, "unlisted")).await.status, 201);
    let list = notes.get("/api/note").await;
    assert_eq!(list.problem(), (503, "read_model_failed".into()));
    let reason =
        format!("read model \"notes\" stopped: event 1 of \"note-{ID}\": it panicked: asked to panic");
    assert_eq!(list.json()["detail"], reason);
    let ready = notes.get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["reasons"]), (503, &json!([format!("notes: {reason}")])));
    let log = notes.log();
    assert!(log.contains("a read model stopped read_model=\"notes\""), "{log}");
    // What does not need the read model goes on.
    assert_eq!(notes.get(&format!("/api/note/{ID}")).await.status, 200);
}

#[tokio::test]
async fn a_correlation_goes_in_and_comes_back() {
    let notes = Program::start(&["dev"]);
    let id = "0af76519-16cd-43dd-8448-eb211c80319c";
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let created = notes.post("/api/note", &[("traceparent", trace)], &note(ID, "one")).await;
    assert_eq!(created.header("x-correlation-id"), Some(id));
    let history = notes.get(&format!("/api/note/{ID}/history")).await.json();
    assert_eq!(history[0]["correlationId"], id);
    // The event went on to the other service, and so did the correlation.
    let counted = || program::items(&["aggregate", "show", "count", ID, "--json", "--url", &notes.address]);
    notes
        .until("/metrics", |answer| {
            answer.text.contains("{subscription=\"count-words\",outcome=\"handled\"} 1")
        })
        .await;
    assert_eq!(counted()[0]["state"]["words"], 1);
    let events =
        program::items(&["streams", "show", &format!("count-{ID}"), "--json", "--url", &notes.address]);
    assert_eq!(events[0]["correlationId"], id);
}

#[tokio::test]
async fn what_is_logged_for_a_request_names_its_trace_and_correlation() {
    let notes = Program::start(&["dev", "--log", "json"]);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    let correlation = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let headers = [("traceparent", &*parent), ("x-correlation-id", correlation)];
    assert_eq!(notes.post("/api/note", &headers, &note(ID, "panic")).await.status, 500);
    let untraced = notes.post("/api/note", &[], &note(ID, "panic")).await;
    let other = untraced.header("x-correlation-id").unwrap();
    let log = notes.log();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    // What the actor says of the panic, and what the host says of the answer.
    for target in ["annals_actors::decide", "annals_services::middleware"] {
        let requests: Vec<_> = lines.iter().filter(|line| line["target"] == target).map(request_of).collect();
        assert_eq!(requests.len(), 2, "{log}");
        assert_eq!(
            (&requests[0]["trace_id"], &requests[0]["correlation_id"]),
            (&json!(trace), &json!(correlation))
        );
        assert_eq!((&requests[1]["trace_id"], &requests[1]["correlation_id"]), (&Value::Null, &json!(other)));
    }
}

/// The span of the request that a line of the log stands in.
fn request_of(line: &Value) -> Value {
    let spans = line["spans"].as_array().unwrap();
    spans.iter().find(|span| span["name"] == "request").unwrap().clone()
}

#[tokio::test]
async fn a_key_gives_fifty_requests_one_effect_also_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let args = ["dev", "--data", data.path().to_str().unwrap()];
    let notes = Program::start(&args);
    let body = r#"{"text":"once"}"#;
    let send =
        async |notes: &Program, body: &str| notes.post("/api/note", &[("idempotency-key", "k")], body).await;
    let answers = join_all((0..50).map(|_| send(&notes, body))).await;
    assert!(answers.iter().all(|a| (a.status, &a.text) == (201, &answers[0].text)));
    let first = answers.iter().filter(|a| a.header("idempotency-replayed").is_none()).count();
    assert_eq!(first, 1);
    assert_eq!(notes.get("/api/note").await.json().as_array().map(Vec::len), Some(1));
    assert!(notes.stop().success());

    let notes = Program::start(&args);
    let again = send(&notes, body).await;
    assert_eq!((again.status, &again.text), (201, &answers[0].text));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    let other = send(&notes, &note(ID, "other")).await;
    assert_eq!(other.problem(), (422, "idempotency_key_reused".into()));
    assert_eq!(notes.get("/api/note").await.json().as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn health_metrics_and_the_api_page_are_there() {
    let notes = Program::start(&["dev"]);
    let ready = notes.get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["broker"]), (200, &json!("in-process")));
    assert_eq!((notes.get("/livez").await.status, notes.get("/startupz").await.status), (200, 200));
    notes.post("/api/note", &[], &note(ID, "one")).await;
    let metrics = notes.get("/metrics").await.text;
    assert!(
        metrics.contains("annals_http_request_duration_seconds_bucket{route=\"/api/note\",method=\"POST\"")
    );
    assert!(metrics.contains("annals_commands_committing_total{aggregate=\"note\"} 1"), "{metrics}");
    let described = notes.get("/openapi.json").await.json();
    assert_eq!(described["info"]["title"], "Notes");
    for status in ["400", "413", "415", "422"] {
        let response = &described["paths"]["/api/note"]["post"]["responses"][status];
        assert!(response["content"]["application/problem+json"].is_object(), "{status}: {described:#}");
    }
    let page = notes.get("/docs/").await;
    assert_eq!(page.status, 200);
    // Nothing of the page comes from elsewhere, and no validator is asked.
    let setup = notes.get("/docs/swagger-initializer.js").await.text;
    assert!(setup.contains("/openapi.json") && setup.contains("\"validatorUrl\": \"none\""), "{setup}");
    assert!(!page.text.contains("https://"), "{}", page.text);
}

#[tokio::test]
async fn the_end_finishes_what_is_under_way_and_removes_temporary_data() {
    let notes = Program::start(&["dev"]);
    let data = notes.data();
    assert!(data.join("notes/journal").is_dir() && data.join("counts/snapshots").is_dir());
    let address = notes.address.clone();
    let sends = (0..200).map(|n| {
        let address = address.clone();
        async move {
            let body = json!({ "text": n.to_string() }).to_string();
            let kind = [("content-type", "application/json")];
            program::send(&address, Method::POST, "/api/note", &kind, &body).await.status
        }
    });
    let statuses = join_all(sends).await;
    assert!(statuses.iter().all(|status| *status == 201));
    assert!(notes.stop().success());
    assert!(!data.exists());
}
