//! Subscriptions: one handler on one topic, as an actor with a lane for every key.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use annals_actors::Clock;
use annals_persistence::Position;
use parking_lot::Mutex;
use ractor::ActorRef;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use crate::dead_letter::LetterBox;
use crate::handler::AnyHandler;
use crate::identity::{derived, event_key};
use crate::inbox::{EarlyBox, Inbox, Index, OrderKey, Restored};
use crate::mailbox::Mailbox;
use crate::relay::Answer;
use crate::{Envelope, RetryPolicy, StartFrom, Topic, TopicArguments, ended};

mod actor;
mod desk;
mod effect;
mod run;
mod tidy;
pub(crate) mod unreadable;

use actor::{Arguments, Message, Serve, SubscriptionActor};
use desk::{Arrival, Reply, ReplyTo};
use effect::Kinds;
pub(crate) use run::Counted;

/// Limits and habits of a subscription.
#[derive(Debug, Clone)]
pub struct SubscriptionOptions {
    /// The topic, where it is not the event's own.
    pub topic: TopicArguments,
    /// The topic that it had before, where this one carries the same events under another name or version: it goes on where it
    /// was, and what it has handled counts as handled. Without this, a subscription that has handled events keeps its topic; for
    /// others take another name.
    pub continues: Option<Topic>,
    /// Where it begins in each source that it has not heard of yet. Only inside one process: through a sidecar, the component
    /// says where its consumer begins (`docs/dapr.md`), and the log says that this is not heard.
    pub start: StartFrom,
    /// How often and in what pauses an event is tried before it becomes a dead letter.
    pub retry: RetryPolicy,
    /// How many events may be under way at once; more are refused until there is room.
    pub in_flight: usize,
    /// How many commands of one event may be under way at once.
    pub commands_in_flight: usize,
    /// How long a handler may take; longer is a failed attempt.
    pub handler_timeout: Duration,
    /// How many events of one key may wait for an earlier one, on brokers that do not keep the order.
    pub reorder_capacity: usize,
    /// How long the broker waits with them: then they are kept in the journal and acknowledged. Short: a delivery that waits
    /// takes up one of the places that the earlier event may need. Not nothing: most wait for a moment only, and what is not
    /// kept is not written.
    pub reorder_timeout: Duration,
    /// How many events may be kept in the journal, of all keys, until the one before each comes; they are in memory too. What
    /// comes beyond that goes back to the broker and comes again.
    pub kept_max: usize,
    /// How many bytes they may take, by their content and a kilobyte for each.
    pub kept_bytes_max: usize,
    /// How long, over all its deliveries and restarts, the first event of a key that was never seen waits for the one before
    /// it, which a broker that has lost nothing brings again: longer than its time for that. Then it is taken for the first;
    /// one that comes after all becomes a dead letter. Whoever waits for longer than this shows in the bus's health.
    pub unseen_timeout: Duration,
    /// The same for an event of a key that was seen. It is handled then without the ones before it, and each of those that
    /// comes after all becomes a dead letter. Long: as a rule only what the broker has lost does not come. After a start, an
    /// event that was kept waits for `unseen_timeout` at the least, since the broker may have the one before it.
    pub gap_timeout: Duration,
    /// How long ids of handled events are remembered, at the least. The last sequence of each key is kept for good, so
    /// a duplicate that comes later runs again only if it has none, as events of other platforms.
    pub remember: Duration,
    /// How many ids of handled events are remembered at most; the oldest are forgotten first, whatever their age. One of
    /// an event that has no sequence is counted then (`annals_bus_ids_forgotten_early_total`), and the log says so once:
    /// a duplicate of it runs again, under the same command ids.
    pub remember_max: usize,
}

impl Default for SubscriptionOptions {
    fn default() -> Self {
        Self {
            topic: TopicArguments::default(),
            continues: None,
            start: StartFrom::Beginning,
            retry: RetryPolicy::default(),
            in_flight: 1024,
            commands_in_flight: 64,
            handler_timeout: Duration::from_secs(60),
            reorder_capacity: 64,
            reorder_timeout: Duration::from_millis(10),
            kept_max: 4096,
            kept_bytes_max: 32 << 20,
            unseen_timeout: Duration::from_secs(120),
            gap_timeout: Duration::from_secs(30 * 60),
            remember: Duration::from_secs(7 * 24 * 60 * 60),
            remember_max: 1_000_000,
        }
    }
}

/// How a subscription is doing with one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionStatus {
    /// The subscription.
    pub name: Arc<str>,
    /// Its topic.
    pub topic: Topic,
    /// The service that feeds it; `None` when none does yet, or when only the broker knows.
    pub source: Option<Arc<str>>,
    /// Everything up to this position of the source's journal is handled.
    pub cursor: Position,
    /// The last position of the source's journal that could concern it.
    pub durable: Position,
    /// How many events are under way.
    pub in_flight: usize,
    /// How many keys wait for an earlier event, for longer than [`SubscriptionOptions::unseen_timeout`].
    pub stalled: usize,
    /// How many events are kept in the journal until the one before each comes; the broker has no part in it any more.
    pub kept: usize,
    /// How many of its events are dead letters that wait for somebody.
    pub dead_letters: usize,
    /// What failed last.
    pub last_error: Option<String>,
    /// Whether it has ended by itself: it takes nothing until the service is started again.
    pub ended: bool,
}

impl SubscriptionStatus {
    /// Why it does not run, if that is so.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.ended.then(|| ended::reason(&format!("subscription \"{}\"", self.name)))
    }

    /// How many positions it is behind; 0 when it has caught up.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.durable.0.saturating_sub(self.cursor.0)
    }

    /// What of its events does not flow, or wants somebody's hand.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        let Self { name, stalled, kept, dead_letters, .. } = self;
        let waiting = (*stalled > 0).then(|| {
            format!(
                "subscription \"{name}\": {stalled} keys wait for an earlier event that does not come; {kept} events are kept \
                 here until theirs comes"
            )
        });
        let dead = (*dead_letters > 0).then(|| {
            format!(
                "subscription \"{name}\": {dead_letters} of its events could not be handled and are dead letters; `dlq ls` says \
                 why, `dlq replay` handles them again, `dlq discard` puts them away"
            )
        });
        waiting.into_iter().chain(dead).collect()
    }
}

/// Why an event was not taken: the broker is to deliver it again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// As many events are under way as may be.
    #[error("{capacity} events are under way already; deliver it again later")]
    Busy {
        /// How many may be.
        capacity: usize,
    },
    /// The subscription is stopping.
    #[error("the subscription is stopping")]
    Stopping,
    /// It cannot be handled now.
    #[error("{reason}; deliver it again later")]
    Again {
        /// Why.
        reason: String,
    },
    /// A replayed dead letter has failed again.
    #[error("{reason}")]
    Failed {
        /// Why.
        reason: String,
    },
}

impl DeliveryError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "subscription_busy",
            Self::Stopping => "subscription_stopping",
            Self::Again { .. } => "delivery_postponed",
            Self::Failed { .. } => "replay_failed",
        }
    }
}

/// What every part of a subscription needs.
pub(crate) struct Core {
    pub(crate) name: Arc<str>,
    /// Who its commands are said to be sent by.
    pub(crate) actor: Arc<str>,
    pub(crate) service: Arc<str>,
    pub(crate) topic: Topic,
    pub(crate) options: SubscriptionOptions,
    pub(crate) handler: Box<dyn AnyHandler>,
    pub(crate) kinds: Kinds,
    pub(crate) inbox: Inbox,
    pub(crate) early: EarlyBox,
    pub(crate) letters: LetterBox,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) counted: Counted,
    pub(crate) stopping: watch::Sender<bool>,
    pub(crate) last_error: Mutex<Option<String>>,
    /// How many keys wait for an event for so long that somebody should know.
    pub(crate) stalled: AtomicUsize,
    /// How many events are kept until an earlier one comes.
    pub(crate) kept: AtomicUsize,
    /// How many of its dead letters wait for somebody, as was counted last.
    pub(crate) dead_letters: AtomicUsize,
    /// Whether the actor has ended by itself.
    pub(crate) ended: AtomicBool,
}

impl Core {
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Sleeps; whether the subscription is to stop instead.
    pub(crate) async fn pause(&self, duration: Duration) -> bool {
        let mut stopping = self.stopping.subscribe();
        tokio::select! {
            // The sender lives in `self`, so that waiting ends only when it says so.
            _ = stopping.wait_for(|stopping| *stopping) => true,
            () = self.clock.sleep(duration) => self.is_stopping(),
        }
    }
}

/// Where a broker delivers a subscription's events. An `Ok` is the acknowledgement: what the event makes happen is
/// durable, or the event is a dead letter, or is kept until the one before it comes.
pub struct Inlet {
    core: Arc<Core>,
    actor: ActorRef<Serve>,
    mailbox: Arc<Mailbox<Message>>,
    room: Arc<Semaphore>,
    /// The places of kept events that run. Apart, since those behind them may have taken all the others.
    kept_room: Arc<Semaphore>,
}

impl fmt::Debug for Inlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inlet")
            .field("name", &self.core.name)
            .field("topic", &self.core.topic)
            .finish_non_exhaustive()
    }
}

impl Inlet {
    pub(crate) async fn open(core: Core, index: Index, restored: Restored) -> Result<Self, ractor::SpawnErr> {
        let [room, kept_room] = [(); 2].map(|()| Arc::new(Semaphore::new(core.options.in_flight)));
        let (core, mailbox) = (Arc::new(core), Arc::new(Mailbox::default()));
        let arguments = Arguments {
            core: Arc::clone(&core),
            mailbox: Arc::clone(&mailbox),
            room: Arc::clone(&kept_room),
            index,
            restored,
        };
        let (actor, ends) = ractor::Actor::spawn(None, SubscriptionActor, arguments).await?;
        // It is its only message; what there is to do it learns from the mailbox.
        drop(actor.send_message(Serve));
        let watched = Arc::clone(&core);
        tokio::spawn(async move {
            let what = format!("subscription \"{}\"", watched.name);
            let ends = async { drop(ends.await) };
            if ended::by_itself(what, ends, || watched.is_stopping()).await {
                watched.ended.store(true, Ordering::Release);
            }
        });
        Ok(Self { core, actor, mailbox, room, kept_room })
    }

    /// The subscription's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.core.name
    }

    /// The service that subscribes.
    #[must_use]
    pub fn service(&self) -> &Arc<str> {
        &self.core.service
    }

    /// The topic subscribed to.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.core.topic
    }

    /// Its limits and habits.
    #[must_use]
    pub fn options(&self) -> &SubscriptionOptions {
        &self.core.options
    }

    /// How many events are under way, those among them that were kept until the one before them came.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        2 * self.core.options.in_flight - self.room.available_permits() - self.kept_room.available_permits()
    }

    /// How many keys wait for an earlier event, for longer than [`SubscriptionOptions::unseen_timeout`].
    #[must_use]
    pub fn stalled(&self) -> usize {
        self.core.stalled.load(Ordering::Relaxed)
    }

    /// How many events are kept in the journal until the one before each comes.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.core.kept.load(Ordering::Relaxed)
    }

    /// How many of its events are dead letters that wait for somebody, as of half a second ago.
    #[must_use]
    pub fn dead_letters(&self) -> usize {
        self.core.dead_letters.load(Ordering::Relaxed)
    }

    /// What failed last.
    #[must_use]
    pub fn last_error(&self) -> Option<String> {
        self.core.last_error.lock().clone()
    }

    /// Takes an event from a broker that may mix up the order.
    ///
    /// # Errors
    /// [`DeliveryError`] when it is to be delivered again.
    pub async fn deliver(&self, envelope: Arc<Envelope>) -> Result<(), DeliveryError> {
        let permit = Arc::clone(&self.room).try_acquire_owned();
        let busy = DeliveryError::Busy { capacity: self.core.options.in_flight };
        self.hand_over(envelope, permit.map_err(|_| busy)?, Manner::default()).await
    }

    /// Takes an event as it came over the wire. One that cannot be read becomes a dead letter.
    ///
    /// # Errors
    /// [`DeliveryError`] when it is to be delivered again.
    pub async fn deliver_body(&self, content_type: &str, body: &[u8]) -> Result<(), DeliveryError> {
        match Envelope::from_body(content_type, body, &self.core.topic) {
            Ok(envelope) => self.deliver(Arc::new(envelope)).await,
            Err(error) => self.deliver_unreadable(content_type, body, error.to_string()).await,
        }
    }

    /// Takes what is no event that can be handled: it becomes a dead letter with this reason.
    ///
    /// # Errors
    /// [`DeliveryError`] when it is to be delivered again.
    pub async fn deliver_unreadable(
        &self,
        content_type: &str,
        body: &[u8],
        reason: String,
    ) -> Result<(), DeliveryError> {
        let envelope = Arc::new(unreadable::envelope(&self.core.topic, content_type, body));
        self.deliver_unwanted(envelope, reason).await
    }

    /// Takes an event that is not to be handled: in its turn it becomes a dead letter with this reason, so that those behind
    /// it do not wait for it.
    ///
    /// # Errors
    /// [`DeliveryError`] when it is to be delivered again.
    pub async fn deliver_unwanted(
        &self,
        envelope: Arc<Envelope>,
        reason: String,
    ) -> Result<(), DeliveryError> {
        let permit = Arc::clone(&self.room).acquire_owned().await.map_err(|_| DeliveryError::Stopping)?;
        self.hand_over(envelope, permit, Manner { fault: Some(reason), ..Manner::default() }).await
    }

    /// Takes an event from a broker that keeps the order of each key, waiting while there is no room.
    ///
    /// # Errors
    /// [`DeliveryError`] when it is to be delivered again.
    pub async fn deliver_in_order(&self, envelope: Arc<Envelope>) -> Result<(), DeliveryError> {
        let permit = Arc::clone(&self.room).acquire_owned().await.map_err(|_| DeliveryError::Stopping)?;
        self.hand_over(envelope, permit, Manner { in_order: true, ..Manner::default() }).await
    }

    /// Takes an event as [`Inlet::deliver_in_order`] does, without anybody who waits for what becomes of it; where there is
    /// no room, it gives the answer back.
    pub(crate) fn offer_in_order(&self, envelope: Arc<Envelope>, answer: Answer) -> Option<Answer> {
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else { return Some(answer) };
        if self.core.is_stopping() {
            return Some(answer);
        }
        let proven = answer.satisfied().is_some_and(|schema| self.core.handler.asks_for(schema));
        let manner = Manner { in_order: true, proven, ..Manner::default() };
        let reply = Reply { to: ReplyTo::Relay(answer), _permit: permit };
        // A subscription that is gone drops the answer, which says that it was given up.
        drop(self.mailbox.put(arrived(envelope, manner, reply)));
        None
    }

    /// Runs a dead letter again, once.
    pub(crate) async fn replay(&self, envelope: Arc<Envelope>) -> Result<(), DeliveryError> {
        let permit = Arc::clone(&self.room).acquire_owned().await.map_err(|_| DeliveryError::Stopping)?;
        self.hand_over(envelope, permit, Manner { replay: true, ..Manner::default() }).await
    }

    /// Its status while nothing feeds it.
    pub(crate) fn unfed(&self) -> SubscriptionStatus {
        SubscriptionStatus {
            name: Arc::clone(self.name()),
            topic: self.topic().clone(),
            source: None,
            cursor: Position::START,
            durable: Position::START,
            in_flight: self.in_flight(),
            stalled: self.stalled(),
            kept: self.kept(),
            dead_letters: self.dead_letters(),
            last_error: self.last_error(),
            ended: self.core.ended.load(Ordering::Acquire),
        }
    }

    /// Keeps how many of its dead letters are unresolved.
    pub(crate) fn note_dead_letters(&self, count: usize) {
        self.core.dead_letters.store(count, Ordering::Relaxed);
        show_dead_letters(self.name(), count);
    }

    pub(crate) fn letters(&self) -> &LetterBox {
        &self.core.letters
    }

    async fn hand_over(
        &self,
        envelope: Arc<Envelope>,
        permit: OwnedSemaphorePermit,
        manner: Manner,
    ) -> Result<(), DeliveryError> {
        if self.core.is_stopping() {
            return Err(DeliveryError::Stopping);
        }
        let (sender, answer) = oneshot::channel();
        let reply = Reply { to: ReplyTo::Caller(sender), _permit: permit };
        let handed_over = self.mailbox.put(arrived(envelope, manner, reply));
        handed_over.map_err(|_| DeliveryError::Stopping)?;
        answer.await.unwrap_or(Err(DeliveryError::Stopping))
    }

    /// Ends the actor as a failure of its own would.
    #[cfg(all(test, feature = "dapr"))]
    pub(crate) fn fail(&self) {
        self.actor.kill();
    }

    /// Refuses what does not run yet and what comes from now on, and ends pauses between attempts.
    pub(crate) fn refuse(&self) {
        self.core.stopping.send_replace(true);
        // An actor that is gone has nothing left to refuse.
        drop(self.mailbox.put(Message::Refuse));
    }

    /// Ends when nothing is under way, or after this long.
    pub(crate) async fn drained(&self, deadline: Duration) {
        let all = u32::try_from(self.core.options.in_flight).unwrap_or(u32::MAX);
        tokio::select! {
            _ = futures_util::future::join(self.room.acquire_many(all), self.kept_room.acquire_many(all)) => {}
            () = self.core.clock.sleep(deadline) => {
                tracing::warn!(subscription = %self.core.name, in_flight = self.in_flight(), "stopped with events under way");
            }
        }
    }

    /// Stops the actor.
    pub(crate) fn close(&self) {
        self.refuse();
        self.mailbox.close();
        self.actor.stop(None);
    }
}

/// Shows how many dead letters of a subscription wait for somebody.
pub(crate) fn show_dead_letters(subscription: &str, count: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    let count = count as f64;
    metrics::gauge!("annals_bus_dead_letters", "subscription" => subscription.to_owned()).set(count);
}

fn arrived(envelope: Arc<Envelope>, manner: Manner, reply: Reply) -> Message {
    let (event, lane) = (event_key(&envelope.source, &envelope.id), OrderKey::of(&envelope));
    Message::Arrived(Arrival { event, lane, envelope, manner, reply })
}

/// How an event was delivered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Manner {
    /// The broker keeps the order of each key.
    in_order: bool,
    /// An operator replays a dead letter.
    replay: bool,
    /// Its content was held against the very schema that the handler asks for, on its way here.
    proven: bool,
    /// Why it cannot be read.
    fault: Option<String>,
}

/// The id that a subscription's dead letter for an event has.
pub(crate) fn letter_id(subscription: &str, envelope: &Envelope) -> uuid::Uuid {
    derived(&["dead letter", subscription, &envelope.source, &envelope.id])
}
