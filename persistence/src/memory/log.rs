//! What the lock of a [`super::MemoryJournal`] protects: the events, and the answers not yet given.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use tokio::sync::watch;

use crate::journal::validate_batch;
use crate::{
    AllPage, AppendError, AppendResult, Appended, Batch, Completion, Direction, Durable, Filter,
    JournalHealth, Position, RecordedEvent, Retention, StreamAppend, StreamId, StreamInfo, StreamPage,
    Version,
};

/// How many events one page looks at, so that a filter that wants few of them does not hold the lock for long.
const SCAN_EVENTS_MAX: usize = 4096;

/// What is to go wrong with one append.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is refused with this.
    Refuse(AppendError),
    /// It is taken, and its answer lost.
    LoseAnswer,
}

/// A decided append.
struct Decided {
    done: Completion,
    result: AppendResult,
    /// How far the journal must be durable for the answer to leave.
    needs: Durable,
}

pub(super) struct Log {
    /// The event at position `p` is at index `p - 1`.
    events: Vec<RecordedEvent>,
    /// The positions of every stream's events.
    streams: BTreeMap<StreamId, Vec<Position>>,
    /// What is kept of streams, and where the journal ended when it was set.
    retention: BTreeMap<StreamId, (Position, Retention)>,
    /// How far events go, durable or not.
    end: Durable,
    durable: Durable,
    /// Dropped on closing, which ends every subscription.
    announce: Option<watch::Sender<Durable>>,
    holding: bool,
    held: VecDeque<Decided>,
    due: VecDeque<(Completion, AppendResult)>,
    answering: bool,
    submitted: u64,
    faults: BTreeMap<u64, Fault>,
    poisoned: Option<String>,
}

impl Log {
    pub(super) fn new(events: Vec<RecordedEvent>) -> Self {
        let mut log = Self {
            events: Vec::new(),
            streams: BTreeMap::new(),
            retention: BTreeMap::new(),
            end: Durable::default(),
            durable: Durable::default(),
            announce: Some(watch::Sender::new(Durable::default())),
            holding: false,
            held: VecDeque::new(),
            due: VecDeque::new(),
            answering: false,
            submitted: 0,
            faults: BTreeMap::new(),
            poisoned: None,
        };
        events.into_iter().for_each(|event| log.push(event));
        log.make_durable(log.end);
        log
    }

    /// What opening it anew after a crash finds.
    pub(super) fn reopened(&self) -> Self {
        let mut log = Self::new(self.durable_events().to_vec());
        let durable = self.retention.iter().filter(|(_, (at, _))| *at <= self.durable.position);
        log.retention = durable.map(|(stream, kept)| (stream.clone(), *kept)).collect();
        log
    }

    pub(super) fn watch(&self) -> watch::Receiver<Durable> {
        match &self.announce {
            Some(announce) => announce.subscribe(),
            None => watch::channel(self.durable).1,
        }
    }

    // Appending.

    pub(super) fn submit(&mut self, batch: &Batch, done: Completion) {
        self.submitted += 1;
        let result = match self.faults.remove(&self.submitted) {
            Some(Fault::Refuse(error)) => done.decide(batch.lineage.as_ref(), || Err(error)),
            Some(Fault::LoseAnswer) => {
                self.decide(batch, &done).and_then(|_| Err(AppendError::unknown("the answer was lost")))
            }
            None => self.decide(batch, &done),
        };
        self.held.push_back(Decided { done, result, needs: self.end });
        if !self.holding {
            self.release(usize::MAX);
        }
    }

    fn decide(&mut self, batch: &Batch, done: &Completion) -> AppendResult {
        done.decide(batch.lineage.as_ref(), || self.decide_by_itself(batch))
    }

    fn decide_by_itself(&mut self, batch: &Batch) -> AppendResult {
        if self.is_closed() {
            return Err(AppendError::Closed);
        }
        if let Some(reason) = &self.poisoned {
            return Err(AppendError::unknown(reason.clone()));
        }
        validate_batch(batch)?;
        batch.streams.iter().try_for_each(|append| self.check_expected(append))?;
        Ok(self.append(batch))
    }

    fn check_expected(&self, append: &StreamAppend) -> Result<(), AppendError> {
        if self.is_gone(&append.stream) {
            return Err(AppendError::StreamGone { stream: append.stream.clone() });
        }
        let actual = self.last_version(&append.stream);
        if append.expected.allows(actual) {
            return Ok(());
        }
        Err(AppendError::Conflict { stream: append.stream.clone(), expected: append.expected, actual })
    }

    fn append(&mut self, batch: &Batch) -> Appended {
        let first = self.end.position.next();
        let versions = batch.streams.iter().map(|append| self.append_stream(append)).collect();
        for set in batch.retention() {
            let kept = set.retention.after(self.kept(&set.stream));
            self.retention.insert(set.stream.clone(), (self.end.position, kept));
        }
        Appended { first, last: self.end.position, versions }
    }

    fn append_stream(&mut self, append: &StreamAppend) -> Version {
        for event in append.events.iter().cloned() {
            let position = self.end.position.next();
            let version = self.last_version(&append.stream).next();
            self.push(RecordedEvent { position, stream: append.stream.clone(), version, event });
        }
        self.last_version(&append.stream)
    }

    fn push(&mut self, event: RecordedEvent) {
        self.end.position = event.position;
        if !event.stream.is_internal() {
            self.end.external = event.position;
        }
        self.streams.entry(event.stream.clone()).or_default().push(event.position);
        self.events.push(event);
    }

    fn last_version(&self, stream: &StreamId) -> Version {
        Version(self.streams.get(stream).map_or(0, Vec::len) as u64)
    }

    fn kept(&self, stream: &StreamId) -> Option<Retention> {
        self.retention.get(stream).map(|(_, kept)| *kept)
    }

    fn is_gone(&self, stream: &StreamId) -> bool {
        self.kept(stream).is_some_and(|kept| kept.tombstone)
    }

    // Answering.

    pub(super) fn hold(&mut self) {
        self.holding = true;
    }

    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    pub(super) fn release(&mut self, count: usize) {
        for _ in 0..count {
            let Some(decided) = self.held.pop_front() else { break };
            self.make_durable(decided.needs);
            self.due.push_back((decided.done, decided.result));
        }
    }

    pub(super) fn release_all(&mut self) {
        self.holding = false;
        self.release(usize::MAX);
    }

    fn make_durable(&mut self, durable: Durable) {
        if durable == self.durable {
            return;
        }
        self.durable = durable;
        if let Some(announce) = &self.announce {
            announce.send_replace(durable);
        }
    }

    /// The next answer that is due, unless another one is being given.
    pub(super) fn begin_answer(&mut self) -> Option<(Completion, AppendResult)> {
        if self.answering {
            return None;
        }
        let answer = self.due.pop_front()?;
        self.answering = true;
        Some(answer)
    }

    pub(super) fn end_answer(&mut self) {
        self.answering = false;
    }

    // What can go wrong.

    pub(super) fn fail(&mut self, nth: usize, fault: Fault) {
        self.faults.insert(self.submitted + nth as u64, fault);
    }

    pub(super) fn poison(&mut self, reason: String) {
        self.holding = false;
        let unknown = |decided: Decided| (decided.done, Err(AppendError::unknown(reason.clone())));
        self.due.extend(self.held.drain(..).map(unknown));
        self.end = self.durable;
        self.poisoned = Some(reason);
    }

    pub(super) fn close(&mut self) {
        self.release_all();
        self.announce = None;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.announce.is_none()
    }

    pub(super) fn health(&self) -> JournalHealth {
        match &self.poisoned {
            _ if self.is_closed() => JournalHealth::Closed,
            Some(reason) => JournalHealth::Poisoned { reason: reason.clone() },
            None => JournalHealth::Healthy,
        }
    }

    // Reading.

    pub(super) fn durable_events(&self) -> &[RecordedEvent] {
        self.events.get(..index_after(self.durable.position)).unwrap_or(&self.events)
    }

    /// The positions of a stream's durable events.
    fn durable_stream(&self, stream: &StreamId) -> &[Position] {
        let positions = self.streams.get(stream).map_or(&[][..], Vec::as_slice);
        let durable = positions.partition_point(|position| *position <= self.durable.position);
        positions.get(..durable).unwrap_or_default()
    }

    fn at(&self, position: Position) -> Option<&RecordedEvent> {
        self.events.get(index_after(position).checked_sub(1)?)
    }

    pub(super) fn stream_page(
        &self,
        stream: &StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> StreamPage {
        let positions = self.durable_stream(stream);
        let last = Version(positions.len() as u64);
        let kept = self.kept(stream).map_or(Version(1), |kept| kept.first_kept(last));
        let from = usize::try_from(from.0).unwrap_or(usize::MAX);
        let gone = usize::try_from(kept.0 - 1).unwrap_or(usize::MAX);
        let (mut forward, mut backward);
        let wanted: &mut dyn Iterator<Item = &Position> = match direction {
            Direction::Forward => {
                forward = positions.iter().skip(from.saturating_sub(1).max(gone));
                &mut forward
            }
            Direction::Backward => {
                backward = positions.iter().take(from).skip(gone).rev();
                &mut backward
            }
        };
        let events = wanted.take(limit).filter_map(|position| self.at(*position).cloned()).collect();
        StreamPage::new(events, direction, wanted.next().is_some())
    }

    pub(super) fn all_page(&self, from: Position, filter: &Filter, limit: usize) -> AllPage {
        let mut page = AllPage { events: Vec::new(), next: from.max(Position(1)) };
        let unread = self.durable_events().get(index_after(page.next) - 1..).unwrap_or_default();
        for event in unread.iter().take(SCAN_EVENTS_MAX) {
            if page.events.len() == limit {
                break;
            }
            page.next = event.position.next();
            page.events.extend(filter.matches(event).then(|| event.clone()));
        }
        page
    }

    pub(super) fn stream_info(&self, stream: &StreamId) -> Option<StreamInfo> {
        if self.is_gone(stream) {
            return None;
        }
        let positions = self.durable_stream(stream);
        let last = self.at(*positions.last()?)?;
        Some(StreamInfo { stream: stream.clone(), version: last.version, last_time: last.command.time })
    }

    pub(super) fn streams_page(
        &self,
        prefix: &str,
        after: Option<&StreamId>,
        limit: usize,
    ) -> Vec<StreamInfo> {
        let start = match after {
            Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix),
        };
        self.streams
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(stream, _)| stream.as_str().starts_with(prefix))
            .filter_map(|(stream, _)| self.stream_info(stream))
            .take(limit)
            .collect()
    }
}

/// The number of events up to and including a position.
fn index_after(position: Position) -> usize {
    usize::try_from(position.0).unwrap_or(usize::MAX)
}
