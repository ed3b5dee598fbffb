//! What a reader of all events wants, said once more.

use std::sync::Arc;

use super::super::Random;
use super::super::kit::event;
use crate::{Batch, Expected, Filter, NewEvent, RecordedEvent, StreamId};

#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    internal: bool,
    category: Option<&'static str>,
    event_type: Option<&'static str>,
    tag: Option<&'static str>,
}

impl Wanted {
    pub(super) fn any(random: &mut Random) -> Self {
        let internal = random.one_in(2);
        let mut one_of =
            |choice: &[&'static str]| random.one_in(3).then(|| choice[random.index(choice.len())]);
        Self {
            internal,
            category: one_of(&["order", "invoice", "$own"]),
            event_type: one_of(&["opened", "closed"]),
            tag: one_of(&["eu", "us"]),
        }
    }

    pub(super) fn filter(&self) -> Filter {
        let mut filter = if self.internal { Filter::everything() } else { Filter::default() };
        if let Some(category) = self.category {
            filter = filter.category(category);
        }
        if let Some(event_type) = self.event_type {
            filter = filter.event_type(event_type);
        }
        if let Some(tag) = self.tag {
            filter = filter.tag(tag);
        }
        filter
    }

    pub(super) fn matches(&self, event: &RecordedEvent) -> bool {
        let is_seen = self.internal || self.category == Some("$own") || !event.stream.is_internal();
        is_seen
            && self.category.is_none_or(|category| event.stream.as_str().starts_with(&format!("{category}-")))
            && self.event_type.is_none_or(|event_type| event.type_name == event_type)
            && self.tag.is_none_or(|tag| event.tags.iter().any(|of| **of == *tag))
    }

    /// Two events that are wanted, for a stream that nothing else is done to.
    pub(super) fn batch(&self) -> Batch {
        let name = format!("{}-wanted", self.category.unwrap_or("order"));
        let stream = StreamId::parse(&name).expect("a valid name");
        Batch::of(stream, Expected::Any, [self.event(), self.event()])
    }

    fn event(&self) -> NewEvent {
        let mut event = event(self.event_type.unwrap_or("changed"));
        event.tags = self.tag.into_iter().map(Arc::from).collect();
        event
    }
}
