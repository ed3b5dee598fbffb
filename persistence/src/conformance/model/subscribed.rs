//! A subscription to a journal, held against the model.

use std::sync::Arc;

use futures_util::StreamExt;

use super::super::kit::soon;
use super::plain::Model;
use super::run::{Compared, same};
use super::wanted::Wanted;
use crate::{EventStream, Journal, JournalExt, Position};

pub(super) struct Subscribed {
    events: EventStream,
    pub(super) wanted: Wanted,
    /// Where it goes on.
    next: Position,
}

impl Subscribed {
    pub(super) fn new(journal: &Arc<dyn Journal>, next: Position, wanted: Wanted) -> Self {
        Self { events: journal.subscribe(next, wanted.filter()), wanted, next }
    }

    /// The same on a journal that was opened anew, as somebody has it who wrote down how far it came.
    pub(super) fn resumed(&self, journal: &Arc<dyn Journal>) -> Self {
        Self::new(journal, self.next, self.wanted)
    }

    /// Takes at most so many of the events that must come without more being appended; answers how many.
    pub(super) async fn deliver(&mut self, model: &Model, most: usize) -> Result<u64, String> {
        let due = model.there().filter(|event| event.position >= self.next && self.wanted.matches(event));
        let count = due.take(most).count();
        for _ in 0..count {
            self.deliver_one(model).await?;
        }
        Ok(count as u64)
    }

    /// What was scavenged may still come, since it may have been read before; all else must, in its order.
    async fn deliver_one(&mut self, model: &Model) -> Compared {
        let next = soon("the next event of a subscription", self.events.next()).await;
        let event = next.ok_or("a subscription ended")?.map_err(|error| error.to_string())?;
        let mut wanted =
            model.history().iter().filter(|event| event.position >= self.next && self.wanted.matches(event));
        let expected = wanted.find(|next| model.is_there(next.position) || next.position == event.position);
        same(&Some(&event), &expected, "what is delivered to a subscription")?;
        self.next = event.position.next();
        Ok(())
    }
}
