//! The Customer and the Order service as two processes, each with its sidecar.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use annals_parts::{App, Broker, Nats, Redis, Resources, Sidecar, SidecarOptions, free_port};
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::process::{PATIENCE, binary};

/// What the component is called.
pub(crate) const PUBSUB: &str = "bus";
/// The topic between the services.
pub(crate) const TOPIC: &str = "v1.CustomerAddressUpdated";
/// What opens the sidecars' API, and what they show their apps.
const TOKENS: (&str, &str) = ("api-secret", "app-secret");

/// A broker that starts by itself.
pub(crate) trait Started: Broker {
    fn started() -> Self;
}

impl Started for Redis {
    fn started() -> Self {
        Self::start()
    }
}

impl Started for Nats {
    fn started() -> Self {
        Self::start()
    }
}

/// Both services, running.
pub(crate) struct Services<B, const HTTP: bool> {
    customer: Member,
    order: Member,
    broker: B,
    _data: TempDir,
}

impl<B: Started, const HTTP: bool> Services<B, HTTP> {
    /// Starts a broker, sidecars and services, and waits until events can flow.
    pub(crate) fn start() -> Self {
        let broker = B::started();
        let data = TempDir::new().expect("a directory");
        // The subscriber first: some brokers keep nothing for a subscriber that was never there.
        let order = Member::start("order", &broker, HTTP, data.path());
        let customer = Member::start("customer", &broker, HTTP, data.path());
        Self { customer, order, broker, _data: data }
    }

    pub(crate) fn broker(&self) -> &B {
        &self.broker
    }

    /// A new client of the Order service alone.
    pub(crate) fn order_client(&self) -> Client {
        Client::new(self.order.address)
    }

    /// A new client of both.
    pub(crate) fn client(&self) -> Client {
        Client::routed(vec![
            ("/api/customer".to_owned(), self.customer.address),
            ("/api/order".to_owned(), self.order.address),
        ])
    }
}

/// One service and its sidecar.
pub(crate) struct Member {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) sidecar: Sidecar,
}

impl Member {
    pub(crate) fn start(service: &str, broker: &dyn Broker, http: bool, data: &Path) -> Self {
        let component = broker.component(PUBSUB, service, &[TOPIC]);
        Self::start_with(service, Resources::default().pubsub(&component), http, data, &[])
    }

    /// With these resources, and more on the command line.
    pub(crate) fn start_with(
        service: &str,
        resources: Resources,
        http: bool,
        data: &Path,
        more: &[&str],
    ) -> Self {
        let port = free_port();
        let app = if http { App::Http(port) } else { App::Grpc(port) };
        let sidecar = Sidecar::start(sidecar_options(service, app, resources));
        let member = Self::over(sidecar, service, port, http, data, more);
        member.wait_until_ready(&data.join(format!("{service}.log")));
        member
    }

    /// The service behind this sidecar, which may not be able to do anything for it yet.
    pub(crate) fn over(
        sidecar: Sidecar,
        service: &str,
        port: u16,
        http: bool,
        data: &Path,
        more: &[&str],
    ) -> Self {
        let log = data.join(format!("{service}.log"));
        let listen = if http { port } else { 0 };
        let mut child = binary()
            .args([
                "serve",
                "--service",
                service,
                "--json",
                "--listen",
                &format!("127.0.0.1:{listen}"),
                "--data",
            ])
            .arg(data.join("data"))
            .args([
                "--broker",
                "dapr",
                "--pubsub",
                PUBSUB,
                "--app-channel",
                if http { "http" } else { "grpc" },
            ])
            .args(["--dapr-endpoint", &format!("127.0.0.1:{}", sidecar.grpc_port())])
            .args(["--dapr-http-endpoint", &format!("http://127.0.0.1:{}", sidecar.http_port())])
            .args(["--app-listen", &format!("127.0.0.1:{port}")])
            .args(more)
            .env("DAPR_API_TOKEN", TOKENS.0)
            .env("APP_API_TOKEN", TOKENS.1)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a log file"))
            .spawn()
            .expect("the binary starts");
        let address = ready_address(&mut child, &log);
        Self { child, address, sidecar }
    }

    /// Waits until the service says that its sidecar has all that it needs.
    fn wait_until_ready(&self, log: &PathBuf) {
        let address = self.address;
        // The test stands in a runtime of its own already.
        let waiting = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(ready(address))
        });
        let waiting = waiting.join().expect("a thread that ends");
        if let Err(last) = waiting {
            let log = std::fs::read_to_string(log).unwrap_or_default();
            panic!(
                "not ready: {last}; the service's log is\n{log}\nand its sidecar's\n{}",
                self.sidecar.said()
            );
        }
    }
}

/// A sidecar that opens its API for, and shows, the members' tokens.
pub(crate) fn sidecar_options(service: &str, app: App, resources: Resources) -> SidecarOptions {
    SidecarOptions {
        api_token: Some(TOKENS.0.to_owned()),
        app_token: Some(TOKENS.1.to_owned()),
        ..SidecarOptions::new(service, app, resources)
    }
}

async fn ready(address: SocketAddr) -> Result<(), String> {
    let mut client = Client::new(address);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = client.get("/readyz").await;
        if answer.status == 200 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(answer.body);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn ready_address(child: &mut Child, log: &Path) -> SocketAddr {
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("the binary's output");
    let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
        panic!("the binary did not get ready: {}", std::fs::read_to_string(log).unwrap_or_default())
    });
    let services = ready["services"].as_object().expect("services");
    let url = services.values().next().and_then(|service| service["url"].as_str()).expect("an address");
    url.trim_start_matches("http://").parse().expect("an address")
}
