//! The sidecars that `dev --dapr` starts never outlive it, whatever becomes of it while they start. That they do not later
//! either is tested with real ones, by the reference services.
#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod program;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use program::{command, ended, exit_code, signal, stderr};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// What is started instead of daprd: writes down which process it is, then does this.
struct Sidecars {
    dir: TempDir,
}

impl Sidecars {
    fn that(what: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let pids = dir.path().join("pids");
        let script = dir.path().join("daprd");
        fs::write(&pids, "").unwrap();
        fs::write(&script, format!("#!/bin/sh\necho $$ >>'{}'\n{what}\n", pids.display())).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        Self { dir }
    }

    fn dev(&self) -> Command {
        let mut command = command();
        command
            .args(["dev", "--dapr", "--listen", "127.0.0.1:0", "--dapr-resources"])
            .arg(self.dir.path())
            .env("ANNALS_DAPRD", self.dir.path().join("daprd"))
            .stdin(Stdio::null());
        command
    }

    fn started(&self) -> Vec<PathBuf> {
        let pids = fs::read_to_string(self.dir.path().join("pids")).unwrap();
        pids.lines().map(|pid| Path::new("/proc").join(pid)).collect()
    }

    /// Starts services and waits until both sidecars run.
    fn start(&self) -> Child {
        let child = self.dev().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until("both sidecars run", || self.started().len() == 2);
        child
    }

    fn are_gone(&self) {
        until("the sidecars are gone", || self.started().iter().all(|process| !lives(process)));
    }
}

fn until(what: &str, so: impl Fn() -> bool) {
    let began = Instant::now();
    while !so() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process does anything yet; one that nobody has waited for does not.
fn lives(process: &Path) -> bool {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn killed_they_are_gone_too() {
    let sidecars = Sidecars::that("exec sleep 1000");
    let mut dev = sidecars.start();
    dev.kill().unwrap();
    dev.wait().unwrap();
    sidecars.are_gone();
}

#[test]
fn the_end_may_be_asked_for_while_they_start() {
    for name in ["TERM", "INT"] {
        let sidecars = Sidecars::that("exec sleep 1000");
        let mut dev = sidecars.start();
        signal(&dev, name);
        assert_eq!(ended(&mut dev).code(), Some(0), "SIG{name}");
        sidecars.are_gone();
    }
}

#[test]
fn one_that_does_not_end_when_asked_is_killed() {
    let sidecars = Sidecars::that("trap '' TERM; while :; do sleep 0.05; done");
    let mut dev = sidecars.start();
    signal(&dev, "TERM");
    assert_eq!(ended(&mut dev).code(), Some(0));
    sidecars.are_gone();
}

#[test]
fn where_one_does_not_start_the_other_ends() {
    let sidecars = Sidecars::that("[ \"$(wc -l <\"${0%/*}/pids\")\" = 2 ] && exit 3; exec sleep 1000");
    let output = sidecars.dev().output().unwrap();
    let said = stderr(&output);
    assert_eq!(exit_code(&output), 1, "{said}");
    assert!(said.contains("ended with exit status: 3") && said.contains("sidecar_failed"), "{said}");
    assert!(!said.contains("Terminated"), "the shell between has nothing to say: {said}");
    sidecars.are_gone();
}
