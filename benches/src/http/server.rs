//! Servers as processes of their own, ended when they are dropped.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::BASELINE_FLAG;
use crate::Failure;

/// A server that is ready.
#[derive(Debug)]
pub(super) struct Server {
    process: Child,
    /// Where customers are posted to.
    pub(super) url: String,
}

impl Server {
    /// The reference program's customer service, built as it is shipped.
    pub(super) fn reference(data: &Path) -> Result<Self, Failure> {
        let mut command = Command::new(build()?);
        command.args(["serve", "--service", "customer", "--listen", "127.0.0.1:0", "--json", "--data"]);
        command.arg(data).env("ANNALS_LOG", "error");
        Self::start(&mut command)
    }

    /// This program again, as the baseline's server.
    pub(super) fn baseline(data: &Path, frame: &[u8]) -> Result<Self, Failure> {
        std::fs::create_dir_all(data)?;
        std::fs::write(data.join("frame"), frame)?;
        Self::start(Command::new(std::env::current_exe()?).arg(BASELINE_FLAG).arg(data))
    }

    /// Starts it and waits for the line that says where it is.
    fn start(command: &mut Command) -> Result<Self, Failure> {
        let mut process = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn()?;
        let output = process.stdout.take().ok_or("a server without output")?;
        let mut server = Self { process, url: String::new() };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let ready: Value =
            serde_json::from_str(&line).map_err(|e| format!("the server did not start ({e}): {line}"))?;
        let url = ready["services"]["customer"]["url"].as_str().ok_or("the server said no address")?;
        server.url = format!("{url}/api/customer");
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It holds nothing that outlives the bench; one that has ended already is as good.
        let _ended = self.process.kill().and_then(|()| self.process.wait());
    }
}

/// Builds the reference program, with the cargo that runs this bench; answers where it is.
fn build() -> Result<PathBuf, Failure> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    println!("building the reference program");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    // Without optimisation this is a try, and the program may be what the tests have built already.
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let built = Command::new(cargo)
        .args([
            "build",
            "--profile",
            profile,
            "--package",
            "annals-reference",
            "--message-format",
            "json-render-diagnostics",
        ])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()?;
    if !built.status.success() {
        return Err("the reference program does not build".into());
    }
    executable(&built.stdout).ok_or_else(|| "cargo did not say where the reference program is".into())
}

fn executable(messages: &[u8]) -> Option<PathBuf> {
    let messages = messages.split(|byte| *byte == b'\n').rev();
    messages
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "annals-reference")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}
