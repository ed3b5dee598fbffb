//! Everything a node has for one aggregate type.

use std::fmt;
use std::future::IntoFuture;
use std::sync::{Arc, Weak};

use annals_persistence::{Journal, StreamId};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::{Notify, Semaphore, oneshot};
use tracing::Span;

use crate::checkpoint::{CheckpointOptions, Order, Plan};
use crate::command::content_hash;
use crate::error::{Failure, catch, with_sources};
use crate::inspect::{Inspector, inspector};
use crate::instance::Instance;
use crate::mailbox::{CommandRequest, ReadRequest, Refused, Requests};
use crate::metrics::{KindMetrics, count};
use crate::names::CommandNames;
use crate::registry::Registry;
use crate::replay::Snapshots;
use crate::snapshots::SnapshotWriter;
use crate::supervisor::Supervisor;
use crate::watch::{KindLoad, Watched};
use crate::work::Work;
use crate::worker::Live;
use crate::{
    Aggregate, AggregateRef, CheckpointError, CheckpointPolicy, CheckpointReceipt, Clock, Current,
    ErasedSendError, NodeOptions, Readers, Receipt, Refusal, Retry, SendError, SendOptions, StateError,
};

pub(crate) struct Kind<A: Aggregate> {
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) snapshots: Option<Snapshots>,
    pub(crate) snapshot_writer: Option<SnapshotWriter>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: NodeOptions,
    pub(crate) checkpoints: Option<CheckpointPolicy>,
    /// Who has a say in what may go.
    pub(crate) readers: Readers,
    pub(crate) supervisor: Supervisor,
    pub(crate) recoveries: Arc<Semaphore>,
    pub(crate) metrics: KindMetrics,
    pub(crate) names: CommandNames,
    pub(crate) watched: Watched,
    pub(crate) registry: Registry<A>,
    /// Told when more instances are live than may be.
    pub(crate) crowded: Notify,
}

/// What an answer to a command comes through.
pub(crate) type Answered<A> = oneshot::Receiver<Result<Receipt, SendError<A>>>;

/// What an answer to a read comes through.
pub(crate) type Seen<R> = oneshot::Receiver<Result<R, StateError>>;

impl<A: Aggregate> Kind<A> {
    /// Admits a command to its instance's mailbox, bringing the instance up where it is not live.
    pub(crate) fn admit_command(
        self: &Arc<Self>,
        stream: &StreamId,
        known: &Known<A>,
        work: Work<A>,
        options: Option<Box<SendOptions>>,
        span: &Span,
    ) -> Result<Answered<A>, SendError<A>> {
        let (request, answered) = request(&self.names, work, options, span)?;
        let refused = self.admit(stream, known, request);
        refused.map(|()| answered).map_err(|(request, reason)| request.work.refused(reason))
    }

    /// Admits commands together: all of them, or none.
    pub(crate) fn admit_each(
        self: &Arc<Self>,
        stream: &StreamId,
        known: &Known<A>,
        commands: Vec<(A::Command, SendOptions)>,
    ) -> Vec<Result<Answered<A>, SendError<A>>> {
        let (mut requests, mut answers) =
            (Vec::with_capacity(commands.len()), Vec::with_capacity(commands.len()));
        for (command, options) in commands {
            match request(&self.names, Work::One(command), Some(Box::new(options)), &Span::none()) {
                Ok((request, answered)) => {
                    requests.push(request);
                    answers.push(Ok(answered));
                }
                Err(error) => answers.push(Err(error)),
            }
        }
        if let Err((requests, reason)) = self.admit(stream, known, requests) {
            let mut refused = requests.into_iter();
            for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
                if let Some(request) = refused.next() {
                    *answer = Err(request.work.refused(reason));
                }
            }
        }
        answers
    }

    /// Lets `look` see the live state; what it makes of it arrives when that state is durable.
    pub(crate) fn admit_read<R: Send + 'static>(
        self: &Arc<Self>,
        stream: &StreamId,
        known: &Known<A>,
        look: impl FnOnce(&Live<A>) -> R + Send + 'static,
    ) -> Result<Seen<R>, StateError> {
        let (reply, seen) = oneshot::channel();
        let reply = Arc::new(Mutex::new(Some(reply)));
        let refuse_reply = Arc::clone(&reply);
        let request = Box::new(ReadRequest {
            look: Box::new(move |live| {
                // The closure is its caller's: a panic in it is no reason for the instance to end.
                let value = catch(|| look(live)).map_err(|message| StateError::ReadPanicked { message });
                Box::new(move |durable: Result<(), Failure>| {
                    send_once(&reply, durable.map_err(StateError::from_failure).and(value));
                })
            }),
            refuse: Box::new(move |error| send_once(&refuse_reply, Err(error))),
        });
        self.admit(stream, known, request).map(|()| seen).map_err(|(_, reason)| match reason {
            Refusal::MailboxFull { capacity } => StateError::MailboxFull { capacity },
            Refusal::Stopping => StateError::Stopping,
        })
    }

    /// Lets an instance make a checkpoint in its turn.
    pub(crate) fn admit_checkpoint(
        self: &Arc<Self>,
        stream: &StreamId,
        known: &Known<A>,
        plan: Plan,
        actor: Option<Arc<str>>,
    ) -> Result<oneshot::Receiver<Result<CheckpointReceipt, CheckpointError>>, CheckpointError> {
        let (reply, answered) = oneshot::channel();
        let order = Box::new(Order { plan, actor, reply });
        self.admit(stream, known, order).map(|()| answered).map_err(|(_, reason)| match reason {
            Refusal::MailboxFull { capacity } => CheckpointError::MailboxFull { capacity },
            Refusal::Stopping => CheckpointError::Stopping,
        })
    }

    /// What is not admitted comes back.
    fn admit<T: Requests<A>>(
        self: &Arc<Self>,
        stream: &StreamId,
        known: &Known<A>,
        mut request: T,
    ) -> Result<(), (T, Refusal)> {
        loop {
            let Some(instance) = self.instance(stream, known) else {
                self.metrics.refused.increment(request.count() as u64);
                return Err((request, Refusal::Stopping));
            };
            match instance.admit(request) {
                Ok(()) => return Ok(()),
                Err(Refused::Full(request)) => {
                    self.metrics.refused.increment(request.count() as u64);
                    return Err((request, Refusal::MailboxFull { capacity: self.options.mailbox_capacity }));
                }
                // It is passivating: out of the way with it, the next incarnation takes the request.
                Err(Refused::Closed(back)) => {
                    self.registry.remove(&instance);
                    known.forget();
                    request = back;
                }
            }
        }
    }

    /// The live instance: the one that the handle knows, else the registry's, brought up where there is none.
    fn instance(self: &Arc<Self>, stream: &StreamId, known: &Known<A>) -> Option<Arc<Instance<A>>> {
        // Before looking, as in the registry: senders that go on sending must not keep an instance from its end.
        if self.registry.is_closed() {
            return None;
        }
        if let Some(instance) = known.get() {
            return Some(instance);
        }
        let (instance, made) = self.registry.get_or_insert(stream, || Instance::new(self, stream.clone()))?;
        if let Some(live) = made {
            self.watched.instance_made(live);
            self.watch_crowd();
        }
        known.learn(&instance);
        Some(instance)
    }

    fn watch_crowd(&self) {
        self.metrics.live.set(count(self.registry.len()));
        if self.registry.crowd() > self.options.live_instances_max {
            self.crowded.notify_one();
        }
    }

    /// Takes an instance that passivated out of the registry.
    pub(crate) fn remove(&self, instance: &Instance<A>) {
        self.registry.remove(instance);
        self.metrics.live.set(count(self.registry.len()));
    }
}

/// The incarnation that a handle used last, so that using it again needs no look-up. It keeps nothing alive, and one
/// that has closed sends whoever comes to the registry.
pub(crate) struct Known<A: Aggregate>(Mutex<Weak<Instance<A>>>);

impl<A: Aggregate> Known<A> {
    pub(crate) const fn nothing() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    fn get(&self) -> Option<Arc<Instance<A>>> {
        self.0.lock().upgrade()
    }

    fn learn(&self, instance: &Arc<Instance<A>>) {
        *self.0.lock() = Arc::downgrade(instance);
    }

    fn forget(&self) {
        *self.0.lock() = Weak::new();
    }
}

/// A request, and what its answer comes through.
type Asked<A> = (Box<CommandRequest<A>>, Answered<A>);

fn request<A: Aggregate>(
    names: &CommandNames,
    work: Work<A>,
    options: Option<Box<SendOptions>>,
    span: &Span,
) -> Result<Asked<A>, SendError<A>> {
    let (hash, name) = content_hash(&work).map_err(SendError::Codec)?;
    let name = names.learn(name);
    let (reply, answered) = oneshot::channel();
    // Where nobody wants to know of commands, what is logged while one is handled belongs to the sender's span.
    let span = if span.is_disabled() { Span::current() } else { span.clone() };
    Ok((Box::new(CommandRequest { work, hash, name, options, span, reply }), answered))
}

fn send_once<R>(
    reply: &Mutex<Option<oneshot::Sender<Result<R, StateError>>>>,
    result: Result<R, StateError>,
) {
    if let Some(reply) = reply.lock().take() {
        // Whoever no longer waits for the answer does not get it.
        drop(reply.send(result));
    }
}

/// An aggregate type of a node, without its Rust types: for the bus, for operators.
pub trait AggregateKind: fmt::Debug + Send + Sync {
    /// The type's name.
    fn type_name(&self) -> &'static str;

    /// What reads its events without a node.
    fn inspector(&self) -> Arc<dyn Inspector>;

    /// Sends a command that was written as JSON.
    fn send_json<'a>(
        &'a self,
        id: &'a str,
        command: Value,
        options: SendOptions,
    ) -> BoxFuture<'a, Result<Receipt, ErasedSendError>>;

    /// As [`AggregateKind::send_json`], for a command that is still text.
    fn send_raw<'a>(
        &'a self,
        id: &'a str,
        command: &'a RawValue,
        options: SendOptions,
    ) -> BoxFuture<'a, Result<Receipt, ErasedSendError>>;

    /// Makes a checkpoint of an instance, and gives up the events in front of it but the last `keep`; none where there is
    /// no such number. See [`AggregateRef::checkpoint`].
    fn checkpoint<'a>(
        &'a self,
        id: &'a str,
        keep: Option<u64>,
        actor: Option<Arc<str>>,
    ) -> BoxFuture<'a, Result<CheckpointReceipt, CheckpointError>>;

    /// How many instances are live.
    fn live_instances(&self) -> usize;

    /// What it has on its hands now, and what of that is stuck. Its gauges are brought up to date with it.
    fn load(&self) -> KindLoad;
}

/// What a node asks of its kinds.
pub(crate) trait ManagedKind: AggregateKind {
    /// Tells every instance to do what there is and go; ends when none is left.
    fn drain(&self) -> BoxFuture<'_, ()>;
}

#[derive(Clone)]
pub(crate) struct KindHandle<A: Aggregate>(pub(crate) Arc<Kind<A>>);

impl<A: Aggregate> fmt::Debug for KindHandle<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AggregateKind")
            .field("type_name", &A::TYPE)
            .field("live", &self.0.registry.len())
            .finish()
    }
}

impl<A: Aggregate> KindHandle<A> {
    /// Sends a command that was read, if it could be.
    fn send_read(
        &self,
        id: &str,
        command: Result<A::Command, serde_json::Error>,
        options: SendOptions,
    ) -> BoxFuture<'static, Result<Receipt, ErasedSendError>> {
        let sending = command.map(|command| {
            AggregateRef::<A>::of(Some(Arc::clone(&self.0)), id).send(command).with(options).into_future()
        });
        match sending {
            Ok(sending) => sending.map(|sent| sent.map_err(|error| ErasedSendError::from(&error))).boxed(),
            Err(error) => std::future::ready(Err(undecodable::<A>(&error))).boxed(),
        }
    }
}

fn undecodable<A: Aggregate>(error: &serde_json::Error) -> ErasedSendError {
    ErasedSendError {
        code: "undecodable_command",
        retry: Retry::Never,
        rejected: false,
        message: format!("the command is none of {}: {}", A::TYPE, with_sources(error)),
    }
}

impl<A: Aggregate> AggregateKind for KindHandle<A> {
    fn type_name(&self) -> &'static str {
        A::TYPE
    }

    fn inspector(&self) -> Arc<dyn Inspector> {
        inspector::<A>()
    }

    fn send_json<'a>(
        &'a self,
        id: &'a str,
        command: Value,
        options: SendOptions,
    ) -> BoxFuture<'a, Result<Receipt, ErasedSendError>> {
        self.send_read(id, serde_json::from_value(command), options)
    }

    fn send_raw<'a>(
        &'a self,
        id: &'a str,
        command: &'a RawValue,
        options: SendOptions,
    ) -> BoxFuture<'a, Result<Receipt, ErasedSendError>> {
        self.send_read(id, serde_json::from_str(command.get()), options)
    }

    fn checkpoint<'a>(
        &'a self,
        id: &'a str,
        keep: Option<u64>,
        actor: Option<Arc<str>>,
    ) -> BoxFuture<'a, Result<CheckpointReceipt, CheckpointError>> {
        async move {
            let reference = AggregateRef::of(Some(Arc::clone(&self.0)), id);
            reference.make_checkpoint(CheckpointOptions::of(keep, actor)).await
        }
        .boxed()
    }

    fn live_instances(&self) -> usize {
        self.0.registry.len()
    }

    fn load(&self) -> KindLoad {
        self.0.look()
    }
}

impl<A: Aggregate> ManagedKind for KindHandle<A> {
    fn drain(&self) -> BoxFuture<'_, ()> {
        async move {
            self.0.registry.close();
            self.0.registry.all().iter().for_each(|instance| instance.mailbox.drain());
            self.0.registry.empty().await;
        }
        .boxed()
    }
}

/// The state as a read sees it.
pub(crate) fn current<A: Aggregate>(live: &Live<A>) -> Current<A> {
    Current { state: live.state.clone(), version: live.version, time: live.time }
}
