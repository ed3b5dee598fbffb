//! What an instance is doing right now: written by its actor without a lock and without asking for the time, read by
//! whoever watches.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What stands for a request that is no command: a look at the state.
pub(crate) const A_READ: u32 = u32::MAX;

/// What stands for a checkpoint.
pub(crate) const A_CHECKPOINT: u32 = u32::MAX - 1;

/// An instance's turn.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// Odd while a request is handled; another number for each.
    number: AtomicU64,
    /// Which command it is, by its place among its type's names.
    command: AtomicU32,
    /// How many requests were taken from the mailbox and are not handled to the end, this one included.
    left: AtomicU32,
}

/// A request that is being handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handling {
    pub(crate) number: u64,
    pub(crate) command: u32,
}

impl Turn {
    /// A request's handling begins. Only the instance's actor may say so.
    pub(crate) fn begins(&self, command: u32, left: usize) {
        self.command.store(command, Ordering::Relaxed);
        self.left.store(u32::try_from(left).unwrap_or(u32::MAX), Ordering::Relaxed);
        let before = self.number.load(Ordering::Relaxed);
        self.number.store((before + 1) | 1, Ordering::Release);
    }

    /// Nothing is being handled any more.
    pub(crate) fn ends(&self) {
        self.left.store(0, Ordering::Relaxed);
        let before = self.number.load(Ordering::Relaxed);
        self.number.store((before + 1) & !1, Ordering::Release);
    }

    /// What is being handled, as of about now.
    pub(crate) fn handling(&self) -> Option<Handling> {
        let number = self.number.load(Ordering::Acquire);
        (number % 2 == 1).then(|| Handling { number, command: self.command.load(Ordering::Relaxed) })
    }

    /// How many requests the actor has taken and not handled to the end.
    pub(crate) fn left(&self) -> usize {
        self.left.load(Ordering::Relaxed) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_has_a_number_of_its_own() {
        let turn = Turn::default();
        assert_eq!((turn.handling(), turn.left()), (None, 0));
        turn.begins(7, 2);
        assert_eq!((turn.handling(), turn.left()), (Some(Handling { number: 1, command: 7 }), 2));
        turn.begins(8, 1);
        assert_eq!((turn.handling(), turn.left()), (Some(Handling { number: 3, command: 8 }), 1));
        turn.ends();
        assert_eq!((turn.handling(), turn.left()), (None, 0));
        turn.ends();
        turn.begins(7, 1);
        assert_eq!(turn.handling().map(|handling| handling.command), Some(7));
    }
}
