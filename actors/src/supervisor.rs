//! The supervisor of a node's instances: an actor that ended without being told to is replaced.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use annals_persistence::{StreamId, Timestamp};
use parking_lot::Mutex;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

use crate::{Clock, StartError};

/// How long after its end an actor is replaced; twice as long each time that the one before did not live for
/// [`STEADY_AFTER`].
const RESTART_MIN: Duration = Duration::from_millis(100);
const RESTART_MAX: Duration = Duration::from_secs(30);
/// An actor that lived as long as this is no sign of a lasting trouble.
const STEADY_AFTER: Duration = Duration::from_secs(60);

/// Something whose actor can be replaced.
pub(crate) trait Restart: Send + Sync {
    fn stream(&self) -> &StreamId;
    /// Whether it left of its own accord, so that nothing can wait for it any more.
    fn has_left(&self) -> bool;
    /// Starts another, which begins after such a wait.
    fn restart(self: Arc<Self>, waited: Duration);
}

#[derive(Default)]
struct Watched(Mutex<HashMap<ActorId, Life>>);

/// An actor's life so far.
struct Life {
    of: Weak<dyn Restart>,
    began: Timestamp,
    /// How long was waited before it began; nothing for the first.
    waited: Duration,
}

impl Life {
    /// How long to wait before the next begins.
    fn wait(&self, now: Timestamp) -> Duration {
        if now.since(self.began) >= STEADY_AFTER {
            return RESTART_MIN;
        }
        (self.waited * 2).clamp(RESTART_MIN, RESTART_MAX)
    }
}

/// A handle on the supervisor.
#[derive(Clone)]
pub(crate) struct Supervisor {
    actor: ActorRef<()>,
    watched: Arc<Watched>,
    clock: Arc<dyn Clock>,
}

impl Supervisor {
    pub(crate) async fn start(clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let watched = Arc::new(Watched::default());
        let arguments = State { watched: Arc::clone(&watched), clock: Arc::clone(&clock) };
        let (actor, _ended) = SupervisorActor::spawn(None, SupervisorActor, arguments)
            .await
            .map_err(|e| StartError::Supervisor { reason: e.to_string() })?;
        Ok(Self { actor, watched, clock })
    }

    pub(crate) fn cell(&self) -> ActorCell {
        self.actor.get_cell()
    }

    /// Remembers whose actor this is, and how long was waited before it began.
    pub(crate) fn watch(&self, actor: ActorId, of: Weak<dyn Restart>, waited: Duration) {
        let life = Life { of, began: self.clock.now(), waited };
        self.watched.0.lock().insert(actor, life);
    }

    pub(crate) async fn stop(&self) {
        // It has no children left by now, and nobody to tell of a failure to stop.
        drop(self.actor.stop_and_wait(None, None).await);
    }
}

struct SupervisorActor;

struct State {
    watched: Arc<Watched>,
    clock: Arc<dyn Clock>,
}

impl Actor for SupervisorActor {
    type Msg = ();
    type State = State;
    type Arguments = State;

    async fn pre_start(&self, _myself: ActorRef<()>, state: State) -> Result<State, ActorProcessingErr> {
        Ok(state)
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<()>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            // ractor reports a kill as a termination too: only the instance knows whether it meant to go.
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                state.replace(&cell, reason.as_deref().unwrap_or("stopped from outside"));
            }
            SupervisionEvent::ActorFailed(cell, error) => state.replace(&cell, &error.to_string()),
            _ => {}
        }
        Ok(())
    }
}

impl State {
    fn replace(&self, cell: &ActorCell, reason: &str) {
        let ended = self.watched.0.lock().remove(&cell.get_id());
        let Some(life) = ended else { return };
        let Some(instance) = life.of.upgrade() else { return };
        if instance.has_left() {
            return;
        }
        let wait = life.wait(self.clock.now());
        tracing::error!(stream = %instance.stream(), reason, ?wait, "an instance's actor failed and is replaced");
        let waited = self.clock.sleep(wait);
        tokio::spawn(async move {
            waited.await;
            instance.restart(wait);
        });
    }
}

#[cfg(test)]
mod tests;
