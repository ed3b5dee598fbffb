//! What must hold of the order in which readers see events while others append.

use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::JournalFactory;
use super::kit::{event, everything, order, positions, soon};
use super::{Random, Seed, replayable};
use crate::{
    AppendError, Batch, EventStream, Expected, Filter, Journal, JournalExt, NewEvent, Position,
    RecordedEvent, StreamId, Ticket, Version,
};

const WRITERS: u64 = 4;
/// How many batches each writer appends.
const BATCHES: u64 = 60;

/// A reader at a position has seen all that will ever be below it: whoever polls or subscribes while others append,
/// from whatever position and with whatever filter, has seen in the end what a reader sees who comes when all is over.
pub async fn order_without_gaps(factory: &impl JournalFactory) {
    for seed in replayable(4) {
        let _told = Seed(seed);
        let mut random = Random::new(seed);
        let journal = factory.open().await;
        let (over, _) = watch::channel(false);
        let readers: Vec<_> = (0..6).map(|_| Reader::start(&journal, &mut random, &over)).collect();
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| tokio::spawn(write(Arc::clone(&journal), Random::new(random.next_u64()))))
            .collect();
        for writer in writers {
            soon("a writer's end", writer).await.expect("the writer does not panic");
        }
        over.send_replace(true);
        let all = everything(&journal).await;
        assert_eq!(positions(&all), (1..=all.len() as u64).collect::<Vec<_>>());
        for reader in readers {
            reader.check(&all).await;
        }
    }
}

/// Who reads while others append.
struct Reader {
    from: Position,
    filter: Filter,
    seen: Seen,
}

enum Seen {
    /// The events of all pages, and where the last one ended.
    Pages(JoinHandle<(Vec<RecordedEvent>, Position)>),
    /// What is delivered while others append, and who takes it.
    Subscription(mpsc::UnboundedReceiver<RecordedEvent>, JoinHandle<()>),
}

impl Reader {
    fn start(journal: &Arc<dyn Journal>, random: &mut Random, over: &watch::Sender<bool>) -> Self {
        let from = Position(1 + random.below(2) * random.below(50));
        let filter = some_filter(random);
        let seen = if random.one_in(3) {
            let (sender, events) = mpsc::unbounded_channel();
            let subscription = journal.subscribe(from, filter.clone());
            Seen::Subscription(events, tokio::spawn(forward(subscription, sender)))
        } else {
            let random = Random::new(random.next_u64());
            let poll = poll(Arc::clone(journal), from, filter.clone(), random, over.subscribe());
            Seen::Pages(tokio::spawn(poll))
        };
        Self { from, filter, seen }
    }

    /// Compares what was seen with what is there in the end.
    async fn check(self, all: &[RecordedEvent]) {
        let wanted = all.iter().filter(|event| event.position >= self.from && self.filter.matches(event));
        let wanted: Vec<_> = wanted.cloned().collect();
        let seen = match self.seen {
            Seen::Pages(pages) => {
                let (seen, end) = soon("a reader's end", pages).await.expect("the reader does not panic");
                let last = all.last().map_or(Position::START, |event| event.position);
                assert!(end <= self.from.max(last.next()), "a page went past {last}, to {end}");
                seen
            }
            Seen::Subscription(events, task) => {
                let seen = delivered(events, wanted.len()).await;
                task.abort();
                seen
            }
        };
        assert_eq!(positions(&seen), positions(&wanted), "from {} with {:?}", self.from, self.filter);
        assert_eq!(seen, wanted);
    }
}

async fn forward(mut events: EventStream, to: mpsc::UnboundedSender<RecordedEvent>) {
    loop {
        let event = events.next().await.expect("the subscription goes on").expect("readable");
        if to.send(event).is_err() {
            return;
        }
    }
}

async fn delivered(mut events: mpsc::UnboundedReceiver<RecordedEvent>, count: usize) -> Vec<RecordedEvent> {
    let mut seen = Vec::new();
    for _ in 0..count {
        seen.push(soon("the next event", events.recv()).await.expect("the subscription goes on"));
    }
    assert!(events.try_recv().is_err(), "more was delivered than is there");
    seen
}

fn some_filter(random: &mut Random) -> Filter {
    match random.below(4) {
        0 => Filter::default(),
        1 => Filter::default().category("order"),
        2 => Filter::default().event_type("rare"),
        _ => Filter::everything(),
    }
}

/// Reads page after page, also where there is nothing yet, until the end of the last page after all is over.
async fn poll(
    journal: Arc<dyn Journal>,
    from: Position,
    filter: Filter,
    mut random: Random,
    over: watch::Receiver<bool>,
) -> (Vec<RecordedEvent>, Position) {
    let (mut seen, mut next) = (Vec::new(), from);
    loop {
        let last = *over.borrow();
        let durable = journal.durable().borrow().position;
        let limit = 1 + random.index(40);
        let page = journal.all_page(next, &filter, limit).await.expect("the journal can be read");
        assert!(page.next >= next, "a page leads back from {next} to {}", page.next);
        assert!(page.events.iter().all(|event| (next..page.next).contains(&event.position)));
        assert!(page.next > next || durable < next, "a page of what is durable leads on");
        seen.extend(page.events);
        next = page.next;
        if last && next > durable {
            return (seen, next);
        }
        tokio::task::yield_now().await;
    }
}

/// Appends at random, some of it without waiting, to streams of its own and to ones that all writers share.
async fn write(journal: Arc<dyn Journal>, mut random: Random) {
    let mut tickets = Vec::new();
    for _ in 0..BATCHES {
        tickets.push(journal.append(some_batch(&mut random)));
        if random.one_in(4) {
            answered(&mut tickets).await;
        }
    }
    answered(&mut tickets).await;
}

async fn answered(tickets: &mut Vec<Ticket>) {
    for ticket in tickets.drain(..) {
        // What is refused takes no position.
        match soon("an append's answer", ticket).await {
            Ok(_) | Err(AppendError::Conflict { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn some_batch(random: &mut Random) -> Batch {
    let shared = order(&random.below(5).to_string());
    let expected = if random.one_in(3) { Expected::Version(Version(random.below(9))) } else { Expected::Any };
    let batch = Batch::of(shared, expected, (0..=random.below(3)).map(|_| some_event(random)));
    match random.below(4) {
        0 => batch.and(StreamId::internal("own").expect("valid"), Expected::Any, [some_event(random)]),
        1 => batch.and(
            StreamId::aggregate("customer", "1").expect("valid"),
            Expected::Any,
            [some_event(random)],
        ),
        _ => batch,
    }
}

fn some_event(random: &mut Random) -> NewEvent {
    event(if random.one_in(10) { "rare" } else { "common" })
}
