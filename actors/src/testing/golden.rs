//! Golden bytes: recorded events as files, so that what was once written is read for good.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use annals_persistence::{CodecError, CodecId, Event, EventError, EventSchema, EventType};

use super::lock::{self, UPDATE, updating};
use crate::Aggregate;

mod fixture;

#[cfg(test)]
mod tests;

use fixture::{Example, Fixture, Today};

/// The test of golden bytes: for every event type, version and codec that the service ever wrote, a file in
/// `tests/golden` with payloads, byte for byte, and the events that they are read as today.
///
/// Samples of the events as they are now come from the test; it fails when one is written otherwise than in its file,
/// when a payload in a file is read as something else than it says, and when a type has no sample or a line of
/// `events.lock` no file. With `ANNALS_UPDATE_LOCK=1` it adds what is missing, and writes down what old versions are read as
/// today; a payload, and what a current version is read as, it never changes.
///
/// [`golden_events!`](crate::golden_events) is the test in one line.
#[derive(Debug)]
#[must_use = "nothing is checked before `check`"]
pub struct GoldenEvents {
    directory: PathBuf,
    aggregates: BTreeMap<&'static str, Of>,
}

/// What is known of one aggregate's events.
#[derive(Debug)]
struct Of {
    schemas: &'static [EventSchema],
    samples: Result<Vec<Sample>, CodecError>,
    read: Read,
}

/// Reads a payload of this type, version and codec.
type Read = fn(&str, u16, CodecId, &[u8]) -> Result<Vec<Today>, EventError>;

/// An event as it is written now.
#[derive(Debug)]
struct Sample {
    event_type: EventType,
    codec: CodecId,
    payload: Vec<u8>,
}

impl GoldenEvents {
    /// The files below this directory, in `tests/golden`.
    pub fn beside(directory: impl AsRef<Path>) -> Self {
        Self { directory: directory.as_ref().to_owned(), aggregates: BTreeMap::new() }
    }

    /// With the events of this aggregate type: at least one of every kind.
    pub fn aggregate<A: Aggregate>(self, samples: impl IntoIterator<Item = A::Event>) -> Self {
        self.events(A::TYPE, samples)
    }

    /// With events that are no aggregate's, under the name of whose they are: at least one of every kind.
    pub fn events<E: Event>(mut self, owner: &'static str, samples: impl IntoIterator<Item = E>) -> Self {
        let samples = samples.into_iter().map(|event| sample(&event)).collect();
        self.aggregates.insert(owner, Of { schemas: E::SCHEMAS, samples, read: read_today::<E> });
        self
    }

    /// Compares files and code; with `ANNALS_UPDATE_LOCK=1` adds what is new.
    ///
    /// # Panics
    /// When they do not agree, with what to do.
    #[track_caller]
    pub fn check(&self) {
        if let Err(report) = self.compare(updating()) {
            panic!("{report}");
        }
    }

    /// As [`GoldenEvents::check`], with the decision whether to `update` in the caller's hand.
    ///
    /// # Errors
    /// What does not agree, and what to do.
    pub fn compare(&self, update: bool) -> Result<(), String> {
        let mut problems = Vec::new();
        for (aggregate, of) in &self.aggregates {
            let folder = self.directory.join("tests/golden").join(aggregate);
            let mut fixtures = Fixtures { aggregate, folder, all: BTreeMap::new(), problems: Vec::new() };
            fixtures.load()?;
            fixtures.look_at_samples(of, update);
            fixtures.look_at_files(of, update)?;
            fixtures.look_at_lock(&lock::read(&self.directory.join("events.lock"))?);
            problems.append(&mut fixtures.problems);
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("\n\n")) }
    }
}

fn sample<E: Event>(event: &E) -> Result<Sample, CodecError> {
    Ok(Sample { event_type: event.event_type(), codec: event.codec(), payload: event.encode()? })
}

fn read_today<E: Event>(
    name: &str,
    version: u16,
    codec: CodecId,
    payload: &[u8],
) -> Result<Vec<Today>, EventError> {
    let events = E::decode(name, version, codec, payload)?;
    let all = events.iter().map(|event| {
        let EventType { name, version } = event.event_type();
        let text = event.encode_as(CodecId::Json)?;
        Ok(Today { event: name.to_owned(), version, payload: CodecId::Json.decode(&text)? })
    });
    all.collect::<Result<_, CodecError>>().map_err(|source| EventError::Codec {
        name: name.to_owned(),
        version,
        source,
    })
}

/// The files of one aggregate.
struct Fixtures<'a> {
    aggregate: &'a str,
    folder: PathBuf,
    all: BTreeMap<(String, u16), Fixture>,
    problems: Vec<String>,
}

impl Fixtures<'_> {
    fn load(&mut self) -> Result<(), String> {
        let unreadable = |error| format!("{} cannot be read: {error}", self.folder.display());
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(unreadable)?,
        };
        for entry in entries {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let fixture = Fixture::read(&path)?;
                self.all.insert((fixture.event.clone(), fixture.version), fixture);
            }
        }
        Ok(())
    }

    fn look_at_samples(&mut self, of: &Of, update: bool) {
        let samples = match &of.samples {
            Ok(samples) => samples,
            Err(error) => return self.problems.push(format!("a sample of \"{}\": {error}", self.aggregate)),
        };
        for schema in of.schemas.iter().filter(|schema| schema.written().is_some()) {
            let (name, version) = (schema.name, schema.version);
            if !samples.iter().any(|sample| sample.event_type == EventType { name, version }) {
                self.problems.push(format!("\"{name}\" version {version} has no sample: give the test one."));
            }
        }
        samples.iter().for_each(|sample| self.look_at_sample(sample, of, update));
    }

    fn look_at_sample(&mut self, sample: &Sample, of: &Of, update: bool) {
        let EventType { name, version } = sample.event_type;
        let fixture = self.all.get(&(name.to_owned(), version));
        if fixture.is_some_and(|fixture| fixture.has(sample.codec, &sample.payload)) {
            return;
        }
        if !update {
            let written = String::from_utf8_lossy(&sample.payload);
            return self.problems.push(format!(
                "\"{name}\" version {version}: no payload in {} is what the sample is written as: {written}\nIf the event or \
                 the sample is new, run this test with {UPDATE}=1 and commit the file. If neither is, the event is written \
                 otherwise than before: give it a new version.",
                self.path(name, version).display()
            ));
        }
        match (of.read)(name, version, sample.codec, &sample.payload) {
            Ok(today) => {
                let key = (name.to_owned(), version);
                let fixture =
                    self.all.entry(key).or_insert_with(|| Fixture::new(self.aggregate, name, version));
                fixture.examples.push(Example::new(sample.codec, &sample.payload, today));
            }
            Err(error) => self.problems.push(format!("\"{name}\" version {version}: {error}")),
        }
    }

    fn look_at_files(&mut self, of: &Of, update: bool) -> Result<(), String> {
        for ((event, version), fixture) in &mut self.all {
            let schema = of.schemas.iter().find(|schema| schema.name == event && schema.version == *version);
            // What a current version is read as is what it is; only old ones may come to mean something else.
            let may_change = update && schema.is_some_and(|schema| schema.written().is_none());
            for example in &mut fixture.examples {
                match (of.read)(event, *version, example.codec()?, &example.bytes()?) {
                    Ok(today) if today == example.today => {}
                    Ok(today) if may_change => example.today = today,
                    Ok(today) => self.problems.push(misread(event, *version, example, &today, schema)),
                    Err(error) => self.problems.push(format!("\"{event}\" version {version}: {error}")),
                }
            }
        }
        if update && self.problems.is_empty() {
            for ((event, version), fixture) in &self.all {
                lock::write(&self.path(event, *version), &fixture.text()?)?;
            }
        }
        Ok(())
    }

    /// Everything that was ever written has a file.
    fn look_at_lock(&mut self, lock: &lock::Lock) {
        for entry in lock.entries().filter(|entry| entry.key.aggregate == self.aggregate) {
            let lock::Key { event, version, .. } = &entry.key;
            let fixture = self.all.get(&(event.clone(), *version));
            for codec in &entry.codecs {
                let has = fixture.is_some_and(|fixture| fixture.has_codec(*codec));
                if !has {
                    self.problems.push(format!(
                        "events.lock says that \"{event}\" version {version} was written in {codec}, and {} has no such \
                         payload: bring it back from the commit that added the line.",
                        self.path(event, *version).display()
                    ));
                }
            }
        }
    }

    fn path(&self, event: &str, version: u16) -> PathBuf {
        self.folder.join(format!("{event}.v{version}.json"))
    }
}

fn misread(
    event: &str,
    version: u16,
    example: &Example,
    today: &[Today],
    schema: Option<&EventSchema>,
) -> String {
    let diff = super::scenario::diff_text(&fixture::pretty(&example.today), &fixture::pretty(today));
    let advice = match schema {
        Some(schema) if schema.written().is_none() => {
            format!("If that is as it should be, run this test with {UPDATE}=1 and commit the file.")
        }
        _ => "What is recorded would be misread: give the event a new version.".to_owned(),
    };
    format!(
        "\"{event}\" version {version} is read as something else than before (- before, + now):\n{diff}{advice}"
    )
}

/// The test of golden bytes, in one line: `annals::testing::golden_events!(Order => samples());` among a crate's tests,
/// with every aggregate and at least one of each of its events.
///
/// See [`GoldenEvents`](crate::testing::GoldenEvents).
#[macro_export]
macro_rules! golden_events {
    ($($aggregate:ty => $samples:expr),+ $(,)?) => {
        #[test]
        fn golden_events() {
            $crate::testing::GoldenEvents::beside(::core::env!("CARGO_MANIFEST_DIR"))
                $(.aggregate::<$aggregate>($samples))+
                .check();
        }
    };
}
