//! The registry: what is registered, by topic, in a journal.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use annals_actors::Clock;
use annals_persistence::planted::{Fault, planted};
use annals_persistence::{
    AppendError, Batch, Direction, Expected, Journal, JournalExt, StreamId, Timestamp, Version,
};
use futures_util::StreamExt;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;

use super::stream::{Entry, SchemaEvent, TopicFold};
use super::{Compatibility, Incompatibility, LazyValidator, SchemaError, SchemaValidator, incompatibilities};
use crate::envelope::time_text;
use crate::{Topic, record};

/// What the full names of the streams begin with.
const STREAM_NAMES: &str = "$schema-";
/// How many streams are listed at a time.
const PAGE_STREAMS: usize = 256;

/// What came of registering a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Registered {
    /// The version that the schema has.
    pub version: u32,
    /// Whether it is a new one; otherwise the topic's last version is the same.
    pub created: bool,
}

/// A version of a topic's schema.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisteredSchema {
    /// The topic.
    pub topic: Topic,
    /// The version, from 1.
    pub version: u32,
    /// When it was registered, as RFC 3339.
    pub time: String,
    /// The schema.
    pub schema: Value,
}

/// A topic in the registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicSchemas {
    /// The topic.
    pub topic: Topic,
    /// What may follow what.
    pub compatibility: Compatibility,
    /// The last version.
    pub version: u32,
    /// When it was registered, as RFC 3339.
    pub time: String,
}

/// The last version, which is enforced.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) version: u32,
    pub(crate) name: Arc<str>,
    pub(crate) validator: Arc<LazyValidator>,
}

/// What publishing on a topic goes by.
#[derive(Debug, Clone)]
pub(crate) enum Standing {
    /// There never was a schema.
    Never,
    /// There was one, and somebody removed it.
    Removed,
    /// This one.
    Current(Arc<Current>),
}

impl Standing {
    /// The schema, if there is one.
    pub(crate) fn current(self) -> Option<Arc<Current>> {
        match self {
            Self::Current(current) => Some(current),
            Self::Never | Self::Removed => None,
        }
    }
}

/// What publishing on a topic goes by, as of a version of the topic's stream.
#[derive(Debug)]
struct Known {
    read: Version,
    standing: Standing,
}

/// Schemas by topic, in a journal. Cloning is cheap; all clones are the same registry.
#[derive(Clone)]
pub struct SchemaRegistry {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    mode: Compatibility,
    /// What publishing goes by; kept up by whatever this registry reads and writes.
    known: Arc<Mutex<HashMap<Topic, Known>>>,
}

impl fmt::Debug for SchemaRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaRegistry").field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl SchemaRegistry {
    /// The registry in this journal; topics that nobody has said anything else for go by this mode.
    #[must_use]
    pub fn new(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>, mode: Compatibility) -> Self {
        Self { journal, clock, mode, known: Arc::default() }
    }

    /// Registers a schema as a topic's next version. One that is the last version already stays that.
    ///
    /// Of any number who register at once, through any number of registries on the journal, each sees what the ones
    /// before it registered.
    ///
    /// # Errors
    /// [`SchemaError`]; nothing is registered then.
    pub async fn register(&self, topic: &Topic, schema: &Value) -> Result<Registered, SchemaError> {
        self.register_under(topic, schema, None).await
    }

    /// As [`SchemaRegistry::register`], and sets what may follow what on the topic, from this schema on: both happen, or
    /// neither.
    ///
    /// # Errors
    /// As there; the mode is as it was then.
    pub async fn register_under(
        &self,
        topic: &Topic,
        schema: &Value,
        mode: Option<Compatibility>,
    ) -> Result<Registered, SchemaError> {
        proven(schema).await?;
        loop {
            let fold = self.read(topic).await?;
            if let Some(registered) = self.attempt(topic, &fold, schema, mode).await? {
                return Ok(registered);
            }
        }
    }

    /// As [`SchemaRegistry::register`], for a schema made from a Rust type, which needs no proof that it is one. A topic
    /// whose schema somebody removed is left without, and one with a later version that this schema may not follow keeps it:
    /// an earlier release starts whatever was registered since, and what it publishes is held against the last version.
    pub(crate) async fn register_own(&self, topic: &Topic, schema: &Value) -> Result<(), SchemaError> {
        loop {
            let fold = self.read(topic).await?;
            if fold.removed {
                return Ok(());
            }
            match self.attempt(topic, &fold, schema, None).await {
                Ok(None) => {}
                Ok(Some(_)) => return Ok(()),
                Err(SchemaError::Incompatible { version, .. }) if fold.has(schema) => {
                    tracing::warn!(
                        %topic, version, "events are published under an earlier schema; those that the last does not take wait"
                    );
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Registers a schema after what was read; nothing comes of it when somebody else was faster.
    async fn attempt(
        &self,
        topic: &Topic,
        fold: &TopicFold,
        schema: &Value,
        mode: Option<Compatibility>,
    ) -> Result<Option<Registered>, SchemaError> {
        let same = fold.latest().filter(|latest| latest.schema == *schema);
        let number = same.map_or_else(|| fold.next_number(), |same| same.number);
        let created = same.is_none();
        let mut events: Vec<_> = fold.mode_set(mode).into_iter().collect();
        if created {
            self.allowed(topic, fold, schema, mode).await?;
            events.push(SchemaEvent::Registered { number, schema: schema.clone() });
        }
        let done = self.append(topic, fold, &events).await?;
        Ok(done.then_some(Registered { version: number, created }))
    }

    async fn allowed(
        &self,
        topic: &Topic,
        fold: &TopicFold,
        schema: &Value,
        mode: Option<Compatibility>,
    ) -> Result<(), SchemaError> {
        let mode = mode.or(fold.mode).unwrap_or(self.mode);
        let Some(latest) = fold.latest() else { return Ok(()) };
        let reasons = compared(latest, schema, mode).await?;
        if reasons.is_empty() {
            return Ok(());
        }
        Err(SchemaError::Incompatible { topic: topic.clone(), version: latest.number, mode, reasons })
    }

    /// Why a schema could not be registered now, under the topic's mode or another; nothing when it could.
    ///
    /// # Errors
    /// [`SchemaError`] when it is no schema, or the topic's cannot be read.
    pub async fn check(
        &self,
        topic: &Topic,
        schema: &Value,
        mode: Option<Compatibility>,
    ) -> Result<Vec<Incompatibility>, SchemaError> {
        proven(schema).await?;
        let fold = self.read(topic).await?;
        let mode = mode.or(fold.mode).unwrap_or(self.mode);
        match fold.latest() {
            Some(latest) => compared(latest, schema, mode).await,
            None => Ok(Vec::new()),
        }
    }

    /// Sets what may follow what on a topic.
    ///
    /// # Errors
    /// [`SchemaError`]; it is as it was then.
    pub async fn set_compatibility(&self, topic: &Topic, mode: Compatibility) -> Result<(), SchemaError> {
        loop {
            let fold = self.read(topic).await?;
            if self.append(topic, &fold, fold.mode_set(Some(mode)).as_slice()).await? {
                return Ok(());
            }
        }
    }

    /// Takes a topic's schema out of use: nothing is held against it any more. Its versions stay where they are, and the
    /// next to be registered gets the next number.
    ///
    /// # Errors
    /// [`SchemaError`], also when there is none.
    pub async fn remove(&self, topic: &Topic) -> Result<(), SchemaError> {
        loop {
            let fold = self.read(topic).await?;
            if fold.latest().is_none() {
                return Err(SchemaError::NotFound { topic: topic.clone() });
            }
            if self.append(topic, &fold, &[SchemaEvent::Removed {}]).await? {
                return Ok(());
            }
        }
    }

    /// A topic's schema: the last version, or this one, which is found also after the topic's was removed.
    ///
    /// # Errors
    /// [`SchemaError`], also when there is none.
    pub async fn get(&self, topic: &Topic, version: Option<u32>) -> Result<RegisteredSchema, SchemaError> {
        let fold = self.read(topic).await?;
        let entry = match version {
            Some(version) => fold.entries.iter().find(|entry| entry.number == version),
            None => fold.latest(),
        };
        entry.map(|entry| shown(topic, entry)).ok_or_else(|| SchemaError::NotFound { topic: topic.clone() })
    }

    /// Every version there ever was of a topic's schema, the oldest first.
    ///
    /// # Errors
    /// [`SchemaError`], also when there is none.
    pub async fn versions(&self, topic: &Topic) -> Result<Vec<RegisteredSchema>, SchemaError> {
        let fold = self.read(topic).await?;
        if fold.entries.is_empty() {
            return Err(SchemaError::NotFound { topic: topic.clone() });
        }
        Ok(fold.entries.iter().map(|entry| shown(topic, entry)).collect())
    }

    /// What may follow what on a topic.
    ///
    /// # Errors
    /// [`SchemaError`] when it cannot be read.
    pub async fn compatibility(&self, topic: &Topic) -> Result<Compatibility, SchemaError> {
        Ok(self.read(topic).await?.mode.unwrap_or(self.mode))
    }

    /// Every topic that has a schema, in the order of their names.
    ///
    /// # Errors
    /// [`SchemaError`] when they cannot be read.
    pub async fn list(&self) -> Result<Vec<TopicSchemas>, SchemaError> {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.journal.streams_page(STREAM_NAMES, after.as_ref(), PAGE_STREAMS).await?;
            let Some(last) = page.last() else { return Ok(found) };
            after = Some(last.stream.clone());
            for info in &page {
                let topic = Topic::named(info.stream.as_str().trim_start_matches(STREAM_NAMES));
                let fold = self.read(&topic).await?;
                found.extend(fold.latest().map(|latest| TopicSchemas {
                    compatibility: fold.mode.unwrap_or(self.mode),
                    version: latest.number,
                    time: time_text(latest.time),
                    topic,
                }));
            }
        }
    }

    /// What publishing on a topic goes by, as far as is known here; `None` when the topic was not looked at yet.
    pub(crate) fn standing(&self, topic: &Topic) -> Option<Standing> {
        self.known.lock().get(topic).map(|known| known.standing.clone())
    }

    /// Looks a topic up for publishing.
    pub(crate) async fn look_up(&self, topic: &Topic) -> Result<Standing, SchemaError> {
        let fold = self.read(topic).await?;
        self.keep(topic, &fold);
        Ok(self.standing(topic).unwrap_or(Standing::Never))
    }

    async fn read(&self, topic: &Topic) -> Result<TopicFold, SchemaError> {
        let stream = stream(topic)?;
        let mut fold = TopicFold::default();
        let mut events = self.journal.read_stream(&stream, Version(1), Direction::Forward);
        while let Some(recorded) = events.next().await {
            let recorded = recorded?;
            fold.apply(record::read(&recorded)?, recorded.version, recorded.command.time);
        }
        // Whoever asks can make names up: only publishing has what is not there remembered.
        if fold.read > Version::NONE {
            self.keep(topic, &fold);
        }
        Ok(fold)
    }

    /// Keeps what publishing goes by; made anew only where it has changed. What was read earlier than what is kept has
    /// nothing to say.
    fn keep(&self, topic: &Topic, fold: &TopicFold) {
        let mut all = self.known.lock();
        if all.get(topic).is_some_and(|known| known.read >= fold.read) {
            return;
        }
        let kept = all.remove(topic).and_then(|known| known.standing.current());
        let standing = match fold.latest() {
            Some(latest) => Standing::Current(
                kept.filter(|kept| kept.version == latest.number).unwrap_or_else(|| enforced(topic, latest)),
            ),
            None if fold.removed => Standing::Removed,
            None => Standing::Never,
        };
        all.insert(topic.clone(), Known { read: fold.read, standing });
    }

    /// Appends if nobody else was faster, all or nothing; whether that is so.
    async fn append(
        &self,
        topic: &Topic,
        fold: &TopicFold,
        events: &[SchemaEvent],
    ) -> Result<bool, SchemaError> {
        if events.is_empty() {
            return Ok(true);
        }
        let now: Timestamp = self.clock.now();
        let events = events.iter().map(|event| record::record(event, now)).collect::<Result<Vec<_>, _>>()?;
        let expected = if planted(Fault::SchemasRace) { Expected::Any } else { Expected::Version(fold.read) };
        let batch = Batch::of(stream(topic)?, expected, events);
        match self.journal.append(batch).await {
            Ok(_) => {}
            Err(AppendError::Conflict { .. }) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        // Publishing goes by it from now on.
        self.read(topic).await?;
        Ok(true)
    }
}

/// Finds out whether a schema is one.
async fn proven(schema: &Value) -> Result<(), SchemaError> {
    let schema = schema.clone();
    aside(move || SchemaValidator::for_values(&schema).map(drop)).await
}

/// Why a schema may not follow this one.
async fn compared(
    latest: &Entry,
    schema: &Value,
    mode: Compatibility,
) -> Result<Vec<Incompatibility>, SchemaError> {
    let (old, new) = (latest.schema.clone(), schema.clone());
    aside(move || incompatibilities(&old, &new, mode)).await
}

/// Works where it holds nobody else up: schemas come from outside and may be large.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SchemaError> + Send + 'static,
) -> Result<T, SchemaError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => Err(SchemaError::Panicked),
        Err(_) => Err(SchemaError::Stopping),
    }
}

fn enforced(topic: &Topic, entry: &Entry) -> Arc<Current> {
    let name = format!("urn:annals:schema:{topic}:{}", entry.number).into();
    let validator = Arc::new(LazyValidator::new(entry.schema.clone()));
    Arc::new(Current { version: entry.number, name, validator })
}

fn shown(topic: &Topic, entry: &Entry) -> RegisteredSchema {
    let (topic, time) = (topic.clone(), time_text(entry.time));
    RegisteredSchema { topic, version: entry.number, time, schema: entry.schema.clone() }
}

fn stream(topic: &Topic) -> Result<StreamId, SchemaError> {
    if let Some(reason) = topic.fault() {
        return Err(SchemaError::InvalidTopic { topic: topic.clone(), reason: reason.to_owned() });
    }
    Ok(StreamId::internal(&format!("schema-{topic}"))?)
}

#[cfg(test)]
mod tests;
