//! Giving up what is said of dead letters that are done with.

use annals_persistence::{Batch, JournalExt, Retention, StreamId, Version};

use super::DeadLetterError;
use super::ledger::Ledger;

/// So many records are given up at the least: every time is an append.
const RECORDS_MIN: u64 = 64;

impl Ledger {
    /// Gives up, of each stream of letters, what stands in front of its first unresolved letter; answers how many records
    /// that were at the most.
    pub(super) async fn tidy(&self) -> Result<u64, DeadLetterError> {
        let mut given_up = 0;
        for (stream, last) in self.catch_up().await? {
            let until = self.first_needed(&stream, last).await;
            let already = self.given_up_to(&stream).await;
            let records = until.0.saturating_sub(already.0);
            if records >= RECORDS_MIN {
                self.truncate(&stream, until).await?;
                given_up += records;
            }
        }
        Ok(given_up)
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
