//! The timer behind the limit on heads of requests, made so that a request costs no entry in the runtime's timer. It also
//! tells when such a head is waited for, which hyper says nowhere else.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use parking_lot::Mutex;

/// One alarm of the runtime for a whole connection. Every request moves the deadline, and the alarm is set anew only
/// when it rings too early, once in a while, not for every request.
#[derive(Clone, Default)]
pub(super) struct ConnectionTimer(Arc<State>);

#[derive(Default)]
struct State {
    alarm: Mutex<Option<Alarm>>,
    awaits_head: AtomicBool,
}

type Alarm = Pin<Box<tokio::time::Sleep>>;

impl ConnectionTimer {
    /// Polls the connection, and answers also whether it now waits for a head of a request or for the rest of one.
    pub(super) fn observe<T>(&self, poll: impl FnOnce() -> T) -> (T, bool) {
        self.0.awaits_head.store(false, Ordering::Relaxed);
        (poll(), self.0.awaits_head.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for ConnectionTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionTimer")
    }
}

impl Timer for ConnectionTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Until { deadline, state: Arc::clone(&self.0) })
    }
}

struct Until {
    deadline: Instant,
    state: Arc<State>,
}

impl Sleep for Until {}

impl Drop for Until {
    fn drop(&mut self) {
        // The head is whole.
        self.state.awaits_head.store(false, Ordering::Relaxed);
    }
}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // Only the limit on heads is slept for, and only while more of one has to come.
        self.state.awaits_head.store(true, Ordering::Relaxed);
        let mut alarm = self.state.alarm.lock();
        let alarm = alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(self.deadline.into())));
        if alarm.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        // It was set for an earlier request, or rings in time: then it rings again at once.
        alarm.as_mut().reset(self.deadline.into());
        alarm.as_mut().poll(context)
    }
}
