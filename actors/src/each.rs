//! Several commands for one instance in one message, each on its own.

use std::fmt;
use std::future::IntoFuture;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::kind::Answered;
use crate::reference::ended;
use crate::{Aggregate, AggregateRef, Receipt, SendError, SendOptions};

/// Commands about to be sent, each on its own; await it to send them.
#[must_use = "commands are sent only when their request is awaited"]
pub struct SendEach<A: Aggregate> {
    target: AggregateRef<A>,
    commands: Vec<(A::Command, SendOptions)>,
}

impl<A: Aggregate> fmt::Debug for SendEach<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendEach")
            .field("target", &self.target)
            .field("commands", &self.commands.len())
            .finish()
    }
}

impl<A: Aggregate> SendEach<A> {
    pub(crate) fn new(target: AggregateRef<A>, commands: Vec<(A::Command, SendOptions)>) -> Self {
        Self { target, commands }
    }
}

impl<A: Aggregate> IntoFuture for SendEach<A> {
    /// An answer for each command, in their order.
    type Output = Vec<Result<Receipt, SendError<A>>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { target, commands } = self;
        // Nothing is sent before somebody waits for it.
        async move {
            let timeouts: Vec<_> =
                commands.iter().map(|(_, options)| target.sleep(options.timeout)).collect();
            let mut answers = Vec::with_capacity(timeouts.len());
            for (one, timeout) in target.admit_each(commands).into_iter().zip(timeouts) {
                answers.push(match one {
                    Ok(answered) => answer(answered, timeout).await,
                    Err(error) => Err(error),
                });
            }
            answers
        }
        .boxed()
    }
}

/// The answer, unless its caller's time is up first; it may have come while others were waited for.
async fn answer<A: Aggregate>(
    answered: Answered<A>,
    timeout: Option<BoxFuture<'static, ()>>,
) -> Result<Receipt, SendError<A>> {
    let answered = answered.map(|answer| answer.unwrap_or_else(|_| Err(ended())));
    let Some(timeout) = timeout else { return answered.await };
    tokio::select! {
        biased;
        answer = answered => answer,
        () = timeout => Err(SendError::TimedOut),
    }
}
