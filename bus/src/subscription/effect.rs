//! What an event makes happen, exactly once: its commands and the record that it is handled.

use std::collections::HashMap;
use std::sync::Arc;

use annals_actors::{AggregateKind, Retry, SendOptions};
use annals_persistence::{AppendError, CommandId, ReadError, StreamAppend, Version};
use futures_util::StreamExt;
use futures_util::stream;
use smallvec::{SmallVec, smallvec};

use super::Core;
use super::desk::Job;
use super::run::Failure;
use crate::Envelope;
use crate::inbox::{InboxError, Plan, RecordError, Rejection};
use crate::reaction::{Errand, command_ids};

/// The service's aggregate types by name.
pub(crate) type Kinds = HashMap<&'static str, Arc<dyn AggregateKind>>;

/// The commands of one event, and how far they are. It outlives attempts: what is done is not done again.
pub(super) struct Effect<'a> {
    core: &'a Core,
    envelope: &'a Envelope,
    gap_after: Option<u64>,
    errands: SmallVec<[Errand; 1]>,
    ids: SmallVec<[CommandId; 1]>,
    answers: SmallVec<[Option<Answer>; 1]>,
    /// Whether the answer is in the inbox, where there is a list.
    noted: SmallVec<[bool; 1]>,
    /// Where in the inbox the list of commands is, once it is.
    planned: Option<Version>,
}

/// A command that was answered for good.
#[derive(Debug, Clone)]
enum Answer {
    /// Carried out; whether what went along with it was appended.
    Accepted {
        along: bool,
    },
    Rejected(Rejection),
}

impl Answer {
    /// As it was read back.
    fn again(rejection: Option<Rejection>) -> Self {
        rejection.map_or(Self::Accepted { along: true }, Self::Rejected)
    }

    fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::Rejected(rejection) => Some(rejection.clone()),
            Self::Accepted { .. } => None,
        }
    }
}

impl<'a> Effect<'a> {
    pub(super) fn new(core: &'a Core, job: &'a Job, errands: SmallVec<[Errand; 1]>) -> Self {
        let envelope = &job.envelope;
        let ids = command_ids(&core.name, &envelope.source, &envelope.id, &errands);
        let (answers, noted) = (smallvec![None; errands.len()], smallvec![false; errands.len()]);
        Self { core, envelope, gap_after: job.gap_after, errands, ids, answers, noted, planned: None }
    }

    /// A list that is in the journal already. What was answered of it is not sent again.
    pub(super) async fn resumed(core: &'a Core, job: &'a Job, plan: &Plan) -> Result<Self, Failure> {
        let errands = core.inbox.plan_of(&job.envelope, plan.at).await?.into_iter().map(Errand::try_from);
        let errands = errands.collect::<Result<_, _>>().map_err(|error| Failure::Never(error.to_string()))?;
        let mut this = Self { planned: Some(plan.at), ..Self::new(core, job, errands) };
        this.answers = this.ids.iter().map(|id| plan.answered.get(id).cloned().map(Answer::again)).collect();
        this.noted = this.answers.iter().map(Option::is_some).collect();
        Ok(this)
    }

    /// The list of commands and what was answered, if it is in the journal.
    pub(super) fn durable_plan(&self) -> Option<Plan> {
        let answers = self.ids.iter().zip(&self.answers);
        let answered = answers.filter_map(|(id, answer)| Some((*id, answer.as_ref()?.rejection())));
        self.planned.map(|at| Plan { at, answered: answered.collect() })
    }

    /// Does what is left to do.
    pub(super) async fn carry_out(&mut self) -> Result<(), Failure> {
        if self.errands.len() == 1 && self.planned.is_none() {
            return self.carry_out_one().await;
        }
        if !self.errands.is_empty() {
            self.plan().await?;
            self.send_all().await?;
        }
        self.record_handled().await
    }

    /// One command: its events and the record go in one append, so either is there only with the other.
    async fn carry_out_one(&mut self) -> Result<(), Failure> {
        if self.answers[0].is_none() {
            let along = self
                .core
                .inbox
                .handled(self.envelope, self.gap_after, Vec::new())
                .map_err(|e| Failure::Never(e.to_string()))?;
            self.answers[0] = Some(self.send(0, Some(along)).await?);
        }
        match self.answers[0] {
            Some(Answer::Accepted { along: true }) => Ok(()),
            _ => self.record_handled().await,
        }
    }

    async fn plan(&mut self) -> Result<(), Failure> {
        if self.planned.is_none() {
            let targets = self.errands.iter().map(Errand::target).collect::<Result<_, _>>();
            let targets = targets.map_err(|error| Failure::Never(error.to_string()))?;
            self.planned = Some(self.write(self.core.inbox.planned(self.envelope, targets)).await?);
        }
        Ok(())
    }

    async fn record_handled(&self) -> Result<(), Failure> {
        let rejections = self.answers.iter().flatten().filter_map(Answer::rejection).collect();
        self.write(self.core.inbox.handled(self.envelope, self.gap_after, rejections)).await.map(drop)
    }

    async fn write(
        &self,
        append: Result<StreamAppend, annals_persistence::CodecError>,
    ) -> Result<Version, Failure> {
        let append = append.map_err(|error| Failure::Never(error.to_string()))?;
        self.core.inbox.write([append]).await.map_err(Failure::from)
    }

    /// Sends what is not answered: commands for one instance in their order, instances at the same time.
    async fn send_all(&mut self) -> Result<(), Failure> {
        let this = &*self;
        let lanes = this.open_by_instance().into_iter().map(|indices| this.send_in_order(indices));
        let limit = this.core.options.commands_in_flight.max(1);
        let sent: Vec<_> = stream::iter(lanes).buffer_unordered(limit).collect().await;
        let mut failure = None;
        for (answers, failed) in sent {
            for (index, answer) in answers {
                self.noted[index] = matches!(answer, Answer::Accepted { along: true });
                self.answers[index] = Some(answer);
            }
            failure = worse(failure, failed);
        }
        let Some(failure) = failure else { return Ok(()) };
        let noted = self.note_answers().await;
        Err(worse(Some(failure.clone()), noted.err()).unwrap_or(failure))
    }

    /// Writes down, for a list that is not carried out to its end yet, the answers that no event went along with.
    async fn note_answers(&mut self) -> Result<(), Failure> {
        let open: Vec<_> = (0..self.errands.len())
            .filter_map(|index| Some((index, self.answers[index].as_ref().filter(|_| !self.noted[index])?)))
            .collect();
        let note = |(index, answer): &(usize, &Answer)| {
            self.core.inbox.answered(self.envelope, self.ids[*index], answer.rejection())
        };
        let notes: Result<Vec<_>, _> = open.iter().map(note).collect();
        // One append: a batch names each stream once.
        let notes = notes.map(|notes| notes.into_iter().reduce(joined));
        if let Some(notes) = notes.map_err(|error| Failure::Never(error.to_string()))? {
            self.core.inbox.write([notes]).await?;
        }
        self.noted = self.answers.iter().map(Option::is_some).collect();
        Ok(())
    }

    fn open_by_instance(&self) -> Vec<Vec<usize>> {
        let mut lanes: Vec<Vec<usize>> = Vec::new();
        let mut lane_of: HashMap<(&str, &str), usize> = HashMap::new();
        for (index, errand) in
            self.errands.iter().enumerate().filter(|(index, _)| self.answers[*index].is_none())
        {
            let lane = *lane_of.entry((&errand.type_name, &errand.id)).or_insert(lanes.len());
            if lane == lanes.len() {
                lanes.push(Vec::new());
            }
            lanes[lane].push(index);
        }
        lanes
    }

    async fn send_in_order(&self, indices: Vec<usize>) -> (Vec<(usize, Answer)>, Option<Failure>) {
        let mut answers = Vec::with_capacity(indices.len());
        for index in indices {
            let sent = match self.core.inbox.answered(self.envelope, self.ids[index], None) {
                Ok(along) => self.send(index, Some(along)).await,
                Err(error) => Err(Failure::Never(error.to_string())),
            };
            match sent {
                Ok(answer) => answers.push((index, answer)),
                Err(failure) => return (answers, Some(failure)),
            }
        }
        (answers, None)
    }

    async fn send(&self, index: usize, along: Option<StreamAppend>) -> Result<Answer, Failure> {
        let errand = &self.errands[index];
        let Some(kind) = self.core.kinds.get(&*errand.type_name) else {
            return Err(Failure::Never(format!("this service has no aggregate \"{}\"", errand.type_name)));
        };
        let went_along = along.is_some();
        match kind.send_raw(&errand.id, &errand.command, self.options(index, along)).await {
            Ok(receipt) => {
                let appended = receipt.position.is_some() && !receipt.duplicate;
                Ok(Answer::Accepted { along: went_along && appended })
            }
            Err(error) if error.rejected => Ok(Answer::Rejected(Rejection {
                type_name: errand.type_name.clone().into_owned(),
                id: errand.id.to_string(),
                reason: error.message,
            })),
            // The id is this event's and this target's alone, so another replica, or this one before a restart,
            // was faster with what its handler answered.
            Err(error) if error.code == "command_id_reused" => Ok(Answer::Accepted { along: false }),
            Err(error) if error.code == "stopping" => Err(Failure::Stopping),
            Err(error) => {
                let reason = format!("{} {}: {}", errand.type_name, errand.id, error.message);
                Err(if error.retry == Retry::Never { Failure::Never(reason) } else { Failure::Again(reason) })
            }
        }
    }

    fn options(&self, index: usize, along: Option<StreamAppend>) -> SendOptions {
        SendOptions {
            command_id: Some(self.ids[index]),
            correlation_id: Some(self.envelope.correlation()),
            causation_id: Some(self.envelope.as_cause()),
            actor: Some(Arc::clone(&self.core.actor)),
            trace: self.envelope.trace,
            along: along.map(Box::new),
            ..SendOptions::default()
        }
    }
}

fn joined(mut one: StreamAppend, other: StreamAppend) -> StreamAppend {
    one.events.extend(other.events);
    one
}

/// The failure that decides, of two: going down is nobody's fault, and what never succeeds needs no retry.
fn worse(one: Option<Failure>, other: Option<Failure>) -> Option<Failure> {
    match (one, other) {
        (Some(Failure::Stopping), _) | (_, Some(Failure::Stopping)) => Some(Failure::Stopping),
        (Some(Failure::Never(reason)), _) | (_, Some(Failure::Never(reason))) => Some(Failure::Never(reason)),
        (one, other) => one.or(other),
    }
}

impl From<InboxError> for Failure {
    fn from(error: InboxError) -> Self {
        match error {
            InboxError::Read(ReadError::Closed) => Self::Stopping,
            error => Self::Again(error.to_string()),
        }
    }
}

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        match &error {
            RecordError::Append(AppendError::Closed) => Self::Stopping,
            RecordError::Append(AppendError::Invalid { .. }) | RecordError::Codec(_) => {
                Self::Never(error.to_string())
            }
            RecordError::Append(_) => Self::Again(error.to_string()),
        }
    }
}
