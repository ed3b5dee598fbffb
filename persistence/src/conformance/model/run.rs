//! Steps done to a journal and to the model, and the first difference between the two.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use super::super::JournalFactory;
use super::super::kit::{everything, soon};
use super::step::{Planned, Step};
use super::{Model, Verdict};
use crate::{
    Direction, EventView, Filter, Journal, JournalExt, Lineage, Position, RecordedEvent, StreamId, Version,
};

/// What a difference is told as.
type Compared = Result<(), String>;

/// Does the steps to a new journal.
pub(super) async fn run(factory: &impl JournalFactory, steps: &[Step]) -> Compared {
    let mut run =
        Run { journal: factory.open().await, model: Model::default(), lineages: BTreeMap::default() };
    for step in steps {
        run.step(factory, step).await?;
    }
    let compared = run.compare_all().await;
    soon("the end of closing", run.journal.close()).await;
    compared
}

struct Run {
    journal: Arc<dyn Journal>,
    model: Model,
    lineages: BTreeMap<u64, Lineage>,
}

impl Run {
    async fn step(&mut self, factory: &impl JournalFactory, step: &Step) -> Compared {
        match step {
            Step::Append(batches) => self.append(batches).await,
            Step::ReadStream { stream, from, direction, limit } => {
                let from = Version(from % (self.model.version(stream).0 + 3));
                self.read_stream(stream, from, *direction, *limit).await
            }
            Step::ReadAll { from, filter, limit } => {
                let from = Position(from % (self.model.end().0 + 3));
                self.read_all(from, filter, *limit).await
            }
            Step::Info(stream) => {
                let info = self.journal.stream_info(stream).await.map_err(|error| error.to_string())?;
                let expected = self.model.streams().into_iter().find(|info| info.stream == *stream);
                same(&info, &expected, "where a stream ends")
            }
            Step::ListStreams { prefix, after, limit } => {
                self.list_streams(prefix, after.as_ref(), *limit).await
            }
            Step::Reopen => self.reopen(factory).await,
        }
    }

    /// Submits batches without waiting, then looks at every answer.
    async fn append(&mut self, batches: &[Planned]) -> Compared {
        let mut under_way = Vec::new();
        for planned in batches {
            let mut batch = planned.batch(|stream| self.model.version(stream));
            if let Some(lineage) = planned.lineage {
                batch = batch.in_lineage(self.lineages.entry(lineage).or_default().clone());
            }
            let expected = self.model.append(&batch, planned.lineage);
            under_way.push((self.journal.append(batch), expected));
        }
        for (ticket, expected) in under_way {
            let answer = soon("an append's answer", ticket).await;
            let verdict = Verdict::of(answer).map_err(|error| error.to_string())?;
            same(&verdict, &expected, "an append's answer")?;
        }
        same(&*self.journal.durable().borrow(), &self.model.durable(), "how far it is durable")
    }

    async fn read_stream(
        &self,
        stream: &StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> Compared {
        let page = self.journal.stream_page(stream, from, direction, limit).await;
        let events = page.map_err(|error| error.to_string())?.events;
        let of = self.model.of(stream);
        let expected: Vec<_> = match direction {
            Direction::Forward => of.filter(|event| event.version >= from).take(limit).cloned().collect(),
            Direction::Backward => {
                of.rev().filter(|event| event.version <= from).take(limit).cloned().collect()
            }
        };
        same(&events, &expected, "a stream's events")?;
        match direction {
            Direction::Forward => self.view_stream(stream, from, limit, &expected).await,
            Direction::Backward => Ok(()),
        }
    }

    /// What a replay looks at.
    async fn view_stream(
        &self,
        stream: &StreamId,
        from: Version,
        limit: usize,
        expected: &[RecordedEvent],
    ) -> Compared {
        let page = self.journal.view_page(stream, from, limit).await.map_err(|error| error.to_string())?;
        let views: Vec<_> = page.iter().collect();
        let expected: Vec<_> = expected.iter().map(EventView::from).collect();
        same(&views, &expected, "what is viewed of a stream")
    }

    async fn read_all(&self, from: Position, filter: &Filter, limit: usize) -> Compared {
        let (mut next, mut read) = (from, Vec::new());
        while next <= self.model.end() {
            let page = self.journal.all_page(next, filter, limit).await.map_err(|error| error.to_string())?;
            if page.events.len() > limit || page.next <= next {
                return Err(format!("a page of at most {limit} from {next} on is {page:?}"));
            }
            read.extend(page.events);
            next = page.next;
        }
        let wanted = |event: &&_| filter.matches(event);
        let expected: Vec<_> =
            self.model.events.iter().filter(|e| e.position >= from).filter(wanted).cloned().collect();
        same(&read, &expected, "the events of all streams")
    }

    async fn list_streams(&self, prefix: &str, after: Option<&StreamId>, limit: usize) -> Compared {
        let page =
            self.journal.streams_page(prefix, after, limit).await.map_err(|error| error.to_string())?;
        let streams = self.model.streams().into_iter();
        let expected: Vec<_> = streams
            .filter(|info| info.stream.as_str().starts_with(prefix))
            .filter(|info| after.is_none_or(|after| info.stream > *after))
            .take(limit)
            .collect();
        same(&page, &expected, "the streams")
    }

    /// An engine that cannot be opened again begins anew.
    async fn reopen(&mut self, factory: &impl JournalFactory) -> Compared {
        soon("the end of closing", self.journal.close()).await;
        self.lineages.clear();
        self.model.ended.clear();
        match factory.reopen().await {
            Some(journal) => self.journal = journal,
            None => (self.journal, self.model) = (factory.open().await, Model::default()),
        }
        self.compare_all().await
    }

    async fn compare_all(&self) -> Compared {
        same(&everything(&self.journal).await, &self.model.events, "all events")?;
        same(&*self.journal.durable().borrow(), &self.model.durable(), "how far it is durable")
    }
}

fn same<T: PartialEq + Debug>(found: &T, expected: &T, what: &str) -> Compared {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: {found:#?}, should be {expected:#?}"))
}
