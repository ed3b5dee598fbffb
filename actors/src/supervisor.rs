//! The supervisor of a node's instances: an actor that ended without being told to is replaced.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use annals_persistence::StreamId;
use parking_lot::Mutex;
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};

use crate::{Clock, StartError};

/// How long after its end an actor is replaced.
const RESTART_AFTER: Duration = Duration::from_millis(100);

/// Something whose actor can be replaced.
pub(crate) trait Restart: Send + Sync {
    fn stream(&self) -> &StreamId;
    /// Whether it left of its own accord, so that nothing can wait for it any more.
    fn has_left(&self) -> bool;
    fn restart(self: Arc<Self>);
}

#[derive(Default)]
struct Watched(Mutex<HashMap<ActorId, Weak<dyn Restart>>>);

/// A handle on the supervisor.
#[derive(Clone)]
pub(crate) struct Supervisor {
    actor: ActorRef<()>,
    watched: Arc<Watched>,
}

impl Supervisor {
    pub(crate) async fn start(clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let watched = Arc::new(Watched::default());
        let arguments = State { watched: Arc::clone(&watched), clock };
        let (actor, _ended) = SupervisorActor::spawn(None, SupervisorActor, arguments)
            .await
            .map_err(|e| StartError::Supervisor { reason: e.to_string() })?;
        Ok(Self { actor, watched })
    }

    pub(crate) fn cell(&self) -> ActorCell {
        self.actor.get_cell()
    }

    /// Remembers whose actor this is.
    pub(crate) fn watch(&self, actor: ActorId, restart: Weak<dyn Restart>) {
        self.watched.0.lock().insert(actor, restart);
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
        let Some(instance) = ended.and_then(|instance| instance.upgrade()) else { return };
        if instance.has_left() {
            return;
        }
        tracing::error!(stream = %instance.stream(), reason, "an instance's actor failed and is replaced");
        let wait = self.clock.sleep(RESTART_AFTER);
        tokio::spawn(async move {
            wait.await;
            instance.restart();
        });
    }
}
