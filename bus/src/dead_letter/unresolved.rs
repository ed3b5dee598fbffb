//! How many dead letters wait for somebody, for whoever asks how the bus is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use annals_actors::Clock;

use super::ledger::Listing;
use super::{DeadLetterError, DeadLetters};
use crate::subscription::show_dead_letters;
use crate::with_causes;

/// How often it is looked at most; it is looked only when something was written.
const EVERY: Duration = Duration::from_millis(500);
/// How soon it is looked again where it could not be found out.
const AGAIN: Duration = Duration::from_secs(10);

/// What was found by the last look.
#[derive(Debug, Default)]
pub(super) struct Unresolved {
    /// How many there are of subscriptions that the service does not have any more.
    of_nobody: BTreeMap<String, usize>,
    /// Why not all could be counted.
    fault: Option<String>,
}

impl DeadLetters {
    /// Looks again whenever something was written, until it is dropped.
    pub(crate) async fn watch(self, clock: Arc<dyn Clock>) {
        let mut durable = self.ledger.journal().durable();
        let mut are_listed = false;
        loop {
            durable.mark_unchanged();
            // Those of subscriptions that are gone are found once: there will be no more of them.
            let unlisted = if are_listed { None } else { self.list_of_nobody().await };
            are_listed = unlisted.is_none();
            let fault = self.look().await.or(unlisted);
            let is_whole = fault.is_none();
            self.unresolved.lock().fault =
                fault.map(|fault| format!("{} ({})", with_causes(&fault), fault.code()));
            tokio::select! {
                changed = durable.changed() => if changed.is_err() { return },
                () = clock.sleep(AGAIN), if !is_whole => {}
            }
            clock.sleep(EVERY).await;
        }
    }

    /// What of the dead letters no subscription tells.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let found = self.unresolved.lock();
        let of_nobody = found.of_nobody.iter().filter(|(_, count)| **count > 0).map(|(subscription, count)| {
            format!(
                "subscription \"{subscription}\" is none any more, and has {count} dead letters: `dlq ls` lists them, `dlq \
                 discard` puts them away"
            )
        });
        let fault = found.fault.iter().map(|fault| format!("not all dead letters can be counted: {fault}"));
        of_nobody.chain(fault).collect()
    }

    /// Answers why not all can be listed.
    async fn list_of_nobody(&self) -> Option<DeadLetterError> {
        let Listing { streams, faults } = self.ledger.streams().await;
        let own: BTreeSet<_> = self.inlets.iter().map(|inlet| inlet.letters().stream()).collect();
        let streams: Vec<_> = streams.into_iter().map(|(stream, _)| stream).collect();
        let of_nobody = streams.iter().filter(|stream| !own.contains(stream));
        let of_nobody = of_nobody.map(|stream| (stream.instance().to_owned(), 0)).collect();
        // What cannot be read of them the look that follows tells.
        drop(self.ledger.refresh(streams.iter()).await);
        self.unresolved.lock().of_nobody = of_nobody;
        faults.into_iter().next()
    }

    /// Counts; what of a stream cannot be read is not counted, and what was read of it before is.
    async fn look(&self) -> Option<DeadLetterError> {
        let fault = self.ledger.refresh(self.inlets.iter().map(|inlet| inlet.letters().stream())).await;
        let counts = self.ledger.unresolved().await;
        let count = |subscription: &str| counts.get(subscription).copied().unwrap_or(0);
        for inlet in &*self.inlets {
            inlet.note_dead_letters(count(inlet.name()));
        }
        for (subscription, kept) in &mut self.unresolved.lock().of_nobody {
            show_dead_letters(subscription, count(subscription));
            *kept = count(subscription);
        }
        fault
    }
}
