//! Names that records repeat, made once for all that are read together.

use std::sync::Arc;

use uuid::Uuid;

use super::record::Record;
use crate::{StreamId, TypeName};

/// How many types are remembered: an aggregate's events, more or less.
const TYPES: usize = 16;
/// How many streams are, a power of two.
const STREAMS: usize = 256;

/// The names of event types.
#[derive(Debug, Default)]
pub(super) struct Types {
    known: Vec<TypeName>,
    /// Which makes room for the next.
    oldest: usize,
}

impl Types {
    /// The name of the record's type, where it is text.
    pub(super) fn of(&mut self, record: &Record<'_>) -> Result<TypeName, &'static str> {
        if let Some(known) = self.known.iter().find(|known| known.as_bytes() == record.type_name) {
            return Ok(known.clone());
        }
        let name = TypeName::from(Arc::<str>::from(record.type_text()?));
        if self.known.len() < TYPES {
            self.known.push(name.clone());
        } else {
            self.known[self.oldest] = name.clone();
            self.oldest = (self.oldest + 1) % TYPES;
        }
        Ok(name)
    }
}

/// The names of streams, each at the one place where it may be.
#[derive(Debug)]
pub(super) struct Streams {
    known: Vec<Option<Known>>,
    scratch: String,
}

/// A stream's name, and how records spell it.
#[derive(Debug, Clone)]
struct Known {
    stream: StreamId,
    category_bytes: usize,
    uuid: Option<Uuid>,
}

impl Known {
    fn is_of(&self, record: &Record<'_>) -> bool {
        self.uuid == record.stream_uuid
            && self.stream.as_str().as_bytes().get(..self.category_bytes) == Some(record.category)
    }
}

impl Default for Streams {
    fn default() -> Self {
        Self { known: vec![None; STREAMS], scratch: String::new() }
    }
}

impl Streams {
    /// The name of the record's stream, if it names one.
    pub(super) fn of(&mut self, record: &Record<'_>) -> Result<StreamId, &'static str> {
        let place = &mut self.known[place_of(record)];
        if let Some(known) = place
            && known.is_of(record)
        {
            return Ok(known.stream.clone());
        }
        let name = record.stream(&mut self.scratch)?;
        let stream = StreamId::parse(name).map_err(|_| "the record names no stream")?;
        let (category_bytes, uuid) = (record.category.len(), record.stream_uuid);
        *place = Some(Known { stream: stream.clone(), category_bytes, uuid });
        Ok(stream)
    }
}

/// By the end of the name, where names differ.
fn place_of(record: &Record<'_>) -> usize {
    let name = record.stream_uuid.as_ref().map_or(record.category, |uuid| uuid.as_bytes());
    let end = name.last_chunk().map_or(name.len() as u64, |end| u64::from_le_bytes(*end));
    // Multiplied by 2^64 over the golden ratio, every bit has its say in the upper ones.
    (end.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize % STREAMS
}

#[cfg(test)]
mod tests;
