//! A book of the library: one aggregate, from its events to its tests.

use annals::prelude::*;
use serde::{Deserialize, Serialize};

/// What a book can be told.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum BookCommand {
    Lend { reader: String },
    GiveBack,
}

/// What can have happened to it.
#[derive(Debug, Clone, PartialEq, Eq, Event)]
pub enum BookEvent {
    #[event("book-lent")]
    Lent { reader: String },
    #[event("book-returned")]
    Returned,
}

/// Why it says no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BookRejection {
    #[error("{reader} has the book")]
    Away { reader: String },
    #[error("the book is not lent")]
    NotLent,
}

/// The state: what is needed to decide, and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Shape)]
pub struct Book {
    pub reader: Option<String>,
    pub times_lent: u32,
}

impl Aggregate for Book {
    const TYPE: &'static str = "book";
    type Command = BookCommand;
    type Event = BookEvent;
    type Rejection = BookRejection;

    fn handle(&self, command: BookCommand, _context: &Context) -> Result<Vec<BookEvent>, BookRejection> {
        match (command, self.reader.clone()) {
            (BookCommand::Lend { reader }, None) => Ok(vec![BookEvent::Lent { reader }]),
            // Lending it to whoever has it changes nothing, and is no mistake.
            (BookCommand::Lend { reader }, Some(holder)) if reader == holder => Ok(vec![]),
            (BookCommand::Lend { .. }, Some(reader)) => Err(BookRejection::Away { reader }),
            (BookCommand::GiveBack, Some(_)) => Ok(vec![BookEvent::Returned]),
            (BookCommand::GiveBack, None) => Err(BookRejection::NotLent),
        }
    }

    fn apply(&mut self, event: BookEvent) {
        match event {
            BookEvent::Lent { reader } => {
                self.reader = Some(reader);
                self.times_lent += 1;
            }
            BookEvent::Returned => self.reader = None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals::testing::given;

    #[test]
    fn a_book_is_lent_to_one_reader_at_a_time() {
        given::<Book>([])
            .when(BookCommand::Lend { reader: "anna".into() })
            .then([BookEvent::Lent { reader: "anna".into() }])
            .when(BookCommand::Lend { reader: "ben".into() })
            .then_rejected(BookRejection::Away { reader: "anna".into() })
            .when(BookCommand::GiveBack)
            .then([BookEvent::Returned])
            .then_state(|book| assert_eq!(book.times_lent, 1));
    }

    #[tokio::test]
    async fn a_crash_forgets_nothing() {
        let before = annals::testing::TestNode::builder().aggregate::<Book>().start().await.unwrap();
        let book = before.node.aggregate::<Book>("moby-dick");
        book.send(BookCommand::Lend { reader: "anna".into() }).await.unwrap();

        let after = before.crashed().aggregate::<Book>().start().await.unwrap();
        let book = after.node.aggregate::<Book>("moby-dick").state().await.unwrap();
        assert_eq!((book.version, book.state.reader.as_deref()), (Version(1), Some("anna")));
    }
}
