//! Checkpoints that operators ask for.

use std::sync::Arc;

use annals_actors::{AggregateKind, CheckpointError};
use annals_persistence::{Position, Version};
use axum::Json;
use axum::extract::State;
use serde::Serialize;

use super::{Admin, Asked, asked, not_registered};
use crate::{PathText, Problem};

/// Who asks, as the checkpoint's event has it.
const ACTOR: &str = "operator";

/// A checkpoint that was made.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CheckpointItem {
    service: &'static str,
    #[serde(rename = "type")]
    type_name: String,
    id: String,
    version: Version,
    position: Position,
    /// Versions below it are gone.
    kept_from: Version,
    /// Who had still to read some that were to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_by: Option<String>,
}

/// Makes one, in the service that has the instance; `?keep=N` gives up what is in front of it but for so many events.
pub(super) async fn make(
    State(admin): State<Admin>,
    path: PathText<(String, String)>,
    query: Asked,
) -> Result<Json<CheckpointItem>, Problem> {
    let query = asked(query)?;
    let (type_name, id) = path.get()?;
    let chosen = admin.chosen(&query)?;
    let views: Vec<_> = chosen.iter().map(|service| service.view.clone()).collect();
    let mut none = not_registered(&views, &type_name);
    for service in chosen {
        let Some(kind) = service.kinds.iter().find(|kind| kind.type_name() == type_name) else { continue };
        match made(&**kind, service.view.service, &id, query.keep).await {
            Err(error @ CheckpointError::NotFound { .. }) => none = error.into(),
            answer => return Ok(Json(answer?)),
        }
    }
    Err(none)
}

async fn made(
    kind: &dyn AggregateKind,
    service: &'static str,
    id: &str,
    keep: Option<u64>,
) -> Result<CheckpointItem, CheckpointError> {
    let receipt = kind.checkpoint(id, keep, Some(Arc::from(ACTOR))).await?;
    Ok(CheckpointItem {
        service,
        type_name: kind.type_name().to_owned(),
        id: id.to_owned(),
        version: receipt.version,
        position: receipt.position,
        kept_from: receipt.kept_from,
        held_by: receipt.held.map(|held| held.by),
    })
}
