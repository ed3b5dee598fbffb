//! Ractor and a bare log, nothing else: what any durable actor costs at least. One actor for each instance, a reply
//! port for each call, and the bytes that the journal would write, encoded beforehand.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use futures_util::future::try_join_all;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, call};

use super::bare_log::{self, Append};
use crate::{Failure, Target};

struct Appender;

struct State {
    version: u64,
    bytes: Arc<[u8]>,
    log: Sender<Append>,
}

impl Actor for Appender {
    type Msg = RpcReplyPort<u64>;
    type State = State;
    type Arguments = State;

    async fn pre_start(&self, _: ActorRef<Self::Msg>, state: State) -> Result<State, ActorProcessingErr> {
        Ok(state)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        reply: Self::Msg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.version += 1;
        Ok(state.log.send(Append { bytes: Arc::clone(&state.bytes), version: state.version, reply })?)
    }
}

/// Actors over one bare log.
#[derive(Debug)]
pub struct Ceiling(Vec<ActorRef<RpcReplyPort<u64>>>);

impl Ceiling {
    /// Starts as many actors, each of which appends these bytes for every call.
    ///
    /// # Errors
    /// When there is no file, or ractor refuses.
    pub async fn start(dir: &Path, count: usize, bytes: &Arc<[u8]>) -> Result<Self, Failure> {
        let log = bare_log::start(dir)?;
        let state = || State { version: 0, bytes: Arc::clone(bytes), log: log.clone() };
        let spawned = try_join_all((0..count).map(|_| Appender::spawn(None, Appender, state()))).await?;
        Ok(Self(spawned.into_iter().map(|(actor, _ended)| actor).collect()))
    }
}

impl Drop for Ceiling {
    fn drop(&mut self) {
        self.0.iter().for_each(|actor| actor.stop(None));
    }
}

impl Target for Ceiling {
    async fn call(&self, instance: usize) -> Result<(), Failure> {
        call!(self.0[instance], std::convert::identity)?;
        Ok(())
    }
}
