//! The relay's loop: reads, publishes, takes acknowledgements, moves the cursor.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use annals_actors::Clock;
use annals_persistence::planted::{Fault, planted};
use annals_persistence::{EventStream, Filter, JournalExt, Position, ReadError, RecordedEvent};
use futures_util::future::{BoxFuture, OptionFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use metrics::Counter;
use tokio::sync::{mpsc, watch};

use super::answer::{Answered, Answers};
use super::aside::Aside;
use super::cursor::CursorStream;
use super::delivery::{Delivered, Deliverer};
use super::lanes::{Job, LaneKey, Lanes};
use super::parking::{Gauges, Parking};
use super::{RelayOptions, RelayParts, Shared, StartFrom};
use crate::broker::PublishError;
use crate::publication::{Begun, Sequences, seal};
use crate::{Publications, Topic};

/// How many events may be passed without publishing any before the cursor is written down.
const UNPUBLISHED_MAX: u64 = 4096;
/// How many events are read before those who are to handle them get their turn.
const READ_AT_ONCE: usize = 64;

pub(super) struct Pump {
    shared: Arc<Shared>,
    publications: Arc<Publications>,
    topic: Option<Topic>,
    cursor: CursorStream,
    clock: Arc<dyn Clock>,
    options: RelayOptions,
    deliverer: Arc<Deliverer>,
    /// Where reading and translating wait for somebody.
    parking: Parking,
    sequences: Sequences,
    lanes: Lanes,
    /// The keys whose event fails again and again, as they do.
    failing: mpsc::UnboundedReceiver<LaneKey>,
    /// Those that are set aside.
    aside: Aside,
    /// Tells of calls to go on with them.
    resumed: watch::Receiver<u64>,
    /// Where it shows what keeps nothing up.
    gauges: Gauges,
    /// What is published by being waited for.
    running: FuturesUnordered<BoxFuture<'static, Delivered>>,
    /// How many events the publisher has taken without being waited for, and not answered yet.
    offered: usize,
    answers: Arc<Answers>,
    /// The answers that are being taken in; empty between two turns, and kept for its room.
    taken: Vec<Answered>,
    /// What is counted, for each topic.
    published: HashMap<Topic, Counter>,
    /// The last position looked at.
    read: Position,
    /// The last position written down.
    saved: Position,
    /// Waits, then writes the cursor down; answers with the position if that went well.
    saving: Option<BoxFuture<'static, Option<Position>>>,
    /// Where "now" was when the relay was started.
    started_at: Position,
}

/// Whether the loop goes on.
#[derive(PartialEq, Eq)]
enum Flow {
    GoOn,
    Stop,
}

impl Pump {
    pub(super) fn new(parts: RelayParts, shared: Arc<Shared>) -> Self {
        let RelayParts { journal, publications, topic, publisher, clock, options, .. } = parts;
        let started_at = journal.durable().borrow().position;
        let publisher = publications.publisher(publisher);
        let (deliverer, failing) = Deliverer::new(&shared, publisher, Arc::clone(&clock), &options);
        Self {
            aside: Aside::new(&shared, &clock, &options),
            resumed: shared.resume.subscribe(),
            gauges: Gauges::new(&shared),
            parking: Parking::new(&shared),
            deliverer: Arc::new(deliverer),
            failing,
            cursor: shared.written.clone(),
            sequences: Sequences::new(options.sequences, false),
            lanes: Lanes::default(),
            running: FuturesUnordered::new(),
            offered: 0,
            answers: Arc::default(),
            taken: Vec::new(),
            published: HashMap::new(),
            read: Position::START,
            saved: Position::START,
            saving: None,
            shared,
            publications,
            topic,
            clock,
            options,
            started_at,
        }
    }

    pub(super) async fn run(mut self) {
        if self.begin().await == Flow::GoOn {
            while self.read_and_publish().await == Flow::GoOn {}
        }
        self.drain().await;
    }

    /// Finds out where to begin; tries until it knows or is stopped.
    async fn begin(&mut self) -> Flow {
        loop {
            match self.find_start().await {
                Ok(()) => {
                    self.parking.leave();
                    return Flow::GoOn;
                }
                Err(reason) => {
                    let resumed = self.deliverer.resumed();
                    self.parking.park(&format!("its cursor cannot be read: {reason}"));
                    if self.deliverer.pause(resumed, self.options.retry.longest_pause).await {
                        return Flow::Stop;
                    }
                }
            }
        }
    }

    async fn find_start(&mut self) -> Result<(), String> {
        let last = self.cursor.load().await?;
        if last.is_none() {
            self.cursor.keep_last().await?;
        }
        let start = match (last, self.options.start) {
            _ if planted(Fault::PublishedBesideTheCommit) => self.started_at,
            (Some(position), _) => position,
            (None, StartFrom::Beginning) => Position::START,
            (None, StartFrom::Now) => {
                // Written down at once, or a restart before the first event would take another "now".
                self.cursor.save(self.started_at).await?;
                self.started_at
            }
        };
        (self.read, self.saved) = (start, start);
        self.shared.floor.store(start.0, Ordering::Release);
        self.shared.place.moved_to(start);
        let (journal, clock) = (Arc::clone(&self.cursor.journal), Arc::clone(&self.clock));
        let begun = Begun::load(journal, self.cursor.topics()?, clock).await?;
        self.sequences = Sequences::new(self.options.sequences, start == Position::START).since(begun);
        Ok(())
    }

    /// One subscription to the journal, until it fails or the relay is to stop.
    async fn read_and_publish(&mut self) -> Flow {
        // Events that are never published are read too: the cursor passes them, so that no lag is no lag.
        let mut events = self.cursor.journal.subscribe(self.read.next(), Filter::default());
        let shared = Arc::clone(&self.shared);
        let stopped = shared.stopped();
        tokio::pin!(stopped);
        loop {
            let room = self.has_room();
            tokio::select! {
                biased;
                () = &mut stopped => return Flow::Stop,
                () = self.progress() => {}
                event = events.next(), if room => {
                    if let Some(flow) = self.take_some(event, &mut events).await {
                        return flow;
                    }
                }
            }
        }
    }

    /// Waits until something is heard of what is under way, and takes it in.
    async fn progress(&mut self) {
        let (answers, taken) = (&self.answers, &mut self.taken);
        tokio::select! {
            biased;
            _ = answers.take(taken) => self.take_answers(),
            Some(delivered) = self.running.next(), if !self.running.is_empty() => {
                self.take_delivered(delivered);
            }
            Some(saved) = OptionFuture::from(self.saving.as_mut()), if self.saving.is_some() => self.take_saved(saved),
            Some(key) = self.failing.recv() => {
                self.lanes.failing(key);
                self.settle();
            }
            Ok(()) = self.resumed.changed() => self.aside.resume(),
            () = self.aside.time_has_come() => {}
        }
        self.try_aside();
    }

    /// Whether another event may be read. What is set aside keeps nothing else up, nor what waits behind an event that fails
    /// again and again, as long as there is not too much of it: what is read meanwhile shows whether others leave.
    fn has_room(&self) -> bool {
        let (all, beside) = (self.lanes.len(), self.lanes.beside());
        all - beside.events < self.options.in_flight
            && beside.events <= self.options.parked_max
            && beside.bytes <= self.options.parked_bytes_max
    }

    /// Takes an event, and a few of those that lie ready behind it; `Some` ends the subscription.
    async fn take_some(
        &mut self,
        event: Option<Result<RecordedEvent, ReadError>>,
        events: &mut EventStream,
    ) -> Option<Flow> {
        let mut next = event;
        for _ in 1..READ_AT_ONCE {
            if let Some(flow) = self.take_read(next).await {
                return Some(flow);
            }
            if !self.has_room() {
                return None;
            }
            // What is not ready is asked for again by whoever waits for all there is to wait for.
            next = events.next().now_or_never()?;
        }
        let flow = self.take_read(next).await;
        // Those that were handed an event get their turn.
        tokio::task::yield_now().await;
        flow
    }

    /// Takes what the subscription yields; `Some` ends the subscription.
    async fn take_read(&mut self, event: Option<Result<RecordedEvent, ReadError>>) -> Option<Flow> {
        match event {
            Some(Ok(event)) => (self.publish(&event).await == Flow::Stop).then_some(Flow::Stop),
            Some(Err(ReadError::Closed)) | None => {
                self.shared.failed("the journal is closed");
                // Whoever closed it stops the relay too; what is in flight may still be acknowledged.
                Some(Flow::Stop)
            }
            Some(Err(error)) => {
                let resumed = self.deliverer.resumed();
                self.parking.park(&error.to_string());
                Some(self.wait_parked(resumed, self.options.retry.longest_pause).await)
            }
        }
    }

    /// Publishes what an event translates into; where that cannot be said, waits until it can.
    async fn publish(&mut self, event: &RecordedEvent) -> Flow {
        loop {
            let journal = &self.cursor.journal;
            match seal(&self.publications, journal, &mut self.sequences, event, self.topic.as_ref()).await {
                Ok(sealed) => {
                    // It was read too, so neither keeps it parked.
                    self.parking.leave();
                    self.read = event.position;
                    self.send_all(sealed, event.position);
                    return Flow::GoOn;
                }
                Err(error) => {
                    let resumed = self.deliverer.resumed();
                    self.parking.park(&format!("event {} of {}: {error}", event.position, event.stream));
                    if self.wait_parked(resumed, self.options.parked_retry).await == Flow::Stop {
                        return Flow::Stop;
                    }
                }
            }
        }
    }

    /// Waits while parked, taking the answers that still come.
    async fn wait_parked(&mut self, resumed: watch::Receiver<u64>, duration: Duration) -> Flow {
        let deliverer = Arc::clone(&self.deliverer);
        let pause = deliverer.pause(resumed, duration);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                stop = &mut pause => return if stop { Flow::Stop } else { Flow::GoOn },
                () = self.progress() => {}
            }
        }
    }

    fn send_all(&mut self, sealed: crate::publication::Sealed, position: Position) {
        for envelope in sealed {
            if let Some((key, job)) = self.lanes.admit(Job { envelope, position }) {
                self.send(key, job);
            }
        }
        self.settle();
        // Where nothing is published the cursor is written down too, now and again: it keeps what lies behind it.
        if self.shared.cursor().0 >= self.saved.0 + UNPUBLISHED_MAX {
            self.arm();
        }
    }

    fn send(&mut self, key: LaneKey, job: Job) {
        match self.deliverer.offer(key, job, &self.answers) {
            Some((key, job)) => self.deliver(key, job, None),
            None => self.offered += 1,
        }
    }

    fn deliver(&mut self, key: LaneKey, job: Job, failed: Option<PublishError>) {
        self.running.push(Arc::clone(&self.deliverer).deliver(key, job, failed).boxed());
    }

    /// Takes what the publisher says of events that it took. What it did not publish after all is tried again.
    fn take_answers(&mut self) {
        let mut taken = std::mem::take(&mut self.taken);
        self.offered -= taken.len();
        for Answered { key, job, result } in taken.drain(..) {
            match result {
                Ok(()) => self.acknowledged(key, &job),
                Err(error) => self.refused(key, job, error),
            }
        }
        self.taken = taken;
        self.settle();
        self.arm();
    }

    /// What was offered and not taken is tried again, or set aside.
    fn refused(&mut self, key: LaneKey, job: Job, error: PublishError) {
        self.deliverer.failed(&error);
        if error.needs_mending() || self.aside.is_trying(key) {
            self.set_aside(key, job, error);
        } else {
            self.deliver(key, job, Some(error));
        }
    }

    fn take_delivered(&mut self, delivered: Delivered) {
        match delivered {
            Delivered::Acknowledged { key, job } => self.acknowledged(key, &job),
            Delivered::Refused { key, job, error } => self.set_aside(key, job, error),
            // It stays outstanding, so that the cursor stays below it.
            Delivered::GivenUp => return,
        }
        self.settle();
        self.arm();
    }

    fn set_aside(&mut self, key: LaneKey, job: Job, error: PublishError) {
        self.lanes.set_aside(key);
        self.aside.take(key, job, error);
    }

    /// Tries what is set aside and may be tried now.
    fn try_aside(&mut self) {
        while !self.shared.is_stopping()
            && let Some((key, job)) = self.aside.next()
        {
            match self.deliverer.offer(key, job, &self.answers) {
                Some((key, job)) => self.running.push(Arc::clone(&self.deliverer).try_once(key, job).boxed()),
                None => self.offered += 1,
            }
        }
    }

    fn acknowledged(&mut self, key: LaneKey, job: &Job) {
        self.shared.published.fetch_add(1, Ordering::Relaxed);
        self.count(&job.envelope.topic);
        self.aside.acknowledged(key);
        if let Some(next) = self.lanes.acknowledge(key, job) {
            self.send(key, next);
        }
    }

    fn count(&mut self, topic: &Topic) {
        if let Some(counter) = self.published.get(topic) {
            return counter.increment(1);
        }
        let counter = metrics::counter!("annals_bus_published_total", "topic" => topic.to_string());
        counter.increment(1);
        self.published.insert(topic.clone(), counter);
    }

    fn settle(&mut self) {
        let floor = if planted(Fault::CursorAhead) { self.read } else { self.lanes.floor(self.read) };
        self.shared.floor.store(floor.0, Ordering::Release);
        self.shared.in_flight.store(self.lanes.len(), Ordering::Relaxed);
        self.gauges.show(self.lanes.beside());
    }

    /// Sees to it that the cursor is written down, at most once in a while: the writing takes the position as it is
    /// when the time has come.
    fn arm(&mut self) {
        if self.saving.is_some() || self.shared.cursor() <= self.saved {
            return;
        }
        let (cursor, shared) = (self.cursor.clone(), Arc::clone(&self.shared));
        let due = self.clock.sleep(self.options.cursor_every);
        let save = async move {
            due.await;
            shared.measure_lag();
            let position = shared.cursor();
            match cursor.save(position).await {
                Ok(()) => Some(position),
                Err(reason) => {
                    shared.failed(&reason);
                    None
                }
            }
        };
        self.saving = Some(save.boxed());
    }

    fn take_saved(&mut self, saved: Option<Position>) {
        self.saving = None;
        self.saved = saved.unwrap_or(self.saved);
        self.shared.place.moved_to(self.saved);
        // Acknowledgements that came while it was written want to be written too.
        self.arm();
    }

    /// Waits for what is in flight, for a bounded time, then writes the cursor down.
    async fn drain(&mut self) {
        let deadline = self.clock.sleep(self.options.drain);
        tokio::pin!(deadline);
        while !self.running.is_empty() || self.offered > 0 {
            tokio::select! {
                () = &mut deadline => {
                    let (relay, in_flight) = (&self.shared.name, self.running.len() + self.offered);
                    tracing::warn!(%relay, in_flight, "events on their way did not arrive in time; they are published again");
                    break;
                }
                () = self.progress() => {}
            }
        }
        let position = self.shared.cursor();
        if position > self.saved
            && self.shared.published.load(Ordering::Relaxed) > 0
            && let Err(reason) = self.cursor.save(position).await
        {
            // The events after the last cursor written are published again, under the same ids.
            tracing::warn!(relay = %self.shared.name, reason, "the cursor could not be written");
        }
    }
}
