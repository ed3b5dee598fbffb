//! Events that came before the one in front of them: they wait a little for it, then are kept in the journal and
//! acknowledged, and are run from there.

use std::time::Duration;

use annals_persistence::planted::{Fault, planted};
use annals_persistence::{Timestamp, Version};
use smallvec::smallvec;

use super::{Desk, Job, LATE, Limits, Standing, Step, Steps, TAKEN, unwanted};
use crate::inbox::{Early, Index, OrderKey, Restored, Writing};
use crate::subscription::Manner;

impl Job {
    /// An event that was kept.
    fn kept(early: &Early, index: &Index) -> Self {
        let event = early.event();
        Self {
            event,
            lane: early.lane(),
            envelope: early.envelope.clone(),
            manner: Manner { fault: early.fault.clone(), ..Manner::default() },
            plan: index.open_plan(event),
            gap_after: None,
        }
    }

    /// Its place in its lane: its sequence, and what tells it from another event that has the same.
    pub(super) fn place(&self) -> (u64, u128) {
        (self.envelope.sequence.unwrap_or_default(), self.event)
    }
}

impl Desk {
    /// Has an event wait for the one before it.
    pub(super) fn take_early(&mut self, job: Job, now: Timestamp) -> Steps {
        let (key, (sequence, _)) = (job.lane, job.place());
        self.waiting.forget(self.limits.longest_wait(), now);
        self.waiting.begin(key, now);
        let lane = self.lanes.entry(key).or_default();
        if lane.early.range((sequence, 0)..=(sequence, u128::MAX)).next().is_some() {
            self.send_back([job], "another event has its place among those that wait");
            return Steps::new();
        }
        if lane.early.len() >= self.limits.reorder_capacity {
            self.send_back([job], "too many events wait for an earlier one");
            return Steps::new();
        }
        debug_assert!(self.replies.contains_key(&job.event), "somebody waits for it");
        // The others have waited for it as long as one waits.
        let is_known_to_wait = lane.early.values().any(|job| self.shelf.has(job.event));
        lane.early.insert(job.place(), job);
        if is_known_to_wait {
            self.keep_all(key, now);
        }
        self.advance(key, now)
    }

    pub(super) fn set_early(&mut self, job: Job) {
        self.lanes.entry(job.lane).or_default().early.insert(job.place(), job);
    }

    pub(super) fn release_early(&mut self, key: OrderKey) {
        while let Some((_, job)) = self.lanes.get_mut(&key).and_then(|lane| lane.early.pop_first()) {
            match self.standing(&job) {
                Standing::Next => self.line_up(job),
                Standing::Passed => self.pass(&job),
                Standing::Late => self.line_up(unwanted(job, LATE)),
                Standing::Taken => self.line_up(unwanted(job, TAKEN)),
                Standing::Early => return self.set_early(job),
            }
        }
    }

    /// The lane's early events have waited as long as the broker is to wait for them: they are kept here. Once that has gone
    /// on for longer than any broker takes to bring the one before them, the first is taken without it.
    pub(in super::super) fn overdue(&mut self, key: OrderKey, watch: u64, now: Timestamp) -> Steps {
        let Some(lane) = self.lanes.get_mut(&key).filter(|lane| lane.watch == watch) else {
            return Steps::new();
        };
        lane.watched = false;
        if self.has_waited(key, now) {
            self.take_over_gap(key);
        } else {
            self.keep_all(key, now);
        }
        self.advance(key, now)
    }

    /// Whether a key has waited long enough for an event, and notes it when somebody should know that it waits.
    fn has_waited(&mut self, key: OrderKey, now: Timestamp) -> bool {
        let lasts = self.waiting.lasts(key, now);
        if lasts >= self.limits.unseen_timeout {
            self.waiting.stalls(key);
        }
        lasts >= self.longest_wait_of(key)
    }

    fn longest_wait_of(&self, key: OrderKey) -> Duration {
        let Limits { unseen_timeout, gap_timeout, .. } = self.limits;
        if self.tail(key).is_none() { unseen_timeout } else { gap_timeout }
    }

    /// Takes the first early event without those before it; should they come after all, they are late.
    fn take_over_gap(&mut self, key: OrderKey) {
        let after = self.tail(key).unwrap_or(0);
        let first = self.lanes.get_mut(&key).and_then(|lane| lane.early.pop_first());
        if let Some(((sequence, _), job)) = first {
            let event = &job.envelope.id;
            tracing::warn!(%event, after, sequence, "the events between never came; this one is handled without them");
            metrics::counter!("annals_bus_gaps_total").increment(1);
            self.index.gap(key, after, sequence);
            self.line_up(Job { gap_after: Some(after), ..job });
        }
    }

    /// Has all that waits in a lane kept, as far as there is room; the rest goes back and comes again.
    fn keep_all(&mut self, key: OrderKey, now: Timestamp) {
        let Some(lane) = self.lanes.get(&key) else { return };
        let wanted = lane.early.values().filter(|job| !self.shelf.has(job.event));
        let since = self.waiting.since(key).unwrap_or(now);
        for job in wanted.cloned().collect::<Vec<_>>() {
            if planted(Fault::KeptBeforeDurable) {
                self.answer(job.event, &Ok(()));
            }
            let (envelope, fault) = (job.envelope.clone(), job.manner.fault.clone());
            if self.shelf.claim(Early { envelope, fault, since }) {
                self.waiting.insist(key, since);
            } else {
                self.send_back_early(&job, "as many events as may be are kept until an earlier one comes");
            }
        }
    }

    fn send_back_early(&mut self, job: &Job, reason: &str) {
        if let Some(job) = self.lanes.get_mut(&job.lane).and_then(|lane| lane.early.remove(&job.place())) {
            self.send_back([job], reason);
        }
    }

    /// Has somebody say when the lane's early events have waited long enough.
    pub(super) fn watch(&mut self, key: OrderKey, now: Timestamp) -> Option<Step> {
        let lane = self.lanes.get_mut(&key).filter(|lane| !lane.early.is_empty())?;
        if lane.early.values().all(|job| self.shelf.has(job.event)) {
            self.waiting.insist(key, now);
            return self.look_at(key, now);
        }
        self.waiting.begin(key, now);
        if lane.watched {
            return None;
        }
        lane.watched = true;
        lane.watch += 1;
        Some(Step::Watch { lane: key, watch: lane.watch })
    }

    /// Has somebody say when it is time to look at a lane of which all is kept, unless that is said before.
    fn look_at(&mut self, key: OrderKey, now: Timestamp) -> Option<Step> {
        let after = self.next_moment(key, now);
        if self.look.0.is_some_and(|next| next <= now.plus(after)) {
            return None;
        }
        self.look = (Some(now.plus(after)), self.look.1 + 1);
        Some(Step::Look { look: self.look.1, after })
    }

    /// How long it is until something is to be said or done of a lane that waits.
    fn next_moment(&self, key: OrderKey, now: Timestamp) -> Duration {
        let (lasts, most) = (self.waiting.lasts(key, now), self.longest_wait_of(key));
        let next =
            if lasts < self.limits.unseen_timeout { self.limits.unseen_timeout.min(most) } else { most };
        next.saturating_sub(lasts).max(self.limits.reorder_timeout)
    }

    /// Looks at all lanes of which something is kept.
    pub(in super::super) fn look(&mut self, look: u64, now: Timestamp) -> Steps {
        if self.look.1 != look {
            return Steps::new();
        }
        self.look.0 = None;
        let waiting = self.lanes.iter().filter(|(_, lane)| !lane.early.is_empty());
        let mut steps = Steps::new();
        for key in waiting.map(|(key, _)| *key).collect::<Vec<_>>() {
            if self.has_waited(key, now) {
                self.take_over_gap(key);
            }
            steps.extend(self.advance(key, now));
        }
        // Each may have asked for an earlier moment than those before it: only the earliest counts.
        let last = self.look.1;
        steps.retain(|step| !matches!(step, Step::Look { look, .. } if *look != last));
        steps
    }

    /// Goes on with what an earlier run has kept.
    pub(in super::super) fn restore(&mut self, restored: Restored, now: Timestamp) -> Steps {
        let mut steps = Steps::new();
        for early in self.shelf.restore(restored) {
            let job = Job::kept(&early, &self.index);
            let key = job.lane;
            if matches!(self.standing(&job), Standing::Early) {
                self.waiting.insist(key, self.waits_since(&early, now));
            }
            steps.extend(self.place(job, now));
            self.has_waited(key, now);
        }
        steps
    }

    /// Since when a key counts as waiting of which an event was kept by an earlier run: what it waits for may be with the
    /// broker, which nobody has heard meanwhile, and is given the time that this takes to bring it again.
    fn waits_since(&self, early: &Early, now: Timestamp) -> Timestamp {
        let most = self.longest_wait_of(early.lane()).saturating_sub(self.limits.unseen_timeout);
        let most = i64::try_from(most.as_micros()).unwrap_or(i64::MAX);
        early.since.max(Timestamp(now.0.saturating_sub(most)))
    }

    /// What is to be written to the journal now, where anything is.
    pub(in super::super) fn next_write(&mut self) -> Option<Writing> {
        let lanes = &self.lanes;
        self.shelf
            .due(|early| lanes.get(&early.lane()).is_some_and(|lane| lane.early.contains_key(&early.place())))
    }

    /// Takes note of what became of a write: the last version that is durable, or why nothing is.
    pub(in super::super) fn written(
        &mut self,
        writing: Writing,
        result: Result<Version, String>,
        now: Timestamp,
    ) -> Steps {
        let mut steps = Steps::new();
        match result {
            Ok(last) => {
                for (version, early) in self.shelf.written(writing, last) {
                    steps.extend(self.is_kept(version, early, now));
                }
            }
            Err(reason) => {
                tracing::warn!(reason, "early events are not kept");
                for early in self.shelf.not_written(writing) {
                    let job = Job::kept(&early, &self.index);
                    self.send_back_early(&job, &reason);
                    steps.extend(self.advance(job.lane, now));
                }
            }
        }
        steps
    }

    /// An event is in the journal: the broker need not keep it any more.
    fn is_kept(&mut self, version: Version, early: Early, now: Timestamp) -> Steps {
        let (event, key, place) = (early.event(), early.lane(), early.place());
        if self.index.seen(event).is_some() {
            self.shelf.leave(event);
            return Steps::new();
        }
        let job = Job::kept(&early, &self.index);
        self.shelf.hold(version, early);
        if self.refuses {
            self.answer(event, &Ok(()));
            return Steps::new();
        }
        if self.lanes.get(&key).is_some_and(|lane| lane.early.contains_key(&place)) {
            self.answer(event, &Ok(()));
        } else if !self.replies.contains_key(&event) {
            // It was sent back meanwhile, and need not come again.
            return self.place(job, now);
        }
        Steps::new()
    }

    /// One that is kept could not be handled: there is nobody to send it back to, so it is run again here. Its lane waits.
    pub(super) fn put_off(&mut self, job: &Job) -> Steps {
        self.answer(job.event, &Ok(()));
        if self.refuses {
            return Steps::new();
        }
        let failures = self.shelf.fail(job.event);
        smallvec![Step::RunLater { job: job.clone(), failures }]
    }

    /// The pause is over.
    pub(in super::super) fn again(&mut self, job: Job) -> Steps {
        if self.refuses {
            return Steps::new();
        }
        let plan = self.index.open_plan(job.event);
        smallvec![Step::RunKept(Job { plan, ..job })]
    }

    /// How many events are kept until the one before them comes, or run.
    pub(in super::super) fn kept(&self) -> usize {
        self.shelf.len()
    }

    /// Has all given up in the journal that is not needed any more.
    pub(in super::super) fn tidy(&mut self) {
        self.shelf.tidy();
    }
}
