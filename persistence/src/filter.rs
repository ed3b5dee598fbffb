//! Which events a reader of the whole journal wants.

use std::collections::BTreeSet;

use crate::{RecordedEvent, StreamId};

/// Which events to deliver. The default wants every event but the runtime's own.
///
/// ```
/// use annals_persistence::Filter;
///
/// let orders = Filter::default().category("order").event_type("order-shipped");
/// let all = Filter::everything();
/// # let _ = (orders, all);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    categories: BTreeSet<String>,
    types: BTreeSet<String>,
    tags: BTreeSet<String>,
    internal: bool,
}

impl Filter {
    /// Every event, the runtime's own included.
    #[must_use]
    pub fn everything() -> Self {
        Self { internal: true, ..Self::default() }
    }

    /// Wants events of this aggregate type; called again, of any of the types named.
    #[must_use]
    pub fn category(mut self, category: impl Into<String>) -> Self {
        self.categories.insert(category.into());
        self
    }

    /// Wants events of this event type; called again, of any of those named.
    #[must_use]
    pub fn event_type(mut self, name: impl Into<String>) -> Self {
        self.types.insert(name.into());
        self
    }

    /// Wants events with this tag; called again, with any of those named.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.insert(tag.into());
        self
    }

    /// Whether events of the runtime's own streams (`$...`) are wanted.
    #[must_use]
    pub fn wants_internal(&self) -> bool {
        self.internal || self.categories.iter().any(|c| c.starts_with('$'))
    }

    /// Whether any event of this stream may be wanted.
    #[must_use]
    pub fn wants_of(&self, stream: &StreamId) -> bool {
        (self.wants_internal() || !stream.is_internal())
            && (self.categories.is_empty() || self.categories.contains(stream.category()))
    }

    /// Whether this event is wanted.
    #[must_use]
    pub fn matches(&self, event: &RecordedEvent) -> bool {
        self.wants(event.stream.as_str(), &event.type_name, event.tags.iter().map(|tag| &**tag))
    }

    /// As [`Filter::matches`], before there is an event: reading on past what nobody wants is then cheap.
    pub(crate) fn wants<'t>(
        &self,
        stream: &str,
        type_name: &str,
        mut tags: impl Iterator<Item = &'t str>,
    ) -> bool {
        if stream.starts_with('$') && !self.wants_internal() {
            return false;
        }
        let category = stream.split_once('-').map_or(stream, |(category, _)| category);
        (self.categories.is_empty() || self.categories.contains(category))
            && (self.types.is_empty() || self.types.contains(type_name))
            && (self.tags.is_empty() || tags.any(|tag| self.tags.contains(tag)))
    }
}

#[cfg(test)]
mod tests;
