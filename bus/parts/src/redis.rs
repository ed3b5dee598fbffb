//! Redis.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Process, free_port};
use crate::program::REDIS;
use crate::{Broker, PubSub};

/// A Redis server that writes down all that it acknowledges.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    process: Process,
    dir: TempDir,
}

impl Redis {
    /// Starts one.
    #[must_use]
    pub fn start() -> Self {
        let (port, dir) = (free_port(), TempDir::new().expect("a directory"));
        let process = start(port, dir.path());
        Self { port, process, dir }
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn start(port: u16, dir: &Path) -> Process {
    let mut command = REDIS.command();
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    command.args(["--port", &port.to_string(), "--dir"]).arg(dir);
    let mut process = Process::start(command, &dir.join("redis.log"));
    process.wait_for_port(port, "redis-server");
    process
}

impl Broker for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn component(&self, name: &str, _app_id: &str, _topics: &[&str]) -> PubSub {
        PubSub::new(
            name,
            "pubsub.redis",
            &[
                ("redisHost", &format!("127.0.0.1:{}", self.port)),
                ("redisPassword", ""),
                // A message that was taken and never answered comes again after this long.
                ("processingTimeout", "5s"),
                ("redeliverInterval", "1000"),
                ("queueDepth", "256"),
                ("concurrency", "64"),
            ],
        )
    }

    fn redelivers_within(&self) -> Duration {
        Duration::from_secs(7)
    }

    fn kill(&mut self) {
        self.process.kill();
    }

    fn restart(&mut self) {
        self.process.kill();
        self.process = start(self.port, self.dir.path());
    }
}
