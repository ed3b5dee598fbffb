use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::*;
use crate::{
    AllPage, Completion, Direction, Filter, Journal, JournalHealth, JournalId, MemoryJournal, ReadError,
    Readers, StreamPage,
};

/// A journal that is wrong about one thing: the end of streams that have more than two events.
#[derive(Debug)]
struct Wrong(MemoryJournal);

impl Journal for Wrong {
    fn id(&self) -> JournalId {
        self.0.id()
    }

    fn submit(&self, batch: Batch, done: Completion) {
        self.0.submit(batch, done);
    }

    fn stream_page<'a>(
        &'a self,
        stream: &'a StreamId,
        from: Version,
        direction: Direction,
        limit: usize,
    ) -> BoxFuture<'a, Result<StreamPage, ReadError>> {
        self.0.stream_page(stream, from, direction, limit)
    }

    fn all_page<'a>(
        &'a self,
        from: Position,
        filter: &'a Filter,
        limit: usize,
    ) -> BoxFuture<'a, Result<AllPage, ReadError>> {
        self.0.all_page(from, filter, limit)
    }

    fn stream_info<'a>(
        &'a self,
        stream: &'a StreamId,
    ) -> BoxFuture<'a, Result<Option<StreamInfo>, ReadError>> {
        async move {
            let info = self.0.stream_info(stream).await?;
            Ok(info.map(|info| StreamInfo { version: Version(info.version.0.min(2)), ..info }))
        }
        .boxed()
    }

    fn streams_page<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a StreamId>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<StreamInfo>, ReadError>> {
        self.0.streams_page(prefix, after, limit)
    }

    fn durable(&self) -> watch::Receiver<Durable> {
        self.0.durable()
    }

    fn health(&self) -> JournalHealth {
        self.0.health()
    }

    fn readers(&self) -> &Readers {
        self.0.readers()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.0.close()
    }
}

struct MakesWrong;

impl JournalFactory for MakesWrong {
    async fn open(&self) -> Arc<dyn Journal> {
        Arc::new(Wrong(MemoryJournal::new()))
    }
}

#[tokio::test]
async fn a_difference_is_noticed_and_told_in_few_steps() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let steps: Vec<_> = (0..STEPS).map(|_| Step::any(&mut random)).collect();
        let Err(wrong) = run(&MakesWrong, &steps).await else { continue };
        let (steps, wrong) = shortest(&MakesWrong, steps, wrong).await;
        assert!(wrong.starts_with("where a stream ends: "), "{wrong}");
        assert!(matches!(steps.last(), Some(Step::Info(_))), "{steps:?}");
        assert!(steps.len() <= 4, "some appends and the look at the end: {steps:?}");
    }
    let failed = AssertUnwindSafe(random_histories_match_a_model(&MakesWrong)).catch_unwind().await;
    assert!(failed.is_err() || std::env::var_os("ANNALS_SEED").is_some(), "twelve histories find it");
}
