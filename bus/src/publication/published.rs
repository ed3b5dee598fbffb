//! What was published of events that are given up: the order of what follows depends on it.

use std::sync::Arc;

use annals_actors::{Checkpoint, Marks, Reader};
use annals_persistence::{Direction, Journal, Position, RecordedEvent, StreamId, Version};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};

use super::Publications;
use super::begun::Since;
use super::sealing::SealError;
use super::sequence::before;

/// How many events are read at a time.
const PAGE_EVENTS: usize = 256;

/// Has checkpoints remember, of each topic, the last event that was published of those in front of them.
pub(crate) struct Published {
    publications: Arc<Publications>,
    journal: Arc<dyn Journal>,
    /// Whether anything is there that publishes.
    has_broker: bool,
}

impl Published {
    pub(crate) fn new(
        publications: &Arc<Publications>,
        journal: &Arc<dyn Journal>,
        has_broker: bool,
    ) -> Self {
        Self { publications: Arc::clone(publications), journal: Arc::clone(journal), has_broker }
    }

    /// The last version below this one that was published on each topic.
    async fn last(&self, since: &Since, stream: &StreamId, below: Version) -> Result<Marks, SealError> {
        let mut marks = Marks::new();
        let (mut front, mut next) = (below, before(below));
        while let Some(from) = next {
            let page = self.journal.stream_page(stream, from, Direction::Backward, PAGE_EVENTS).await?;
            for event in &page.events {
                self.note(since, event, &mut marks)?;
                front = event.version;
            }
            if self.knows_all(&marks) {
                return Ok(marks);
            }
            next = page.next;
        }
        for (topic, version) in given_up(&self.journal, stream, front).await? {
            marks.entry(topic).or_insert(version);
        }
        Ok(marks)
    }

    fn note(&self, since: &Since, event: &RecordedEvent, marks: &mut Marks) -> Result<(), SealError> {
        for outgoing in self.publications.outgoing(event)? {
            // What was passed before its type was published was seen by nobody.
            if outgoing.subject.is_none() && since.had_begun(event, &outgoing.topic) {
                marks.entry(outgoing.topic.as_str().to_owned()).or_insert(event.version);
            }
        }
        Ok(())
    }

    /// Whether nothing is left to look for.
    fn knows_all(&self, marks: &Marks) -> bool {
        let mut declared = self.publications.declared().peekable();
        declared.peek().is_some() && declared.all(|topic| marks.contains_key(topic.as_str()))
    }
}

impl Reader for Published {
    fn name(&self) -> String {
        format!("publications of {}", self.publications.source())
    }

    fn needs_behind<'a>(&'a self, stream: &'a StreamId) -> BoxFuture<'a, Result<Option<Position>, String>> {
        // With a broker its relays do; without one everything is yet to be published.
        let everything = !self.has_broker && self.publications.translates(stream);
        ready(Ok(everything.then_some(Position::START))).boxed()
    }

    fn knows_published(&self) -> bool {
        true
    }

    fn marks<'a>(&'a self, stream: &'a StreamId, below: Version) -> BoxFuture<'a, Result<Marks, String>> {
        if !self.publications.translates(stream) {
            return ready(Ok(Marks::new())).boxed();
        }
        async move {
            let since = Since::of_all(&self.journal).await?;
            self.last(&since, stream, below).await.map_err(|error| error.to_string())
        }
        .boxed()
    }
}

/// What was remembered of the events in front of a stream's first when they were given up.
pub(super) async fn given_up(
    journal: &Arc<dyn Journal>,
    stream: &StreamId,
    front: Version,
) -> Result<Marks, SealError> {
    let mut next = Some(front).filter(|front| *front > Version(1));
    while let Some(from) = next {
        let page = journal.stream_page(stream, from, Direction::Forward, PAGE_EVENTS).await?;
        for event in &page.events {
            // Of several, the first that gave up as much: an earlier one is still there, and knows less.
            if let Some(checkpoint) = Checkpoint::of(event)?.filter(|it| it.kept_from >= front) {
                return Ok(checkpoint.marks);
            }
        }
        next = page.next;
    }
    Ok(Marks::new())
}
