//! Child processes: started, watched, killed.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::PATIENCE;

/// The ports that were handed out.
static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port of the loopback interface that nobody listens on, and that this process was not given before. Another process
/// may take it before it is used; the operating system hands out others first.
#[must_use]
pub fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        if TAKEN.lock().expect("no thread has panicked here").insert(port) {
            return port;
        }
    }
}

/// Waits until somebody listens on a port of the loopback interface.
pub fn wait_for_port(port: u16, what: &str) {
    wait_until(what, || {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
    });
}

/// Waits until something is so; fails after a while.
pub(crate) fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "{what}: not after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A child process with its output in a file.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; what it says is appended to this file.
    #[must_use]
    pub fn start(mut command: Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).expect("a log file");
        let errors = file.try_clone().expect("a log file");
        // Some are scripts with the real program as their child; a group ends as one.
        let child = command.process_group(0).stdin(Stdio::null()).stdout(file).stderr(errors).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        Self { child, log: log.to_owned() }
    }

    /// Waits until it listens; fails with what it said if it ends instead.
    pub(crate) fn wait_for_port(&mut self, port: u16, what: &str) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait_until(what, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("{what} ended with {status}; it said\n{}", self.said());
            }
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
        });
    }

    /// All that it has said.
    #[must_use]
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended, by itself or because it was told to.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        kill_process_group(Pid::from_child(&self.child), Signal::KILL).ok();
        drop(self.child.wait());
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    pub fn terminate(&mut self, patience: Duration) -> ExitStatus {
        self.ask_to_end();
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("a process") {
                return status;
            }
            assert!(Instant::now() < deadline, "it did not end on SIGTERM; it said\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGTERM, without waiting.
    pub fn ask_to_end(&self) {
        if let Err(error) = kill_process(Pid::from_child(&self.child), Signal::TERM) {
            eprintln!("SIGTERM was not sent: {error}");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
