//! RabbitMQ.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Process, free_port};
use crate::program::{Program, RABBITMQ};
use crate::{Broker, PubSub};

/// What finds Erlang's nodes by name; one of our own, so that none outlives the tests.
const EPMD: Program =
    Program { name: "epmd", variable: "ANNALS_EPMD", how: "it comes with Erlang, as rabbitmq-server does" };

/// The ports of a broker.
#[derive(Debug, Clone, Copy)]
struct Ports {
    amqp: u16,
    distribution: u16,
    epmd: u16,
}

/// A RabbitMQ broker.
#[derive(Debug)]
pub struct Rabbit {
    ports: Ports,
    process: Process,
    _epmd: Process,
    dir: TempDir,
}

impl Rabbit {
    /// Starts one, which takes seconds.
    #[must_use]
    pub fn start() -> Self {
        let ports = Ports { amqp: free_port(), distribution: free_port(), epmd: free_port() };
        let dir = TempDir::new().expect("a directory");
        let mut command = EPMD.command();
        command.args(["-address", "127.0.0.1", "-port", &ports.epmd.to_string()]);
        let mut epmd = Process::start(command, &dir.path().join("epmd.log"));
        epmd.wait_for_port(ports.epmd, "epmd");
        let process = start(ports, dir.path());
        Self { ports, process, _epmd: epmd, dir }
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.ports.amqp
    }
}

fn start(ports: Ports, dir: &Path) -> Process {
    let config = dir.join("rabbitmq.conf");
    let text = format!(
        "listeners.tcp.local = 127.0.0.1:{}\nloopback_users = none\nlog.console = true\n",
        ports.amqp
    );
    std::fs::write(&config, text).expect("a file");
    let mut command = RABBITMQ.command();
    command
        .env("RABBITMQ_NODENAME", format!("annals{}@localhost", ports.amqp))
        .env("RABBITMQ_MNESIA_BASE", dir.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", dir.join("log"))
        .env("RABBITMQ_CONFIG_FILE", &config)
        .env("RABBITMQ_PID_FILE", dir.join("pid"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("plugins"))
        .env("RABBITMQ_DIST_PORT", ports.distribution.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("ERL_EPMD_PORT", ports.epmd.to_string())
        // Else the port for other nodes is open to every network.
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}")
        // Then the script becomes the broker, which ends with who started it.
        .env("RUNNING_UNDER_SYSTEMD", "1")
        .env("HOME", dir);
    let mut process = Process::start(command, &dir.join("rabbitmq.log"));
    process.wait_for_port(ports.amqp, "rabbitmq-server");
    process
}

impl Broker for Rabbit {
    fn name(&self) -> &'static str {
        "rabbitmq"
    }

    fn component(&self, name: &str, _app_id: &str, _topics: &[&str]) -> PubSub {
        PubSub::new(
            name,
            "pubsub.rabbitmq",
            &[
                ("connectionString", &format!("amqp://guest:guest@127.0.0.1:{}", self.ports.amqp)),
                ("durable", "true"),
                ("deletedWhenUnused", "false"),
                ("deliveryMode", "2"),
                ("requeueInFailure", "true"),
                ("publisherConfirm", "true"),
                ("prefetchCount", "64"),
                ("concurrency", "parallel"),
                ("reconnectWait", "1s"),
            ],
        )
    }

    fn redelivers_within(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn kill(&mut self) {
        self.process.kill();
    }

    fn restart(&mut self) {
        self.kill();
        self.process = start(self.ports, self.dir.path());
    }
}
