//! The handle on an instance: what service code holds.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use annals_persistence::{
    CausationId, CommandId, CorrelationId, Direction, EventStream, InvalidStreamId, JournalExt, StreamAppend,
    StreamId, TraceContext, Version,
};
use futures_util::future::BoxFuture;
use tracing::Span;
use tracing::field::Empty;

use crate::checkpoint::CheckpointOptions;
use crate::each::SendEach;
use crate::kind::{Answered, Kind, Known, Seen, current};
use crate::replay::state_at;
use crate::work::Work;
use crate::{
    Aggregate, CheckpointError, CheckpointReceipt, CheckpointRequest, Current, Moment, Receipt, SendError,
    SendOptions, StateError,
};

/// A handle on one aggregate instance, live or not: it comes to life when it is used. Cloning is cheap.
pub struct AggregateRef<A: Aggregate>(Arc<Target<A>>);

/// What a handle points at. It has a count of its own, so that a send touches nothing that other instances share, and
/// is small enough for one line of the processor's cache.
struct Target<A: Aggregate> {
    kind: Option<Arc<Kind<A>>>,
    stream: Result<StreamId, Box<InvalidStreamId>>,
    known: Known<A>,
}

impl<A: Aggregate> Clone for AggregateRef<A> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<A: Aggregate> fmt::Debug for AggregateRef<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AggregateRef").field(&self.0.stream).finish()
    }
}

impl<A: Aggregate> AggregateRef<A> {
    pub(crate) fn of(kind: Option<Arc<Kind<A>>>, id: &str) -> Self {
        let stream = StreamId::aggregate(A::TYPE, id).map_err(Box::new);
        Self(Arc::new(Target { kind, stream, known: Known::nothing() }))
    }

    /// The instance's stream.
    ///
    /// # Errors
    /// [`InvalidStreamId`] when the id cannot name an instance.
    pub fn stream(&self) -> Result<&StreamId, InvalidStreamId> {
        self.0.stream.as_ref().map_err(|error| (**error).clone())
    }

    /// Sends a command. Nothing happens until the request is awaited.
    pub fn send(&self, command: A::Command) -> SendRequest<A> {
        self.request(Work::One(command))
    }

    /// Sends several commands as one: each is decided on the state that those before it left, and all of their events
    /// are appended together, or none. What a rejection or a panic stops them at is told by [`SendError::At`]. They
    /// have one command id, one answer, and together no more events than one batch may have.
    ///
    /// ```
    /// # use annals_actors::doc::{Account, AccountCommand};
    /// # use annals_actors::testing::TestNode;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let node = TestNode::builder().aggregate::<Account>().start().await?;
    /// let account = node.node.aggregate::<Account>("a");
    /// let month = (1..=30).map(|amount| AccountCommand::Deposit { amount });
    /// assert_eq!(account.send_all(month).await?.version.0, 30);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn send_all(&self, commands: impl IntoIterator<Item = A::Command>) -> SendRequest<A> {
        self.request(Work::All(commands.into_iter().collect()))
    }

    /// Sends several commands in one message, each on its own: an answer for each, in their order. They are taken in
    /// together or not at all; a list longer than [`NodeOptions::mailbox_capacity`](crate::NodeOptions) is never.
    pub fn send_each(&self, commands: impl IntoIterator<Item = (A::Command, SendOptions)>) -> SendEach<A> {
        SendEach::new(self.clone(), commands.into_iter().collect())
    }

    fn request(&self, work: Work<A>) -> SendRequest<A> {
        SendRequest { target: self.clone(), work, options: None }
    }

    /// What a caller's patience ends with, if it has an end.
    pub(crate) fn sleep(&self, timeout: Option<std::time::Duration>) -> Option<BoxFuture<'static, ()>> {
        let (kind, _) = self.0.ready().ok()?;
        timeout.map(|timeout| kind.clock.sleep(timeout))
    }

    pub(crate) fn admit_each(
        &self,
        commands: Vec<(A::Command, SendOptions)>,
    ) -> Vec<Result<Answered<A>, SendError<A>>> {
        match self.0.ready() {
            Ok((kind, stream)) => kind.admit_each(stream, &self.0.known, commands),
            Err(_) => commands.iter().map(|_| self.0.ready().and(Err(ended()))).collect(),
        }
    }

    /// Asks for a checkpoint: an event in the instance's own stream that holds its state and which commands it remembers.
    /// With [`CheckpointRequest::and_truncate`] the events in front of it go. Nothing happens until the request is awaited.
    ///
    /// ```
    /// # use annals_actors::doc::{Account, AccountCommand};
    /// # use annals_actors::testing::TestNode;
    /// use annals_persistence::Version;
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let node = TestNode::builder().aggregate::<Account>().start().await?;
    /// let account = node.node.aggregate::<Account>("a");
    /// for amount in 1..=1000 {
    ///     account.send(AccountCommand::Deposit { amount }).await?;
    /// }
    /// let receipt = account.checkpoint().and_truncate().await?;
    /// assert_eq!((receipt.version, receipt.kept_from), (Version(1001), Version(1001)));
    ///
    /// // Nothing is missing but what happened before.
    /// assert_eq!(account.state().await?.state.balance, 500_500);
    /// assert_eq!(account.state_at(Version(7)).await.unwrap_err().code(), "state_truncated");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// # }).unwrap();
    /// ```
    pub fn checkpoint(&self) -> CheckpointRequest<A> {
        CheckpointRequest::new(self.clone())
    }

    pub(crate) async fn make_checkpoint(
        &self,
        options: CheckpointOptions,
    ) -> Result<CheckpointReceipt, CheckpointError> {
        let type_name = A::TYPE;
        let kind = self.0.kind.as_ref().ok_or(CheckpointError::NotRegistered { type_name })?;
        kind.checkpoint(self.stream()?, &self.0.known, options).await
    }

    /// The state now: all that was answered before is in it, and all that is in it is durable.
    ///
    /// # Errors
    /// See [`StateError`].
    pub async fn state(&self) -> Result<Current<A>, StateError> {
        self.look(current).await
    }

    /// What `look` makes of the state now, without copying the state.
    ///
    /// # Errors
    /// See [`StateError`].
    pub async fn read<R: Send + 'static>(
        &self,
        look: impl FnOnce(&A, Version) -> R + Send + 'static,
    ) -> Result<R, StateError> {
        self.look(|live| look(&live.state, live.version)).await
    }

    async fn look<R: Send + 'static>(
        &self,
        look: impl FnOnce(&crate::worker::Live<A>) -> R + Send + 'static,
    ) -> Result<R, StateError> {
        let seen: Seen<R> = self.kind()?.admit_read(self.stream()?, &self.0.known, look)?;
        seen.await.unwrap_or_else(|_| Err(StateError::Doubtful { reason: ENDED.to_owned() }))
    }

    /// The state at a moment in the past, by the same `apply`. `None` before the first event and for a version
    /// above the last; a time to come is now.
    ///
    /// # Errors
    /// [`StateError::Truncated`] for a moment whose events were given up; otherwise see [`StateError`].
    pub async fn state_at(&self, moment: impl Into<Moment>) -> Result<Option<Current<A>>, StateError> {
        let moment = moment.into();
        state_at(&self.kind()?.journal, self.stream()?, Some(moment)).await
    }

    /// Every event of the instance from this version on.
    ///
    /// # Errors
    /// [`StateError::InvalidId`] and [`StateError::NotRegistered`]; what reading meets comes with the events.
    pub fn history(&self, from: Version) -> Result<EventStream, StateError> {
        Ok(self.kind()?.journal.read_stream(self.stream()?, from, Direction::Forward))
    }

    #[cfg(test)]
    pub(crate) fn kind_of_tests(&self) -> Arc<Kind<A>> {
        Arc::clone(self.kind().unwrap())
    }

    fn kind(&self) -> Result<&Arc<Kind<A>>, StateError> {
        self.0.kind.as_ref().ok_or(StateError::NotRegistered { type_name: A::TYPE })
    }
}

impl<A: Aggregate> Target<A> {
    /// What commands go to.
    fn ready(&self) -> Result<(&Arc<Kind<A>>, &StreamId), SendError<A>> {
        let kind = self.kind.as_ref().ok_or(SendError::NotRegistered { type_name: A::TYPE })?;
        Ok((kind, self.stream.as_ref().map_err(|e| SendError::InvalidId((**e).clone()))?))
    }
}

/// What is told when there is nobody left to answer.
pub(crate) fn ended<A: Aggregate>() -> SendError<A> {
    SendError::OutcomeUnknown { reason: ENDED.to_owned() }
}

pub(crate) const ENDED: &str = "the instance's actor ended before it answered";

/// A command about to be sent; await it to send it.
#[must_use = "a command is sent only when its request is awaited"]
pub struct SendRequest<A: Aggregate> {
    target: AggregateRef<A>,
    work: Work<A>,
    /// Most commands have none, and every move of the request would move them.
    options: Option<Box<SendOptions>>,
}

impl<A: Aggregate> fmt::Debug for SendRequest<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendRequest").field("target", &self.target).field("options", &self.options).finish()
    }
}

impl<A: Aggregate> SendRequest<A> {
    fn options(&mut self) -> &mut SendOptions {
        self.options.get_or_insert_default()
    }

    /// Only if the instance is at this version; otherwise [`SendError::Conflict`].
    pub fn expecting(mut self, version: Version) -> Self {
        self.options().expecting = Some(version);
        self
    }

    /// Under this id: sent again under it, the command has no second effect and the first receipt comes back.
    pub fn command_id(mut self, id: CommandId) -> Self {
        self.options().command_id = Some(id);
        self
    }

    /// As part of this outside request.
    pub fn correlation(mut self, id: CorrelationId) -> Self {
        self.options().correlation_id = Some(id);
        self
    }

    /// Because of this command or event.
    pub fn causation(mut self, id: CausationId) -> Self {
        self.options().causation_id = Some(id);
        self
    }

    /// Sent by this person or program.
    pub fn by(mut self, actor: impl Into<Arc<str>>) -> Self {
        self.options().actor = Some(actor.into());
        self
    }

    /// As part of this trace.
    pub fn trace(mut self, trace: TraceContext) -> Self {
        self.options().trace = Some(trace);
        self
    }

    /// Waits this long for the answer; a command whose time is over may still be carried out.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options().timeout = Some(timeout);
        self
    }

    /// With events for one more stream, appended together with the command's own or not at all.
    pub fn along(mut self, append: StreamAppend) -> Self {
        self.options().along = Some(Box::new(append));
        self
    }

    /// With all these options at once.
    pub fn with(mut self, options: SendOptions) -> Self {
        self.options = Some(Box::new(options));
        self
    }
}

impl<A: Aggregate> IntoFuture for SendRequest<A> {
    type Output = Result<Receipt, SendError<A>>;
    type IntoFuture = Sending<A>;

    fn into_future(self) -> Sending<A> {
        Sending { state: SendingState::Ready(self), timeout: None }
    }
}

/// The span of a command, inside its sender's: from admission until the answer, the wait for the disk included.
fn command_span(stream: &StreamId) -> Span {
    tracing::debug_span!("command", %stream, command_id = Empty, version = Empty, outcome = Empty)
}

fn note_refusal<A: Aggregate>(span: &Span, error: &SendError<A>) {
    span.record("outcome", error.code());
}

/// A command on its way.
#[must_use = "a command is sent only when it is awaited"]
pub struct Sending<A: Aggregate> {
    state: SendingState<A>,
    timeout: Option<BoxFuture<'static, ()>>,
}

enum SendingState<A: Aggregate> {
    Ready(SendRequest<A>),
    Sent(Sent<A>),
    Done,
}

/// A command that was admitted.
struct Sent<A: Aggregate> {
    answered: Answered<A>,
    /// From admission until the answer.
    span: Span,
}

impl<A: Aggregate> fmt::Debug for Sending<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sending")
    }
}

// Nothing in it is ever pinned in place.
impl<A: Aggregate> Unpin for Sending<A> {}

impl<A: Aggregate> Sending<A> {
    fn admit(&mut self, request: SendRequest<A>) -> Result<Sent<A>, SendError<A>> {
        let SendRequest { target, work, options } = request;
        let (kind, stream) = target.0.ready()?;
        let timeout = options.as_ref().and_then(|options| options.timeout);
        self.timeout = timeout.map(|timeout| kind.clock.sleep(timeout));
        let span = command_span(stream);
        let answered = kind.admit_command(stream, &target.0.known, work, options, &span);
        answered.inspect_err(|error| note_refusal(&span, error)).map(|answered| Sent { answered, span })
    }

    fn poll_answer(
        &mut self,
        sent: &mut Sent<A>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Receipt, SendError<A>>> {
        let polled = self.poll_unnoted(&mut sent.answered, cx);
        match &polled {
            Poll::Ready(Ok(receipt)) => {
                sent.span.record("version", receipt.version.0).record("outcome", "accepted");
            }
            Poll::Ready(Err(error)) => note_refusal(&sent.span, error),
            Poll::Pending => {}
        }
        polled
    }

    fn poll_unnoted(
        &mut self,
        answered: &mut Answered<A>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Receipt, SendError<A>>> {
        if let Poll::Ready(answer) = Pin::new(answered).poll(cx) {
            return Poll::Ready(answer.unwrap_or_else(|_| Err(ended())));
        }
        match self.timeout.as_mut().map(|timeout| timeout.as_mut().poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Err(SendError::TimedOut)),
            _ => Poll::Pending,
        }
    }
}

impl<A: Aggregate> Future for Sending<A> {
    type Output = Result<Receipt, SendError<A>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut sent = match std::mem::replace(&mut self.state, SendingState::Done) {
            SendingState::Ready(request) => match self.admit(request) {
                Ok(sent) => sent,
                Err(error) => return Poll::Ready(Err(error)),
            },
            SendingState::Sent(sent) => sent,
            SendingState::Done => return Poll::Pending,
        };
        let polled = self.poll_answer(&mut sent, cx);
        if polled.is_pending() {
            self.state = SendingState::Sent(sent);
        }
        polled
    }
}
