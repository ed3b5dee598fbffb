//! A ractor call that counts: what any actor costs.

use futures_util::future::try_join_all;
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort, call};

use crate::{Failure, Target};

struct Counter;

impl Actor for Counter {
    type Msg = RpcReplyPort<u64>;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Self::Msg>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(
        &self,
        _: ActorRef<Self::Msg>,
        reply: Self::Msg,
        count: &mut u64,
    ) -> Result<(), ActorProcessingErr> {
        *count += 1;
        Ok(reply.send(*count)?)
    }
}

/// Actors that count their calls.
#[derive(Debug)]
pub struct RawActors(Vec<ActorRef<RpcReplyPort<u64>>>);

impl RawActors {
    /// Starts as many.
    ///
    /// # Errors
    /// When ractor refuses.
    pub async fn start(count: usize) -> Result<Self, Failure> {
        let spawned = try_join_all((0..count).map(|_| Counter::spawn(None, Counter, ()))).await?;
        Ok(Self(spawned.into_iter().map(|(actor, _ended)| actor).collect()))
    }
}

impl Drop for RawActors {
    fn drop(&mut self) {
        self.0.iter().for_each(|actor| actor.stop(None));
    }
}

impl Target for RawActors {
    async fn call(&self, instance: usize) -> Result<(), Failure> {
        call!(self.0[instance], std::convert::identity)?;
        Ok(())
    }
}
