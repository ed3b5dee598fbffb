//! Time as a dependency, so that tests can hold and move it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use annals_persistence::Timestamp;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Where the runtime takes the time from.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Timestamp;

    /// Ends when this much time has passed.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        tokio::time::sleep(duration).boxed()
    }
}

/// A clock that stands still until it is moved.
///
/// ```
/// use std::time::Duration;
/// use annals_actors::{Clock, VirtualClock};
///
/// let clock = VirtualClock::default();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now().since(before), Duration::from_secs(60));
/// ```
#[derive(Debug, Clone)]
pub struct VirtualClock(Arc<Mutex<VirtualTime>>);

#[derive(Debug)]
struct VirtualTime {
    now: Timestamp,
    /// Sleepers by the moment they wake, in the order in which they lay down.
    sleepers: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
    next: u64,
}

impl VirtualClock {
    /// A clock that shows this time.
    #[must_use]
    pub fn starting_at(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(VirtualTime { now, sleepers: BTreeMap::new(), next: 0 })))
    }

    /// Moves the clock on and wakes everybody whose time has come, in order.
    pub fn advance(&self, duration: Duration) {
        let mut time = self.0.lock();
        let now = time.now.plus(duration);
        time.now = now;
        let later = time.sleepers.split_off(&(now.plus(Duration::from_micros(1)), 0));
        for wake in std::mem::replace(&mut time.sleepers, later).into_values() {
            // A sleeper that went away needs no waking.
            let _asleep = wake.send(());
        }
    }
}

impl Default for VirtualClock {
    /// A clock that shows 2025-01-01T00:00:00Z.
    fn default() -> Self {
        Self::starting_at(Timestamp(1_735_689_600_000_000))
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        self.0.lock().now
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration.is_zero() {
            return std::future::ready(()).boxed();
        }
        let (wake, woken) = oneshot::channel();
        let mut time = self.0.lock();
        let key = (time.now.plus(duration), time.next);
        time.next += 1;
        time.sleepers.insert(key, wake);
        woken.map(drop).boxed()
    }
}
