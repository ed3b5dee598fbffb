//! The thread that comes by. A thread and no task: handlers that never end may hold every thread that tasks run on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::NodeOptions;
use crate::kind::ManagedKind;

/// The pause between two looks is half of the shorter limit, kept between these.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Wakes the watcher, which sleeps for as long as nothing is live.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wake(Arc<OnceLock<Thread>>);

impl Wake {
    pub(crate) fn wake(&self) {
        if let Some(thread) = self.0.get() {
            thread.unpark();
        }
    }
}

/// The thread that watches a node; it ends with the node.
#[derive(Debug)]
pub(crate) struct Watch {
    stopped: Arc<AtomicBool>,
    wake: Wake,
}

impl Watch {
    /// Starts it; without a thread the node is not watched, and works all the same.
    pub(crate) fn start(kinds: &[Arc<dyn ManagedKind>], options: &NodeOptions, wake: &Wake) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let watcher = Watcher {
            kinds: kinds.iter().map(Arc::downgrade).collect(),
            pause: (options.handling_max.min(options.mailbox_age_max) / 2).clamp(PAUSE_MIN, PAUSE_MAX),
            stopped: Arc::clone(&stopped),
        };
        match thread::Builder::new().name("annals-watch".to_owned()).spawn(move || watcher.run()) {
            // Nobody has set it before.
            Ok(handle) => drop(wake.0.set(handle.thread().clone())),
            Err(error) => {
                tracing::error!(%error, "no thread to watch the node; what is stuck is not reported")
            }
        }
        Self { stopped, wake: wake.clone() }
    }

    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.wake.wake();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Watcher {
    kinds: Vec<Weak<dyn ManagedKind>>,
    pause: Duration,
    stopped: Arc<AtomicBool>,
}

impl Watcher {
    fn run(self) {
        loop {
            let live: usize = self.kinds.iter().filter_map(Weak::upgrade).map(|kind| kind.load().live).sum();
            if self.stopped.load(Ordering::Acquire) {
                return;
            }
            // A wake-up that came since the look is not lost: parking ends at once then.
            if live == 0 {
                thread::park();
            } else {
                thread::park_timeout(self.pause);
            }
        }
    }
}
