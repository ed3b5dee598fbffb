//! Reactions: the commands that a handler answers an event with.

use std::collections::HashMap;

use annals_actors::Aggregate;
use annals_macros::Shape;
use annals_persistence::CommandId;
use annals_persistence::planted::{Fault, planted};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::HandlerError;
use crate::identity::derived;

/// What an event makes happen: commands for aggregate instances of the subscriber's own service.
///
/// Commands for one instance are carried out in their order, those for different instances at the same time. A
/// command that a business rule rejects counts as carried out; the rejection is recorded.
#[derive(Debug, Clone, Default)]
pub struct Reaction {
    targets: Vec<Target>,
    /// The first command that could not be written down.
    fault: Option<String>,
}

/// A command for an instance, as it is written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Shape)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Target {
    #[serde(rename = "type")]
    pub(crate) type_name: String,
    pub(crate) id: String,
    pub(crate) command: Value,
}

impl Reaction {
    /// Nothing is to be done.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Also this command, for this instance.
    #[must_use]
    pub fn command<A: Aggregate>(mut self, id: impl AsRef<str>, command: A::Command) -> Self {
        match serde_json::to_value(command) {
            Ok(command) => self.targets.push(Target {
                type_name: A::TYPE.to_owned(),
                id: id.as_ref().to_owned(),
                command,
            }),
            Err(error) => self.fault = Some(format!("a command for {} cannot be encoded: {error}", A::TYPE)),
        }
        self
    }

    pub(crate) fn into_targets(self) -> Result<Vec<Target>, HandlerError> {
        match self.fault {
            None => Ok(self.targets),
            Some(reason) => Err(HandlerError::poison(reason)),
        }
    }
}

/// The id of each target's command: derived from the subscription, the event and the target, and for further commands
/// to the same target from their number, so that sending again is sending the same.
pub(crate) fn command_ids(
    subscription: &str,
    source: &str,
    event: &str,
    targets: &[Target],
) -> Vec<CommandId> {
    let mut seen: HashMap<(&str, &str), usize> = HashMap::new();
    targets
        .iter()
        .map(|target| {
            let number = seen
                .entry((target.type_name.as_str(), target.id.as_str()))
                .and_modify(|number| *number += 1)
                .or_default();
            if planted(Fault::CommandIdsMadeAnew) {
                return CommandId::generate();
            }
            let number = number.to_string();
            CommandId::from(derived(&[subscription, source, event, &target.type_name, &target.id, &number]))
        })
        .collect()
}
