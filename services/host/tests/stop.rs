//! How services stop: at once when nothing is under way, and what is under way is told of and answered.
#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod program;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use program::{command, ended, send_raw, signal};

/// Well under what requests are waited for, and much more than a stop takes.
const SOON: Duration = Duration::from_secs(10);
const NOTE: &str = r#"{"text":"a note"}"#;

/// A program whose log is read as it is written.
struct Logged {
    child: Child,
    log: Receiver<String>,
    address: String,
}

impl Logged {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(more: &[&str]) -> Self {
        let mut command = command();
        command
            .args(["dev", "--json", "--listen", "127.0.0.1:0"])
            .args(more)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = lines_of(child.stderr.take().unwrap());
        let line = line_with(&log, "listening");
        let address = line.split("address=").nth(1).expect("no address").trim().to_owned();
        Self { child, log, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream
    }

    /// A request whose head was read and whose body was not sent yet.
    fn request_under_way(&self) -> TcpStream {
        let mut stream = self.connect();
        let head = format!(
            "POST /api/note HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Expect: 100-continue\r\n\r\n",
            NOTE.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut line = [0; 25];
        stream.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream
    }

    /// A request with this note, whose answer is not waited for.
    fn send_note(&self, text: &str) -> TcpStream {
        let body = format!("{{\"text\":\"{text}\"}}");
        let mut stream = self.connect();
        let head = format!(
            "POST /api/note HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).unwrap();
        stream
    }

    fn stops_soon_with(mut self, code: i32) -> String {
        let asked = Instant::now();
        assert_eq!(ended(&mut self.child).code(), Some(code));
        assert!(asked.elapsed() < SOON, "it took {:?}", asked.elapsed());
        let rest: Vec<String> = self.log.iter().collect();
        rest.join("\n")
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        // A test that fails must not leave it behind; one that stopped it finds nothing to kill.
        let _gone = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// The lines of a log as they come, so that a wait for one can end.
fn lines_of(log: ChildStderr) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    // It ends with the log, or when nobody wants to know of it any more.
    std::thread::spawn(move || {
        BufReader::new(log).lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
    });
    lines
}

/// The next line of the log with this in it.
fn line_with(log: &Receiver<String>, part: &str) -> String {
    loop {
        let line = log.recv_timeout(SOON).unwrap_or_else(|_| panic!("no line with \"{part}\" came"));
        if line.contains(part) {
            return line;
        }
    }
}

#[test]
fn half_a_head_does_not_keep_a_service_from_stopping() {
    let notes = Logged::start();
    let mut half = notes.connect();
    half.write_all(b"GET /rea").unwrap();
    // By now the half has been read too.
    send_raw(&notes.address, "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    signal(&notes.child, "INT");
    let log = notes.stops_soon_with(0);
    assert!(log.lines().last().is_some_and(|line| line.contains("stopped")), "{log}");
}

#[test]
fn a_request_under_way_is_told_of_and_answered() {
    let notes = Logged::start();
    let mut request = notes.request_under_way();
    signal(&notes.child, "TERM");
    let line = line_with(&notes.log, "second Ctrl-C");
    assert!(line.contains("requests=1"), "{line}");
    request.write_all(NOTE.as_bytes()).unwrap();
    let answer = std::io::read_to_string(request).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let log = notes.stops_soon_with(0);
    assert!(log.lines().last().is_some_and(|line| line.contains("stopped")), "{log}");
}

#[test]
fn signals_that_come_at_once_are_one_wish() {
    let notes = Logged::start();
    let mut request = notes.request_under_way();
    // Stopped meanwhile, it gets both at the same moment.
    ["STOP", "TERM", "INT", "CONT"].iter().for_each(|name| signal(&notes.child, name));
    line_with(&notes.log, "second Ctrl-C");
    request.write_all(NOTE.as_bytes()).unwrap();
    let answer = std::io::read_to_string(request).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    notes.stops_soon_with(0);
}

#[test]
fn asked_twice_a_service_waits_for_nothing() {
    let mut notes = Logged::start();
    let _request = notes.request_under_way();
    signal(&notes.child, "INT");
    line_with(&notes.log, "second Ctrl-C");
    let begin = Instant::now();
    while notes.child.try_wait().unwrap().is_none() {
        assert!(begin.elapsed() < SOON, "it goes on however often it is asked");
        signal(&notes.child, "INT");
        std::thread::sleep(Duration::from_millis(20));
    }
    let log = notes.stops_soon_with(1);
    assert!(log.contains("stopped_early"), "{log}");
}

/// Waits until an answer has this in it.
fn until_says(notes: &Logged, path: &str, part: &str) {
    let began = Instant::now();
    loop {
        let answer = send_raw(
            &notes.address,
            &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"),
        );
        if answer.contains(part) {
            return;
        }
        assert!(began.elapsed() < SOON, "{path} does not say {part}: {answer}");
    }
}

/// Everything that a stop waits for has its share of the time, and is named when it is cut.
const IN_THREE_SECONDS: [&str; 2] = ["--stop-within", "3"];

#[test]
fn a_request_that_hangs_is_cut_and_named() {
    let notes = Logged::start_with(&IN_THREE_SECONDS);
    let _request = notes.request_under_way();
    signal(&notes.child, "TERM");
    let log = notes.stops_soon_with(0);
    assert!(log.contains("requests did not end in time"), "{log}");
    assert!(log.lines().last().is_some_and(|line| line.contains("stopped")), "{log}");
}

#[test]
fn a_handler_that_hangs_is_cut_and_named() {
    let notes = Logged::start_with(&IN_THREE_SECONDS);
    let _note = notes.send_note("endless");
    line_with(&notes.log, "words are counted that never end");
    signal(&notes.child, "TERM");
    let log = notes.stops_soon_with(0);
    let cut = "the bus did not stop in time and was cut off service=\"counts\" handling=1";
    assert!(log.contains(cut), "{log}");
    assert!(log.lines().last().is_some_and(|line| line.contains("stopped")), "{log}");
}

#[test]
fn code_that_never_ends_is_cut_and_named() {
    let notes = Logged::start_with(&IN_THREE_SECONDS);
    let _note = notes.send_note("spin");
    until_says(&notes, "/metrics", "annals_requests_in_flight{aggregate=\"note\"} 1");
    signal(&notes.child, "TERM");
    let log = notes.stops_soon_with(0);
    let line = log.lines().find(|line| line.contains("the node did not stop in time")).expect(&log);
    assert!(line.contains("service=\"notes\"") && line.contains("requests=1"), "{line}");
}

#[test]
fn code_that_holds_every_thread_does_not_hold_the_process() {
    for (times, words) in [(1, "holds the process up"), (2, "")] {
        let notes = Logged::start_with(&IN_THREE_SECONDS);
        let threads = std::thread::available_parallelism().unwrap().get();
        // Requests that come once no thread is left are read by nobody.
        let _notes: Vec<_> = (0..4 * threads).map(|_| notes.send_note("spin")).collect();
        line_with(&notes.log, "handler_stuck");
        for _ in 0..times {
            signal(&notes.child, "TERM");
        }
        let log = notes.stops_soon_with(1);
        assert!(log.contains(words), "{log}");
    }
}
