//! Which commands an instance remembers: a function of its events alone, so it is the same after any restart.

use std::collections::VecDeque;

use annals_persistence::{CommandId, Position, RecordedEvent, Version};
use serde::{Deserialize, Serialize};

use crate::Receipt;

/// A command that appended events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    pub(crate) command_id: CommandId,
    pub(crate) hash: u64,
    pub(crate) version: Version,
    pub(crate) events: u32,
    /// Position zero while the append is under way.
    pub(crate) position: Position,
}

impl Remembered {
    /// The receipt for a repetition of this command.
    pub(crate) fn receipt(&self) -> Receipt {
        Receipt { version: self.version, position: Some(self.position), events: self.events, duplicate: true }
    }
}

/// The commands that appended an instance's last events, and the one that created it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommandMemory {
    /// The creating command never leaves: a create that is repeated years later is still a repetition.
    first: Option<Remembered>,
    latest: VecDeque<Remembered>,
    /// How many of `latest`, from the front, have their position.
    settled: usize,
}

impl CommandMemory {
    /// Takes in a command, and forgets the oldest beyond `capacity`.
    pub(crate) fn push(&mut self, command: Remembered, capacity: usize) {
        if self.first.is_none() {
            self.first = Some(command);
        }
        self.latest.push_back(command);
        while self.latest.len() > capacity.max(1) {
            self.latest.pop_front();
            self.settled = self.settled.saturating_sub(1);
        }
    }

    /// Takes in a recorded event; the events of one command stand together.
    pub(crate) fn replay(&mut self, event: &RecordedEvent, capacity: usize) {
        let continues = self.latest.back().is_some_and(|last| last.command_id == event.command.command_id);
        if continues {
            for last in [self.latest.back_mut(), self.first.as_mut()].into_iter().flatten() {
                if last.command_id == event.command.command_id {
                    last.version = event.version;
                    last.position = event.position;
                    last.events += 1;
                }
            }
            return;
        }
        self.push(
            Remembered {
                command_id: event.command.command_id,
                hash: event.command.command_hash,
                version: event.version,
                events: 1,
                position: event.position,
            },
            capacity,
        );
        self.settled = self.latest.len();
    }

    /// Tells the command that ends at `version` where its events went.
    pub(crate) fn settle(&mut self, version: Version, position: Position) {
        if let Some(command) = self.latest.get_mut(self.settled).filter(|command| command.version == version)
        {
            command.position = position;
            self.settled += 1;
        }
        if let Some(first) = self.first.as_mut().filter(|first| first.version == version) {
            first.position = position;
        }
    }

    /// This memory with the positions that a later one has learned; `None` where it has forgotten one of them.
    pub(crate) fn settled_by(mut self, later: &Self) -> Option<Self> {
        for command in self.latest.iter_mut().skip(self.settled).chain(self.first.as_mut()) {
            if command.position == Position::START {
                command.position = later.find(command.command_id)?.position;
            }
        }
        self.settled = self.latest.len();
        Some(self)
    }

    /// The command with this id, where it is remembered.
    pub(crate) fn find(&self, command_id: CommandId) -> Option<&Remembered> {
        let found = self.latest.iter().rev().find(|command| command.command_id == command_id);
        found.or_else(|| self.first.as_ref().filter(|first| first.command_id == command_id))
    }
}

#[cfg(test)]
mod tests;
