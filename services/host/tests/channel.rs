//! What a sidecar meets that brings events over HTTP. No sidecar is there: what one does is done by hand.
#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod program;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use http::Method;
use program::{Answer, Program, items, send_raw};
use serde_json::{Value, json};
use tempfile::TempDir;

const TOPIC: &str = "v1.NoteWritten";
/// Longer than a refusal takes, and much shorter than a body that never comes is waited for.
const SOON: Duration = Duration::from_secs(10);

/// The service that counts words, which subscribes to one topic.
struct Counts {
    program: Program,
    data: TempDir,
}

impl Counts {
    fn start(more: &[&str], env: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path().to_str().unwrap();
        let args =
            ["serve", "--service", "counts", "--data", dir, "--broker", "dapr", "--app-channel", "http"];
        let nowhere = ["--dapr-endpoint", "127.0.0.1:1"];
        let program = Program::start_listening("127.0.0.1:0", &[&args, &nowhere[..], more].concat(), env);
        Self { program, data }
    }

    /// Sends a head and some of what should follow it; answers with what comes before more is sent.
    fn begin(&self, head: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.program.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let head = format!("{head}Host: x\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).unwrap();
        if !body.is_empty() {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer without the body");
        answer
    }

    async fn bring(&self, path: &str, content_type: &str, body: &str) -> Answer {
        self.program.send(Method::POST, path, &[("content-type", content_type)], body).await
    }
}

fn head(topic: &str, length: u64) -> String {
    format!(
        "POST /dapr/events/{topic} HTTP/1.1\r\nContent-Type: application/cloudevents+json\r\nContent-Length: {length}\r\n"
    )
}

#[tokio::test]
async fn an_event_of_an_unknown_topic_is_refused_unread_and_named_once() {
    let counts = Counts::start(&[], &[]);
    for _ in 0..3 {
        let answer = counts.begin(&head("v1.Unknown", 1000), b"");
        assert!(answer.starts_with("HTTP/1.1 421") && answer.contains("topic_not_subscribed"), "{answer}");
    }
    let counted = "annals_bus_deliveries_total{topic=\"unknown\",outcome=\"unknown_topic\"} 3";
    counts.program.until("/metrics", |answer| answer.text.contains(counted)).await;
    let log = counts.program.log();
    assert_eq!(log.matches("nothing here subscribes to").count(), 1, "{log}");
    assert!(log.contains("v1.Unknown"), "{log}");
}

#[tokio::test]
async fn an_event_that_is_brought_to_no_route_stays_with_the_broker() {
    let counts = Counts::start(&[], &[]);
    // The sidecar would take 404 for "never again".
    let answer = counts.bring("/wherever", "application/cloudevents+json; charset=utf-8", "{}").await;
    assert_eq!(answer.problem(), (421, "topic_not_subscribed".into()));
    let other = counts.bring("/wherever", "application/json", "{}").await;
    assert_eq!(other.problem(), (404, "route_not_found".into()));
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_before_it_comes() {
    let counts = Counts::start(&[], &[]);
    let answer = counts.begin(&head(TOPIC, 64 * 1024 * 1024 + 1), b"");
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("body_too_large"), "{answer}");
    let answer = counts.begin(&head(TOPIC, 10), b"{}");
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("body_incomplete"), "{answer}");
    for code in ["body_too_large", "body_incomplete"] {
        let counted = format!("annals_bus_deliveries_total{{topic=\"{TOPIC}\",outcome=\"{code}\"}} 1");
        counts.program.until("/metrics", |answer| answer.text.contains(&counted)).await;
        assert!(counts.program.log().contains(code));
    }
}

#[tokio::test]
async fn what_is_no_event_becomes_a_dead_letter_that_says_so() {
    let counts = Counts::start(&[], &[]);
    let path = format!("/dapr/events/{TOPIC}");
    for (content_type, body) in [
        ("text/plain", "hello"),
        ("application/octet-stream", "hello"),
        ("application/cloudevents+json", "no JSON"),
        ("application/cloudevents+json", "{\"id\":\"1\",\"source\":\"x\"}"),
    ] {
        let answer = counts.bring(&path, content_type, body).await;
        assert_eq!((answer.status, answer.json()), (200, json!({ "status": "SUCCESS" })), "{content_type}");
    }
    let letters = items(&["dlq", "ls", "--json", "--url", &counts.program.address]);
    assert_eq!(letters.len(), 4, "{letters:#?}");
    assert!(letters.iter().all(|letter| letter["topic"] == TOPIC && letter["reason"] != ""), "{letters:#?}");
}

#[tokio::test]
async fn who_has_not_the_app_token_is_refused_unread() {
    let counts = Counts::start(&[], &[("APP_API_TOKEN", "secret")]);
    for (token, status) in
        [("", 401), ("dapr-api-token: other\r\n", 401), ("dapr-api-token: secret\r\n", 400)]
    {
        let answer =
            counts.begin(&format!("{}{token}", head(TOPIC, 10)), if status == 400 { b"{" } else { b"" });
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{token}: {answer}");
    }
    assert_eq!(counts.program.get("/dapr/subscribe").await.problem(), (401, "sidecar_unauthorized".into()));
    assert_eq!(counts.program.get("/healthz").await.status, 204);
}

/// Flags, variables, and what the sidecar is told.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], Value);

#[tokio::test]
async fn who_says_what_is_subscribed_to_is_told_on_the_command_line_or_beside_it() {
    // Where no sidecar says what it is, it is told where to put what it gives up.
    let by = |component: &str| {
        let (route, dead) = (format!("/dapr/events/{TOPIC}"), format!("{TOPIC}.dapr-dead"));
        json!([{ "pubsubname": component, "topic": TOPIC, "route": route, "deadLetterTopic": dead }])
    };
    let (told, other) = (by("bus"), by("own"));
    let own = format!("{TOPIC}=own,{TOPIC}=own");
    // What services share in their environment may name a topic of another.
    let shared = format!("{TOPIC}=own,v1.of-another=own");
    let cases: [Case<'_>; 7] = [
        (&["--pubsub", "bus", "--topic-pubsub", own.as_str()], &[], other.clone()),
        (&["--pubsub", "bus"], &[("ANNALS_TOPIC_PUBSUB", own.as_str())], other.clone()),
        (&["--pubsub", "bus"], &[("ANNALS_TOPIC_PUBSUB", shared.as_str())], other),
        (&["--pubsub", "bus"], &[], told.clone()),
        (&["--pubsub", "bus"], &[("ANNALS_SUBSCRIPTIONS", "declarative")], json!([])),
        (&["--subscriptions", "declarative"], &[], json!([])),
        (
            &["--subscriptions", "programmatic"],
            &[("ANNALS_SUBSCRIPTIONS", "declarative"), ("ANNALS_PUBSUB", "bus")],
            told,
        ),
    ];
    for (arguments, variables, expected) in cases {
        let counts = Counts::start(arguments, variables);
        assert_eq!(
            counts.program.get("/dapr/subscribe").await.json(),
            expected,
            "{arguments:?} {variables:?}"
        );
        drop(counts.data);
    }
}

#[test]
fn a_chunked_body_is_taken_as_far_as_the_limit() {
    let counts = Counts::start(&[], &[]);
    let body = "{\"text\":\"one two\",\"note_id\":\"7\"}";
    let request = format!(
        "POST /dapr/events/{TOPIC} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    let answer = send_raw(&counts.program.address, &request);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("SUCCESS"), "{answer}");
}
