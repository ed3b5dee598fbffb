//! What commands are called, so that one can be told of without being kept.

use std::sync::OnceLock;

use crate::turn::{A_CHECKPOINT, A_READ};

/// How many names a type's commands have at the most; whatever comes after them goes without.
const NAMES_MAX: usize = 128;

/// The name that a command's `Serialize` gives it: its variant's, or its type's where it is no enum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommandName {
    pub(crate) index: u32,
    pub(crate) name: &'static str,
}

/// The names of one aggregate type's commands, by their place in the enum. Each is put down when it is first seen.
#[derive(Debug)]
pub(crate) struct CommandNames(Box<[OnceLock<&'static str>]>);

impl CommandNames {
    pub(crate) fn new() -> Self {
        Self((0..NAMES_MAX).map(|_| OnceLock::new()).collect())
    }

    /// The number to find a name by.
    pub(crate) fn learn(&self, name: Option<CommandName>) -> u32 {
        // Several commands in one have no name.
        let Some(CommandName { index, name }) = name else { return NAMES_MAX as u32 };
        if let Some(place) = self.0.get(index as usize) {
            place.get_or_init(|| name);
        }
        index
    }

    /// What a number stands for.
    pub(crate) fn of(&self, number: u32) -> &'static str {
        match number {
            A_READ => "a read",
            A_CHECKPOINT => "a checkpoint",
            number => self.0.get(number as usize).and_then(OnceLock::get).copied().unwrap_or("commands"),
        }
    }
}
