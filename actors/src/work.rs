//! What one request wants done: a command, or several of which all are carried out or none.

use serde::Serialize;

use crate::{Aggregate, Refusal, SendError};

pub(crate) enum Work<A: Aggregate> {
    One(A::Command),
    All(Vec<A::Command>),
}

impl<A: Aggregate> Work<A> {
    /// What its sender is told when it is not even taken in: it comes back inside.
    pub(crate) fn refused(self, reason: Refusal) -> SendError<A> {
        match (self, reason) {
            (Self::One(command), Refusal::MailboxFull { capacity }) => {
                SendError::MailboxFull { command, capacity }
            }
            (Self::One(command), Refusal::Stopping) => SendError::Stopping { command },
            (Self::All(commands), reason) => SendError::AllRefused { commands, reason },
        }
    }
}

// A list of commands under one id is another content than any command alone.
impl<A: Aggregate> Serialize for Work<A> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::One(command) => command.serialize(serializer),
            Self::All(commands) => commands.serialize(serializer),
        }
    }
}
