//! What a journal is, as plainly as it can be said: a list of events, and what is set to be kept of streams.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::{
    AppendError, AppendResult, Batch, CHECKPOINT_EVENT_TYPE, Durable, Expected, ExpiringStreams, NewEvent,
    Position, RecordedEvent, Retention, ScavengeOptions, StreamAppend, StreamId, StreamInfo, StreamRetention,
    Timestamp, Version,
};

#[derive(Default)]
pub(super) struct Model {
    /// Every event that was ever appended.
    events: Vec<RecordedEvent>,
    /// Those of them that are there no more.
    scavenged: BTreeSet<Position>,
    /// Of streams that have expired, where that was: nothing of before counts.
    expired: BTreeMap<StreamId, Position>,
    kept: BTreeMap<StreamId, Retention>,
    /// The lineages that a refusal has ended.
    ended: BTreeSet<u64>,
}

/// What a model says of a batch: the answer, but for what else an error tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Appended { first: Position, last: Position, versions: Vec<Version> },
    Conflict { stream: StreamId, actual: Version },
    Gone { stream: StreamId },
    Invalid,
    Superseded,
}

impl Verdict {
    /// The same of an answer; itself when no model gives it.
    pub(super) fn of(answer: AppendResult) -> Result<Self, AppendError> {
        match answer {
            Ok(appended) => Ok(Self::Appended {
                first: appended.first,
                last: appended.last,
                versions: appended.versions.to_vec(),
            }),
            Err(AppendError::Conflict { stream, actual, .. }) => Ok(Self::Conflict { stream, actual }),
            Err(AppendError::StreamGone { stream }) => Ok(Self::Gone { stream }),
            Err(AppendError::Invalid { .. }) => Ok(Self::Invalid),
            Err(AppendError::Superseded) => Ok(Self::Superseded),
            Err(other) => Err(other),
        }
    }
}

impl Model {
    /// Every event that was ever appended.
    pub(super) fn history(&self) -> &[RecordedEvent] {
        &self.events
    }

    pub(super) fn is_there(&self, position: Position) -> bool {
        position <= self.end() && !self.scavenged.contains(&position)
    }

    /// The order of all events.
    pub(super) fn there(&self) -> impl DoubleEndedIterator<Item = &RecordedEvent> + Clone {
        self.events.iter().filter(|event| self.is_there(event.position))
    }

    pub(super) fn version(&self, stream: &StreamId) -> Version {
        Version(
            self.events.iter().filter(|event| event.stream == *stream && self.counts(event)).count() as u64
        )
    }

    fn counts(&self, event: &RecordedEvent) -> bool {
        self.expired.get(&event.stream).is_none_or(|expired| event.position > *expired)
    }

    pub(super) fn end(&self) -> Position {
        Position(self.events.len() as u64)
    }

    pub(super) fn durable(&self) -> Durable {
        let external = self.events.iter().rev().find(|event| !event.stream.is_internal());
        Durable { position: self.end(), external: external.map_or(Position::START, |event| event.position) }
    }

    pub(super) fn streams(&self) -> Vec<StreamInfo> {
        let mut streams = BTreeMap::new();
        for event in self.events.iter().filter(|event| self.counts(event) && !self.is_gone(&event.stream)) {
            let (stream, version, last_time) = (event.stream.clone(), event.version, event.command.time);
            streams.insert(stream.clone(), StreamInfo { stream, version, last_time });
        }
        streams.into_values().collect()
    }

    /// What is read of a stream: the newest of what is there, as far back as it is kept and nothing is missing.
    pub(super) fn read(&self, stream: &StreamId) -> Vec<&RecordedEvent> {
        let mut read: Vec<&RecordedEvent> = Vec::new();
        for event in self.there().filter(|event| event.stream == *stream).rev() {
            let follows = read.last().is_none_or(|behind| behind.version == event.version.next());
            if !follows || !self.is_kept(event) {
                break;
            }
            read.push(event);
        }
        read.reverse();
        read
    }

    fn is_gone(&self, stream: &StreamId) -> bool {
        self.kept.get(stream).is_some_and(|kept| kept.tombstone)
    }

    /// Whether an event is kept, as far as that does not depend on what time it is.
    fn is_kept(&self, event: &RecordedEvent) -> bool {
        let Some(kept) = self.kept.get(&event.stream) else { return true };
        let newer = self.version(&event.stream).0 - event.version.0;
        let is_counted = kept.max_count.is_none_or(|count| newer < count);
        !kept.tombstone && (newer == 0 || event.version >= kept.truncate_before && is_counted)
    }

    // Appending.

    pub(super) fn append(&mut self, batch: &Batch, lineage: Option<u64>) -> Verdict {
        if lineage.is_some_and(|lineage| self.ended.contains(&lineage)) {
            return Verdict::Superseded;
        }
        if let Some(refusal) = self.refusal(batch) {
            self.ended.extend(lineage);
            return refusal;
        }
        let first = self.end().next();
        for append in &batch.streams {
            append.events.iter().for_each(|event| self.push(&append.stream, event));
        }
        batch.retention().iter().for_each(|set| self.retain(set));
        let versions = batch.streams.iter().map(|append| self.version(&append.stream)).collect();
        Verdict::Appended { first, last: self.end(), versions }
    }

    fn refusal(&self, batch: &Batch) -> Option<Verdict> {
        if !batch.retention().iter().all(|set| may_be_set(batch, set)) {
            return Some(Verdict::Invalid);
        }
        batch.streams.iter().find_map(|append| self.refusal_of(append))
    }

    fn refusal_of(&self, append: &StreamAppend) -> Option<Verdict> {
        let (stream, actual) = (append.stream.clone(), self.version(&append.stream));
        if self.is_gone(&stream) {
            return Some(Verdict::Gone { stream });
        }
        (!append.expected.allows(actual)).then_some(Verdict::Conflict { stream, actual })
    }

    fn push(&mut self, stream: &StreamId, event: &NewEvent) {
        let (position, version) = (self.end().next(), self.version(stream).next());
        self.events.push(RecordedEvent { position, stream: stream.clone(), version, event: event.clone() });
    }

    fn retain(&mut self, StreamRetention { stream, retention }: &StreamRetention) {
        let kept = self.kept.entry(stream.clone()).or_default();
        let (before, gone) = (kept.truncate_before, kept.tombstone);
        *kept = *retention;
        kept.truncate_before = before.max(kept.truncate_before);
        kept.tombstone |= gone;
    }

    /// Those who had them are gone with the journal that was closed.
    pub(super) fn end_lineages(&mut self) {
        self.ended.clear();
    }

    // Scavenging.

    /// What was found in the order of all events after a scavenging is all that is left; answers how many are gone.
    pub(super) fn scavenged(
        &mut self,
        found: &[RecordedEvent],
        options: &ScavengeOptions,
    ) -> Result<u64, String> {
        let left: BTreeSet<Position> = found.iter().map(|event| event.position).collect();
        let gone: Vec<_> = self.there().filter(|event| !left.contains(&event.position)).cloned().collect();
        let streams: BTreeSet<_> = gone.iter().map(|event| &event.stream).collect();
        let expired: BTreeSet<_> =
            streams.into_iter().filter(|stream| self.expires(stream, &left, options)).collect();
        let may_go = |event: &RecordedEvent| expired.contains(&event.stream) || self.may_go(event, options);
        if let Some(wrong) = gone.iter().find(|event| !may_go(event)) {
            return Err(format!("an event is scavenged that must stay: {wrong:#?}"));
        }
        let (read, end) = (self.read_of_all(), self.end());
        self.scavenged.extend(gone.iter().map(|event| event.position));
        self.expired.extend(expired.into_iter().map(|stream| (stream.clone(), end)));
        let still = self.read_of_all();
        match read.iter().find(|position| left.contains(position) && !still.contains(position)) {
            Some(hidden) => Err(format!("of a stream something behind position {hidden} is scavenged")),
            None => Ok(gone.len() as u64),
        }
    }

    /// The positions of all that is read of streams.
    fn read_of_all(&self) -> BTreeSet<Position> {
        let streams: BTreeSet<_> = self.events.iter().map(|event| &event.stream).collect();
        streams.into_iter().flat_map(|stream| self.read(stream)).map(|event| event.position).collect()
    }

    fn may_go(&self, event: &RecordedEvent, options: &ScavengeOptions) -> bool {
        let Some(kept) = self.kept.get(&event.stream) else { return false };
        let is_own = kept.max_count.is_some() || kept.max_age.is_some();
        let below = if is_own { options.below.max(options.own_below) } else { options.below };
        event.position < below && (!self.is_kept(event) || self.is_aged(event, options))
    }

    fn is_aged(&self, event: &RecordedEvent, options: &ScavengeOptions) -> bool {
        let most = self.kept.get(&event.stream).and_then(|kept| kept.max_age);
        event.version < self.version(&event.stream)
            && most.is_some_and(|most| is_older(event.command.time, most, options.now))
    }

    /// Whether a stream may go as a whole, and has, when so much is left.
    fn expires(&self, stream: &StreamId, left: &BTreeSet<Position>, options: &ScavengeOptions) -> bool {
        let below = options.below.max(options.own_below);
        let mut of = self.there().filter(|event| event.stream == *stream);
        let last = of.clone().next_back().map(|event| event.command.time);
        let is_old = |streams: &ExpiringStreams| {
            let is_older = last.is_some_and(|last| is_older(last, streams.after, options.now));
            is_older && stream.as_str().starts_with(&streams.prefix)
        };
        stream.is_internal()
            && !self.kept.contains_key(stream)
            && options.expiring.iter().any(is_old)
            && of.all(|event| event.position < below && !left.contains(&event.position))
    }
}

fn is_older(time: Timestamp, age: Duration, now: Timestamp) -> bool {
    i128::from(now.0) - i128::from(time.0) > i128::try_from(age.as_micros()).unwrap_or(i128::MAX)
}

/// Of an aggregate's stream everything is kept, but for what a checkpoint of the same batch makes superfluous.
fn may_be_set(batch: &Batch, StreamRetention { stream, retention }: &StreamRetention) -> bool {
    let checkpoint = batch.streams.iter().find_map(|append| match append.expected {
        Expected::Version(before) if append.stream == *stream => {
            (append.events[0].type_name == CHECKPOINT_EVENT_TYPE).then(|| before.next())
        }
        _ => None,
    });
    let before = retention.truncate_before;
    let is_whole = before <= Version(1) || checkpoint.is_some_and(|checkpoint| before <= checkpoint);
    stream.is_internal() || is_whole && retention.max_count.is_none() && retention.max_age.is_none()
}
