//! A service as a process, with its sidecar.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use annals_bus::Topic;
use annals_parts::{App, Broker, Process, Resources, Sidecar, SidecarOptions, free_port};

use crate::domain::Counted;

/// What the component is called.
pub(crate) const PUBSUB: &str = "bus";

/// What a process is told by its environment.
pub(crate) mod told {
    pub(crate) const ROLE: &str = "ANNALS_SOAK_ROLE";
    pub(crate) const DIR: &str = "ANNALS_SOAK_DIR";
    pub(crate) const SIDECAR: &str = "ANNALS_SOAK_SIDECAR";
    pub(crate) const APP: &str = "ANNALS_SOAK_APP";
    pub(crate) const KEYS: &str = "ANNALS_SOAK_KEYS_TOLD";
    pub(crate) const ROUNDS: &str = "ANNALS_SOAK_ROUNDS_TOLD";
}

/// Which of the two services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Publisher,
    Subscriber,
}

impl Role {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Publisher => "publisher",
            Self::Subscriber => "subscriber",
        }
    }
}

/// A service as a process, with its sidecar.
pub(crate) struct Member {
    role: Role,
    app_port: u16,
    dir: PathBuf,
    work: (u64, u64),
    process: Process,
    pub(crate) sidecar: Sidecar,
}

impl Member {
    /// Starts both, for this many keys and events of each.
    pub(crate) fn start(role: Role, broker: &dyn Broker, dir: &Path, work: (u64, u64)) -> Self {
        let app_port = free_port();
        let topic = Topic::of::<Counted>();
        let component = broker.component(PUBSUB, role.name(), &[topic.as_str()]);
        let resources = Resources::default().pubsub(&component);
        let sidecar = Sidecar::start(SidecarOptions::new(role.name(), App::Grpc(app_port), resources));
        let dir = dir.join(role.name());
        std::fs::create_dir_all(&dir).unwrap();
        let process = start(role, &dir, &sidecar, app_port, work);
        Self { role, app_port, dir, work, process, sidecar }
    }

    /// Kills the process and starts it again.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
        self.again();
    }

    /// Kills the process for good, or until it is started for another round.
    pub(crate) fn end_at_once(&mut self) {
        self.process.kill();
    }

    /// Starts a process that counts to this round.
    pub(crate) fn start_for_round(&mut self, round: u64) {
        self.work.1 = round;
        self.again();
    }

    /// Asks the process to end, and starts it again when it has.
    pub(crate) fn terminate(&mut self) {
        // One that has hardly begun does not know the signal yet.
        let id = self.process.id().to_string();
        let deadline = Instant::now() + Duration::from_secs(60);
        while std::fs::read_to_string(self.dir.join("begun")).unwrap_or_default() != id {
            assert!(
                Instant::now() < deadline,
                "{} does not begin: {}",
                self.role.name(),
                self.process.said()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        let status = self.process.terminate(Duration::from_secs(60));
        assert!(status.success(), "{} ended with {status}: {}", self.role.name(), self.process.said());
        self.again();
    }

    fn again(&mut self) {
        self.process = start(self.role, &self.dir, &self.sidecar, self.app_port, self.work);
    }

    /// Ends the process for good.
    pub(crate) fn stop(&mut self) {
        self.process.terminate(Duration::from_secs(60));
    }

    /// How many events it has come to, as it said last.
    pub(crate) fn progress(&self) -> u64 {
        let text = std::fs::read_to_string(self.dir.join("progress")).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }

    /// Where its journal is.
    pub(crate) fn journal(&self) -> PathBuf {
        self.dir.join("journal")
    }

    /// What it and its sidecar have said last, for failures.
    pub(crate) fn said(&self) -> String {
        let tail = |text: String| {
            let lines: Vec<_> = text.lines().collect();
            lines[lines.len().saturating_sub(30)..].join("\n")
        };
        format!(
            "{}:\n{}\nits sidecar:\n{}",
            self.role.name(),
            tail(self.process.said()),
            tail(self.sidecar.said())
        )
    }
}

fn start(role: Role, dir: &Path, sidecar: &Sidecar, app_port: u16, (keys, rounds): (u64, u64)) -> Process {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "a_role", "--nocapture"])
        .env(told::ROLE, role.name())
        .env(told::DIR, dir)
        .env(told::SIDECAR, sidecar.grpc_port().to_string())
        .env(told::APP, app_port.to_string())
        .env(told::KEYS, keys.to_string())
        .env(told::ROUNDS, rounds.to_string());
    Process::start(command, &dir.join("log"))
}
