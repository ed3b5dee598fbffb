//! The aggregate: a state in which every event and its order shows, and whose decisions say what they were made on.

use annals_actors::{Aggregate, Context};
use annals_macros::{Event, Shape};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, Shape)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    pub(crate) trail: u64,
}

/// A part of what one operation asks for; each carries the operation's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Command {
    /// So many events, or none.
    Add {
        op: u32,
        times: u32,
    },
    /// One event, unless the count can be divided by three.
    Careful {
        op: u32,
    },
    Panic {
        op: u32,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Event)]
pub(crate) enum Counted {
    #[event("counted")]
    Counted { op: u32, seen: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("refused at {count}")]
pub(crate) struct Refused {
    pub(crate) count: u64,
}

impl Tally {
    pub(crate) fn count_in(&mut self, op: u32) {
        self.count += 1;
        self.trail = self.trail.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(u64::from(op) + 1);
    }

    /// The state after some commands that are carried out all or not at all.
    pub(crate) fn after(&self, commands: &[Command]) -> Result<Self, Refused> {
        let mut state = self.clone();
        for command in commands {
            for Counted::Counted { op, .. } in state.decide(*command)? {
                state.count_in(op);
            }
        }
        Ok(state)
    }

    fn decide(&self, command: Command) -> Result<Vec<Counted>, Refused> {
        let (op, times) = match command {
            Command::Add { op, times } => (op, times),
            Command::Careful { .. } if self.count.is_multiple_of(3) => {
                return Err(Refused { count: self.count });
            }
            Command::Careful { op } | Command::Panic { op } => (op, 1),
        };
        let mut before = self.clone();
        let event = |_| {
            let seen = before.trail;
            before.count_in(op);
            Counted::Counted { op, seen }
        };
        Ok((0..times).map(event).collect())
    }
}

impl Aggregate for Tally {
    const TYPE: &'static str = "tally";
    type Command = Command;
    type Event = Counted;
    type Rejection = Refused;

    fn handle(&self, command: Command, _context: &Context) -> Result<Vec<Counted>, Refused> {
        if matches!(command, Command::Panic { .. }) {
            // As a panic, but for the lines on the screen.
            std::panic::resume_unwind(Box::new("a bug in handle"));
        }
        self.decide(command)
    }

    fn apply(&mut self, Counted::Counted { op, .. }: Counted) {
        self.count_in(op);
    }
}
