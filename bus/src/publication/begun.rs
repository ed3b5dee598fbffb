//! Since when events of a type are published on a topic, kept in the journal: what a translation says today, it need not
//! have said when a relay passed older events.

use std::collections::HashMap;
use std::sync::Arc;

use annals_actors::Clock;
use annals_macros::Event;
use annals_persistence::{
    Batch, Direction, Expected, Journal, JournalExt, Position, RecordedEvent, StreamId, Version,
};
use futures_util::StreamExt;

use crate::identity::in_memory;
use crate::inbox::RecordError;
use crate::{Topic, record};

#[derive(Debug, Event)]
#[serde(rename_all_fields = "camelCase")]
pub(crate) enum BegunEvent {
    /// From this position on, events of this type of this category are published on this topic.
    #[event("publication-begun")]
    Begun { category: String, event_type: String, topic: Topic, position: Position },
}

/// What the names of the streams of all relays begin with.
const STREAM_NAMES: &str = "$topics-";
/// How many streams are listed at a time.
const PAGE_STREAMS: usize = 256;

/// Since when which events are published.
#[derive(Debug, Default)]
pub(super) struct Since(HashMap<u128, Position>);

impl Since {
    /// As all relays together have it that ever published from this journal.
    pub(super) async fn of_all(journal: &Arc<dyn Journal>) -> Result<Self, String> {
        let (mut since, mut after) = (Self::default(), None);
        loop {
            let page = journal.streams_page(STREAM_NAMES, after.as_ref(), PAGE_STREAMS).await;
            let page = page.map_err(|error| error.to_string())?;
            let Some(last) = page.last() else { return Ok(since) };
            after = Some(last.stream.clone());
            for info in page {
                since.read(journal, &info.stream).await?;
            }
        }
    }

    /// Reads back what this stream has of it.
    async fn read(&mut self, journal: &Arc<dyn Journal>, stream: &StreamId) -> Result<(), String> {
        let mut records = journal.read_stream(stream, Version(1), Direction::Forward);
        while let Some(recorded) = records.next().await {
            let recorded = recorded.map_err(|error| error.to_string())?;
            let BegunEvent::Begun { category, event_type, topic, position } =
                record::read(&recorded).map_err(|error| error.to_string())?;
            self.note(in_memory(&[&category, &event_type, topic.as_str()]), position);
        }
        Ok(())
    }

    /// The first counts: a relay that was set back publishes from farther back on.
    fn note(&mut self, key: u128, position: Position) {
        let since = self.0.entry(key).or_insert(position);
        *since = position.min(*since);
    }

    /// Whether an event of this type was published on this topic, where its translation says that it is today.
    pub(super) fn had_begun(&self, recorded: &RecordedEvent, topic: &Topic) -> bool {
        self.0.get(&key(recorded, topic)).is_some_and(|since| *since <= recorded.position)
    }
}

/// Where and since when a relay publishes which events.
#[derive(Debug)]
pub(crate) struct Begun {
    journal: Arc<dyn Journal>,
    stream: StreamId,
    clock: Arc<dyn Clock>,
    since: Since,
}

impl Begun {
    /// Reads back what this stream has of it.
    pub(crate) async fn load(
        journal: Arc<dyn Journal>,
        stream: StreamId,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let mut since = Since::default();
        since.read(&journal, &stream).await?;
        Ok(Self { journal, stream, clock, since })
    }

    /// Whether an event of this type was published on this topic, where its translation says that it is today.
    pub(super) fn had_begun(&self, recorded: &RecordedEvent, topic: &Topic) -> bool {
        self.since.had_begun(recorded, topic)
    }

    /// Writes down, before an event is published, that events of its type are from here on; once for each type and topic.
    pub(crate) async fn begin(&mut self, recorded: &RecordedEvent, topic: &Topic) -> Result<(), RecordError> {
        if self.had_begun(recorded, topic) {
            return Ok(());
        }
        let begun = BegunEvent::Begun {
            category: recorded.stream.category().to_owned(),
            event_type: recorded.type_name.to_string(),
            topic: topic.clone(),
            position: recorded.position,
        };
        let event = record::record(&begun, self.clock.now())?;
        self.journal.append(Batch::of(self.stream.clone(), Expected::Any, [event])).await?;
        self.since.note(key(recorded, topic), recorded.position);
        Ok(())
    }
}

fn key(recorded: &RecordedEvent, topic: &Topic) -> u128 {
    in_memory(&[recorded.stream.category(), recorded.type_name.as_str(), topic.as_str()])
}
