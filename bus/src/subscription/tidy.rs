//! Giving up what a subscription need not remember any more.

use tokio::sync::oneshot;

use super::Inlet;
use super::actor::Message;
use crate::inbox::{Old, Tidied, TidyError};

impl Inlet {
    /// Gives up what is older than [`SubscriptionOptions::remember`](super::SubscriptionOptions::remember), in memory and in
    /// the journal; answers how many records that were.
    pub(crate) async fn tidy(&self) -> Result<usize, TidyError> {
        // Early events have a stream of their own; a subscription that is gone tidies it up when it is there again.
        drop(self.mailbox.put(Message::Tidy));
        let mut given_up = 0;
        loop {
            let old = self.core.inbox.old(self.core.options.remember).await?;
            let more = old.is_full();
            // Asked also where nothing is old in the journal: what is in memory may be.
            let Some(old) = self.weighed(old).await.filter(|old| !old.is_empty()) else {
                return Ok(given_up);
            };
            let Tidied { records, plans } = self.core.inbox.give_up(old).await?;
            // A subscription that is gone reads them where they stand.
            drop(self.mailbox.put(Message::PlansMoved(plans)));
            given_up += records;
            if !more {
                return Ok(given_up);
            }
        }
    }

    /// Without what younger records say; `None` when the subscription is gone.
    async fn weighed(&self, old: Old) -> Option<Old> {
        let (sender, answer) = oneshot::channel();
        self.mailbox.put(Message::Weigh(Box::new((old, sender)))).ok()?;
        answer.await.ok()
    }
}
