//! Which commands an instance remembers: a function of its events alone, so it is the same after any restart.

use std::collections::VecDeque;

use annals_persistence::{CommandId, EventView, Position, Version};
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

/// The commands that appended an instance's last durable events, and the one that created it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommandMemory {
    /// The creating command never leaves: a create that is repeated years later is still a repetition.
    first: Option<Box<Remembered>>,
    latest: VecDeque<Remembered>,
}

impl CommandMemory {
    /// Takes in a command, and forgets the oldest beyond `capacity`.
    pub(crate) fn push(&mut self, command: Remembered, capacity: usize) {
        if self.first.is_none() {
            self.first = Some(Box::new(command));
        }
        self.latest.push_back(command);
        while self.latest.len() > capacity.max(1) {
            self.latest.pop_front();
        }
    }

    /// Takes in a recorded event; the events of one command stand together.
    pub(crate) fn replay(&mut self, event: &EventView<'_>, capacity: usize) {
        let command_id = event.command_id;
        if self.latest.back().is_some_and(|last| last.command_id == command_id) {
            let of_command = |command: &&mut Remembered| command.command_id == command_id;
            for command in
                self.latest.back_mut().into_iter().chain(self.first.as_deref_mut()).filter(of_command)
            {
                command.version = event.version;
                command.position = event.position;
                command.events += 1;
            }
            return;
        }
        let hash = event.command_hash;
        let (version, position) = (event.version, event.position);
        self.push(Remembered { command_id, hash, version, events: 1, position }, capacity);
    }

    /// The memory of these commands, from old to new.
    pub(crate) fn of(
        first: Option<Remembered>,
        latest: impl Iterator<Item = Remembered>,
        capacity: usize,
    ) -> Self {
        let mut memory = Self { first: first.map(Box::new), latest: VecDeque::new() };
        latest.for_each(|command| memory.push(command, capacity));
        memory
    }

    /// The creating command, and the latest from old to new.
    pub(crate) fn parts(&self) -> (Option<&Remembered>, impl Iterator<Item = &Remembered>) {
        (self.first.as_deref(), self.latest.iter())
    }

    /// Whether no command was ever taken in.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The command with this id, where it is the creating one or among the last `within`.
    pub(crate) fn find(&self, command_id: CommandId, within: usize) -> Option<&Remembered> {
        let found = self.latest.iter().rev().take(within).find(|command| command.command_id == command_id);
        found.or_else(|| self.first.as_deref().filter(|first| first.command_id == command_id))
    }
}

#[cfg(test)]
mod tests;
