//! What the description of the routes says of the types that the host reads and writes.

use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// An event of an instance's history.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "it is only described")]
pub(crate) struct HistoryEvent {
    /// Its number in the history.
    version: u64,
    /// Its number in the service's journal.
    position: u64,
    /// Its id.
    event_id: Uuid,
    /// What happened.
    #[schema(rename = "type", example = "order-shipped")]
    kind: String,
    /// The version of what `data` looks like.
    schema_version: u16,
    /// When.
    #[schema(format = DateTime)]
    time: String,
    /// Who made it happen, where that is known.
    actor: Option<String>,
    /// A hash of the content of the command behind it: the same command has the same.
    #[schema(example = "9c1185a5c5e9fc54")]
    command: String,
    /// The id of that command.
    command_id: Uuid,
    /// The outside request behind it.
    correlation_id: Uuid,
    /// The command or event that caused it.
    causation_id: Uuid,
    /// What is known of it.
    data: Value,
}

/// Which part of a list.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is only described")]
pub(crate) struct PageParameters {
    /// The most items wanted; all without it.
    limit: Option<usize>,
    /// Only what comes after this one.
    after: Option<Uuid>,
}

/// As of which moment; now without either.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is only described")]
pub(crate) struct MomentParameters {
    /// The state at this version.
    version: Option<u64>,
    /// The state at this time.
    #[param(format = DateTime)]
    at: Option<String>,
}

/// Which part of a history.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is only described")]
pub(crate) struct HistoryParameters {
    /// The first version wanted.
    from: Option<u64>,
    /// The most events wanted; all without it.
    limit: Option<usize>,
}
