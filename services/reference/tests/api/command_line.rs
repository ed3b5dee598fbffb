//! The command line against services that run and services that are stopped.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bodies::{CUSTOMER, ORDER, address, created_customer, created_order, history, id, with};
use crate::client::Client;
use crate::process::{Services, eventually, run};

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// Runs a command that must succeed; what it says, one JSON document a line.
#[track_caller]
fn lines(arguments: &[&str]) -> Vec<Value> {
    let output = run(&[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Runs a command that must fail with this code, saying this.
#[track_caller]
fn fails(arguments: &[&str], code: i32, words: &[&str]) {
    let output = run(arguments);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{arguments:?} does not say {word:?}: {said}");
    }
}

/// A customer that moved, with an order that followed.
async fn furnish(client: &mut Client) -> (Value, Value) {
    let customer = created_customer(client, "1 Elm").await;
    let order = created_order(client, id(&customer), "1 Elm").await;
    let moved = with(&customer, &json!({"shippingAddress": address("2 Oak")}));
    let customer = client.put(CUSTOMER, &moved).await.expect(200).json();
    let path = format!("{ORDER}/{}", id(&order));
    let order = eventually("the order has followed", async || {
        let now = client.get(path.clone()).await.expect(200).json();
        (now["eTag"] == "2").then_some(now)
    })
    .await;
    (customer, order)
}

/// What is asked of running and of stopped services, and must be answered the same.
struct Asked {
    customer: Value,
    order: Value,
    events: Vec<Value>,
}

impl Asked {
    fn check(&self, place: &[&str]) {
        let ask = |arguments: &[&str]| lines(&[arguments, place].concat());
        self.check_streams(ask);
        self.check_events(ask);
        self.check_states(ask);
        assert_eq!(ask(&["dlq", "ls"]), Vec::<Value>::new());
    }

    fn check_streams(&self, ask: impl Fn(&[&str]) -> Vec<Value>) {
        let (customer, order) = (self.customer_stream(), self.order_stream());
        let names = |found: Vec<Value>| -> Vec<(String, u64)> {
            let name = |stream: &Value| stream["stream"].as_str().expect("a name").to_owned();
            found
                .iter()
                .map(|stream| (name(stream), stream["version"].as_u64().expect("a version")))
                .collect()
        };
        assert_eq!(names(ask(&["streams", "ls"])), [(customer, 3), (order.clone(), 2)]);
        let orders = ask(&["streams", "ls", "--service", "order", "--prefix", "order-"]);
        assert_eq!((orders[0]["service"].as_str(), orders[0]["lastTime"].is_string()), (Some("order"), true));
        assert_eq!(names(orders), [(order, 2)]);
        assert_eq!(ask(&["streams", "ls", "--prefix", "nothing-"]), Vec::<Value>::new());
    }

    /// As in `/history`, and where they are.
    fn check_events(&self, ask: impl Fn(&[&str]) -> Vec<Value>) {
        let stream = self.customer_stream();
        let more = json!({"service": "customer", "stream": stream});
        let mut expected: Vec<_> = self.events.iter().map(|event| with(event, &more)).collect();
        let all = ask(&["streams", "show", &stream]);
        assert_eq!(all, expected);
        let late = ask(&["streams", "show", &stream, "--from", "2"]);
        assert_eq!(late, expected[1..]);
        expected.reverse();
        assert_eq!(ask(&["streams", "show", &stream, "--reverse"]), expected);
    }

    fn check_states(&self, ask: impl Fn(&[&str]) -> Vec<Value>) {
        let customer = id(&self.customer);
        let show = |more: &[&str]| {
            let shown = ask(&[&["aggregate", "show", "customer", customer], more].concat());
            let [state] = shown.as_slice() else { panic!("{shown:?}") };
            (state["version"].as_u64().expect("a version"), state["state"]["details"].clone())
        };
        let details = with(&self.customer, &json!({"id": null, "eTag": null}));
        assert_eq!(show(&[]), (3, details.clone()));
        let time = self.events[2]["time"].as_str().expect("a time");
        assert_eq!(show(&["--at", time]), (3, details.clone()));
        let first = with(&details, &json!({"shippingAddress": address("1 Elm")}));
        assert_eq!(show(&["--at", "1"]), (1, first));
    }

    fn customer_stream(&self) -> String {
        format!("customer-{}", id(&self.customer))
    }

    fn order_stream(&self) -> String {
        format!("order-{}", id(&self.order))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_and_stopped_services_say_the_same() {
    let services = Services::start();
    let mut client = services.client();
    let (customer, order) = furnish(&mut client).await;
    let events = history(&mut client, CUSTOMER, id(&customer)).await;
    let asked = Asked { customer, order, events };
    asked.check(&["--url", &services.url()]);
    lines(&["dlq", "replay", "--all", "--url", &services.url()]);
    fails(&["dlq", "replay", &crate::bodies::new_id(), "--url", &services.url()], 1, &[]);
    let nobody = format!("customer-{}", crate::bodies::new_id());
    fails(&["streams", "show", &nobody, "--url", &services.url()], 1, &[]);
    // The directory is the running service's own.
    let data = services.data();
    fails(&["streams", "ls", "--data", path(&data)], 3, &["journal", "in use"]);
    fails(&["dev", "--listen", "127.0.0.1:0", "--data", path(&data)], 3, &["in use"]);
    let (status, _directory) = services.stop();
    assert_eq!(status.code(), Some(0), "SIGTERM ends with 0");
    asked.check(&["--data", path(&data)]);
    let reports = lines(&["log", "verify", "--data", path(&data)]);
    assert_eq!(reports.len(), 2);
    assert!(reports.iter().all(|report| report["ok"] == true), "{reports:?}");
    fails(&["dlq", "replay", "--all", "--data", path(&data)], 2, &["--url"]);
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[tokio::test]
async fn the_ready_line_says_where_everything_is() {
    let services = Services::start();
    let ready = services.ready["services"].as_object().expect("services");
    assert_eq!(ready.keys().collect::<Vec<_>>(), ["customer", "order"]);
    for (name, service) in ready {
        assert!(service["url"].as_str().is_some_and(|url| url.starts_with(&services.url())), "{service}");
        // What `--data` takes; every service has a directory in it.
        assert_eq!(service["data"].as_str(), Some(path(&services.data())));
        let data = services.data().join(name);
        assert!(data.join("journal").is_dir() && data.join("snapshots").is_dir());
    }
    let mut client = services.client();
    for path in ["/livez", "/readyz", "/startupz"] {
        client.get(path).await.expect(200);
    }
    let metrics = client.get("/metrics").await.expect(200);
    assert!(metrics.body.contains("# TYPE"), "{metrics:?}");
}

#[tokio::test]
async fn one_service_is_served_alone_and_keeps_its_events() {
    let services = Services::start();
    let mut client = services.client();
    let customer = created_customer(&mut client, "1 Elm").await;
    let order = created_order(&mut client, id(&customer), "1 Elm").await;
    let directory = services.stop().1;
    let services = Services::with(&directory, &["serve", "--service", "customer"]);
    let mut client = services.client();
    let moved = with(&customer, &json!({"shippingAddress": address("2 Oak")}));
    client.put(CUSTOMER, &moved).await.expect(200);
    client.get(ORDER).await.expect_problem(404, "route_not_found");
    let ready = client.get("/readyz").await.expect(200).json();
    assert!(ready.to_string().contains(r#""broker":"none""#), "{ready}");
    let (status, directory) = services.stop();
    assert_eq!(status.code(), Some(0));
    // With the other service beside it, the event that was kept reaches the order.
    let services = Services::on(&directory);
    let mut client = services.client();
    let path = format!("{ORDER}/{}", id(&order));
    eventually("the order has followed", async || {
        let now = client.get(path.clone()).await.expect(200).json();
        (now["shippingAddress"] == address("2 Oak")).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_shows_events_as_they_happen() {
    let services = Services::start();
    let mut tail = tokio::process::Command::from(crate::process::binary())
        .args(["streams", "tail", "--json", "--url", &services.url()])
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts");
    let output = tail.stdout.take().expect("a pipe");
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(output));
    let mut client = services.client();
    // A tail begins at its start, so customers are made until it shows one.
    let first = eventually("the tail shows an event", async || {
        created_customer(&mut client, "1 Elm").await;
        let line = lines.next_line();
        tokio::time::timeout(std::time::Duration::from_millis(200), line).await.ok()?.expect("a line")
    })
    .await;
    let event: Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!(
        (event["service"].as_str(), event["type"].as_str()),
        (Some("customer"), Some("customer-created"))
    );
}

#[test]
fn wrong_usage_ends_with_2() {
    fails(&["fly"], 2, &["fly"]);
    fails(&["serve", "--service", "customer"], 2, &["--data"]);
    let directory = TempDir::new().expect("a directory");
    let data = path(directory.path());
    fails(
        &["serve", "--service", "nobody", "--data", data, "--listen", "127.0.0.1:0"],
        2,
        &["nobody", "customer"],
    );
    fails(&["streams", "ls", "--service", "nobody", "--data", data], 2, &["nobody"]);
}

#[test]
fn a_service_that_does_not_answer_is_a_failure() {
    let unused = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", unused.local_addr().expect("an address"));
    drop(unused);
    fails(&["streams", "ls", "--url", &url], 1, &[&url]);
}

#[tokio::test]
async fn a_damaged_journal_is_refused_by_name() {
    let services = Services::start();
    let mut client = services.client();
    for _ in 0..20 {
        created_customer(&mut client, "1 Elm").await;
    }
    let data = services.data();
    let (_, _directory) = services.stop();
    let segment = first_segment(&data.join("customer").join("journal"));
    let mut bytes = std::fs::read(&segment).expect("a segment");
    let place = bytes.windows(5).position(|window| window == b"1 Elm").expect("an address");
    bytes[place] ^= 0x20;
    std::fs::write(&segment, bytes).expect("a segment");
    let name = segment.file_name().and_then(|name| name.to_str()).expect("a name");
    fails(&["log", "verify", "--data", path(&data)], 3, &["damaged", name]);
    fails(&["streams", "ls", "--data", path(&data)], 3, &["damaged", name]);
    fails(&["dev", "--listen", "127.0.0.1:0", "--data", path(&data)], 3, &["damaged", name]);
}

/// The largest file; the others are locks and labels.
fn first_segment(journal: &Path) -> PathBuf {
    let files = std::fs::read_dir(journal).expect("a journal").map(|file| file.expect("a file").path());
    let longest = files.max_by_key(|file| {
        std::fs::read(file).map_or(0, |bytes| bytes.windows(5).filter(|window| *window == b"1 Elm").count())
    });
    longest.expect("a segment")
}

#[test]
fn the_program_describes_and_explains_itself() {
    let [described] = &lines(&["describe"])[..] else { panic!("one document") };
    let text = described.to_string();
    for word in ["customer", "order", "customer-address-changed", "v1.CustomerAddressUpdated"] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
    for code in
        ["version_conflict", "idempotency_key_reused", "read_model_behind", "journal_damaged", "not_found"]
    {
        let explained = run(&["explain", code]);
        assert!(explained.status.success() && stdout(&explained).contains(code), "{code}");
    }
    fails(&["explain", "no_such_code"], 1, &["no_such_code"]);
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&run(&["completions", shell])).contains("annals"), "{shell}");
    }
    assert!(run(&["--help"]).status.success());
}
