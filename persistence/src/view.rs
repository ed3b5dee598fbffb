//! Recorded events as far as a replay needs them: borrowed from the bytes that were read, with none of the names made.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    CHECKPOINT_EVENT_TYPE, CodecId, CommandId, Event, EventError, EventId, Events, Position, RecordedEvent,
    StreamPage, Timestamp, TypeName, Version,
};

/// An event of a stream, as far as bringing a state up from it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventView<'a> {
    /// Its place in the journal.
    pub position: Position,
    /// Its place in the stream.
    pub version: Version,
    /// Its id.
    pub id: EventId,
    /// The stable name of its type.
    pub type_name: &'a str,
    /// The version of its schema, from 1.
    pub schema_version: u16,
    /// How the payload is encoded.
    pub codec: CodecId,
    /// The encoded event.
    pub payload: &'a [u8],
    /// When the command behind it was decided.
    pub time: Timestamp,
    /// That command.
    pub command_id: CommandId,
    /// The hash of its content.
    pub command_hash: u64,
}

impl EventView<'_> {
    /// As [`RecordedEvent::is_checkpoint`].
    #[must_use]
    pub fn is_checkpoint(&self) -> bool {
        self.type_name == CHECKPOINT_EVENT_TYPE
    }

    /// As [`RecordedEvent::decode`].
    ///
    /// # Errors
    /// As [`Event::decode`].
    pub fn decode<E: Event>(&self) -> Result<Events<E>, EventError> {
        if self.is_checkpoint() {
            return Ok(Events::new());
        }
        E::decode(self.type_name, self.schema_version, self.codec, self.payload)
    }
}

impl<'a> From<&'a RecordedEvent> for EventView<'a> {
    fn from(recorded: &'a RecordedEvent) -> Self {
        let RecordedEvent { position, version, event, .. } = recorded;
        Self {
            position: *position,
            version: *version,
            id: event.id,
            type_name: &event.type_name,
            schema_version: event.schema_version,
            codec: event.codec,
            payload: &event.payload,
            time: event.command.time,
            command_id: event.command.command_id,
            command_hash: event.command.command_hash,
        }
    }
}

/// A page of a stream, see [`Journal::view_page`](crate::Journal::view_page).
#[derive(Debug, Clone, Default)]
pub struct ViewPage {
    events: Viewed,
    /// The version to go on from (inclusive); `None` when there is nothing more.
    pub next: Option<Version>,
}

#[derive(Debug, Clone)]
enum Viewed {
    Whole(Vec<RecordedEvent>),
    Located(Located),
}

impl Default for Viewed {
    fn default() -> Self {
        Self::Whole(Vec::new())
    }
}

impl ViewPage {
    /// A page of events that lie in shared bytes; `more` is whether the stream goes on behind them.
    pub(crate) fn located(events: Located, more: bool) -> Self {
        let next = events.last_version().filter(|_| more).map(Version::next);
        Self { events: Viewed::Located(events), next }
    }

    /// How many events it has.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.events {
            Viewed::Whole(events) => events.len(),
            Viewed::Located(located) => located.events.len(),
        }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its events, in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = EventView<'_>> {
        (0..self.len()).map(|at| match &self.events {
            Viewed::Whole(events) => EventView::from(&events[at]),
            Viewed::Located(located) => located.view(&located.events[at]),
        })
    }
}

impl From<StreamPage> for ViewPage {
    fn from(page: StreamPage) -> Self {
        Self { events: Viewed::Whole(page.events), next: page.next }
    }
}

/// Events and where in the bytes that were read their payloads are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Located {
    types: Vec<TypeName>,
    buffers: Vec<Bytes>,
    events: Vec<LocatedEvent>,
}

/// An event, but for what it shares with others.
#[derive(Debug, Clone)]
struct LocatedEvent {
    position: Position,
    version: Version,
    id: EventId,
    command_id: CommandId,
    command_hash: u64,
    time: Timestamp,
    /// Which of the types.
    type_at: u32,
    /// Which of the buffers, and where in it.
    buffer: u32,
    start: u32,
    len: u32,
    schema_version: u16,
    codec: CodecId,
}

impl Located {
    pub(crate) fn reserve(&mut self, more: usize) {
        self.events.reserve(more);
    }

    pub(crate) fn last_version(&self) -> Option<Version> {
        self.events.last().map(|event| event.version)
    }

    /// Takes in an event whose payload is there in `buffer`.
    pub(crate) fn push(&mut self, event: &EventView<'_>, buffer: &Bytes, payload_at: usize) {
        let located = LocatedEvent {
            position: event.position,
            version: event.version,
            id: event.id,
            command_id: event.command_id,
            command_hash: event.command_hash,
            time: event.time,
            type_at: self.type_at(event.type_name),
            buffer: self.buffer_at(buffer),
            // What is read with one call is shorter than a segment, which is shorter than this.
            start: payload_at as u32,
            len: event.payload.len() as u32,
            schema_version: event.schema_version,
            codec: event.codec,
        };
        self.events.push(located);
    }

    fn type_at(&mut self, name: &str) -> u32 {
        // Most events are of the type of the one before.
        let last = self.events.last().map_or(0, |event| event.type_at);
        if self.types.get(last as usize).is_some_and(|known| **known == *name) {
            return last;
        }
        let known = self.types.iter().position(|known| **known == *name);
        let at = known.unwrap_or_else(|| {
            self.types.push(TypeName::from(Arc::<str>::from(name)));
            self.types.len() - 1
        });
        at as u32
    }

    fn buffer_at(&mut self, buffer: &Bytes) -> u32 {
        let same = |last: &Bytes| last.as_ptr() == buffer.as_ptr() && last.len() == buffer.len();
        if !self.buffers.last().is_some_and(same) {
            self.buffers.push(buffer.clone());
        }
        self.buffers.len() as u32 - 1
    }

    fn view(&self, event: &LocatedEvent) -> EventView<'_> {
        let start = event.start as usize;
        EventView {
            position: event.position,
            version: event.version,
            id: event.id,
            type_name: &self.types[event.type_at as usize],
            schema_version: event.schema_version,
            codec: event.codec,
            payload: &self.buffers[event.buffer as usize][start..start + event.len as usize],
            time: event.time,
            command_id: event.command_id,
            command_hash: event.command_hash,
        }
    }
}
