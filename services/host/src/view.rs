//! What operators see of a service: its streams, events, instances and dead letters. The same for a running service
//! (through the admin API) and for a stopped one (through its directory).

use std::collections::BTreeSet;
use std::sync::Arc;

use annals_actors::{Inspector, Moment, StateError};
use annals_bus::{DeadLetter, DeadLetterError, stream_dead_letters};
use annals_persistence::{
    Direction, Filter, Journal, JournalExt, ReadError, RecordedEvent, StreamId, StreamInfo, Version,
};
use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use crate::unreadable::Listed;
use crate::{EventJson, ShowError, missing_at, time_text};

/// How many streams are read at a time.
const PAGE_STREAMS: usize = 256;

/// A service's journal, and how to read it.
#[derive(Debug, Clone)]
pub(crate) struct ServiceView {
    pub(crate) service: &'static str,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) inspectors: Arc<[Arc<dyn Inspector>]>,
}

/// A stream in a list.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StreamItem {
    service: &'static str,
    stream: StreamId,
    version: Version,
    last_time: String,
}

/// An event in a list.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct EventItem {
    service: &'static str,
    stream: StreamId,
    #[serde(flatten)]
    event: EventJson,
}

/// A dead letter in a list.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct DeadLetterItem {
    service: &'static str,
    #[serde(flatten)]
    letter: DeadLetter,
}

/// An instance at a moment.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct InstanceItem {
    service: &'static str,
    #[serde(rename = "type")]
    type_name: &'static str,
    id: String,
    version: Version,
    time: String,
    state: Box<serde_json::value::RawValue>,
}

impl InstanceItem {
    pub(crate) fn version(&self) -> Version {
        self.version
    }
}

/// Which events of a stream, and in which order.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Part {
    pub(crate) from: Option<Version>,
    pub(crate) reverse: bool,
    pub(crate) limit: Option<usize>,
}

impl Part {
    fn direction(self) -> Direction {
        if self.reverse { Direction::Backward } else { Direction::Forward }
    }

    fn start(self) -> Version {
        self.from.unwrap_or(if self.reverse { Version(u64::MAX) } else { Version(1) })
    }
}

impl ServiceView {
    /// The streams whose names begin with a prefix, in the order of their names. The runtime's own are left out
    /// unless the prefix or `internal` asks for them.
    pub(crate) fn streams(
        &self,
        prefix: &str,
        internal: bool,
    ) -> impl Stream<Item = Result<StreamItem, ReadError>> + Send + 'static {
        let service = self.service;
        let internal = internal || prefix.starts_with('$');
        let cursor = Some((self.journal.clone(), prefix.to_owned(), None::<StreamId>));
        stream::try_unfold(cursor, |cursor| async move {
            let Some((journal, prefix, after)) = cursor else { return Ok(None) };
            let page = journal.streams_page(&prefix, after.as_ref(), PAGE_STREAMS).await?;
            let next = page.last().map(|last| (journal, prefix, Some(last.stream.clone())));
            Ok::<_, ReadError>(Some((page, next)))
        })
        .map_ok(|page| stream::iter(page.into_iter().map(Ok)))
        .try_flatten()
        .try_filter(move |info: &StreamInfo| std::future::ready(internal || !info.stream.is_internal()))
        .map_ok(move |info| StreamItem {
            service,
            version: info.version,
            last_time: time_text(info.last_time),
            stream: info.stream,
        })
    }

    /// Whether a stream has events.
    pub(crate) async fn has(&self, stream: &StreamId) -> Result<bool, ReadError> {
        Ok(self.journal.stream_info(stream).await?.is_some())
    }

    /// A stream's events.
    pub(crate) fn events(
        &self,
        stream: &StreamId,
        part: Part,
    ) -> impl Stream<Item = Result<EventItem, ShowError>> + Send + 'static {
        let view = self.clone();
        self.journal
            .read_stream(stream, part.start(), part.direction())
            .take(part.limit.unwrap_or(usize::MAX))
            .map(move |event| view.show(&event?))
    }

    /// Every event from now on, of one stream or of all but the runtime's own. It never ends.
    pub(crate) fn tail(
        &self,
        only: Option<&StreamId>,
    ) -> impl Stream<Item = Result<EventItem, ShowError>> + Send + 'static {
        let filter =
            only.map_or_else(Filter::default, |stream| Filter::default().category(stream.category()));
        let from = self.journal.durable().borrow().position.next();
        let (view, only) = (self.clone(), only.cloned());
        self.journal
            .subscribe(from, filter)
            .try_filter(move |event| std::future::ready(only.as_ref().is_none_or(|o| *o == event.stream)))
            .map(move |event| view.show(&event?))
    }

    fn show(&self, event: &RecordedEvent) -> Result<EventItem, ShowError> {
        let inspector = self.inspector(event.stream.category());
        let (service, stream) = (self.service, event.stream.clone());
        Ok(EventItem { service, stream, event: EventJson::of(event, inspector)? })
    }

    pub(crate) fn inspector(&self, type_name: &str) -> Option<&Arc<dyn Inspector>> {
        self.inspectors.iter().find(|inspector| inspector.type_name() == type_name)
    }

    /// An instance's state, now or at a moment; `None` when this service does not have the type, or the instance had
    /// no events then.
    pub(crate) async fn instance(
        &self,
        type_name: &str,
        id: &str,
        moment: Option<Moment>,
    ) -> Result<Option<InstanceItem>, StateError> {
        let Some(inspector) = self.inspector(type_name) else { return Ok(None) };
        let found = inspector.state_json(&self.journal, id, moment).await?;
        Ok(found.map(|found| InstanceItem {
            service: self.service,
            type_name: inspector.type_name(),
            id: id.to_owned(),
            version: found.version,
            time: time_text(found.time),
            state: found.state,
        }))
    }

    async fn missing(&self, type_name: &str, id: &str, moment: Moment) -> Result<Option<String>, ReadError> {
        match self.inspector(type_name) {
            Some(_) => missing_at(&self.journal, type_name, id, moment).await,
            None => Ok(None),
        }
    }

    /// The dead letters that nobody has replayed yet, then what of them cannot be read.
    pub(crate) fn dead_letters(
        &self,
    ) -> impl Stream<Item = Result<Listed<DeadLetterItem>, DeadLetterError>> + Send + 'static {
        let service = self.service;
        stream_dead_letters(&self.journal)
            .map_ok(move |letter| DeadLetterItem { service, letter })
            .map(move |item| Listed::of(service, item))
    }
}

/// That none of the services has instances of such a type, and which types there are.
pub(crate) fn no_aggregate(views: &[ServiceView], type_name: &str) -> String {
    let inspectors = views.iter().flat_map(|view| view.inspectors.iter());
    let all: BTreeSet<_> = inspectors.map(|inspector| inspector.type_name()).collect();
    let all: Vec<_> = all.into_iter().collect();
    let there_are = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
    format!("no service here has an aggregate \"{type_name}\"; there are: {there_are}")
}

/// Why none of the services has a state of the instance to show.
pub(crate) async fn absence(
    views: &[ServiceView],
    type_name: &str,
    id: &str,
    moment: Option<Moment>,
) -> Result<String, ReadError> {
    if let Some(moment) = moment {
        for view in views {
            if let Some(reason) = view.missing(type_name, id, moment).await? {
                return Ok(format!("the {type_name} \"{id}\" {reason}"));
            }
        }
    }
    Ok(format!("the {type_name} \"{id}\" has no events"))
}
