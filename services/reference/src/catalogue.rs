//! A catalogue: things by id, in the order in which they were created. What lists are read from.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use annals::http::{Page, Problem};
use annals::prelude::Position;
use uuid::Uuid;

/// Things by id, in the order of their creation. One that is removed and created again stands at the end.
#[derive(Debug)]
pub(crate) struct Catalogue<V> {
    entries: BTreeMap<Position, Arc<V>>,
    /// Removed ones too: whoever pages through the list may stand at one.
    created: HashMap<Uuid, Position>,
}

impl<V> Default for Catalogue<V> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), created: HashMap::new() }
    }
}

impl<V: Clone> Catalogue<V> {
    /// Puts a new thing at the end.
    pub(crate) fn insert(&mut self, id: Uuid, created: Position, value: V) {
        self.created.insert(id, created);
        self.entries.insert(created, Arc::new(value));
    }

    /// The thing, to be changed. An answer that is being written keeps what it has.
    pub(crate) fn get_mut(&mut self, id: Uuid) -> Option<&mut V> {
        self.entries.get_mut(self.created.get(&id)?).map(Arc::make_mut)
    }

    pub(crate) fn remove(&mut self, id: Uuid) -> Option<Arc<V>> {
        self.entries.remove(self.created.get(&id)?)
    }

    /// When the thing was created last, if it ever was.
    pub(crate) fn created(&self, id: Uuid) -> Option<Position> {
        self.created.get(&id).copied()
    }

    /// The thing created there, if it still exists.
    pub(crate) fn at(&self, created: Position) -> Option<&Arc<V>> {
        self.entries.get(&created)
    }

    /// Everything that the page asks for.
    pub(crate) fn page(&self, page: &Page) -> Result<Vec<Arc<V>>, Problem> {
        let after = self.start(page)?;
        let entries = self.entries.range((after, Bound::Unbounded)).map(|(_, value)| Arc::clone(value));
        Ok(entries.take(page.limit.unwrap_or(usize::MAX)).collect())
    }

    /// Where the page begins.
    pub(crate) fn start(&self, page: &Page) -> Result<Bound<Position>, Problem> {
        let Some(after) = page.after else { return Ok(Bound::Unbounded) };
        self.created(after).map(Bound::Excluded).ok_or_else(|| unknown_after(after))
    }
}

fn unknown_after(after: Uuid) -> Problem {
    let reason = "must be the id of something that is, or was, in the list";
    Problem::rejected("invalid_query", format!("the list cannot go on after {after}: it never was in it"))
        .with_error("?after", "invalid_query", reason)
}

#[cfg(test)]
mod tests;
