//! The sidecars that `dev --dapr` starts.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::error::CliError;

/// How long a sidecar may take until its API is up.
const PATIENCE: Duration = Duration::from_secs(20);

/// The sidecars of all services; they end with this.
#[derive(Default)]
pub(super) struct Sidecars(Vec<Sidecar>);

/// One service's sidecar.
pub(super) struct Sidecar {
    service: &'static str,
    grpc_port: u16,
    app_port: u16,
    child: Child,
}

impl Sidecars {
    /// Starts one for each service.
    pub(super) async fn start(services: &[&'static str], resources: Option<&Path>) -> Result<Self, CliError> {
        let daprd = find()?;
        let resources = resources.map_or_else(default_resources, |dir| Ok(dir.to_owned()))?;
        let mut started = Self::default();
        for service in services {
            started.0.push(Sidecar::start(&daprd, service, &resources)?);
        }
        for sidecar in &mut started.0 {
            sidecar.up().await?;
        }
        Ok(started)
    }

    /// Where none are wanted.
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// Ends them.
    pub(super) fn end(self) {
        drop(self);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Sidecar> {
        self.0.iter()
    }
}

impl Sidecar {
    fn start(daprd: &Path, service: &'static str, resources: &Path) -> Result<Self, CliError> {
        let failed = |error: std::io::Error| CliError::failed("sidecar_failed", &error);
        let [grpc_port, http_port, internal_port, app_port] = free_ports().map_err(failed)?;
        // Results go to stdout; what a sidecar says is a log.
        let log = std::io::stderr().as_fd().try_clone_to_owned().map_err(failed)?;
        let child = Command::new(daprd)
            .args([
                "--mode",
                "standalone",
                "--app-protocol",
                "grpc",
                "--enable-metrics=false",
                "--app-id",
                service,
            ])
            .args(["--app-channel-address", "127.0.0.1", "--dapr-listen-addresses", "127.0.0.1"])
            .args(["--dapr-internal-grpc-listen-address", "127.0.0.1", "--log-level", "warn"])
            .args(["--dapr-block-shutdown-duration", "2s", "--enable-app-health-check=true"])
            .args(["--app-port", &app_port.to_string(), "--dapr-grpc-port", &grpc_port.to_string()])
            .args(["--dapr-http-port", &http_port.to_string()])
            .args(["--dapr-internal-grpc-port", &internal_port.to_string()])
            .arg("--resources-path")
            .arg(resources)
            .stdin(Stdio::null())
            .stdout(Stdio::from(log))
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        Ok(Self { service, grpc_port, app_port, child })
    }

    /// Waits until its API is up.
    async fn up(&mut self) -> Result<(), CliError> {
        let api = async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, self.grpc_port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let reason = tokio::select! {
            () = api => return Ok(()),
            ended = self.child.wait() => match ended {
                Ok(status) => format!("it ended with {status}"),
                Err(error) => error.to_string(),
            },
            () = tokio::time::sleep(PATIENCE) => format!("its API is not up after {PATIENCE:?}"),
        };
        Err(CliError::Failed {
            code: "sidecar_failed".to_owned(),
            message: format!("the sidecar of \"{}\" did not start: {reason}; its log is above", self.service),
        })
    }

    pub(super) fn service(&self) -> &'static str {
        self.service
    }

    pub(super) fn grpc_port(&self) -> u16 {
        self.grpc_port
    }

    /// Where it looks for its service.
    pub(super) fn app_port(&self) -> u16 {
        self.app_port
    }
}

/// Ports that nobody listens on, all different.
fn free_ports() -> std::io::Result<[u16; 4]> {
    let listeners = [(); 4].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let mut ports = [0; 4];
    for (port, listener) in ports.iter_mut().zip(&listeners) {
        let listener = listener.as_ref().map_err(|error| std::io::Error::from(error.kind()))?;
        *port = listener.local_addr()?.port();
    }
    Ok(ports)
}

fn find() -> Result<PathBuf, CliError> {
    let named = std::env::var_os("ANNALS_DAPRD").filter(|path| !path.is_empty()).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|dir| dir.join("daprd")).find(|file| file.is_file());
    let of_dapr = dapr_home().map(|dir| dir.join("bin/daprd")).filter(|file| file.is_file());
    named.or(on_path).or(of_dapr).ok_or_else(|| {
        CliError::usage(
            "--dapr: there is no daprd on the path, in ~/.dapr/bin, or named by ANNALS_DAPRD. Install the Dapr CLI \
             (https://docs.dapr.io/getting-started/install-dapr-cli/) and run `dapr init`, or `dapr init --slim` \
             without Docker",
        )
    })
}

fn default_resources() -> Result<PathBuf, CliError> {
    dapr_home().map(|dir| dir.join("components")).filter(|dir| dir.is_dir()).ok_or_else(|| {
        CliError::usage(
            "--dapr: there is no ~/.dapr/components, which `dapr init` makes; name a directory of components with \
             --dapr-resources (with --pubsub bus, deploy/dapr/redis-1.17 is one for Redis and sidecars from 1.17 on, \
             deploy/dapr/redis for older ones)",
        )
    })
}

fn dapr_home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".dapr"))
}
