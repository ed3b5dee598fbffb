//! Keys that are set aside: what they wait for is tried again now and then, a few of those with the same cause at a time,
//! and one that succeeds lets others go.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use annals_actors::Clock;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use super::lanes::{Job, LaneKey};
use super::parking::{Told, show_gauges, tell_free};
use super::{RelayOptions, Shared};
use crate::Topic;
use crate::broker::PublishError;
use crate::identity::KeyMap;

/// How many keys with the same cause are tried when their time has come; of very many, one in [`PROBES_SHARE`], so that
/// each has its turn before long.
const PROBES: usize = 16;
const PROBES_SHARE: usize = 64;
/// How many more are tried for each one that succeeds.
const FOLLOWERS: usize = 16;
/// Of how many keys with the same cause it is known why they failed.
const TOLD: usize = 16;

/// Why a key is set aside, as far as others may be for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Cause {
    code: &'static str,
    topic: Topic,
}

/// All keys that are set aside, each with its event that failed.
pub(super) struct Aside {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    /// How long what needs mending waits.
    parked_retry: Duration,
    /// How long what may mend by itself waits.
    longest_pause: Duration,
    groups: HashMap<Cause, Group>,
    /// How many groups there ever were.
    made: u64,
    /// The groups that may be tried now, in turns.
    open: VecDeque<Cause>,
    trying: KeyMap<LaneKey, Trial>,
    /// How many may be tried at once.
    at_once: usize,
    /// End when the time of a group has come.
    due: FuturesUnordered<BoxFuture<'static, (Cause, u64)>>,
    /// How often somebody has said that all are to be tried.
    resumes: u64,
}

/// Those with the same cause.
struct Group {
    /// The how manieth it is; tells it from an earlier one with the same cause.
    number: u64,
    pause: Duration,
    waiting: VecDeque<(LaneKey, Job)>,
    trying: usize,
    /// How many of those that wait may be tried now.
    turns: usize,
    /// Why the first of them failed last; of very many not all.
    told: Vec<(LaneKey, Told)>,
}

/// A key that is being tried.
struct Trial {
    cause: Cause,
    /// How often all were to be tried when it was begun.
    resumes: u64,
}

impl Group {
    fn new(number: u64, pause: Duration) -> Self {
        Self { number, pause, waiting: VecDeque::new(), trying: 0, turns: 0, told: Vec::new() }
    }

    fn len(&self) -> usize {
        self.waiting.len() + self.trying
    }

    fn take(&mut self, key: LaneKey, job: Job, error: PublishError) {
        let told = Told { key: Arc::clone(job.envelope.shared_key()), error: Arc::new(error) };
        match self.told.iter().position(|(of, _)| *of == key) {
            Some(place) => self.told[place].1 = told,
            None if self.told.len() < TOLD => self.told.push((key, told)),
            None => {}
        }
        self.waiting.push_back((key, job));
    }

    /// Lets so many more be tried.
    fn grant(&mut self, turns: usize) {
        self.turns = self.turns.saturating_add(turns).min(self.waiting.len());
    }

    /// The next that may be tried.
    fn next(&mut self) -> Option<(LaneKey, Job)> {
        self.turns = self.turns.checked_sub(1)?;
        let next = self.waiting.pop_front();
        self.trying += usize::from(next.is_some());
        next
    }
}

impl Aside {
    pub(super) fn new(shared: &Arc<Shared>, clock: &Arc<dyn Clock>, options: &RelayOptions) -> Self {
        Self {
            shared: Arc::clone(shared),
            clock: Arc::clone(clock),
            parked_retry: options.parked_retry,
            longest_pause: options.retry.longest_pause,
            groups: HashMap::new(),
            made: 0,
            open: VecDeque::new(),
            trying: KeyMap::default(),
            at_once: options.in_flight.max(1),
            due: FuturesUnordered::new(),
            resumes: 0,
        }
    }

    /// Whether the key is set aside, and its event under way a trial.
    pub(super) fn is_trying(&self, key: LaneKey) -> bool {
        self.trying.contains_key(&key)
    }

    /// Sets a key aside, or back where it was being tried.
    pub(super) fn take(&mut self, key: LaneKey, job: Job, error: PublishError) {
        let cause = Cause { code: error.code(), topic: job.envelope.topic.clone() };
        let trial = self.trying.remove(&key);
        self.group(&cause, &error).take(key, job, error);
        if let Some(Trial { cause: before, resumes }) = trial {
            self.tried(&before, key, before != cause);
            // Somebody said meanwhile that it may go, and the refusal may be from before that.
            self.grant(&cause, usize::from(resumes < self.resumes));
            if before != cause {
                return self.show(&[&before, &cause]);
            }
        }
        self.show(&[&cause]);
    }

    /// Takes note that a key's event was acknowledged; where it was tried, others with its cause may be too.
    pub(super) fn acknowledged(&mut self, key: LaneKey) {
        if let Some(trial) = self.trying.remove(&key) {
            self.tried(&trial.cause, key, true);
            self.grant(&trial.cause, FOLLOWERS);
            self.show(&[&trial.cause]);
        }
    }

    /// What is to be tried next, if anything. Causes take turns.
    pub(super) fn next(&mut self) -> Option<(LaneKey, Job)> {
        while self.trying.len() < self.at_once {
            let cause = self.open.pop_front()?;
            let Some(group) = self.groups.get_mut(&cause) else { continue };
            let next = group.next();
            if group.turns > 0 {
                self.open.push_back(cause.clone());
            }
            if let Some((key, job)) = next {
                self.trying.insert(key, Trial { cause, resumes: self.resumes });
                return Some((key, job));
            }
        }
        None
    }

    /// All are to be tried at once.
    pub(super) fn resume(&mut self) {
        self.resumes += 1;
        for cause in self.groups.keys().cloned().collect::<Vec<_>>() {
            self.grant(&cause, usize::MAX);
        }
    }

    /// Waits until some are to be tried again.
    pub(super) async fn time_has_come(&mut self) {
        let Some((cause, number)) = self.due.next().await else { return std::future::pending().await };
        let Some(group) = self.groups.get(&cause).filter(|group| group.number == number) else { return };
        let probes = PROBES.max(group.waiting.len() / PROBES_SHARE);
        self.arm(&cause, number, group.pause);
        self.grant(&cause, probes);
    }

    fn arm(&self, cause: &Cause, number: u64, pause: Duration) {
        let (due, cause) = (self.clock.sleep(pause), cause.clone());
        self.due.push(async move { (due.await, (cause, number)).1 }.boxed());
    }

    /// The group of this cause. A new one sounds the alarm, once for all that will be in it.
    fn group(&mut self, cause: &Cause, error: &PublishError) -> &mut Group {
        let pause = if error.needs_mending() { self.parked_retry } else { self.longest_pause };
        if !self.groups.contains_key(cause) {
            let relay = &self.shared.name;
            tracing::error!(%relay, topic = %cause.topic, %error, "what fails is parked until this is mended");
            self.made += 1;
            self.arm(cause, self.made, pause);
        }
        self.groups.entry(cause.clone()).or_insert_with(|| Group::new(self.made, pause))
    }

    /// Lets some of a group be tried.
    fn grant(&mut self, cause: &Cause, turns: usize) {
        let Some(group) = self.groups.get_mut(cause) else { return };
        let was_open = group.turns > 0;
        group.grant(turns);
        if !was_open && group.turns > 0 {
            self.open.push_back(cause.clone());
        }
    }

    /// A key of a group was tried, and may be gone from it.
    fn tried(&mut self, cause: &Cause, key: LaneKey, is_gone: bool) {
        let Some(group) = self.groups.get_mut(cause) else { return };
        group.trying -= 1;
        if is_gone {
            group.told.retain(|(of, _)| *of != key);
        }
    }

    /// Shows how groups are, all at once so that at no moment a key is in none of them or in two, and forgets those of which
    /// nothing is left.
    fn show(&mut self, causes: &[&Cause]) {
        let mut trouble = self.shared.trouble.lock();
        for cause in causes {
            let Some(group) = self.groups.get(*cause) else { continue };
            let first = group.told.first().map(|(_, told)| told);
            trouble.parked.show(group.number, cause.code, group.len(), first);
            if group.len() == 0 {
                self.groups.remove(*cause);
            }
        }
        drop(trouble);
        let mut is_free = false;
        for cause in causes {
            is_free = show_gauges(&self.shared, cause.code);
        }
        if is_free {
            tell_free(&self.shared);
        }
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        for (cause, group) in &self.groups {
            self.shared.trouble.lock().parked.show(group.number, cause.code, 0, None);
            show_gauges(&self.shared, cause.code);
        }
    }
}
