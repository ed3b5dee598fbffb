//! The README's ten minutes, run as they stand: every block marked `<!-- run -->`, against the real binary.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_annals-reference");
const README: &str = include_str!("../../../README.md");

struct Dev {
    child: Child,
    address: String,
}

impl Dev {
    fn start() -> Self {
        let mut child = Command::new(BINARY)
            .args(["dev", "--json", "--listen", "127.0.0.1:0"])
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

    /// Runs a block as somebody would who has the README beside them.
    fn run(&self, block: &str) {
        let script = block
            .replace("127.0.0.1:8080", &self.address)
            .replace("cargo run --release --", &format!("'{BINARY}'"));
        let output = Command::new("timeout")
            .args(["60", "bash", "-euo", "pipefail", "-c", &script])
            .env("ANNALS_LISTEN", &self.address)
            .output()
            .unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{block}\n-- said --\n{said}");
        assert!(!output.stdout.is_empty(), "this said nothing:\n{block}");
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
    let blocks: Vec<_> = README
        .split("<!-- run -->\n```sh\n")
        .skip(1)
        .map(|rest| rest.split("\n```").next().unwrap())
        .collect();
    assert!(blocks.len() >= 4, "the README has lost its blocks: {} are left", blocks.len());
    let dev = Dev::start();
    for block in blocks {
        dev.run(block);
    }
}
