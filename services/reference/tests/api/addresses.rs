//! What a person sees who starts all services.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::client::Client;
use crate::process::{PATIENCE, binary};

/// How soon the table of addresses has to be there, from the start of the process on.
const SOON: Duration = Duration::from_secs(2);

/// All services, as a person starts them; temporary data goes into the directory.
fn dev(directory: &TempDir) -> Child {
    Command::from(binary())
        .args(["dev", "--listen", "127.0.0.1:0"])
        .env("TMPDIR", directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts")
}

/// The table on stdout, to its last line.
async fn table(child: &mut Child) -> Vec<String> {
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut table = Vec::new();
    while let Some(line) = lines.next_line().await.expect("the binary's output") {
        let is_last = line.starts_with("Not for production");
        table.push(line);
        if is_last {
            break;
        }
    }
    table
}

/// An address of the table: where it is and what is asked for there.
fn address(url: &str) -> (SocketAddr, String) {
    let rest = url.strip_prefix("http://").expect("an address");
    let (host, path) = rest.split_once('/').expect("a path");
    (host.parse().expect("a host"), format!("/{path}"))
}

#[tokio::test]
async fn the_addresses_are_there_within_two_seconds_and_answer() {
    let directory = TempDir::new().expect("a directory");
    let started = Instant::now();
    let mut child = dev(&directory);
    let table = tokio::time::timeout(PATIENCE, table(&mut child)).await.expect("a table");
    let took = started.elapsed();
    assert!(took < SOON, "the table took {took:?}");

    let urls: Vec<_> = table.iter().flat_map(|line| line.split(' ')).filter(|w| w.contains("://")).collect();
    let named = |path: &str| urls.iter().any(|url| url.ends_with(path));
    for path in ["/api/customer", "/api/order", "/docs", "/readyz", "/metrics"] {
        assert!(named(path), "{path} is not in the table:\n{}", table.join("\n"));
    }
    for url in urls {
        let (host, path) = address(url);
        let answer = Client::new(host).get(path).await;
        assert!((200..400).contains(&answer.status), "{url}: {answer:?}");
    }

    kill_process(Pid::from_raw(child.id().expect("a process").cast_signed()).expect("a pid"), Signal::TERM)
        .expect("a process to signal");
    let status = tokio::time::timeout(PATIENCE, child.wait()).await.expect("an end").expect("a status");
    assert_eq!(status.code(), Some(0));
    assert_eq!(
        std::fs::read_dir(directory.path()).expect("a directory").count(),
        0,
        "temporary data is left"
    );
}
