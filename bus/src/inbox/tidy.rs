//! Giving up what an inbox need not remember any more: old records are truncated away, and of what they say that still
//! counts a record goes along in the same append.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use annals_persistence::planted::{Fault, planted};
use annals_persistence::{
    AppendError, Batch, CodecError, CommandId, Direction, Expected, JournalExt, ReadError, Retention,
    Timestamp, Version,
};

use super::{CarriedKey, Gap, Inbox, InboxError, InboxEvent, Index, OrderKey, Place, Rejection, decode};
use crate::Topic;
use crate::identity::event_key;
use crate::reaction::Target;
use crate::record;

/// How many records are given up with one append.
const STEP_RECORDS: usize = 8192;
/// How many are read at a time.
const PAGE_RECORDS: usize = 512;
/// How many keys one record carries on.
const KEYS_IN_RECORD: usize = 512;

/// Why old records were not given up; they are the next time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TidyError {
    #[error(transparent)]
    Inbox(#[from] InboxError),
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl From<ReadError> for TidyError {
    fn from(error: ReadError) -> Self {
        Self::Inbox(error.into())
    }
}

/// A source, and a key or an id of its.
type Two = (Arc<str>, Arc<str>);

/// What old records say that may still count.
#[derive(Debug, Default)]
pub(crate) struct Old {
    keys: BTreeMap<Two, (u64, Option<Gap>)>,
    plans: BTreeMap<Two, OldPlan>,
    /// The topic that the last of them was handled on.
    topic: Option<Topic>,
    /// The first record that is not given up.
    until: Version,
    /// When the last was written that is.
    last_time: Timestamp,
    records: usize,
}

/// What old records say of a plan: the list, or answers to its commands where the list was carried on before them.
#[derive(Debug, Default)]
struct OldPlan {
    targets: Option<Vec<Target>>,
    answered: BTreeMap<CommandId, Option<Rejection>>,
}

/// What giving records up came to.
#[derive(Debug, Default)]
pub(crate) struct Tidied {
    /// How many records are given up.
    pub(crate) records: usize,
    /// Where the plans stand now that were carried on.
    pub(crate) plans: Vec<(u128, Version)>,
}

impl Old {
    /// Whether there is nothing to give up.
    pub(crate) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Whether there may be more than is given up at a time.
    pub(crate) fn is_full(&self) -> bool {
        self.records >= STEP_RECORDS
    }

    fn take(&mut self, event: InboxEvent) {
        match event {
            InboxEvent::Planned { source, event_id, targets } => {
                self.plans.entry((source, event_id)).or_default().targets = Some(targets);
            }
            InboxEvent::Answered { source, event_id, command_id, rejection } => {
                self.plans.entry((source, event_id)).or_default().answered.insert(command_id, rejection);
            }
            InboxEvent::Handled { source, event_id, place, .. } => {
                self.place(&source, place);
                self.plans.remove(&(source, event_id));
            }
            InboxEvent::DeadLettered { source, place, .. } => self.place(&source, place),
            InboxEvent::Carried { topic, keys } => {
                self.topic = topic.or(self.topic.take());
                for CarriedKey { source, key, sequence, gap } in keys {
                    self.key((source, key), sequence, gap);
                }
            }
        }
    }

    fn place(&mut self, source: &Arc<str>, place: Place) {
        self.topic = place.topic.or(self.topic.take());
        let (Some(key), Some(sequence)) = (place.key, place.sequence) else { return };
        let gap = place.gap_after.map(|after| Gap { after, before: sequence });
        self.key((Arc::clone(source), key), sequence, gap);
    }

    fn key(&mut self, key: Two, sequence: u64, gap: Option<Gap>) {
        let (last, known) = self.keys.entry(key).or_insert((sequence, None));
        *last = sequence.max(*last);
        *known = match (*known, gap) {
            (Some(one), Some(other)) => {
                Some(Gap { after: one.after.min(other.after), before: one.before.max(other.before) })
            }
            (known, gap) => known.or(gap),
        };
    }

    /// Leaves what still counts: keys of which nothing younger tells how far they are, the topic where nothing younger
    /// tells it, and plans that are not carried out.
    pub(crate) fn keep_only(&mut self, index: &Index) {
        if planted(Fault::KeysNotCarried) {
            self.keys.clear();
        }
        if planted(Fault::PlansNotCarried) {
            self.plans.clear();
        }
        self.keys.retain(|(source, key), (sequence, gap)| {
            let last = index.last(OrderKey::new(source, key));
            gap.is_some() || last.is_none_or(|last| last <= *sequence)
        });
        self.plans.retain(|(source, id), _| index.open_plan(event_key(source, id)).is_some());
        // Older than the last one where it was another.
        self.topic = self.topic.take().and(index.topic_unless_after(self.last_time).cloned());
    }

    /// The records that carry on what counts, and which of them is whose plan.
    fn carried(self) -> (Vec<InboxEvent>, Vec<(u128, usize)>) {
        let mut events = carried_keys(self.topic, self.keys);
        let mut plans = Vec::new();
        for ((source, event_id), plan) in self.plans {
            if plan.targets.is_some() {
                plans.push((event_key(&source, &event_id), events.len()));
            }
            events.extend(plan.carried(&source, &event_id));
        }
        (events, plans)
    }
}

fn carried_keys(mut topic: Option<Topic>, keys: BTreeMap<Two, (u64, Option<Gap>)>) -> Vec<InboxEvent> {
    let keys =
        keys.into_iter().map(|((source, key), (sequence, gap))| CarriedKey { source, key, sequence, gap });
    let keys: Vec<_> = keys.collect();
    let mut events: Vec<_> = keys
        .chunks(KEYS_IN_RECORD)
        .map(|keys| InboxEvent::Carried { topic: topic.take(), keys: keys.to_vec() })
        .collect();
    events.extend(topic.map(|topic| InboxEvent::Carried { topic: Some(topic), keys: Vec::new() }));
    events
}

impl OldPlan {
    /// The list, and what of it is answered right behind it.
    fn carried(self, source: &Arc<str>, event_id: &Arc<str>) -> impl Iterator<Item = InboxEvent> {
        let two = || (Arc::clone(source), Arc::clone(event_id));
        let list = self.targets.map(|targets| {
            let (source, event_id) = two();
            InboxEvent::Planned { source, event_id, targets }
        });
        list.into_iter().chain(self.answered.into_iter().map(move |(command_id, rejection)| {
            let (source, event_id) = two();
            InboxEvent::Answered { source, event_id, command_id, rejection }
        }))
    }
}

impl Inbox {
    /// What the oldest records say, of those that are older than `remember` now: as many as are given up at a time.
    pub(crate) async fn old(&self, remember: Duration) -> Result<Old, TidyError> {
        let (mut old, now) = (Old::default(), self.clock.now());
        let mut from = Version(1);
        while old.records < STEP_RECORDS {
            let page = self.journal.stream_page(&self.stream, from, Direction::Forward, PAGE_RECORDS).await?;
            for recorded in &page.events {
                if !is_old(recorded.command.time, remember, now) {
                    return Ok(old);
                }
                old.take(decode(recorded)?);
                old.records += 1;
                old.until = recorded.version.next();
                old.last_time = recorded.command.time.max(old.last_time);
            }
            let Some(next) = page.next else {
                // The last record of a stream stays, whatever is given up.
                return Ok(if old.records == 1 { Old::default() } else { old });
            };
            from = next;
        }
        Ok(old)
    }

    /// Gives old records up, with one append that also has what of them still counts.
    pub(crate) async fn give_up(&self, old: Old) -> Result<Tidied, TidyError> {
        let (until, records) = (old.until, old.records);
        let (events, plans) = old.carried();
        let carried = events.len();
        let now = self.clock.now();
        let events = events.iter().map(|event| record::record(event, now)).collect::<Result<Vec<_>, _>>()?;
        // The count never bites. It says that the stream is the runtime's own, so that its space is given back though
        // somebody has still to come to aggregates' events in front of it.
        let kept = Retention { truncate_before: until, max_count: Some(u64::MAX), ..Retention::default() };
        let batch = Batch::default().retaining(self.stream.clone(), kept);
        let batch =
            if events.is_empty() { batch } else { batch.and(self.stream.clone(), Expected::Any, events) };
        let appended = self.journal.append(batch).await?;
        let last = appended.versions.first().map_or(0, |version| version.0);
        let first = (last + 1).saturating_sub(carried as u64);
        let plans = plans.into_iter().map(|(event, place)| (event, Version(first + place as u64)));
        Ok(Tidied { records, plans: plans.collect() })
    }
}

fn is_old(time: Timestamp, remember: Duration, now: Timestamp) -> bool {
    now.since(time) > remember
}

#[cfg(test)]
mod tests;
