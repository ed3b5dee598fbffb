//! What is remembered of a request that came with a key: one event in a stream of its own.

use std::sync::Arc;

use annals_persistence::{
    AppendError, Batch, CodecId, CommandId, CommandMetadata, Direction, EventId, Expected, Filter, Journal,
    JournalExt, NewEvent, Position, ReadError, RecordedEvent, StreamAppend, StreamId, Timestamp, Version,
};
use futures_util::TryStreamExt;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Accepted;
use crate::{Problem, RequestContext};

/// The name of the event, for good.
const EVENT_NAME: &str = "request-remembered";

/// What the full names of the streams begin with.
pub(crate) const KEY_STREAMS: &str = "$idempotency-";

/// The event.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Remembered {
    /// A hash of the body.
    body: Uuid,
    /// Which instance the command went to.
    stream: StreamId,
    /// What was answered.
    status: u16,
    /// The instance's version, when the command had no events to tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<Version>,
}

/// The place where a request is remembered: one for each service, method, path and key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    command: CommandId,
    body: Uuid,
}

impl Slot {
    pub(super) fn new(command: CommandId, body: Uuid) -> Self {
        Self { command, body }
    }

    /// The id of the request's command.
    pub(super) fn command(&self) -> CommandId {
        self.command
    }

    fn stream(&self) -> Result<StreamId, Problem> {
        StreamId::internal(&format!("idempotency-{}", self.command))
            .map_err(|error| Problem::internal(error.code(), error.to_string()))
    }

    /// What is to be appended along with the command's events.
    pub(super) fn append(
        &self,
        context: &RequestContext,
        target: &StreamId,
        status: StatusCode,
        version: Option<Version>,
    ) -> Result<StreamAppend, Problem> {
        let remembered =
            Remembered { body: self.body, stream: target.clone(), status: status.as_u16(), version };
        let payload = CodecId::Json
            .encode(&remembered)
            .map_err(|error| Problem::internal("answer_not_encodable", error.to_string()))?;
        let event = NewEvent {
            id: EventId::generate(),
            type_name: EVENT_NAME.into(),
            schema_version: 1,
            codec: CodecId::Json,
            payload: payload.into(),
            command: self.metadata(context),
            tags: Vec::new(),
        };
        Ok(StreamAppend {
            stream: self.stream()?,
            expected: Expected::NoStream,
            events: std::iter::once(event).collect(),
        })
    }

    fn metadata(&self, context: &RequestContext) -> CommandMetadata {
        CommandMetadata {
            time: Timestamp::now(),
            command_id: self.command,
            command_hash: 0,
            correlation_id: context.correlation(),
            causation_id: self.command.into(),
            actor: context.actor().cloned(),
            trace: context.trace(),
        }
    }

    /// Remembers a request whose command appended nothing. If another came first, its answer comes back.
    pub(super) async fn remember(
        &self,
        journal: &Arc<dyn Journal>,
        append: StreamAppend,
    ) -> Result<Option<Accepted>, Problem> {
        let batch = Batch::of_all([append]);
        match journal.append(batch).await {
            Ok(_) => Ok(None),
            Err(AppendError::Conflict { .. }) => self.find(journal).await,
            Err(error) => Err(error.into()),
        }
    }

    /// What was answered to this request before.
    pub(super) async fn find(&self, journal: &Arc<dyn Journal>) -> Result<Option<Accepted>, Problem> {
        let stream = self.stream()?;
        let page = journal.stream_page(&stream, Version(1), Direction::Forward, 1).await?;
        let Some(event) = page.events.first() else { return Ok(None) };
        let remembered: Remembered = event
            .codec
            .decode(&event.payload)
            .map_err(|error| Problem::internal("undecodable_event", error.to_string()))?;
        if remembered.body != self.body {
            return Err(Problem::key_reused());
        }
        let version = match remembered.version {
            Some(version) => version,
            None => self.version_of_command(journal, event.position, &remembered.stream).await?,
        };
        Ok(Some(Accepted {
            id: remembered.stream.instance().to_owned(),
            version,
            status: StatusCode::from_u16(remembered.status).unwrap_or(StatusCode::OK),
            replayed: true,
            position: None,
        }))
    }

    /// The version that the command led to. Its last event stands right before ours, being of the same batch.
    async fn version_of_command(
        &self,
        journal: &Arc<dyn Journal>,
        ours: Position,
        target: &StreamId,
    ) -> Result<Version, Problem> {
        let before = Position(ours.0.saturating_sub(1));
        let page = journal.all_page(before, &Filter::everything(), 1).await?;
        let is_ours =
            |event: &RecordedEvent| event.stream == *target && event.command.command_id == self.command;
        if let Some(event) = page.events.iter().find(|event| is_ours(event)) {
            return Ok(event.version);
        }
        let found = self.look_back(journal, target, is_ours).await?;
        found.ok_or_else(|| Problem::internal("state_not_found", "the events of the first request are gone"))
    }

    /// The same the long way, should another engine order its batches otherwise.
    async fn look_back(
        &self,
        journal: &Arc<dyn Journal>,
        target: &StreamId,
        is_ours: impl Fn(&RecordedEvent) -> bool,
    ) -> Result<Option<Version>, ReadError> {
        let mut events = journal.read_stream(target, Version(u64::MAX), Direction::Backward);
        while let Some(event) = events.try_next().await? {
            if is_ours(&event) {
                return Ok(Some(event.version));
            }
        }
        Ok(None)
    }
}
