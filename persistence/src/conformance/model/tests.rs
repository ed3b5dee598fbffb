use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::*;
use crate::{
    AllPage, Batch, Completion, Filter, Journal, JournalLayer, MemoryJournal, Position, ReadError, StreamId,
    StreamInfo, Version,
};

/// A journal that is wrong about one thing.
#[derive(Debug)]
struct Wrong {
    journal: MemoryJournal,
    about: About,
}

#[derive(Debug, Clone, Copy)]
enum About {
    /// The end of streams that have more than two events.
    Ends,
    /// Nothing is set that goes with events.
    Retention,
    /// A stream with a tombstone takes appends.
    Tombstones,
    /// Whoever has read to the end goes on behind the next event.
    WhatComesNext,
}

impl JournalLayer for Wrong {
    fn inner(&self) -> &dyn Journal {
        &self.journal
    }

    fn submit(&self, mut batch: Batch, done: Completion) {
        match self.about {
            About::Retention if !batch.streams.is_empty() => batch.retention.clear(),
            About::Tombstones => batch.retention.iter_mut().for_each(|set| set.retention.tombstone = false),
            _ => {}
        }
        self.journal.submit(batch, done);
    }

    fn all_page<'a>(
        &'a self,
        from: Position,
        filter: &'a Filter,
        limit: usize,
    ) -> BoxFuture<'a, Result<AllPage, ReadError>> {
        async move {
            let mut page = self.journal.all_page(from, filter, limit).await?;
            let ends = page.next > self.journal.durable().borrow().position;
            if ends && matches!(self.about, About::WhatComesNext) {
                page.next = page.next.next();
            }
            Ok(page)
        }
        .boxed()
    }

    fn stream_info<'a>(
        &'a self,
        stream: &'a StreamId,
    ) -> BoxFuture<'a, Result<Option<StreamInfo>, ReadError>> {
        async move {
            let info = self.journal.stream_info(stream).await?;
            let most = if matches!(self.about, About::Ends) { 2 } else { u64::MAX };
            Ok(info.map(|info| StreamInfo { version: Version(info.version.0.min(most)), ..info }))
        }
        .boxed()
    }
}

struct MakesWrong(About);

impl JournalFactory for MakesWrong {
    async fn open(&self) -> Arc<dyn Journal> {
        Arc::new(Wrong { journal: MemoryJournal::new(), about: self.0 })
    }
}

/// How many histories a wrong journal is looked for in.
const SEEDS: u64 = 40;

/// What is told of a wrong journal, with the fewest steps, of each history that shows it.
async fn found(about: About) -> Vec<(Vec<Step>, String)> {
    let mut found = Vec::new();
    for seed in 0..SEEDS {
        let (factory, steps) = (MakesWrong(about), history(seed));
        if let Err(wrong) = run(&factory, &steps).await {
            found.push(shortest(&factory, steps, wrong).await);
        }
    }
    let count = found.len();
    assert!(count > 5, "only {count} of {SEEDS} histories show what is wrong about {about:?}");
    found
}

#[tokio::test]
async fn a_difference_is_noticed_and_told_in_few_steps() {
    for (steps, wrong) in found(About::Ends).await {
        assert!(wrong.starts_with("where a stream ends: "), "{wrong}");
        assert!(matches!(steps.last(), Some(Step::Info(_))), "{steps:?}");
        assert!(steps.len() <= 4, "some appends and the look at the end: {steps:?}");
    }
    let wrong = MakesWrong(About::Ends);
    let failed = AssertUnwindSafe(random_histories_match_a_model(&wrong)).catch_unwind().await;
    assert!(failed.is_err() || std::env::var_os("ANNALS_SEED").is_some(), "twelve histories find it");
}

#[tokio::test]
async fn what_is_not_kept_as_it_was_set_is_noticed() {
    for (steps, _) in found(About::Retention).await {
        assert!(steps.iter().any(|step| matches!(step, Step::Append(_))), "{steps:?}");
        assert!(steps.len() <= 4, "what sets it, some appends and a look: {steps:?}");
    }
    for (steps, _) in found(About::Tombstones).await {
        assert!(steps.len() <= 4, "some appends, the tombstone among them, and a look: {steps:?}");
    }
}

#[tokio::test]
async fn an_event_that_a_subscription_does_not_get_is_noticed() {
    for (steps, wrong) in found(About::WhatComesNext).await {
        assert!(wrong.starts_with("what is delivered to a subscription: "), "{wrong}");
        assert!(matches!(steps.last(), Some(Step::Deliver { .. })), "{steps:?}");
        assert!(steps.len() <= 4, "it begins, is read to the end, and read again: {steps:?}");
    }
}
