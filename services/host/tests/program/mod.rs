//! The example `notes` as a process, and how to talk to it.
#![allow(dead_code, unreachable_pub, missing_debug_implementations, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// The example's binary, which cargo builds beside the tests.
fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().unwrap().parent().unwrap().join("examples/notes");
    assert!(
        built.exists(),
        "{} is not there: run `cargo build -p annals-services --examples`",
        built.display()
    );
    built
}

pub fn command() -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        // What the caller's shell says of Annals and Dapr is not what is tested.
        let ours = text.starts_with("ANNALS_") || text.starts_with("DAPR_") || text == "APP_API_TOKEN";
        if ours || text == "RUST_BACKTRACE" {
            command.env_remove(&name);
        }
    }
    command
}

pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args(["-s", name, &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

/// Waits until it has ended; one that does not is killed.
pub fn ended(child: &mut Child) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if started.elapsed() > DEADLINE {
            child.kill().unwrap();
            panic!("it does not stop: {:?}", child.wait());
        }
        std::thread::yield_now();
    }
}

/// Runs a command to its end.
pub fn run(args: &[&str]) -> Output {
    command().args(args).output().unwrap()
}

pub fn exit_code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The lines of a command's output, each read as JSON; it must have ended well.
pub fn items(args: &[&str]) -> Vec<Value> {
    let output = run(args);
    assert_eq!(exit_code(&output), 0, "{args:?}: {}", stderr(&output));
    stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Where its log goes, in its temporary directory.
const LOG: &str = "log";

/// A running program.
pub struct Program {
    child: Child,
    /// Where it makes its temporary directories, so that one that is killed leaves none behind; its log is there too.
    temporary: TempDir,
    pub address: String,
    /// What it said when it was ready.
    pub ready: Value,
}

impl Program {
    /// Starts it and waits until it is ready.
    pub fn start(args: &[&str]) -> Self {
        Self::start_listening("127.0.0.1:0", args, &[])
    }

    pub fn start_listening(listen: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let mut child = command()
            .args(args)
            .env("TMPDIR", temporary.path())
            .args(["--json", "--listen", listen])
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(temporary.path().join(LOG)).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Ok(ready) = serde_json::from_str::<Value>(&line) else {
            let log = std::fs::read_to_string(temporary.path().join(LOG)).unwrap();
            panic!("it did not start: {:?}\n{log}", child.wait());
        };
        let services = ready["services"].as_object().unwrap();
        let url = services.values().next().unwrap()["url"].as_str().unwrap();
        let address = url.strip_prefix("http://").unwrap().to_owned();
        Self { child, temporary, address, ready }
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.temporary.path().join(LOG)).unwrap()
    }

    pub fn data(&self) -> PathBuf {
        let services = self.ready["services"].as_object().unwrap();
        Path::new(services.values().next().unwrap()["data"].as_str().unwrap()).to_owned()
    }

    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Asks it to stop, and waits for that.
    pub fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        ended(&mut self.child)
    }

    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        send(&self.address, method, path, headers, body).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    pub async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let headers: Vec<_> = headers.iter().copied().chain([("content-type", "application/json")]).collect();
        self.send(Method::POST, path, &headers, body).await
    }

    /// Asks until the answer is as wanted.
    pub async fn until(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let started = Instant::now();
        loop {
            let answer = self.get(path).await;
            if wanted(&answer) {
                return answer;
            }
            assert!(started.elapsed() < DEADLINE, "{path} stays {} {}", answer.status, answer.text);
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A test that fails must not leave it behind; one that stopped it finds nothing to kill.
        let _gone = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Status and code of a problem.
    pub fn problem(&self) -> (u16, String) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{}", self.text);
        (self.status, self.json()["code"].as_str().unwrap().to_owned())
    }
}

/// Sends a request as these very bytes and answers with all that comes back until the connection ends.
pub fn send_raw(address: &str, bytes: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    std::io::read_to_string(stream).unwrap()
}

pub async fn send(address: &str, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path).header("host", address);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    Answer { status, headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}
