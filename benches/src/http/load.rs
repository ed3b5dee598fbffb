//! Load over HTTP: wrk where there is one, otherwise connections of our own.

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use crate::{Failure, Target, tasks};

/// What every request posts.
pub(super) fn body() -> String {
    let address = json!({
        "street": "Hauptstrasse 1", "city": "Berlin", "state": "BE", "country": "Germany", "postalCode": "10115"
    });
    json!({ "firstName": "Anna", "lastName": "Schmidt", "shippingAddress": address, "creditAvailable": 1500.5 })
        .to_string()
}

/// What makes the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Generator {
    Wrk,
    /// Tasks of this process, one connection each.
    BuiltIn,
}

impl fmt::Display for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wrk => "wrk",
            Self::BuiltIn => {
                "connections of this process; wrk (such as from `apt install wrk`) disturbs less"
            }
        })
    }
}

impl Generator {
    pub(super) fn find() -> Self {
        // Asked for its version it prints it, and ends with an error of its own.
        if Command::new("wrk").arg("--version").output().is_ok() { Self::Wrk } else { Self::BuiltIn }
    }

    /// Answers a second. Any other answer than "created" is an error.
    pub(super) fn load(
        self,
        runtime: &Handle,
        url: &str,
        connections: usize,
        window: Duration,
        dir: &Path,
    ) -> Result<f64, Failure> {
        match self {
            Self::Wrk => wrk(url, connections, window, dir),
            Self::BuiltIn => {
                let target = Arc::new(runtime.block_on(Connections::open(url, connections))?);
                // Each client has a connection of its own: as many instances, taken in turn.
                tasks(runtime, &target, connections, connections, window)
            }
        }
    }
}

fn wrk(url: &str, connections: usize, window: Duration, dir: &Path) -> Result<f64, Failure> {
    let script = dir.join("post.lua");
    let lua = format!(
        "wrk.method = 'POST'\nwrk.body = [[{}]]\nwrk.headers['Content-Type'] = 'application/json'\n",
        body()
    );
    std::fs::write(&script, lua)?;
    // It knows whole seconds only.
    let seconds = window.as_secs_f64().round().max(1.0);
    let run = Command::new("wrk")
        .args(["--threads", "2", "--connections", &connections.to_string()])
        .args(["--duration", &format!("{seconds}s"), "--script"])
        .args([script.as_os_str(), url.as_ref()])
        .output()?;
    rate(&String::from_utf8_lossy(&run.stdout))
}

/// What wrk's answer says.
fn rate(output: &str) -> Result<f64, Failure> {
    if let Some(errors) =
        output.lines().find(|line| line.contains("Non-2xx") || line.contains("Socket errors"))
    {
        return Err(format!("wrk met errors: {}", errors.trim()).into());
    }
    let line = output.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    Ok(line.ok_or_else(|| format!("wrk said: {output}"))?.trim().parse()?)
}

/// Connections that stay open.
struct Connections {
    request: Vec<u8>,
    free: Mutex<Vec<TcpStream>>,
}

impl Connections {
    async fn open(url: &str, count: usize) -> Result<Self, Failure> {
        let (authority, path) = parts(url)?;
        let mut free = Vec::with_capacity(count);
        for _ in 0..count {
            let connection = TcpStream::connect(authority).await?;
            connection.set_nodelay(true)?;
            free.push(connection);
        }
        Ok(Self { request: request(authority, path), free: Mutex::new(free) })
    }
}

impl Target for Connections {
    async fn call(&self, _: usize) -> Result<(), Failure> {
        let mut connection = self.free.lock().await.pop().ok_or("fewer connections than clients")?;
        exchange(&mut connection, &self.request).await?;
        self.free.lock().await.push(connection);
        Ok(())
    }
}

/// Posts one customer.
pub(super) async fn post_one(url: &str) -> Result<(), Failure> {
    Connections::open(url, 1).await?.call(0).await
}

fn parts(url: &str) -> Result<(&str, &str), Failure> {
    let rest = url.strip_prefix("http://").ok_or("only http:// is known here")?;
    let slash = rest.find('/').ok_or("an address without a path")?;
    Ok(rest.split_at(slash))
}

fn request(authority: &str, path: &str) -> Vec<u8> {
    let body = body();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn exchange(connection: &mut TcpStream, request: &[u8]) -> Result<(), Failure> {
    connection.write_all(request).await?;
    let mut answer = Vec::with_capacity(1024);
    while !is_complete(&answer)? {
        if connection.read_buf(&mut answer).await? == 0 {
            return Err("the server closed the connection".into());
        }
    }
    Ok(())
}

/// Whether the whole answer is there; an answer that is not "created" is an error.
fn is_complete(answer: &[u8]) -> Result<bool, Failure> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(false) };
    let head = std::str::from_utf8(&answer[..end])?;
    if !head.starts_with("HTTP/1.1 201") {
        return Err(format!("the server answered {}", head.lines().next().unwrap_or_default()).into());
    }
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map(|(_, value)| value);
    let length: usize = length.ok_or("an answer without a length")?.trim().parse()?;
    Ok(answer.len() >= end + 4 + length)
}

#[cfg(test)]
mod tests;
