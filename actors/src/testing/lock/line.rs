//! The lines of `events.lock`: `aggregate event version codecs fingerprint shape`, sorted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use annals_persistence::{CodecId, EventSchema, shape_fingerprint};

const HEADER: &str = "\
# The events that this service writes or once wrote: aggregate, event, schema version, codecs, fingerprint, shape.
# A test compares it with the code, and adds what is new when it is run with ANNALS_UPDATE_LOCK=1.
# A line is never changed: whoever released it has journals that look like this.
";

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::testing) struct Lock(BTreeMap<Key, Entry>);

/// Which event at which version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::testing) struct Key {
    pub(in crate::testing) aggregate: String,
    pub(in crate::testing) event: String,
    pub(in crate::testing) version: u16,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::testing) struct Entry {
    pub(in crate::testing) key: Key,
    /// Every codec that it was ever written in.
    pub(in crate::testing) codecs: BTreeSet<CodecName>,
    pub(in crate::testing) shape: String,
}

/// A codec by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::testing) enum CodecName {
    Bincode,
    Json,
}

impl From<CodecId> for CodecName {
    fn from(codec: CodecId) -> Self {
        match codec {
            CodecId::Json => Self::Json,
            CodecId::Bincode => Self::Bincode,
        }
    }
}

impl fmt::Display for CodecName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bincode => "bincode",
            Self::Json => "json",
        })
    }
}

impl FromStr for CodecName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "bincode" => Ok(Self::Bincode),
            "json" => Ok(Self::Json),
            other => Err(format!("there is no codec \"{other}\"")),
        }
    }
}

impl Key {
    pub(in crate::testing) fn of(aggregate: &str, schema: &EventSchema) -> Self {
        Self { aggregate: aggregate.to_owned(), event: schema.name.to_owned(), version: schema.version }
    }
}

impl Entry {
    pub(super) fn of(aggregate: &str, schema: &EventSchema, codec: CodecId) -> Self {
        let key = Key::of(aggregate, schema);
        Self { key, codecs: BTreeSet::from([codec.into()]), shape: schema.shape() }
    }
}

impl Lock {
    pub(in crate::testing) fn get(&self, key: &Key) -> Option<&Entry> {
        self.0.get(key)
    }

    pub(in crate::testing) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.values()
    }

    /// Adds a line, or a codec to the line that there is.
    pub(super) fn add(&mut self, entry: Entry) {
        match self.0.get_mut(&entry.key) {
            Some(there) => there.codecs.extend(entry.codecs),
            None => drop(self.0.insert(entry.key.clone(), entry)),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Key { aggregate, event, version } = &self.key;
        let codecs: Vec<_> = self.codecs.iter().map(ToString::to_string).collect();
        let (codecs, fingerprint) = (codecs.join("+"), shape_fingerprint(&self.shape));
        write!(f, "{aggregate} {event} {version} {codecs} {fingerprint:016x} {}", self.shape)
    }
}

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEADER)?;
        self.0.values().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}

impl FromStr for Lock {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut lock = Self::default();
        for (at, line) in text.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let entry = Entry::from_str(line).map_err(|reason| format!("line {}: {reason}", at + 1))?;
            if lock.0.contains_key(&entry.key) {
                return Err(format!(
                    "line {}: the same event and version twice; keep the released one",
                    at + 1
                ));
            }
            lock.0.insert(entry.key.clone(), entry);
        }
        Ok(lock)
    }
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.splitn(6, ' ');
        let mut word = |what: &str| words.next().ok_or_else(|| format!("there is no {what}"));
        let (aggregate, event) = (word("aggregate")?.to_owned(), word("event")?.to_owned());
        let version = word("version")?.parse().map_err(|error| format!("the version: {error}"))?;
        let codecs = word("codec")?.split('+').map(CodecName::from_str).collect::<Result<_, _>>()?;
        let fingerprint = word("fingerprint")?;
        let shape = word("shape")?.to_owned();
        if format!("{:016x}", shape_fingerprint(&shape)) != fingerprint {
            return Err(
                "the fingerprint is not that of the shape; take the line as it was committed".to_owned()
            );
        }
        Ok(Self { key: Key { aggregate, event, version }, codecs, shape })
    }
}
