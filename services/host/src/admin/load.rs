//! What the aggregates of running services have on their hands, and what of it is stuck.

use std::sync::Arc;

use annals_actors::{AggregateKind, KindLoad, Stuck, StuckInstance};
use annals_persistence::StreamId;
use axum::extract::State;
use axum::response::Response;
use futures_util::stream;
use serde::Serialize;

use super::{Admin, Asked, asked, lines};
use crate::Problem;

/// An aggregate type in a list.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct LoadItem {
    service: &'static str,
    #[serde(rename = "type")]
    type_name: &'static str,
    live: usize,
    in_flight: usize,
    waiting: usize,
    deepest: usize,
    oldest_seconds: f64,
    stuck: Vec<StuckItem>,
}

/// An instance that is stuck.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct StuckItem {
    stream: StreamId,
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<usize>,
    lasting_seconds: f64,
}

impl LoadItem {
    fn of(service: &'static str, type_name: &'static str, load: KindLoad) -> Self {
        Self {
            service,
            type_name,
            live: load.live,
            in_flight: load.in_flight,
            waiting: load.waiting,
            deepest: load.deepest,
            oldest_seconds: load.oldest.as_secs_f64(),
            stuck: load.stuck.into_iter().map(StuckItem::of).collect(),
        }
    }
}

impl StuckItem {
    fn of(stuck: StuckInstance) -> Self {
        let (what, command, waiting) = match stuck.what {
            Stuck::Handler { command } => ("handler", Some(command), None),
            Stuck::Mailbox { waiting } => ("mailbox", None, Some(waiting)),
            _ => ("other", None, None),
        };
        let lasting_seconds = stuck.lasting.as_secs_f64();
        Self { stream: stuck.stream, what, command, waiting, lasting_seconds }
    }
}

/// `GET /admin/v1/aggregates`: a line for each aggregate type.
pub(super) async fn list(State(admin): State<Admin>, query: Asked) -> Result<Response, Problem> {
    let mut items = Vec::new();
    for service in admin.chosen(&asked(query)?)? {
        let of =
            |kind: &Arc<dyn AggregateKind>| LoadItem::of(service.view.service, kind.type_name(), kind.load());
        items.extend(service.kinds.iter().map(of));
    }
    Ok(lines(stream::iter(items.into_iter().map(Ok::<_, std::io::Error>))))
}
