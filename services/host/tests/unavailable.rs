//! What clients and probes see of a service that cannot do its work: a mailbox that is full, a disk that fails or is
//! full, a read model that lags. The host runs in this process, on a disk that fails when it is told to.
#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod program;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals_actors::{Aggregate, Context, Event, Inspector, Node, NodeOptions, Shape, inspector};
use annals_persistence::{CountingVfs, EmbeddedOptions, EventError, Filter, RealVfs, RecordedEvent, Version};
use annals_services::axum::Router;
use annals_services::axum::extract::{Path, State};
use annals_services::axum::response::Response;
use annals_services::axum::routing::{get, post};
use annals_services::{
    BodyHash, Fold, Gateway, Host, HostOptions, Problem, ReadModel, RequestContext, Running, SendAs, Service,
    ServiceError, Setup, json_response,
};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use http::{Method, StatusCode};
use parking_lot::{Condvar, Mutex};
use program::Answer;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How many commands of one instance may wait.
const MAILBOX: usize = 4;

/// What commands pass that ask for it.
static GATE: Gate = Gate::new();

/// Holds threads up while it is closed.
#[derive(Debug)]
struct Gate {
    is_closed: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    const fn new() -> Self {
        Self { is_closed: Mutex::new(false), opened: Condvar::new() }
    }

    fn pass(&self) {
        self.opened.wait_while(&mut self.is_closed.lock(), |is_closed| *is_closed);
    }

    /// Closes it, until the answer is dropped.
    fn close(&self) -> Closed<'_> {
        *self.is_closed.lock() = true;
        Closed(self)
    }
}

struct Closed<'g>(&'g Gate);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        *self.0.is_closed.lock() = false;
        self.0.opened.notify_all();
    }
}

/// How often something was counted.
#[derive(Debug, Default, Clone, Serialize, Deserialize, Shape)]
struct Tally {
    count: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum TallyCommand {
    Count,
    CountBehindTheGate,
}

#[derive(Debug, Event)]
enum TallyEvent {
    #[event("counted")]
    Counted { padding: String },
}

impl Aggregate for Tally {
    const TYPE: &'static str = "tally";
    type Command = TallyCommand;
    type Event = TallyEvent;
    type Rejection = std::convert::Infallible;

    fn handle(&self, command: TallyCommand, _: &Context) -> Result<Vec<TallyEvent>, Self::Rejection> {
        if matches!(command, TallyCommand::CountBehindTheGate) {
            GATE.pass();
        }
        // So that a segment is soon full.
        Ok(vec![TallyEvent::Counted { padding: "x".repeat(1000) }])
    }

    fn apply(&mut self, TallyEvent::Counted { .. }: TallyEvent) {
        self.count += 1;
    }
}

/// How many events there are; it stands still while the gate is closed.
struct Total {
    events: u64,
    gate: Arc<Gate>,
}

impl Fold for Total {
    fn filter(&self) -> Filter {
        Filter::default().category("tally")
    }

    fn apply(&mut self, _: &RecordedEvent) -> Result<(), EventError> {
        self.gate.pass();
        self.events += 1;
        Ok(())
    }
}

#[derive(Debug, Clone)]
struct App {
    node: Node,
    gateway: Gateway,
    total: ReadModel<Total>,
}

async fn send(
    app: &App,
    context: &RequestContext,
    id: &str,
    what: TallyCommand,
) -> Result<Response, Problem> {
    let tally = app.node.aggregate::<Tally>(id);
    let how = SendAs::status(StatusCode::CREATED);
    let done = app.gateway.send(context, &BodyHash::EMPTY, &tally, what, how).await?;
    Ok(done.respond(&json!({})))
}

async fn count(
    State(app): State<App>,
    context: RequestContext,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    send(&app, &context, &id, TallyCommand::Count).await
}

async fn count_behind_the_gate(
    State(app): State<App>,
    context: RequestContext,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    send(&app, &context, &id, TallyCommand::CountBehindTheGate).await
}

async fn show(State(app): State<App>, Path(id): Path<String>) -> Result<Response, Problem> {
    let found = app.node.aggregate::<Tally>(&id).state().await?;
    Ok(json_response(StatusCode::OK, Some(found.version), &found.state))
}

async fn total_of(State(app): State<App>) -> Result<Response, Problem> {
    let events = app.total.read(|total| total.events).await?;
    Ok(json_response(StatusCode::OK, None::<Version>, &events))
}

#[derive(Debug)]
struct Tallies {
    read_model_gate: Arc<Gate>,
}

impl Service for Tallies {
    fn name(&self) -> &'static str {
        "tallies"
    }

    fn inspectors(&self) -> Vec<Arc<dyn Inspector>> {
        vec![inspector::<Tally>()]
    }

    fn start(&self, setup: Setup) -> BoxFuture<'_, Result<Running, ServiceError>> {
        Box::pin(async move {
            let options = NodeOptions { mailbox_capacity: MAILBOX, ..NodeOptions::default() };
            let node = setup.node().options(options).aggregate::<Tally>().start().await?;
            let total = Total { events: 0, gate: Arc::clone(&self.read_model_gate) };
            let total = setup.read_model("total", total);
            let app = App { node: node.clone(), gateway: setup.gateway(), total };
            let router = Router::new()
                .route("/tally", get(total_of))
                .route("/tally/{id}", get(show).post(count))
                .route("/tally/{id}/gate", post(count_behind_the_gate))
                .with_state(app);
            Ok(Running::new(node).router(router))
        })
    }
}

/// The service over HTTP, its disk, and what holds its read model up.
struct World {
    host: Host,
    disk: CountingVfs,
    read_model_gate: Arc<Gate>,
}

impl World {
    async fn new() -> Self {
        let (disk, read_model_gate) = (CountingVfs::new(RealVfs), Arc::new(Gate::new()));
        let service: Arc<dyn Service> = Arc::new(Tallies { read_model_gate: Arc::clone(&read_model_gate) });
        let journal = EmbeddedOptions {
            vfs: Arc::new(disk.clone()),
            segment_bytes: 16 * 1024,
            ..EmbeddedOptions::default()
        };
        let options = HostOptions { listen: ([127, 0, 0, 1], 0).into(), journal, ..HostOptions::default() };
        let host = Host::start(&[service], options).await.unwrap();
        host.ready().await.unwrap();
        Self { host, disk, read_model_gate }
    }

    async fn ask(&self, method: Method, path: &str) -> Answer {
        program::send(&self.host.address().to_string(), method, path, &[], "").await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path).await
    }

    async fn post(&self, path: &str) -> Answer {
        self.ask(Method::POST, path).await
    }

    /// The status of `/readyz`, the word for the journal, and the reasons.
    async fn ready(&self) -> (u16, Value, String) {
        let answer = self.get("/readyz").await;
        let body = answer.json();
        (answer.status, body["services"]["tallies"]["journal"].clone(), body["reasons"].to_string())
    }
}

/// Tries until it is so.
async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = attempt().await {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "still not so: {what}");
        tokio::task::yield_now().await;
    }
}

/// A 503 with this code, that says when to try again.
#[track_caller]
fn is_unavailable(answer: &Answer, code: &str) {
    assert_eq!(answer.problem(), (503, code.to_owned()), "{}", answer.text);
    let seconds: u64 = answer.header("retry-after").expect("a Retry-After").parse().unwrap();
    assert!(seconds >= 1);
    assert!(annals_services::explain(code).is_some(), "{code} has no page");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_mailbox_refuses_and_nothing_of_the_refused_is_committed() {
    let world = World::new().await;
    let gate = GATE.close();
    // One is being handled and holds up what comes after it, so the first answer is a refusal.
    let mut answers: FuturesUnordered<_> = (0..3 * MAILBOX).map(|_| world.post("/tally/one/gate")).collect();
    is_unavailable(&answers.next().await.unwrap(), "mailbox_full");
    // Others are not held up.
    assert_eq!(world.post("/tally/other").await.status, 201);
    drop(gate);
    let answers: Vec<_> = answers.collect().await;
    let (done, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 201);
    assert!(done.len() >= MAILBOX, "{} of at least {MAILBOX} done", done.len());
    refused.iter().for_each(|answer| is_unavailable(answer, "mailbox_full"));
    assert_eq!(world.get("/tally/one").await.json()["count"], done.len());
    assert_eq!(world.post("/tally/one").await.status, 201, "there is room again");
    world.host.shutdown().await;
}

#[tokio::test]
async fn a_disk_that_fails_leaves_the_outcome_unknown_and_the_service_not_ready() {
    let world = World::new().await;
    assert_eq!(world.post("/tally/one").await.status, 201);
    assert_eq!(world.ready().await.0, 200);
    world.disk.fail_sync(1, io::Error::other("the disk is gone"));
    is_unavailable(&world.post("/tally/one").await, "outcome_unknown");
    // It is final: the disk works again, and nothing is taken all the same.
    is_unavailable(&world.post("/tally/two").await, "outcome_unknown");
    let (status, journal, reasons) = world.ready().await;
    assert_eq!((status, journal), (503, json!("poisoned")));
    assert!(reasons.contains("outcome_unknown") && reasons.contains("the disk is gone"), "{reasons}");
    assert_eq!(world.get("/livez").await.status, 200);
    // Reads show the last state that is certain.
    let state = eventually("the state is rebuilt", async || {
        Some(world.get("/tally/one").await).filter(|answer| answer.status == 200)
    });
    assert_eq!(state.await.json()["count"], 1);
    world.host.shutdown().await;
}

#[tokio::test]
async fn a_full_disk_commits_nothing_and_is_over_when_there_is_space() {
    let world = World::new().await;
    world.disk.set_no_space(true);
    // What space was reserved for before is still taken.
    let mut taken = 0;
    let refused = loop {
        let answer = world.post("/tally/one").await;
        if answer.status != 201 {
            break answer;
        }
        taken += 1;
    };
    is_unavailable(&refused, "disk_full");
    assert!(refused.json()["detail"].as_str().unwrap().contains("not committed"), "{}", refused.text);
    let (status, journal, reasons) = world.ready().await;
    assert_eq!((status, journal), (503, json!("disk_full")));
    assert!(reasons.contains("disk_full"), "{reasons}");
    let state = eventually("the state is rebuilt", async || {
        Some(world.get("/tally/one").await).filter(|answer| answer.status == 200)
    });
    assert_eq!(state.await.json()["count"], taken);

    world.disk.set_no_space(false);
    eventually("appends are taken again", async || {
        (world.post("/tally/one").await.status == 201).then_some(())
    })
    .await;
    assert_eq!(world.get("/tally/one").await.json()["count"], taken + 1);
    assert_eq!(world.ready().await, (200, json!("healthy"), "null".to_owned()));
    world.host.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_list_that_lags_too_far_behind_says_so() {
    let world = World::new().await;
    let gate = Arc::clone(&world.read_model_gate);
    let closed = gate.close();
    assert_eq!(world.post("/tally/one").await.status, 201);
    is_unavailable(&world.get("/tally").await, "read_model_behind");
    // It is the list alone that waits.
    assert_eq!(world.get("/tally/one").await.status, 200);
    drop(closed);
    assert_eq!(world.get("/tally").await.json(), 1);
    world.host.shutdown().await;
}
