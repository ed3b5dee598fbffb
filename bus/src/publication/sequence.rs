//! Which event of a stream was published before another, on the same topic.

use std::sync::Arc;

use annals_persistence::{Direction, Journal, RecordedEvent, Version};

use super::sealing::SealError;
use super::{Begun, Publications, published};
use crate::Topic;
use crate::identity::{KeyMap, in_memory};

/// How many events are read at a time while looking back.
const PAGE_EVENTS: usize = 32;

/// What must not be mixed up when an event's place in the order is looked for: a stream and a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place(u128);

/// What was published last in each place, as far as it is remembered. Two generations: when the young one is full it
/// becomes the old one, and what was not asked for meanwhile is forgotten.
#[derive(Debug)]
pub(crate) struct Sequences {
    young: KeyMap<Place, u64>,
    old: KeyMap<Place, u64>,
    generation_size: usize,
    /// Every event since the first was seen, and nothing was forgotten: what is not here was never published.
    complete: bool,
    /// Since when which events are published; where nobody knows, they always were.
    begun: Option<Begun>,
}

impl Sequences {
    /// Remembers at least this many places. `from_start`: events come from the journal's first on.
    pub(crate) fn new(places: usize, from_start: bool) -> Self {
        Self {
            young: KeyMap::default(),
            old: KeyMap::default(),
            generation_size: places.max(1),
            complete: from_start,
            begun: None,
        }
    }

    /// Looks back no further than to where events of a type were first published.
    pub(crate) fn since(self, begun: Begun) -> Self {
        Self { begun: Some(begun), ..self }
    }

    /// The version of the event published on this topic before this one of the same stream; 0 when there is none.
    /// This one is remembered as the last.
    pub(crate) async fn previous(
        &mut self,
        publications: &Publications,
        journal: &Arc<dyn Journal>,
        recorded: &RecordedEvent,
        topic: &Topic,
    ) -> Result<u64, SealError> {
        if let Some(begun) = &mut self.begun {
            begun.begin(recorded, topic).await?;
        }
        let place = Place(in_memory(&[recorded.stream.as_str(), topic.as_str()]));
        let remembered = self.young.get(&place).or_else(|| self.old.get(&place)).copied();
        let previous = match remembered.filter(|last| *last < recorded.version.0) {
            Some(last) => last,
            None if self.complete && remembered.is_none() => 0,
            None => look_back(publications, journal, self.begun.as_ref(), recorded, topic).await?,
        };
        self.remember(place, recorded.version.0);
        Ok(previous)
    }

    fn remember(&mut self, place: Place, version: u64) {
        self.young.insert(place, version);
        if self.young.len() >= self.generation_size {
            let full = std::mem::take(&mut self.young);
            self.complete &= self.old.is_empty();
            self.old = full;
        }
    }
}

/// Reads the stream backward from the event, translating, to the one published before it. An event that was passed when its
/// type was not published on this topic yet was seen by nobody, so nobody may wait for it.
async fn look_back(
    publications: &Publications,
    journal: &Arc<dyn Journal>,
    begun: Option<&Begun>,
    recorded: &RecordedEvent,
    topic: &Topic,
) -> Result<u64, SealError> {
    let had_begun = |event: &_| begun.is_none_or(|begun| begun.had_begun(event, topic));
    let (mut front, mut next) = (recorded.version, before(recorded.version));
    while let Some(from) = next {
        let page = journal.stream_page(&recorded.stream, from, Direction::Backward, PAGE_EVENTS).await?;
        for event in &page.events {
            if had_begun(event) && is_published(publications, event, topic)? {
                return Ok(event.version.0);
            }
            front = event.version;
        }
        next = page.next;
    }
    let marks = published::given_up(journal, &recorded.stream, front).await?;
    Ok(marks.get(topic.as_str()).map_or(0, |version| version.0))
}

/// The version in front of this one, if there is any.
pub(super) fn before(version: Version) -> Option<Version> {
    (version.0 > 1).then(|| Version(version.0 - 1))
}

fn is_published(
    publications: &Publications,
    event: &RecordedEvent,
    topic: &Topic,
) -> Result<bool, SealError> {
    let outgoing = publications.outgoing(event)?;
    Ok(outgoing.iter().any(|outgoing| outgoing.topic == *topic && outgoing.subject.is_none()))
}
