//! The readers' desk: another service, with a journal of its own, that hears of loans over the bus.

use std::sync::Arc;

use annals::actors::{Inspector, inspector};
use annals::bus::{Delivery, HandlerError, Reaction};
use annals::http::{Running, Service, ServiceError, Setup};
use annals::prelude::*;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::library::BookLent;

#[derive(Debug, Clone, Default, Serialize, Deserialize, Shape)]
pub struct Reader {
    pub books: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ReaderCommand {
    Note { book: String },
}

#[derive(Debug, Clone, Event)]
pub enum ReaderEvent {
    #[event("loan-noted")]
    Noted { book: String },
}

impl Aggregate for Reader {
    const TYPE: &'static str = "reader";
    type Command = ReaderCommand;
    type Event = ReaderEvent;
    type Rejection = std::convert::Infallible;

    fn handle(&self, command: ReaderCommand, _: &Context) -> Result<Vec<ReaderEvent>, Self::Rejection> {
        match command {
            ReaderCommand::Note { book } => Ok(vec![ReaderEvent::Noted { book }]),
        }
    }

    fn apply(&mut self, event: ReaderEvent) {
        match event {
            ReaderEvent::Noted { book } => self.books.push(book),
        }
    }
}

/// Says what is to be done; the bus sees to it that it happens once, whatever is delivered again.
async fn note_loan(loan: BookLent, _delivery: Delivery) -> Result<Reaction, HandlerError> {
    Ok(Reaction::none().command::<Reader>(loan.reader, ReaderCommand::Note { book: loan.book }))
}

#[derive(Debug)]
pub struct Readers;

impl Service for Readers {
    fn name(&self) -> &'static str {
        "readers"
    }

    fn inspectors(&self) -> Vec<Arc<dyn Inspector>> {
        vec![inspector::<Reader>()]
    }

    fn start(&self, setup: Setup) -> BoxFuture<'_, Result<Running, ServiceError>> {
        async move {
            let node = setup.node().aggregate::<Reader>().start().await?;
            let bus = setup.bus(&node).subscribe::<BookLent>("note-loan", note_loan).start().await?;
            Ok(Running::new(node).bus(bus))
        }
        .boxed()
    }
}
