//! Reactions: the commands that a handler answers an event with.

use std::borrow::Cow;
use std::collections::HashMap;

use annals_actors::Aggregate;
use annals_macros::Shape;
use annals_persistence::CommandId;
use annals_persistence::planted::{Fault, planted};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use smallvec::{SmallVec, smallvec};

use crate::HandlerError;
use crate::identity::derived;

/// What an event makes happen: commands for aggregate instances of the subscriber's own service.
///
/// Commands for one instance are carried out in their order, those for different instances at the same time. A
/// command that a business rule rejects counts as carried out; the rejection is recorded.
#[derive(Debug, Clone, Default)]
pub struct Reaction {
    errands: SmallVec<[Errand; 1]>,
    /// The first command that could not be written down.
    fault: Option<String>,
}

/// A command for an instance, on its way.
#[derive(Debug, Clone)]
pub(crate) struct Errand {
    pub(crate) type_name: Cow<'static, str>,
    pub(crate) id: Box<str>,
    pub(crate) command: Box<RawValue>,
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

impl Errand {
    /// As it is written down.
    pub(crate) fn target(&self) -> Result<Target, serde_json::Error> {
        let (type_name, id) = (self.type_name.clone().into_owned(), self.id.to_string());
        Ok(Target { type_name, id, command: serde_json::from_str(self.command.get())? })
    }
}

impl TryFrom<Target> for Errand {
    type Error = serde_json::Error;

    fn try_from(target: Target) -> Result<Self, serde_json::Error> {
        let command = to_raw_value(&target.command)?;
        Ok(Self { type_name: target.type_name.into(), id: target.id.into(), command })
    }
}

impl Reaction {
    /// Nothing is to be done.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Also this command, for this instance.
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a command is its receiver's, however it travels")]
    pub fn command<A: Aggregate>(mut self, id: impl AsRef<str>, command: A::Command) -> Self {
        match to_raw_value(&command) {
            Ok(command) => {
                self.errands.push(Errand { type_name: A::TYPE.into(), id: id.as_ref().into(), command });
            }
            Err(error) => self.fault = Some(format!("a command for {} cannot be encoded: {error}", A::TYPE)),
        }
        self
    }

    pub(crate) fn into_errands(self) -> Result<SmallVec<[Errand; 1]>, HandlerError> {
        match self.fault {
            None => Ok(self.errands),
            Some(reason) => Err(HandlerError::poison(reason)),
        }
    }
}

/// The id of each command: derived from the subscription, the event and the target, and for further commands to the
/// same target from their number, so that sending again is sending the same.
pub(crate) fn command_ids(
    subscription: &str,
    source: &str,
    event: &str,
    errands: &[Errand],
) -> SmallVec<[CommandId; 1]> {
    let id = |errand: &Errand, number: usize| {
        if planted(Fault::CommandIdsMadeAnew) {
            return CommandId::generate();
        }
        let number = number.to_string();
        CommandId::from(derived(&[subscription, source, event, &errand.type_name, &errand.id, &number]))
    };
    if let [alone] = errands {
        return smallvec![id(alone, 0)];
    }
    let mut seen: HashMap<(&str, &str), usize> = HashMap::new();
    let numbered = errands.iter().map(|errand| {
        let number =
            seen.entry((&errand.type_name, &errand.id)).and_modify(|number| *number += 1).or_default();
        id(errand, *number)
    });
    numbered.collect()
}
