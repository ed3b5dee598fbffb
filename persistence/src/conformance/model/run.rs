//! Steps done to a journal and to the model, and the first difference between the two.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use super::super::JournalFactory;
use super::super::kit::{everything, soon};
use super::plain::{Model, Verdict};
use super::step::{Planned, Scavenging, Step};
use super::subscribed::Subscribed;
use super::wanted::Wanted;
use crate::{
    Batch, Direction, EventView, Journal, JournalExt, Lineage, Position, RecordedEvent, StreamId, Ticket,
    Version,
};

/// What a difference is told as.
pub(super) type Compared = Result<(), String>;

/// How much of what can happen did.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Seen {
    pub(super) appended: u64,
    pub(super) refused: u64,
    pub(super) delivered: u64,
    pub(super) scavenged: u64,
}

impl Seen {
    pub(super) const fn add(&mut self, other: Self) {
        self.appended += other.appended;
        self.refused += other.refused;
        self.delivered += other.delivered;
        self.scavenged += other.scavenged;
    }
}

/// Does the steps to a new journal.
pub(super) async fn run(factory: &impl JournalFactory, steps: &[Step]) -> Result<Seen, String> {
    let mut run = Run {
        journal: factory.open().await,
        model: Model::default(),
        lineages: BTreeMap::default(),
        subscriptions: BTreeMap::default(),
        seen: Seen::default(),
    };
    for step in steps {
        run.step(factory, step).await?;
    }
    let compared = run.compare_all().await;
    soon("the end of closing", run.journal.close()).await;
    compared.map(|()| run.seen)
}

struct Run {
    journal: Arc<dyn Journal>,
    model: Model,
    lineages: BTreeMap<u64, Lineage>,
    subscriptions: BTreeMap<u64, Subscribed>,
    seen: Seen,
}

impl Run {
    async fn step(&mut self, factory: &impl JournalFactory, step: &Step) -> Compared {
        match step {
            Step::Append(batches) => self.append(batches).await,
            Step::ReadStream { stream, from, direction, limit } => {
                let from = Version(from % (self.model.version(stream).0 + 3));
                self.read_stream(stream, from, *direction, *limit).await
            }
            Step::ReadAll { from, wanted, limit } => self.read_all(self.near(*from), wanted, *limit).await,
            Step::Info(stream) => {
                let info = self.journal.stream_info(stream).await.map_err(|error| error.to_string())?;
                let expected = self.model.streams().into_iter().find(|info| info.stream == *stream);
                same(&info, &expected, "where a stream ends")
            }
            Step::ListStreams { prefix, after, limit } => {
                self.list_streams(prefix, after.as_ref(), *limit).await
            }
            Step::Reopen => self.reopen(factory).await,
            Step::Scavenge(scavenging) => self.scavenge(factory, scavenging).await,
            Step::Subscribe { number, from, wanted } => {
                let subscribed = Subscribed::new(&self.journal, self.near(*from), *wanted);
                self.subscriptions.insert(*number, subscribed);
                Ok(())
            }
            Step::Deliver { number, limit } => self.deliver(*number, *limit).await,
        }
    }

    /// A position near those there are.
    fn near(&self, number: u64) -> Position {
        Position(number % (self.model.end().0 + 3))
    }

    /// Submits batches without waiting, then looks at every answer.
    async fn append(&mut self, batches: &[Planned]) -> Compared {
        let mut under_way = Vec::new();
        for planned in batches {
            let batch = planned.batch(|stream| self.model.version(stream));
            under_way.push(self.submit(batch, planned.lineage));
        }
        for (ticket, expected) in under_way {
            self.compare_answer(ticket, &expected).await?;
        }
        same(&*self.journal.durable().borrow(), &self.model.durable(), "how far it is durable")
    }

    fn submit(&mut self, mut batch: Batch, lineage: Option<u64>) -> (Ticket, Verdict) {
        if let Some(lineage) = lineage {
            batch = batch.in_lineage(self.lineages.entry(lineage).or_default().clone());
        }
        let expected = self.model.append(&batch, lineage);
        (self.journal.append(batch), expected)
    }

    async fn compare_answer(&mut self, ticket: Ticket, expected: &Verdict) -> Compared {
        let answer = soon("an append's answer", ticket).await;
        let verdict = Verdict::of(answer).map_err(|error| error.to_string())?;
        same(&verdict, expected, "an append's answer")?;
        match verdict {
            Verdict::Appended { .. } => self.seen.appended += 1,
            _ => self.seen.refused += 1,
        }
        Ok(())
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
        let of = self.model.read(stream).into_iter();
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

    async fn read_all(&self, from: Position, wanted: &Wanted, limit: usize) -> Compared {
        let (mut next, mut read, filter) = (from, Vec::new(), wanted.filter());
        while next <= self.model.end() {
            let page =
                self.journal.all_page(next, &filter, limit).await.map_err(|error| error.to_string())?;
            if page.events.len() > limit || page.next <= next {
                return Err(format!("a page of at most {limit} from {next} on is {page:?}"));
            }
            read.extend(page.events);
            next = page.next;
        }
        let there = self.model.there().filter(|event| event.position >= from && wanted.matches(event));
        same(&read, &there.cloned().collect(), "the events of all streams")
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
        self.model.end_lineages();
        let subscriptions = std::mem::take(&mut self.subscriptions);
        match factory.reopen().await {
            Some(journal) => {
                let resumed = subscriptions.iter().map(|(number, of)| (*number, of.resumed(&journal)));
                self.subscriptions = resumed.collect();
                self.journal = journal;
            }
            None => (self.journal, self.model) = (factory.open().await, Model::default()),
        }
        self.compare_all().await
    }

    /// Which of what may go does is the engine's to say, and how much it says.
    async fn scavenge(&mut self, factory: &impl JournalFactory, scavenging: &Scavenging) -> Compared {
        let options = scavenging.options(self.model.end());
        let told = soon("the end of scavenging", factory.scavenge(&options)).await.unwrap_or(0);
        let gone = self.model.scavenged(&everything(&self.journal).await, &options)?;
        self.seen.scavenged += gone;
        same(&told, &gone, "how many events were scavenged")?;
        self.compare_all().await
    }

    async fn deliver(&mut self, number: u64, limit: usize) -> Compared {
        let Some(mut subscribed) = self.subscriptions.remove(&number) else { return Ok(()) };
        let (ticket, expected) = self.submit(subscribed.wanted.batch(), None);
        self.compare_answer(ticket, &expected).await?;
        self.seen.delivered += subscribed.deliver(&self.model, limit).await?;
        self.subscriptions.insert(number, subscribed);
        Ok(())
    }

    async fn compare_all(&self) -> Compared {
        let there: Vec<RecordedEvent> = self.model.there().cloned().collect();
        same(&everything(&self.journal).await, &there, "all events")?;
        same(&*self.journal.durable().borrow(), &self.model.durable(), "how far it is durable")
    }
}

pub(super) fn same<T: PartialEq + Debug>(found: &T, expected: &T, what: &str) -> Compared {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: {found:#?}, should be {expected:#?}"))
}
