//! Events as HTTP and the command line show them: what happened, when, who, why.

use std::sync::Arc;

use annals_actors::Inspector;
use annals_persistence::{
    CausationId, CodecId, CommandId, CorrelationId, Direction, EventError, EventId, Journal, JournalExt,
    Position, ReadError, RecordedEvent, StreamId, Version,
};
use axum::response::Response;
use futures_util::{StreamExt, TryStreamExt};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{HistoryQuery, Problem, json_array_of, time_text};

/// An event as `/history` shows it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventJson {
    /// Its place in its stream.
    pub version: Version,
    /// Its place in the journal.
    pub position: Position,
    /// Its id.
    pub event_id: EventId,
    /// The name of its type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// The version of its schema.
    pub schema_version: u16,
    /// When it happened, RFC 3339.
    pub time: String,
    /// Who sent the command, where that is known.
    pub actor: Option<Arc<str>>,
    /// The command's content, as a hash: the same command has the same.
    pub command: String,
    /// The command's id.
    pub command_id: CommandId,
    /// The outside request behind it.
    pub correlation_id: CorrelationId,
    /// What directly caused the command.
    pub causation_id: CausationId,
    /// What happened.
    pub data: Box<RawValue>,
}

/// Why an event cannot be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShowError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It cannot be understood.
    #[error(transparent)]
    Event(#[from] EventError),
    /// It cannot be written as JSON.
    #[error("event {version} of \"{stream}\" is not JSON")]
    Json {
        /// Its stream.
        stream: StreamId,
        /// Its place there.
        version: Version,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
}

impl ShowError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Read(error) => error.code(),
            Self::Event(error) => error.code(),
            Self::Json { .. } => "undecodable_event",
        }
    }
}

impl EventJson {
    /// Shows an event. JSON payloads are shown as they are; others need the aggregate's inspector, without which they
    /// are shown as their length.
    ///
    /// # Errors
    /// When the payload cannot be shown.
    pub fn of(event: &RecordedEvent, inspector: Option<&Arc<dyn Inspector>>) -> Result<Self, ShowError> {
        let json = |source| ShowError::Json { stream: event.stream.clone(), version: event.version, source };
        let data = match (event.codec, inspector) {
            (CodecId::Json, _) => serde_json::from_slice(&event.payload).map_err(json)?,
            (_, Some(inspector)) => {
                serde_json::value::to_raw_value(&inspector.event_json(event)?).map_err(json)?
            }
            (_, None) => {
                let length = serde_json::json!({ "bytes": event.payload.len() });
                serde_json::value::to_raw_value(&length).map_err(json)?
            }
        };
        Ok(Self {
            version: event.version,
            position: event.position,
            event_id: event.id,
            type_name: event.type_name.to_string(),
            schema_version: event.schema_version,
            time: time_text(event.command.time),
            actor: event.command.actor.clone(),
            command: format!("{:016x}", event.command.command_hash),
            command_id: event.command.command_id,
            correlation_id: event.command.correlation_id,
            causation_id: event.command.causation_id,
            data,
        })
    }
}

/// The history of an instance, streamed.
///
/// # Errors
/// 404 `not_found` when it has no events.
pub async fn history_response(
    journal: &Arc<dyn Journal>,
    inspector: &Arc<dyn Inspector>,
    id: &str,
    query: HistoryQuery,
) -> Result<Response, Problem> {
    let type_name = inspector.type_name();
    let none = || Problem::not_found(format!("no {type_name} has ever had the id \"{id}\""));
    let stream = StreamId::aggregate(type_name, id).map_err(|_| none())?;
    journal.stream_info(&stream).await?.ok_or_else(none)?;
    let inspector = Arc::clone(inspector);
    let events = journal
        .read_stream(&stream, query.from, Direction::Forward)
        .take(query.limit.unwrap_or(usize::MAX))
        .map_err(ShowError::from)
        .and_then(move |event| std::future::ready(EventJson::of(&event, Some(&inspector))));
    Ok(json_array_of(events))
}
