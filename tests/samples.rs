//! The examples that speak to each other, as two processes each beside a real sidecar, over Redis.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use annals_parts::{App, Process, Redis, Resources, Sidecar, SidecarOptions, free_port};
use tempfile::TempDir;

/// How long the two may take to find each other: longer than the example itself waits, so that it is the one that says why.
const DEADLINE: Duration = Duration::from_secs(90);

/// An example that is run as one of its roles, and its sidecar.
struct Role {
    program: Process,
    _sidecar: Sidecar,
    _dir: TempDir,
}

impl Role {
    fn start(example: &str, role: &str, redis: &Redis) -> Self {
        let (port, dir) = (free_port(), TempDir::new().unwrap());
        let sidecar = Sidecar::start(SidecarOptions::new(role, App::Grpc(port), component(redis)));
        let mut command = Command::new(built(example));
        command
            .arg(role)
            .env("DAPR_GRPC_PORT", sidecar.grpc_port().to_string())
            .env("APP_PORT", port.to_string());
        let program = Process::start(command, &dir.path().join("said"));
        Self { program, _sidecar: sidecar, _dir: dir }
    }

    /// What it has said by its end.
    fn end(mut self) -> String {
        let deadline = Instant::now() + DEADLINE;
        while !self.program.has_ended() {
            assert!(Instant::now() < deadline, "it goes on; it said\n{}", self.program.said());
            std::thread::sleep(Duration::from_millis(10));
        }
        self.program.said()
    }
}

/// Where an example is, built as it stands now.
fn built(example: &str) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--locked", "--features", "dapr", "--example", example]);
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let status = build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
    assert!(status.success(), "{example} is not built");
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples").join(example)
}

/// The examples' own component, with the address of this Redis.
fn component(redis: &Redis) -> Resources {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/sidecar/bus.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let here = text.replace("localhost:6379", &format!("127.0.0.1:{}", redis.port()));
    assert_ne!(text, here);
    Resources::default().file("bus.yaml", &here)
}

#[test]
fn a_bank_and_a_shop_speak_over_sidecars() {
    let redis = Redis::start();
    let shop = Role::start("bank_account_subscriber", "shop", &redis);
    let bank = Role::start("bank_account_subscriber", "bank", &redis);
    assert_eq!(bank.end(), "the account is open, and the world knows\n");
    assert_eq!(shop.end(), "Anna has 500 points, by 1 event\n");
}

#[test]
fn a_question_is_answered_over_sidecars() {
    let redis = Redis::start();
    let desk = Role::start("request_reply", "desk", &redis);
    let _office = Role::start("request_reply", "office", &redis);
    let answer = "Dallas: Some(\"Dallas: sunny, with an append now and then\")\n";
    assert_eq!(desk.end(), format!("{answer}the Moon: None\n"));
}
