//! Giving up what is said of dead letters that are done with.

use annals_persistence::{Batch, JournalExt, Retention, StreamId, Version};

use super::DeadLetterError;
use super::ledger::{Ledger, Listing};

/// So many records are given up at the least: every time is an append.
const RECORDS_MIN: u64 = 64;

/// What tidying did.
#[derive(Debug, Default)]
pub(crate) struct Tidied {
    /// How many records were given up at the most.
    pub(crate) records: u64,
    /// What could not be read or given up; all else was gone on with.
    pub(crate) faults: Vec<DeadLetterError>,
}

impl Ledger {
    /// Gives up, of each stream of letters, what stands in front of its first unresolved letter and its first record that
    /// cannot be read.
    pub(super) async fn tidy(&self) -> Tidied {
        let Listing { streams, faults } = self.catch_up().await;
        let mut tidied = Tidied { records: 0, faults };
        for (stream, last) in streams {
            match self.tidy_stream(&stream, last).await {
                Ok(records) => tidied.records += records,
                Err(error) => tidied.faults.push(error),
            }
            if let Some(version) = self.next_unreadable(&stream, Version::NONE, last).await {
                tidied.faults.extend(self.why_unreadable(&stream, version).await);
            }
        }
        tidied
    }

    async fn tidy_stream(&self, stream: &StreamId, last: Version) -> Result<u64, DeadLetterError> {
        let until = self.first_needed(stream, last).await;
        let records = until.0.saturating_sub(self.given_up_to(stream).await.0);
        if records < RECORDS_MIN {
            return Ok(0);
        }
        self.truncate(stream, until).await?;
        Ok(records)
    }

    async fn truncate(&self, stream: &StreamId, until: Version) -> Result<(), DeadLetterError> {
        // The count never bites: it says that the stream is the runtime's own.
        let kept = Retention { truncate_before: until, max_count: Some(u64::MAX), ..Retention::default() };
        let batch = Batch::default().retaining(stream.clone(), kept);
        let appended = self.journal().append(batch).await;
        appended.map_err(|error| DeadLetterError::NotRecorded { reason: error.to_string() })?;
        self.note_given_up(stream, until).await;
        Ok(())
    }
}
