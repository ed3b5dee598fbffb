//! What is known of the pairs of schemas that a comparison has met.

use std::collections::HashMap;
use std::ptr;

use serde_json::Value;

/// A place in the reader's schema and one in the writer's, told apart by where they are in memory: both schemas stay
/// where they are while they are compared.
pub(super) type Pair = (*const Value, *const Value);

pub(super) fn pair(reader: &Value, writer: &Value) -> Pair {
    (ptr::from_ref(reader), ptr::from_ref(writer))
}

/// What is known of a pair.
#[derive(Debug, Clone)]
pub(super) enum Verdict {
    /// It is being compared: met within itself, it holds if the rest does.
    UnderWay,
    /// It holds, if every pair that is under way does.
    Accepted,
    /// It does not hold, whatever else does; and where it was told why, if it was.
    Refused(Option<String>),
}

/// The pairs met so far.
#[derive(Debug, Default)]
pub(super) struct Met {
    verdicts: HashMap<Pair, Verdict>,
    /// The accepted ones, in the order in which they were.
    accepted: Vec<Pair>,
}

/// How much had been accepted when a comparison began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Since(usize);

impl Met {
    pub(super) fn verdict(&self, pair: Pair) -> Option<&Verdict> {
        self.verdicts.get(&pair)
    }

    pub(super) fn begin(&mut self, pair: Pair) -> Since {
        self.verdicts.insert(pair, Verdict::UnderWay);
        Since(self.accepted.len())
    }

    pub(super) fn accept(&mut self, pair: Pair) {
        self.verdicts.insert(pair, Verdict::Accepted);
        self.accepted.push(pair);
    }

    /// Forgets what was accepted while the pair was under way: it may have been so only because the pair was.
    pub(super) fn refuse(&mut self, pair: Pair, since: Since, told: Option<String>) {
        for accepted in self.accepted.drain(since.0..) {
            self.verdicts.remove(&accepted);
        }
        self.verdicts.insert(pair, Verdict::Refused(told));
    }
}
