//! `dev --dapr`: both services in one process, with a sidecar each that it starts itself.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use annals_parts::{Broker, PubSub, Redis, Resources};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use crate::bodies::{CUSTOMER, ORDER, address, created_customer, created_order, id, with};
use crate::pair::PUBSUB;
use crate::process::{Services, binary, eventually};

#[tokio::test]
async fn dev_starts_the_sidecars_and_events_go_through_them() {
    let redis = Redis::start();
    let data = Arc::new(TempDir::new().unwrap());
    let resources = data.path().join("components");
    Resources::default().pubsub(&redis.component(PUBSUB, "", &[])).write(&resources);
    let arguments = ["dev", "--dapr", "--pubsub", PUBSUB, "--dapr-resources", resources.to_str().unwrap()];
    let daprd = annals_parts::daprd();
    let services = Services::with_environment(&data, &arguments, &[("ANNALS_DAPRD", &daprd)]);
    let mut client = services.client();
    eventually("the sidecars are ready", async || (client.get("/readyz").await.status == 200).then_some(()))
        .await;
    let ready = client.get("/readyz").await.json();
    assert_eq!((&ready["broker"], &ready["services"]["order"]["broker"]), (&json!("dapr"), &json!("dapr")));
    assert!(ready["services"]["customer"]["sidecar"].is_string(), "{ready:#}");
    let one = created_customer(&mut client, "1 Elm").await;
    let order = created_order(&mut client, id(&one), "1 Elm").await;
    let moved = with(&one, &json!({"shippingAddress": address("9 Yew")}));
    client.put(CUSTOMER, &moved).await.expect(200);
    let path = format!("{ORDER}/{}", id(&order));
    eventually("the order has the customer's address", async || {
        let now = client.get(path.clone()).await.expect(200).json();
        (now["shippingAddress"] == address("9 Yew")).then_some(())
    })
    .await;
    let (status, _) = services.stop();
    assert!(status.success(), "{status}");
}

#[test]
fn without_a_sidecar_dev_says_how_to_get_one() {
    let output = binary()
        .args(["dev", "--dapr", "--listen", "127.0.0.1:0"])
        .env_remove("ANNALS_DAPRD")
        .env("PATH", "/nowhere")
        .env("HOME", "/nowhere")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("dapr init"), "{said}");
}

/// Both services over real sidecars, which need no broker: theirs is in the sidecar.
struct Dev {
    data: Arc<TempDir>,
    resources: PathBuf,
    daprd: PathBuf,
}

impl Dev {
    fn new() -> Self {
        let data = Arc::new(TempDir::new().unwrap());
        let resources = data.path().join("components");
        Resources::default().pubsub(&PubSub::new(PUBSUB, "pubsub.in-memory", &[])).write(&resources);
        // A sidecar that writes down which process it is.
        let (daprd, pids) = (data.path().join("daprd"), data.path().join("pids"));
        let real = annals_parts::daprd();
        let script = format!("#!/bin/sh\necho $$ >>'{}'\nexec '{}' \"$@\"\n", pids.display(), real.display());
        fs::write(&daprd, script).unwrap();
        fs::set_permissions(&daprd, fs::Permissions::from_mode(0o755)).unwrap();
        Self { data, resources, daprd }
    }

    fn arguments(&self) -> [&str; 6] {
        ["dev", "--dapr", "--pubsub", PUBSUB, "--dapr-resources", self.resources.to_str().unwrap()]
    }

    fn start(&self) -> Services {
        Services::with_environment(&self.data, &self.arguments(), &[("ANNALS_DAPRD", &self.daprd)])
    }

    /// What the services have logged.
    fn log(&self) -> String {
        fs::read_to_string(self.data.path().join("stderr.log")).unwrap_or_default()
    }

    /// How many of its sidecars live.
    fn sidecars(&self) -> usize {
        let pids = fs::read_to_string(self.data.path().join("pids")).unwrap_or_default();
        pids.lines().filter(|pid| lives(pid)).count()
    }

    async fn sidecars_are_gone(&self) {
        eventually("the sidecars are gone", async || (self.sidecars() == 0).then_some(())).await;
    }
}

fn lives(pid: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[tokio::test]
async fn killed_services_leave_no_sidecar_behind() {
    let dev = Dev::new();
    let services = dev.start();
    assert_eq!(dev.sidecars(), 2);
    services.kill();
    dev.sidecars_are_gone().await;
}

#[tokio::test]
async fn services_that_cannot_start_leave_no_sidecar_behind() {
    let dev = Dev::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = binary()
        .args(dev.arguments())
        .args(["--listen", &taken.local_addr().unwrap().to_string()])
        .env("ANNALS_DAPRD", &dev.daprd)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("listen_failed"), "{said}");
    dev.sidecars_are_gone().await;
}

#[tokio::test]
async fn sidecars_stay_until_the_services_are_done() {
    let dev = Dev::new();
    let services = dev.start();
    let mut request = TcpStream::connect(services.url().trim_start_matches("http://")).unwrap();
    let head = "POST /api/customer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\
                Expect: 100-continue\r\n\r\n";
    request.write_all(head.as_bytes()).unwrap();
    let mut line = [0; 25];
    request.read_exact(&mut line).unwrap();
    kill_process(Pid::from_raw(services.pid().cast_signed()).unwrap(), Signal::TERM).unwrap();
    let waits = "waiting for requests under way";
    eventually("it waits for the request", async || dev.log().contains(waits).then_some(())).await;
    assert_eq!(dev.sidecars(), 2, "what the request leads to is published through them");
    request.write_all(b"{}").unwrap();
    let answer = std::io::read_to_string(request).unwrap();
    assert!(answer.starts_with("HTTP/1.1 422"), "{answer}");
    let (status, _) = services.ended();
    assert!(status.success(), "{status}");
    assert_eq!(dev.sidecars(), 0, "they were waited for");
}
