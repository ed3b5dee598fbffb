//! The time that stopping may take in all, and each stage's share of it.

use std::time::Duration;

use tokio::time::Instant;

#[cfg(test)]
mod tests;

/// How long stopping takes at most unless something else is asked for: Kubernetes kills what is still there after 30
/// seconds, and begins to count before the process knows.
pub(crate) const STOP_WITHIN: Duration = Duration::from_secs(24);

/// What happens while services stop, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Requests under way are answered.
    Requests,
    /// Buses finish what they publish and what they were brought.
    Buses,
    /// Nodes answer the commands that they have admitted, and write snapshots.
    Nodes,
    /// Snapshots and journals are closed.
    Data,
    /// Sidecars end.
    #[cfg_attr(
        not(feature = "dapr"),
        allow(dead_code, reason = "without the feature there are none to wait for")
    )]
    Sidecars,
}

impl Stage {
    /// When it is cut, in 24ths of the whole. What an earlier stage leaves is there for the later ones.
    const fn ends_at(self) -> u32 {
        match self {
            Self::Requests => 8,
            Self::Buses => 17,
            Self::Nodes => 20,
            Self::Data => 22,
            Self::Sidecars => 24,
        }
    }
}

/// The time to stop in, from the moment it began. Each stage ends by itself or is cut, so that the last one has its
/// share too.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StopTime {
    began: Instant,
    within: Duration,
}

impl StopTime {
    /// From now on.
    pub(crate) fn begin(within: Duration) -> Self {
        Self { began: Instant::now(), within }
    }

    /// Waits for something that belongs to a stage; `None` when the stage's time is over first.
    pub(crate) async fn give<T>(&self, stage: Stage, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.end_of(stage), work).await.ok()
    }

    fn end_of(&self, stage: Stage) -> Instant {
        self.began + self.within / 24 * stage.ends_at()
    }
}
