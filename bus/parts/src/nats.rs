//! NATS with JetStream.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{Process, free_port};
use crate::program::NATS;
use crate::{Broker, PubSub};

/// The stream that holds every topic.
const STREAM: &str = "annals";

/// A NATS server with JetStream and one stream for every topic that begins with `v`.
#[derive(Debug)]
pub struct Nats {
    port: u16,
    process: Process,
    dir: TempDir,
}

impl Nats {
    /// Starts one.
    #[must_use]
    pub fn start() -> Self {
        let (port, dir) = (free_port(), TempDir::new().expect("a directory"));
        let process = start(port, dir.path());
        make_stream(port);
        Self { port, process, dir }
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

fn start(port: u16, dir: &Path) -> Process {
    let mut command = NATS.command();
    command.args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"]).arg(dir);
    let mut process = Process::start(command, &dir.join("nats.log"));
    process.wait_for_port(port, "nats-server");
    process
}

/// Dapr wants the stream to be there. The protocol is text: <https://docs.nats.io/reference/reference-protocols>.
fn make_stream(port: u16) {
    let config = format!(
        r#"{{"name":"{STREAM}","subjects":["v1.>","v2.>"],"storage":"file","retention":"limits","num_replicas":1}}"#
    );
    let mut connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("nats-server");
    let mut answers = BufReader::new(connection.try_clone().expect("a socket"));
    let (inbox, length) = ("_INBOX.annals", config.len());
    write!(
        connection,
        "CONNECT {{\"verbose\":false}}\r\nSUB {inbox} 1\r\n\
         PUB $JS.API.STREAM.CREATE.{STREAM} {inbox} {length}\r\n{config}\r\n"
    )
    .expect("a socket");
    let mut line = String::new();
    // INFO comes first; the answer is the line after MSG.
    while !line.starts_with("MSG ") {
        line.clear();
        assert!(answers.read_line(&mut line).expect("an answer") > 0, "nats-server hung up");
    }
    line.clear();
    answers.read_line(&mut line).expect("an answer");
    assert!(line.contains("\"config\""), "the stream was not made: {line}");
}

impl Broker for Nats {
    fn name(&self) -> &'static str {
        "jetstream"
    }

    fn component(&self, name: &str, app_id: &str, _topics: &[&str]) -> PubSub {
        PubSub::new(
            name,
            "pubsub.jetstream",
            &[
                ("natsURL", &format!("nats://127.0.0.1:{}", self.port)),
                ("name", app_id),
                ("streamName", STREAM),
                ("durableName", app_id),
                ("queueGroupName", app_id),
                ("deliverPolicy", "all"),
                ("ackPolicy", "explicit"),
                ("ackWait", "5s"),
                // They wait for one another, and the last of them may not wait longer than for its answer.
                ("maxAckPending", "32"),
                // In parallel, the sidecar acknowledges what it has not delivered yet.
                ("concurrency", "single"),
            ],
        )
    }

    fn redelivers_within(&self) -> Duration {
        Duration::from_secs(6)
    }

    fn kill(&mut self) {
        self.process.kill();
    }

    fn restart(&mut self) {
        self.process.kill();
        self.process = start(self.port, self.dir.path());
    }
}
