//! Dapr's sidecar.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use tempfile::TempDir;

use crate::Resources;
use crate::process::{Process, free_port};
use crate::program::DAPRD;

/// How long a sidecar goes on delivering answers after it was asked to end.
const BLOCK_SHUTDOWN: &str = "3s";

/// Where the sidecar's program is, for who starts one by other means.
#[must_use]
pub fn daprd() -> PathBuf {
    DAPRD.path()
}

/// Where a sidecar finds its app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum App {
    /// Nowhere: it only publishes.
    None,
    /// Over gRPC, on this port of the loopback interface.
    Grpc(u16),
    /// Over HTTP, on this port of the loopback interface.
    Http(u16),
}

/// What a sidecar is started with.
#[derive(Debug, Clone)]
pub struct SidecarOptions {
    /// The app's id, which is the consumer group too.
    pub app_id: String,
    /// Its app.
    pub app: App,
    /// Its components and what belongs to them.
    pub resources: Resources,
    /// What opens its API.
    pub api_token: Option<String>,
    /// What it shows the app.
    pub app_token: Option<String>,
    /// Further arguments.
    pub arguments: Vec<String>,
}

impl SidecarOptions {
    /// For an app under this id, with these resources and no tokens.
    #[must_use]
    pub fn new(app_id: &str, app: App, resources: Resources) -> Self {
        Self {
            app_id: app_id.to_owned(),
            app,
            resources,
            api_token: None,
            app_token: None,
            arguments: Vec::new(),
        }
    }
}

/// A sidecar.
#[derive(Debug)]
pub struct Sidecar {
    options: SidecarOptions,
    grpc: u16,
    http: u16,
    internal: u16,
    process: Process,
    dir: TempDir,
}

impl Sidecar {
    /// Starts one; its API is up then. It asks its app for subscriptions when that is there.
    #[must_use]
    pub fn start(options: SidecarOptions) -> Self {
        let dir = TempDir::new().expect("a directory");
        let (grpc, http, internal) = (free_port(), free_port(), free_port());
        let process = start(&options, (grpc, http, internal), dir.path());
        Self { options, grpc, http, internal, process, dir }
    }

    /// The port of its gRPC API.
    #[must_use]
    pub fn grpc_port(&self) -> u16 {
        self.grpc
    }

    /// The port of its HTTP API.
    #[must_use]
    pub fn http_port(&self) -> u16 {
        self.http
    }

    /// All that it has said.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.said()
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks it to end, and waits until it has.
    pub fn terminate(&mut self) -> ExitStatus {
        self.process.terminate(Duration::from_secs(30))
    }

    /// Starts it again on the same ports.
    pub fn restart(&mut self) {
        self.process.kill();
        self.process = start(&self.options, (self.grpc, self.http, self.internal), self.dir.path());
    }

    /// As [`Sidecar::restart`], with other resources.
    pub fn restart_with(&mut self, resources: Resources) {
        self.process.kill();
        drop(std::fs::remove_dir_all(self.dir.path().join("resources")));
        self.options.resources = resources;
        self.restart();
    }
}

fn start(options: &SidecarOptions, (grpc, http, internal): (u16, u16, u16), dir: &Path) -> Process {
    let resources = dir.join("resources");
    options.resources.write(&resources);
    // Names are not looked up by multicast; nobody is called by name.
    let configuration = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: { name: config }\n\
                         spec:\n  nameResolution: { component: none }\n  tracing: { samplingRate: \"0\" }\n";
    let config = dir.join("config.yaml");
    std::fs::write(&config, configuration).expect("a file");
    let mut command = DAPRD.command();
    command.env("NAMESPACE", "default").env_remove("DAPR_API_TOKEN").env_remove("APP_API_TOKEN");
    if let Some(token) = &options.api_token {
        command.env("DAPR_API_TOKEN", token);
    }
    if let Some(token) = &options.app_token {
        command.env("APP_API_TOKEN", token);
    }
    command.args(["--mode", "standalone", "--app-id", &options.app_id, "--app-channel-address", "127.0.0.1"]);
    command.args([
        "--dapr-listen-addresses",
        "127.0.0.1",
        "--dapr-internal-grpc-listen-address",
        "127.0.0.1",
    ]);
    command.args(["--dapr-grpc-port", &grpc.to_string(), "--dapr-http-port", &http.to_string()]);
    command.args(["--dapr-internal-grpc-port", &internal.to_string(), "--enable-metrics=false"]);
    command.args(["--log-level", "info", "--dapr-block-shutdown-duration", BLOCK_SHUTDOWN]);
    command.arg("--resources-path").arg(&resources).arg("--config").arg(&config);
    match options.app {
        App::None => {}
        App::Grpc(port) => {
            command.args(["--app-protocol", "grpc", "--app-port", &port.to_string()]);
            command.args(["--enable-app-health-check=true", "--app-health-probe-interval", "1"]);
        }
        App::Http(port) => {
            command.args(["--app-protocol", "http", "--app-port", &port.to_string()]);
        }
    }
    command.args(&options.arguments);
    let mut process = Process::start(command, &dir.join("daprd.log"));
    process.wait_for_port(grpc, "daprd");
    process
}

impl Sidecar {
    /// Publishes over its HTTP API, as an application in any language does; answers with the status.
    #[must_use]
    pub fn publish(&self, pubsub: &str, topic: &str, content_type: &str, body: &[u8]) -> u16 {
        let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, self.http)).expect("the sidecar's API");
        let head = format!(
            "POST /v1.0/publish/{pubsub}/{topic} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(body)).expect("a socket");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("an answer");
        answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
    }
}
