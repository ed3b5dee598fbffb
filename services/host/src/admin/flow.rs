//! How events flow: relays, subscriptions, and what carries them.

use annals_bus::{Bus, RelayStatus, SubscriptionStatus};
use axum::extract::State;
use axum::response::Response;
use futures_util::stream;
use serde::Serialize;

use super::{Admin, Asked, asked, lines};
use crate::Problem;

/// One of the things that events pass.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FlowItem {
    service: &'static str,
    /// `broker`, `relay` or `subscription`.
    kind: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    /// `well`, `degraded`, or `down`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lag: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_flight: Option<usize>,
    /// How many events are kept until an earlier one comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

impl FlowItem {
    fn new(service: &'static str, kind: &'static str, name: impl Into<String>) -> Self {
        let (name, reasons) = (name.into(), Vec::new());
        let (lag, in_flight, kept) = (None, None, None);
        Self { service, kind, name, topic: None, state: "well", lag, in_flight, kept, reasons }
    }

    /// What is said of single relays and subscriptions stands with them alone.
    fn broker(service: &'static str, bus: &Bus, others: &[Self]) -> Self {
        let health = bus.health();
        let is_said = |reason: &String| others.iter().any(|other| other.reasons.contains(reason));
        let state = word(!health.reasons.is_empty(), !health.degraded.is_empty());
        let version = health.version.map(|version| format!(" (sidecar {version})")).unwrap_or_default();
        let reasons = health.reasons.into_iter().chain(health.degraded).chain(health.notes);
        let reasons = reasons.filter(|reason| !is_said(reason)).collect();
        Self { state, reasons, ..Self::new(service, "broker", format!("{}{version}", bus.broker())) }
    }

    fn relay(service: &'static str, status: &RelayStatus) -> Self {
        let (fault, trouble) = (status.fault(), status.trouble());
        Self {
            state: word(fault.is_some(), trouble.is_some()),
            lag: Some(status.lag()),
            in_flight: Some(status.in_flight),
            reasons: fault.into_iter().chain(trouble).collect(),
            ..Self::new(service, "relay", &*status.name)
        }
    }

    fn subscription(service: &'static str, status: &SubscriptionStatus) -> Self {
        let (fault, troubles) = (status.fault(), status.troubles());
        let last_error = status.last_error.iter().map(|error| format!("last error: {error}"));
        Self {
            state: word(fault.is_some(), !troubles.is_empty()),
            topic: Some(status.topic.to_string()),
            // Only who feeds it in this process knows how far it is.
            lag: status.source.is_some().then(|| status.lag()),
            in_flight: Some(status.in_flight),
            kept: Some(status.kept),
            reasons: fault.into_iter().chain(troubles).chain(last_error).collect(),
            ..Self::new(service, "subscription", &*status.name)
        }
    }
}

/// The same judgement as health has.
fn word(is_down: bool, is_degraded: bool) -> &'static str {
    match (is_down, is_degraded) {
        (true, _) => "down",
        (false, true) => "degraded",
        (false, false) => "well",
    }
}

/// `GET /admin/v1/bus`: a line for the broker, each relay and each subscription of every service.
pub(super) async fn list(State(admin): State<Admin>, query: Asked) -> Result<Response, Problem> {
    let mut items = Vec::new();
    for service in admin.chosen(&asked(query)?)? {
        let Some(bus) = &service.bus else { continue };
        let name = service.view.service;
        let (relays, subscriptions) = (bus.relays(), bus.subscriptions());
        let relays = relays.iter().map(|status| FlowItem::relay(name, status));
        let others: Vec<_> =
            relays.chain(subscriptions.iter().map(|status| FlowItem::subscription(name, status))).collect();
        items.push(FlowItem::broker(name, bus, &others));
        items.extend(others);
    }
    Ok(lines(stream::iter(items.into_iter().map(Ok::<_, std::io::Error>))))
}

#[cfg(test)]
mod tests {
    use annals_bus::Topic;
    use annals_persistence::Position;

    use super::*;

    #[test]
    fn a_subscription_shows_as_health_judges_it() {
        let cases = [
            (0, 0, false, "well"),
            (2, 0, false, "degraded"),
            (0, 1, false, "degraded"),
            (2, 1, true, "down"),
        ];
        for (stalled, dead_letters, ended, state) in cases {
            let (cursor, durable) = (Position::START, Position::START);
            let (name, topic) = ("hear".into(), Topic::named("v1.heard"));
            let status = SubscriptionStatus {
                name,
                topic,
                source: None,
                cursor,
                durable,
                in_flight: 0,
                stalled,
                kept: 3,
                dead_letters,
                last_error: None,
                ended,
            };
            let item = FlowItem::subscription("hearing", &status);
            assert_eq!((item.state, item.kept), (state, Some(3)));
            assert_eq!(
                item.reasons.len(),
                usize::from(stalled > 0) + usize::from(dead_letters > 0) + usize::from(ended),
                "{:?}",
                item.reasons
            );
        }
    }
}
