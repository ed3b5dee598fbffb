//! What is to be done about an event, and what of it is done.

use std::collections::BTreeMap;

use annals_persistence::{CommandId, Version};

use super::Rejection;

/// A list of commands that is written down and not carried out to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Where in the inbox the list is.
    pub(crate) at: Version,
    /// The commands that were answered for good; those that were rejected, with the rejection. An instance does not
    /// remember the ids of its commands for ever, so none of these is sent again.
    pub(crate) answered: BTreeMap<CommandId, Option<Rejection>>,
}

impl Plan {
    pub(crate) fn new(at: Version) -> Self {
        Self { at, answered: BTreeMap::new() }
    }
}
