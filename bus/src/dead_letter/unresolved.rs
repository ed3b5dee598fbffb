//! How many dead letters wait for somebody, for whoever asks how the bus is.

use std::collections::BTreeMap;
use std::time::Duration;

use annals_actors::Clock;

use super::DeadLetters;

/// How often it is looked at most; it is looked only when something was written.
const EVERY: Duration = Duration::from_millis(500);

/// What was found by the last look.
#[derive(Debug, Default)]
pub(super) struct Unresolved {
    /// How many there are of subscriptions that the service does not have any more.
    of_nobody: BTreeMap<String, usize>,
    /// Why it could not be found out.
    fault: Option<String>,
}

impl DeadLetters {
    /// Looks again whenever something was written, until it is dropped.
    pub(crate) async fn watch(self, clock: std::sync::Arc<dyn Clock>) {
        let mut durable = self.ledger.journal().durable();
        loop {
            durable.mark_unchanged();
            self.look().await;
            if durable.changed().await.is_err() {
                return;
            }
            clock.sleep(EVERY).await;
        }
    }

    /// What of the dead letters no subscription tells.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let found = self.unresolved.lock();
        let of_nobody = found.of_nobody.iter().map(|(subscription, count)| {
            format!("subscription \"{subscription}\" is none any more, and has {count} dead letters; `dlq ls` lists them")
        });
        let fault = found.fault.iter().map(|fault| format!("the dead letters cannot be counted: {fault}"));
        of_nobody.chain(fault).collect()
    }

    async fn look(&self) {
        let fault = self.ledger.catch_up().await.err().map(|error| error.to_string());
        let mut of_nobody = self.ledger.unresolved().await;
        for inlet in &*self.inlets {
            inlet.note_dead_letters(of_nobody.remove(&**inlet.name()).unwrap_or(0));
        }
        of_nobody.retain(|_, count| *count > 0);
        *self.unresolved.lock() = Unresolved { of_nobody, fault };
    }
}
