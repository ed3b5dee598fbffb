//! What a program is made of, for `describe`.

use std::sync::Arc;

use serde::Serialize;

use crate::{Service, TopicDescription};

/// A program's services.
#[derive(Debug, Serialize)]
pub(crate) struct Description {
    services: Vec<ServiceDescription>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceDescription {
    name: &'static str,
    about: &'static str,
    base_path: &'static str,
    aggregates: Vec<AggregateDescription>,
    publications: Vec<TopicDescription>,
    subscriptions: Vec<TopicDescription>,
}

#[derive(Debug, Serialize)]
struct AggregateDescription {
    #[serde(rename = "type")]
    type_name: &'static str,
    events: Vec<EventDescription>,
}

#[derive(Debug, Serialize)]
struct EventDescription {
    name: &'static str,
    version: u16,
}

/// Describes services.
pub(crate) fn of(services: &[Arc<dyn Service>]) -> Description {
    Description { services: services.iter().map(|service| one(&**service)).collect() }
}

fn one(service: &dyn Service) -> ServiceDescription {
    let aggregates = service.inspectors().into_iter().map(|inspector| AggregateDescription {
        type_name: inspector.type_name(),
        events: inspector
            .event_types()
            .iter()
            .map(|event| EventDescription { name: event.name, version: event.version })
            .collect(),
    });
    ServiceDescription {
        name: service.name(),
        about: service.about(),
        base_path: service.base_path(),
        aggregates: aggregates.collect(),
        publications: service.publications(),
        subscriptions: service.subscriptions(),
    }
}

impl Description {
    /// The same for people.
    pub(crate) fn text(&self) -> String {
        self.services.iter().map(ServiceDescription::text).collect::<Vec<_>>().join("\n")
    }
}

impl ServiceDescription {
    fn text(&self) -> String {
        let mut lines = vec![format!("{} ({}): {}", self.name, self.base_path, self.about)];
        for aggregate in &self.aggregates {
            lines.push(format!("  aggregate {}", aggregate.type_name));
            let events = aggregate.events.iter().map(|e| format!("    event {} v{}", e.name, e.version));
            lines.extend(events);
        }
        lines.extend(self.publications.iter().map(|t| format!("  publishes {} on {}", t.event, t.topic)));
        lines
            .extend(self.subscriptions.iter().map(|t| format!("  subscribes to {} on {}", t.event, t.topic)));
        lines.push(String::new());
        lines.join("\n")
    }
}
