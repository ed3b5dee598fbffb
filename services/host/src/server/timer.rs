//! The timer behind the limit on heads of requests, made so that a request costs no entry in the runtime's timer.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use parking_lot::Mutex;

/// One alarm of the runtime for a whole connection. Every request moves the deadline, and the alarm is set anew only
/// when it rings too early, once in a while, not for every request.
#[derive(Clone, Default)]
pub(super) struct ConnectionTimer(Arc<Mutex<Option<Alarm>>>);

type Alarm = Pin<Box<tokio::time::Sleep>>;

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
        Box::pin(Until { deadline, alarm: Arc::clone(&self.0) })
    }
}

struct Until {
    deadline: Instant,
    alarm: Arc<Mutex<Option<Alarm>>>,
}

impl Sleep for Until {}

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut alarm = self.alarm.lock();
        let alarm = alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(self.deadline.into())));
        if alarm.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        // It was set for an earlier request, or rings in time: then it rings again at once.
        alarm.as_mut().reset(self.deadline.into());
        alarm.as_mut().poll(context)
    }
}
