//! How long and how large a run is.

use std::time::Duration;

/// How long and how large a run is.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How long one system runs before it is another's turn.
    pub window: Duration,
    /// How many turns each system gets.
    pub rounds: usize,
    /// How many aggregate instances the commands are spread over.
    pub instances: usize,
    /// How many events the long stream has.
    pub stream_events: usize,
    /// How many cold instances are brought up at once.
    pub cold_instances: usize,
    /// How many events the large log has.
    pub scale_events: usize,
    /// With how many clients commands and reads are measured.
    pub clients: Vec<usize>,
}

impl Plan {
    /// Ten minutes or so: the figures that count.
    #[must_use]
    pub fn full() -> Self {
        Self {
            window: Duration::from_millis(1500),
            rounds: 7,
            instances: 10_000,
            stream_events: 100_000,
            cold_instances: 2_000,
            scale_events: 10_000_000,
            clients: vec![1, 64, 1024, 8192],
        }
    }

    /// A minute or two: the same work in shorter turns.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            window: Duration::from_millis(200),
            rounds: 5,
            stream_events: 20_000,
            cold_instances: 500,
            scale_events: 1_000_000,
            clients: vec![1, 64, 1024],
            ..Self::full()
        }
    }

    /// A few seconds, also without optimisation: shows that everything runs, measures nothing.
    #[must_use]
    pub fn smoke() -> Self {
        Self {
            window: Duration::from_millis(20),
            rounds: 1,
            instances: 20,
            stream_events: 300,
            cold_instances: 20,
            scale_events: 3_000,
            clients: vec![1, 8],
        }
    }
}
