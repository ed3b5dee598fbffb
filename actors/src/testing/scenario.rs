//! Given these events, when this command, then those events.

use std::fmt::Debug;
use std::sync::Arc;

use annals_persistence::{CommandId, CommandMetadata, Event, StreamId, Timestamp, Version};
use similar::{ChangeTag, TextDiff};

use crate::{Aggregate, Context};

/// Begins a scenario with what has happened; an empty list begins before the first event.
///
/// Every event goes through its codec, as it would on its way through the journal.
///
/// # Panics
/// When an event does not survive its codec.
#[track_caller]
#[must_use = "a scenario checks nothing before `when` and `then`"]
pub fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    let mut given = Given {
        state: A::default(),
        version: Version::NONE,
        instance: "test".to_owned(),
        time: Timestamp(1_735_689_600_000_000),
        actor: None,
    };
    given.apply(events);
    given
}

/// A state to send a command to.
#[derive(Debug, Clone)]
pub struct Given<A: Aggregate> {
    state: A,
    version: Version,
    instance: String,
    time: Timestamp,
    actor: Option<Arc<str>>,
}

impl<A: Aggregate> Given<A> {
    /// The instance's id, as the context tells it; `test` otherwise.
    pub fn instance(mut self, id: impl Into<String>) -> Self {
        self.instance = id.into();
        self
    }

    /// The time, as the context tells it; the start of 2025 otherwise.
    pub fn at(mut self, time: Timestamp) -> Self {
        self.time = time;
        self
    }

    /// Who sends the next command.
    pub fn by(mut self, actor: impl Into<Arc<str>>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// Lets the aggregate decide a command.
    ///
    /// # Panics
    /// When the aggregate's type and the instance's id cannot name a stream.
    #[track_caller]
    pub fn when(self, command: A::Command) -> When<A> {
        let stream = match StreamId::aggregate(A::TYPE, &self.instance) {
            Ok(stream) => stream,
            Err(error) => panic!("{error}"),
        };
        let metadata = CommandMetadata {
            actor: self.actor.clone(),
            command_id: CommandId::from_u128(u128::from(self.version.0) + 1),
            ..CommandMetadata::internal(self.time)
        };
        let context = Context::new(stream, self.version, metadata);
        let decided = self.state.handle(command, &context);
        When { given: self, decided }
    }

    /// Looks at the state.
    #[track_caller]
    pub fn then_state(self, check: impl FnOnce(&A)) -> Self {
        check(&self.state);
        self
    }

    /// The state so far.
    #[must_use]
    pub fn state(&self) -> &A {
        &self.state
    }

    #[track_caller]
    fn apply(&mut self, events: impl IntoIterator<Item = A::Event>) {
        for event in events {
            self.state.apply(through_codec(&event));
            self.version = self.version.next();
        }
    }
}

/// What the aggregate decided.
#[derive(Debug)]
#[must_use = "a decision is checked by `then`, `then_nothing` or `then_rejected`"]
pub struct When<A: Aggregate> {
    given: Given<A>,
    decided: Result<Vec<A::Event>, A::Rejection>,
}

impl<A: Aggregate> When<A> {
    /// Exactly these events, in this order.
    ///
    /// # Panics
    /// With a diff, when it is otherwise.
    #[track_caller]
    pub fn then(mut self, expected: impl IntoIterator<Item = A::Event>) -> Given<A>
    where
        A::Event: Debug + PartialEq,
    {
        let expected: Vec<_> = expected.into_iter().collect();
        match self.decided {
            Ok(events) if events == expected => self.given.apply(events),
            Ok(events) => panic!("not the events that were expected:\n{}", diff(&expected, &events)),
            Err(rejection) => panic!("expected {expected:#?}\nbut the command was rejected: {rejection}"),
        }
        self.given
    }

    /// No events: there was nothing to do.
    ///
    /// # Panics
    /// When there were events, or a rejection.
    #[track_caller]
    pub fn then_nothing(self) -> Given<A>
    where
        A::Event: Debug + PartialEq,
    {
        self.then([])
    }

    /// This rejection.
    ///
    /// # Panics
    /// With a diff, when it is another, or with the events, when there were any.
    #[track_caller]
    #[expect(clippy::needless_pass_by_value, reason = "a scenario is written with values throughout")]
    pub fn then_rejected(self, expected: A::Rejection) -> Given<A>
    where
        A::Event: Debug,
        A::Rejection: PartialEq,
    {
        match self.decided {
            Err(rejection) if rejection == expected => self.given,
            Err(rejection) => panic!("not the rejection that was expected:\n{}", diff(&expected, &rejection)),
            Ok(events) => panic!("expected a rejection ({expected})\nbut the events were {events:#?}"),
        }
    }
}

#[track_caller]
fn through_codec<E: Event>(event: &E) -> E {
    let event_type = event.event_type();
    let bytes = match event.encode() {
        Ok(bytes) => bytes,
        Err(error) => panic!("event \"{}\" cannot be encoded: {error}", event_type.name),
    };
    match E::decode(event_type.name, event_type.version, event.codec(), &bytes) {
        Ok(events) => match events.into_inner() {
            Ok([event]) => event,
            Err(events) => panic!("event \"{}\" is read back as {} events", event_type.name, events.len()),
        },
        Err(error) => panic!("event \"{}\" does not survive its codec: {error:?}", event_type.name),
    }
}

/// What was expected (-) against what came (+), line by line.
fn diff<T: Debug + ?Sized, U: Debug + ?Sized>(expected: &T, actual: &U) -> String {
    diff_text(&format!("{expected:#?}\n"), &format!("{actual:#?}\n"))
}

/// The first text (-) against the second (+), line by line.
pub(super) fn diff_text(expected: &str, actual: &str) -> String {
    TextDiff::from_lines(expected, actual)
        .iter_all_changes()
        .map(|change| match change.tag() {
            ChangeTag::Delete => format!("- {change}"),
            ChangeTag::Insert => format!("+ {change}"),
            ChangeTag::Equal => format!("  {change}"),
        })
        .collect()
}
