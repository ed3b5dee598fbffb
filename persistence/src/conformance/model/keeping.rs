//! What is to be kept of a stream, as data.

use std::time::Duration;

use super::super::Random;
use crate::{Retention, StreamId, Version};

#[derive(Debug, Clone)]
pub(super) struct Keeping {
    pub(super) stream: StreamId,
    retention: Retention,
    /// Truncated before a version near those there are, taken by this number's remainder.
    before: Option<u64>,
}

impl Keeping {
    pub(super) fn any(random: &mut Random, stream: StreamId) -> Self {
        let nothing_else = Self { stream, retention: Retention::default(), before: None };
        match random.below(16) {
            0 => Self { retention: Retention::gone(), ..nothing_else },
            1 => nothing_else,
            2 => nothing_else.bounded(random).truncated(random),
            3..9 if nothing_else.stream.is_internal() => nothing_else.bounded(random),
            _ => nothing_else.truncated(random),
        }
    }

    /// Which nobody may do to an aggregate's stream.
    fn bounded(mut self, random: &mut Random) -> Self {
        let by_count = random.one_in(2);
        let most = random.below(6);
        if by_count {
            self.retention.max_count = Some(most);
        } else {
            self.retention.max_age = Some(Duration::from_secs(100 * most));
        }
        self
    }

    fn truncated(self, random: &mut Random) -> Self {
        Self { before: Some(random.next_u64()), ..self }
    }

    /// Whether it takes a checkpoint to set it.
    pub(super) fn wants_checkpoint(&self) -> bool {
        self.before.is_some() && !self.stream.is_internal()
    }

    /// As it is for a stream of this version.
    pub(super) fn retention(&self, there: Version) -> Retention {
        let before = self.before.map_or(Version::NONE, |number| Version(number % (there.0 + 4)));
        Retention { truncate_before: before, ..self.retention }
    }
}
