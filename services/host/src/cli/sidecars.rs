//! The sidecars that `dev --dapr` starts.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};

use super::error::CliError;
use crate::stop::{Stage, StopTime};

/// How long a sidecar may take until its API is up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a sidecar until its own input ends, which is when the process that started it is gone, in whatever way: stopped,
/// failed, panicked, killed. What does not end when it is asked to is killed.
const SUPERVISOR: &str = r#"
exec 3<&0 </dev/null 4>&2 2>/dev/null
"$@" 2>&4 3<&- 4>&- &
sidecar=$!
exec >/dev/null 4>&-
{
    read -r _ <&3
    kill "$sidecar"
    sleep 5 3<&-
    kill -KILL "$sidecar"
} &
watcher=$!
exec 3<&-
wait "$sidecar"
status=$?
kill "$watcher"
exit "$status"
"#;

/// The sidecars of all services; they end with this.
#[derive(Default)]
pub(super) struct Sidecars(Vec<Sidecar>);

/// One service's sidecar.
pub(super) struct Sidecar {
    service: &'static str,
    grpc_port: u16,
    http_port: u16,
    app_port: u16,
    supervisor: Child,
    /// The sidecar ends when this does. A child that is waited for closes its own.
    lifeline: ChildStdin,
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
        try_join_all(started.0.iter_mut().map(Sidecar::up)).await?;
        Ok(started)
    }

    /// Where none are wanted.
    pub(super) fn none() -> Self {
        Self::default()
    }

    /// Ends them, and waits until they have ended as long as the time to stop allows.
    pub(super) async fn end(self, time: StopTime) {
        join_all(self.0.into_iter().map(|sidecar| sidecar.end(time))).await;
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
        let mut supervisor = Command::new("/bin/sh")
            .args(["-c", SUPERVISOR, "sidecar"])
            .arg(daprd)
            .args(["--mode", "standalone", "--app-protocol", "grpc", "--enable-metrics=false"])
            .args(["--app-id", service, "--log-level", "warn", "--enable-app-health-check=true"])
            // What is longer never reaches the service, and cannot become a dead letter.
            .args(["--max-body-size", "8Mi"])
            .args(["--app-channel-address", "127.0.0.1", "--dapr-listen-addresses", "127.0.0.1"])
            .args(["--dapr-internal-grpc-listen-address", "127.0.0.1"])
            .args(["--app-port", &app_port.to_string(), "--dapr-grpc-port", &grpc_port.to_string()])
            .args(["--dapr-http-port", &http_port.to_string()])
            .args(["--dapr-internal-grpc-port", &internal_port.to_string()])
            .arg("--resources-path")
            .arg(resources)
            .stdin(Stdio::piped())
            .stdout(Stdio::from(log))
            // A Ctrl-C at the terminal is for the services, which still need their sidecars then.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let no_pipe = || failed(std::io::ErrorKind::BrokenPipe.into());
        let lifeline = supervisor.stdin.take().ok_or_else(no_pipe)?;
        Ok(Self { service, grpc_port, http_port, app_port, supervisor, lifeline })
    }

    async fn end(mut self, time: StopTime) {
        drop(self.lifeline);
        if time.give(Stage::Sidecars, self.supervisor.wait()).await.is_none() {
            tracing::warn!(
                service = self.service,
                "the sidecar did not end in time and is left to be killed"
            );
        }
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
            ended = self.supervisor.wait() => match ended {
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

    pub(super) fn http_port(&self) -> u16 {
        self.http_port
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
