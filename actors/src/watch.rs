//! What a node has on its hands, and what of that is stuck: seen from outside, so that it costs those who work nothing.
//!
//! A watcher comes by now and then and compares what it sees with what it saw. A request that is still being handled was
//! handled all the time in between; a mailbox that still holds what it held has made it wait as long. So nobody has to note
//! when a request came or when its handling began; the times are those of which the watcher is certain, shorter than the
//! true ones by at most the pause between two looks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use annals_persistence::{StreamId, Timestamp};
use parking_lot::Mutex;

use crate::Aggregate;
use crate::instance::Instance;
use crate::kind::Kind;
use crate::mailbox::Waiting;
use crate::metrics::count;
use crate::turn::Handling;

mod thread;

pub(crate) use thread::{Wake, Watch};

/// What one aggregate type has on its hands.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct KindLoad {
    /// How many instances are live.
    pub live: usize,
    /// How many requests were admitted and are not answered: those that wait, those being handled, and those decided
    /// whose answers wait for the disk.
    pub in_flight: usize,
    /// How many of them wait in mailboxes.
    pub waiting: usize,
    /// How many wait in the fullest mailbox.
    pub deepest: usize,
    /// How long the first request of a mailbox waits, at least, of the one whose first waits longest.
    pub oldest: Duration,
    /// What is over its limit.
    pub stuck: Vec<StuckInstance>,
}

/// An instance that is stuck.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct StuckInstance {
    /// The instance.
    pub stream: StreamId,
    /// What of it is stuck.
    pub what: Stuck,
    /// For how long, at least.
    pub lasting: Duration,
}

/// What can be stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stuck {
    /// A request is handled for longer than [`NodeOptions::handling_max`](crate::NodeOptions::handling_max).
    Handler {
        /// What the command is called; `a read` for a look at the state, `commands` for several in one.
        command: &'static str,
    },
    /// The first request of the mailbox waits for longer than
    /// [`NodeOptions::mailbox_age_max`](crate::NodeOptions::mailbox_age_max), and no handler is the reason: the replay
    /// of the instance, for one.
    Mailbox {
        /// How many wait.
        waiting: usize,
    },
}

/// What the watcher remembers of one aggregate type.
pub(crate) struct Watched {
    seen: Mutex<HashMap<usize, Seen>>,
    wake: Wake,
}

/// What was seen of an instance that had something to do.
struct Seen {
    stream: StreamId,
    handling: Option<Lasting<Handling>>,
    /// How many requests of the mailbox had come until then: as long as they are not all taken, the oldest waits.
    waiting: Option<Lasting<u64>>,
    /// How many wait.
    count: usize,
}

/// Something that lasts.
struct Lasting<T> {
    what: T,
    since: Timestamp,
    /// Whether it was reported.
    told: bool,
}

impl<T> Lasting<T> {
    fn of(what: T, since: Timestamp) -> Self {
        Self { what, since, told: false }
    }

    fn lasts(&self, now: Timestamp) -> Duration {
        now.since(self.since)
    }

    /// Whether it is to be reported: only the first time.
    fn is_news(&mut self) -> bool {
        !std::mem::replace(&mut self.told, true)
    }
}

/// What is to be seen of an instance.
struct Sight {
    handling: Option<Handling>,
    waiting: Waiting,
    in_flight: usize,
}

impl Sight {
    fn of<A: Aggregate>(instance: &Instance<A>) -> Self {
        let waiting = instance.mailbox.waiting();
        let in_flight = waiting.count + instance.turn.left() + instance.commits.waiting();
        Self { handling: instance.turn.handling(), waiting, in_flight }
    }

    fn is_idle(&self) -> bool {
        self.handling.is_none() && self.waiting.count == 0
    }
}

impl Seen {
    fn nothing(stream: StreamId) -> Self {
        Self { stream, handling: None, waiting: None, count: 0 }
    }

    /// Takes in another look.
    fn go_on(&mut self, sight: &Sight, now: Timestamp) {
        let before = self.handling.take();
        self.handling = sight.handling.map(|handling| match before {
            Some(lasting) if lasting.what == handling => lasting,
            ended => {
                self.ended(ended);
                Lasting::of(handling, now)
            }
        });
        let Waiting { taken, count } = sight.waiting;
        let before = self.waiting.take().filter(|lasting| taken < lasting.what);
        let begins = || Lasting::of(taken + count as u64, now);
        self.count = count;
        self.waiting = (count > 0).then(|| before.unwrap_or_else(begins));
    }

    /// Says that what was reported is over.
    fn ended(&self, handling: Option<Lasting<Handling>>) {
        if handling.is_some_and(|lasting| lasting.told) {
            tracing::info!(stream = %self.stream, "a handler that was stuck has ended");
        }
    }
}

impl Watched {
    pub(crate) fn new(wake: Wake) -> Self {
        Self { seen: Mutex::default(), wake }
    }

    /// Notes that an instance was made, with which there are so many: with the first there is something to watch.
    pub(crate) fn instance_made(&self, live: usize) {
        if live == 1 {
            self.wake.wake();
        }
    }
}

impl<A: Aggregate> Kind<A> {
    /// Looks at every live instance, brings the gauges up to date, and reports what is stuck, once.
    pub(crate) fn look(&self) -> KindLoad {
        let now = self.clock.now();
        let mut load = KindLoad { live: self.registry.len(), ..KindLoad::default() };
        let mut seen = self.watched.seen.lock();
        let mut busy = HashMap::new();
        self.registry.for_each(|instance| {
            let sight = Sight::of(instance);
            load.in_flight += sight.in_flight;
            load.waiting += sight.waiting.count;
            load.deepest = load.deepest.max(sight.waiting.count);
            if sight.is_idle() {
                return;
            }
            // An address alone: it keeps nothing alive, and one that is used again belongs to another number.
            let place = Arc::as_ptr(instance).addr();
            let mut its = seen.remove(&place).filter(|seen| seen.stream == instance.stream);
            its.get_or_insert_with(|| Seen::nothing(instance.stream.clone())).go_on(&sight, now);
            busy.extend(its.map(|its| (place, its)));
        });
        std::mem::replace(&mut *seen, busy).into_values().for_each(|mut over| {
            let handling = over.handling.take();
            over.ended(handling);
        });
        seen.values_mut().for_each(|its| self.judge(its, now, &mut load));
        drop(seen);
        self.publish(&load);
        load
    }

    /// Notes what is over its limit, and reports what was not reported yet. Where a handler is stuck, the mailbox waits
    /// for it and is not reported too.
    fn judge(&self, seen: &mut Seen, now: Timestamp, load: &mut KindLoad) {
        load.oldest = load.oldest.max(seen.waiting.as_ref().map_or(Duration::ZERO, |first| first.lasts(now)));
        let stuck = self.stuck_handler(seen, now).or_else(|| self.stuck_mailbox(seen, now));
        load.stuck.extend(stuck);
    }

    fn stuck_handler(&self, seen: &mut Seen, now: Timestamp) -> Option<StuckInstance> {
        let stream = seen.stream.clone();
        let handling = seen.handling.as_mut()?;
        let (lasting, command) = (handling.lasts(now), self.names.of(handling.what.command));
        if lasting < self.options.handling_max {
            return None;
        }
        if handling.is_news() {
            self.metrics.handlers_reported.increment(1);
            tracing::warn!(
                aggregate = A::TYPE, %stream, command, ?lasting, code = "handler_stuck",
                "a request is being handled for too long; whatever else is for this instance waits"
            );
        }
        Some(StuckInstance { stream, what: Stuck::Handler { command }, lasting })
    }

    fn stuck_mailbox(&self, seen: &mut Seen, now: Timestamp) -> Option<StuckInstance> {
        let (stream, waiting) = (seen.stream.clone(), seen.count);
        let first = seen.waiting.as_mut()?;
        let lasting = first.lasts(now);
        if lasting < self.options.mailbox_age_max {
            return None;
        }
        if first.is_news() {
            self.metrics.mailboxes_reported.increment(1);
            tracing::warn!(
                aggregate = A::TYPE, %stream, waiting, ?lasting, code = "mailbox_stuck",
                "the first request of a mailbox waits for too long"
            );
        }
        Some(StuckInstance { stream, what: Stuck::Mailbox { waiting }, lasting })
    }

    fn publish(&self, load: &KindLoad) {
        let metrics = &self.metrics;
        let handlers = load.stuck.iter().filter(|one| matches!(one.what, Stuck::Handler { .. })).count();
        metrics.live.set(count(load.live));
        metrics.in_flight.set(count(load.in_flight));
        metrics.waiting.set(count(load.waiting));
        metrics.deepest.set(count(load.deepest));
        metrics.oldest.set(load.oldest.as_secs_f64());
        metrics.stuck_handlers.set(count(handlers));
        metrics.stuck_mailboxes.set(count(load.stuck.len() - handlers));
    }
}

#[cfg(test)]
mod tests;
