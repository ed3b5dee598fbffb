//! Which of the sidecar's components carries which topic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::DaprOptions;
use crate::Topic;

/// Which of the sidecar's components carries which topic. Cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Components {
    usual: Arc<str>,
    of_topic: Arc<BTreeMap<Topic, Arc<str>>>,
}

impl Components {
    pub(super) fn new(options: &DaprOptions) -> Self {
        let DaprOptions { pubsub, topic_pubsubs, .. } = options;
        Self { usual: Arc::clone(pubsub), of_topic: Arc::new(topic_pubsubs.clone()) }
    }

    /// The one that carries a topic.
    pub(super) fn of(&self, topic: &Topic) -> &Arc<str> {
        self.of_topic.get(topic).unwrap_or(&self.usual)
    }

    /// All of them.
    pub(super) fn all(&self) -> BTreeSet<&str> {
        std::iter::once(&self.usual).chain(self.of_topic.values()).map(|name| &**name).collect()
    }

    /// Those that carry any of these topics; where there are none, the usual one.
    pub(super) fn carrying<'a>(&self, topics: impl IntoIterator<Item = &'a Topic>) -> BTreeSet<Arc<str>> {
        let carrying: BTreeSet<_> = topics.into_iter().map(|topic| Arc::clone(self.of(topic))).collect();
        if carrying.is_empty() { BTreeSet::from([Arc::clone(&self.usual)]) } else { carrying }
    }
}
