//! The commands of the README and of the operators' page, run as they stand: every block marked `<!-- run -->`, against the
//! real binary.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_annals-reference");
const README: &str = include_str!("../../../README.md");
const OPERATIONS: &str = include_str!("../../../docs/operations.md");

/// The blocks of a page that are to be run.
fn blocks(page: &str) -> Vec<&str> {
    let marked = page.split("<!-- run -->\n```sh\n").skip(1);
    marked.map(|rest| rest.split("\n```").next().unwrap()).collect()
}

/// Runs a block as somebody would who has the page beside them; it must succeed, and say something.
fn run(block: &str, script: &str, environment: &[(&str, &str)]) {
    let output = Command::new("timeout")
        .args(["60", "bash", "-euo", "pipefail", "-c", script])
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{block}\n-- said --\n{said}");
    assert!(!output.stdout.is_empty(), "this said nothing:\n{block}");
}

struct Dev {
    child: Child,
    address: String,
}

impl Dev {
    fn start(more: &[&str]) -> Self {
        let mut child = Command::new(BINARY)
            .args(["dev", "--json", "--listen", "127.0.0.1:0"])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
        let url = ready["services"]["order"]["url"].as_str().unwrap();
        let address = url.strip_prefix("http://").unwrap().to_owned();
        Self { child, address }
    }

    fn run(&self, block: &str) {
        let script = block
            .replace("127.0.0.1:8080", &self.address)
            .replace("cargo run --release --", &format!("'{BINARY}'"));
        run(block, &script, &[("ANNALS_LISTEN", &self.address)]);
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn the_ten_minutes_of_the_readme_do_what_they_say() {
    let blocks = blocks(README);
    assert!(blocks.len() >= 4, "the README has lost its blocks: {} are left", blocks.len());
    let dev = Dev::start(&[]);
    blocks.into_iter().for_each(|block| dev.run(block));
}

/// With a running service where a block names one, on the data of a stopped one otherwise.
#[test]
fn the_commands_for_operators_do_what_they_say() {
    let blocks = blocks(OPERATIONS);
    assert!(blocks.len() >= 5, "the page has lost its blocks: {} are left", blocks.len());
    let dir = tempfile::tempdir().unwrap();
    let (data, backup) = (dir.path().join("data"), dir.path().join("backup.tar"));
    let (data, backup) = (data.to_str().unwrap(), backup.to_str().unwrap());
    let made = Dev::start(&["--data", data]);
    made.run(self::blocks(README)[0]);
    drop(made);
    let running = Dev::start(&[]);
    let url = format!("http://{}", running.address);
    let beside =
        format!("{}:{}", Path::new(BINARY).parent().unwrap().display(), std::env::var("PATH").unwrap());
    let environment = [("DATA", data), ("BACKUP", backup), ("URL", &url), ("PATH", &beside)];
    blocks.into_iter().for_each(|block| run(block, block, &environment));
}
