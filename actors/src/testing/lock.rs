//! `events.lock`: the shapes of a service's events, as they were released.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use annals_persistence::{CodecId, Event, EventSchema};

use super::scenario::diff_text;
use crate::Aggregate;

mod line;

#[cfg(test)]
mod tests;

pub(super) use line::{CodecName, Entry, Key, Lock};

/// The variable that has files written anew; `1` is yes.
pub(super) const UPDATE: &str = "ANNALS_UPDATE_LOCK";

/// The test of `events.lock`: a file beside `Cargo.toml` with a line for every event type and schema version that the
/// service has ever written.
///
/// It fails when the shape of an event has changed without a new version, when a type that was written can be read no
/// more, and when something is new. With `ANNALS_UPDATE_LOCK=1` in the environment it adds what is new instead. It never
/// changes a line: what was released stays as it was. A version that never left your machine is changed by deleting its
/// line.
///
/// [`events_lock!`](crate::events_lock) is the test in one line.
#[derive(Debug)]
#[must_use = "nothing is checked before `check`"]
pub struct EventsLock {
    path: PathBuf,
    schemas: BTreeMap<&'static str, &'static [EventSchema]>,
}

impl EventsLock {
    /// The lock in this directory.
    pub fn beside(directory: impl AsRef<Path>) -> Self {
        Self { path: directory.as_ref().join("events.lock"), schemas: BTreeMap::new() }
    }

    /// With the events of this aggregate type.
    pub fn aggregate<A: Aggregate>(self) -> Self {
        self.events::<A::Event>(A::TYPE)
    }

    /// With events that are no aggregate's, under the name of whose they are.
    pub fn events<E: Event>(mut self, owner: &'static str) -> Self {
        self.schemas.insert(owner, E::SCHEMAS);
        self
    }

    /// Compares the file with the code; with `ANNALS_UPDATE_LOCK=1` adds what is new.
    ///
    /// # Panics
    /// When they do not agree, with what to do.
    #[track_caller]
    pub fn check(&self) {
        if let Err(report) = self.compare(updating()) {
            panic!("{report}");
        }
    }

    /// As [`EventsLock::check`], with the decision whether to `update` in the caller's hand.
    ///
    /// # Errors
    /// What does not agree, and what to do.
    pub fn compare(&self, update: bool) -> Result<(), String> {
        let mut lock = read(&self.path)?;
        let mut findings = Findings::default();
        for (aggregate, schemas) in &self.schemas {
            schemas.iter().for_each(|schema| findings.look_at(aggregate, schema, &lock));
        }
        findings.look_for_missing(&self.schemas, &lock);
        if findings.problems.is_empty() && update && !findings.new.is_empty() {
            findings.new.into_iter().for_each(|entry| lock.add(entry));
            return write(&self.path, &lock.to_string());
        }
        findings.report(&self.path)
    }
}

/// Whether the environment asks for files to be written anew.
pub(super) fn updating() -> bool {
    env::var(UPDATE).is_ok_and(|value| value == "1")
}

/// The lock at this path; where there is none, an empty one.
pub(super) fn read(path: &Path) -> Result<Lock, String> {
    match fs::read_to_string(path) {
        Ok(text) => text.parse().map_err(|reason| format!("{}: {reason}", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Lock::default()),
        Err(error) => Err(format!("{} cannot be read: {error}", path.display())),
    }
}

/// Writes a file as a whole: another test may be reading it.
pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    let new = path.with_extension("new");
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder
        .and_then(|()| fs::write(&new, text))
        .and_then(|()| fs::rename(&new, path))
        .map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

/// What a comparison has found.
#[derive(Debug, Default)]
struct Findings {
    /// What nobody may have without a word.
    problems: Vec<String>,
    /// What the file does not have yet.
    new: Vec<Entry>,
}

impl Findings {
    fn look_at(&mut self, aggregate: &str, schema: &EventSchema, lock: &Lock) {
        let found = lock.get(&Key::of(aggregate, schema));
        if let Some(locked) = found
            && locked.shape != schema.shape()
        {
            self.problems.push(changed(locked, schema));
            return;
        }
        let Some(codec) = schema.written() else { return };
        if let (CodecId::Bincode, Some(what)) = (codec, schema.not_for_bincode()) {
            self.problems.push(format!(
                "\"{}\" version {} is written in bincode, and has {what} in it, which bincode cannot have. Leave it out, \
                 or write the event in JSON.",
                schema.name, schema.version
            ));
        }
        if found.is_none_or(|locked| !locked.codecs.contains(&codec.into())) {
            self.new.push(Entry::of(aggregate, schema, codec));
        }
    }

    fn look_for_missing(&mut self, schemas: &BTreeMap<&str, &[EventSchema]>, lock: &Lock) {
        for entry in lock.entries() {
            let Key { aggregate, event, version } = &entry.key;
            let known = schemas.get(aggregate.as_str()).is_some_and(|schemas| {
                schemas.iter().any(|schema| schema.name == event && schema.version == *version)
            });
            if !known {
                self.problems.push(format!(
                    "\"{event}\" version {version} of \"{aggregate}\" was written once, and nothing reads it any more: \
                     journals that have it would stop with `unknown_event_type` or `older_event_version`. Bring it back: as \
                     a variant, with `was`, `upcast(...)` or `retired(...)`. If it was never released, delete its line."
                ));
            }
        }
    }

    fn report(self, path: &Path) -> Result<(), String> {
        if self.problems.is_empty() && self.new.is_empty() {
            return Ok(());
        }
        let mut report = format!("{} and the code do not agree.\n", path.display());
        for problem in &self.problems {
            let _ = write!(report, "\n{problem}\n");
        }
        for Entry { key, codecs, .. } in &self.new {
            let codec = codecs.iter().map(ToString::to_string).collect::<Vec<_>>().join("+");
            let _ = write!(
                report,
                "\n\"{}\" version {} of \"{}\" in {codec} is new. Run this test with {UPDATE}=1 to add it, and commit the \
                 file.\n",
                key.event, key.version, key.aggregate
            );
        }
        Err(report)
    }
}

fn changed(locked: &Entry, schema: &EventSchema) -> String {
    let Key { event, version, .. } = &locked.key;
    let next = version.saturating_add(1);
    let parts = |shape: &str| shape.replace('{', "{\n").replace(';', ";\n").replace('}', "}\n");
    let diff = diff_text(&parts(&locked.shape), &parts(&schema.shape()));
    let advice = match schema.written() {
        Some(_) => format!(
            "Give it `version = {next}`, keep the old shape as a struct, and name that in `upcast({version} = ...)`: \
             docs/evolution.md shows how. If version {version} was never released, delete its line and run this test with \
             {UPDATE}=1."
        ),
        None => "Records of it are still there and will be misread. Give its struct, and the types in it, back the shape \
                 that they had."
            .to_owned(),
    };
    format!(
        "\"{event}\" version {version} has another shape than it was released with (- locked, + now):\n{diff}{advice}"
    )
}

/// The test of `events.lock`, in one line: `annals::testing::events_lock!(Order, Customer);` among a crate's tests, with
/// every aggregate that it has.
///
/// See [`EventsLock`](crate::testing::EventsLock).
#[macro_export]
macro_rules! events_lock {
    ($($aggregate:ty),+ $(,)?) => {
        #[test]
        fn events_lock() {
            $crate::testing::EventsLock::beside(::core::env!("CARGO_MANIFEST_DIR"))
                $(.aggregate::<$aggregate>())+
                .check();
        }
    };
}
