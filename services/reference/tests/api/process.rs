//! The real binary as a child process.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;

/// How long anything may take that is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The binary under test.
pub(crate) fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_annals-reference"));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        // What the caller's shell says of Annals and Dapr is not what is tested.
        let ours = text.starts_with("ANNALS_") || text.starts_with("DAPR_") || text == "APP_API_TOKEN";
        if ours || text == "RUST_BACKTRACE" {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs the binary to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    binary().args(arguments).stdin(Stdio::null()).output().expect("the binary runs")
}

/// The services of the binary, running. Dropped, they are killed.
#[derive(Debug)]
pub(crate) struct Services {
    child: Child,
    pub(crate) ready: Value,
    address: SocketAddr,
    data: Arc<TempDir>,
}

impl Services {
    /// Starts all services on data of their own.
    pub(crate) fn start() -> Self {
        Self::on(&Arc::new(TempDir::new().expect("a directory")))
    }

    /// Starts all services on this data.
    pub(crate) fn on(data: &Arc<TempDir>) -> Self {
        Self::with(data, &["dev"])
    }

    /// Starts services with these arguments beside the usual ones.
    pub(crate) fn with(data: &Arc<TempDir>, arguments: &[&str]) -> Self {
        Self::with_environment(data, arguments, &[])
    }

    /// The same with these environment variables.
    pub(crate) fn with_environment(
        data: &Arc<TempDir>,
        arguments: &[&str],
        variables: &[(&str, &Path)],
    ) -> Self {
        let log = File::options().create(true).append(true).open(log_file(data)).expect("a log file");
        let mut child = binary()
            .args(arguments)
            .envs(variables.iter().copied())
            .args(["--json", "--listen", "127.0.0.1:0", "--data"])
            .arg(data_directory(data))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        output.read_line(&mut line).expect("the binary's output");
        let Ok(ready) = serde_json::from_str::<Value>(&line) else {
            drop(child.kill());
            let log = std::fs::read_to_string(log_file(data)).unwrap_or_default();
            panic!("the binary did not get ready; it said {line:?}, its log is\n{log}");
        };
        let address = address(&ready);
        Self { child, ready, address, data: Arc::clone(data) }
    }

    /// A new connection.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where the services keep their data.
    pub(crate) fn data(&self) -> PathBuf {
        data_directory(&self.data)
    }

    /// Kills the process, as a power cut would but for the page cache. The data stays.
    pub(crate) fn kill(mut self) -> Arc<TempDir> {
        self.child.kill().expect("a process to kill");
        self.child.wait().expect("a process that ended");
        Arc::clone(&self.data)
    }

    /// Asks the process to end and waits until it has.
    pub(crate) fn stop(self) -> (ExitStatus, Arc<TempDir>) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("a process to signal");
        self.ended()
    }

    /// Waits until the process has ended.
    pub(crate) fn ended(mut self) -> (ExitStatus, Arc<TempDir>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a process") {
                return (status, Arc::clone(&self.data));
            }
            assert!(Instant::now() < deadline, "the process did not end on SIGTERM");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Stops and starts again on the same data.
    pub(crate) fn restart(self) -> Self {
        Self::on(&self.stop().1)
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn address(ready: &Value) -> SocketAddr {
    let services = ready["services"].as_object().expect("services");
    let url = services.values().next().and_then(|service| service["url"].as_str()).expect("an address");
    let host = url.trim_start_matches("http://").split('/').next().unwrap_or_default();
    host.parse().unwrap_or_else(|_| panic!("no address in {ready}"))
}

fn data_directory(data: &TempDir) -> PathBuf {
    data.path().join("data")
}

fn log_file(data: &TempDir) -> PathBuf {
    Path::new(data.path()).join("stderr.log")
}

/// Waits until something is so.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "still not so: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A number from the environment.
pub(crate) fn count(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The seed of a randomised test, from the environment or new; printed, so that it can be given again.
pub(crate) fn seed() -> u64 {
    let seed =
        std::env::var("ANNALS_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("ANNALS_SEED={seed}");
    seed
}
