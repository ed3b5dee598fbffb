//! Names in their order. New ones are put in their place only when somebody asks, so that appending never sorts.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::StreamId;

#[derive(Debug, Default)]
pub(in crate::embedded) struct Names {
    sorted: BTreeSet<StreamId>,
    fresh: Vec<StreamId>,
}

impl Names {
    pub(in crate::embedded) fn add(&mut self, name: StreamId) {
        self.fresh.push(name);
    }

    /// At most `limit` names from a place on that begin with `prefix`.
    pub(in crate::embedded) fn page(
        &mut self,
        prefix: &str,
        from: Bound<&str>,
        limit: usize,
    ) -> Vec<StreamId> {
        self.sorted.extend(self.fresh.drain(..));
        let range = self.sorted.range::<str, _>((from, Bound::Unbounded));
        range.take_while(|name| name.as_str().starts_with(prefix)).take(limit).cloned().collect()
    }

    /// All of them.
    pub(in crate::embedded) fn sorted(&mut self) -> impl Iterator<Item = &StreamId> {
        self.sorted.extend(self.fresh.drain(..));
        self.sorted.iter()
    }
}
