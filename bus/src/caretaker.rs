//! Looks after what a bus keeps in the journal, so that none of it grows without end.

use std::sync::Arc;
use std::time::Duration;

use annals_actors::Clock;
use tokio::task::JoinHandle;

use crate::dead_letter::DeadLetters;
use crate::subscription::Inlet;
use crate::with_causes;

/// How long after the start it looks first, and how often after that.
const FIRST_AFTER: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(60 * 60);

/// Gives up what inboxes and dead letters need not remember, and counts those that wait. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Caretaker([JoinHandle<()>; 2]);

impl Caretaker {
    pub(crate) fn start(inlets: Arc<[Arc<Inlet>]>, letters: DeadLetters, clock: Arc<dyn Clock>) -> Self {
        let counting = tokio::spawn(letters.clone().watch(Arc::clone(&clock)));
        let tidying = tokio::spawn(async move {
            clock.sleep(FIRST_AFTER).await;
            loop {
                look_after(&inlets, &letters).await;
                clock.sleep(EVERY).await;
            }
        });
        Self([counting, tidying])
    }

    pub(crate) fn stop(&self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl Drop for Caretaker {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn look_after(inlets: &[Arc<Inlet>], letters: &DeadLetters) {
    for inlet in inlets {
        let subscription = inlet.name();
        match inlet.tidy().await {
            Ok(0) => {}
            Ok(records) => tracing::debug!(%subscription, records, "old records of the inbox are given up"),
            Err(error) => {
                tracing::warn!(%subscription, %error, "old records of the inbox stay; it is tried again");
            }
        }
    }
    for error in letters.tidy().await.faults {
        let (code, error) = (error.code(), with_causes(&error));
        tracing::warn!(error, code, "some records of dead letters stay; it is tried again");
    }
}
