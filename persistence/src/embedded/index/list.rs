//! Streams in the order of their names, from all the segments in which any of them begins.

use std::ops::Bound;
use std::sync::Arc;

use parking_lot::RwLock;

use super::file::{IndexFault, IndexFile, stream_id};
use super::{Index, Sealed, SealedPart};
use crate::{StreamId, StreamInfo};

/// See [`crate::Journal::streams_page`].
pub(in crate::embedded) fn page(
    index: &RwLock<Index>,
    prefix: &str,
    after: Option<&StreamId>,
    limit: usize,
) -> Result<Vec<StreamInfo>, IndexFault> {
    let mut from = match after {
        Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str().to_owned()),
        _ => Bound::Included(prefix.to_owned()),
    };
    let mut listed = Vec::new();
    // Names whose streams are gone leave room for more.
    while listed.len() < limit {
        let names = names(index, prefix, from.as_ref().map(String::as_str), limit - listed.len())?;
        let Some(last) = names.last() else { break };
        from = Bound::Excluded(last.as_str().to_owned());
        add_infos(index, &names, &mut listed);
    }
    Ok(listed)
}

fn add_infos(index: &RwLock<Index>, names: &[StreamId], listed: &mut Vec<StreamInfo>) {
    let index = index.read();
    listed.extend(names.iter().filter_map(|name| index.info(name)));
}

/// The first `limit` names from a place on, of all segments.
fn names(
    index: &RwLock<Index>,
    prefix: &str,
    from: Bound<&str>,
    limit: usize,
) -> Result<Vec<StreamId>, IndexFault> {
    let (sealed, mut names) = {
        let index = index.read();
        let active = index.active.as_ref().map(|active| active.part.created.lock().page(prefix, from, limit));
        (Arc::clone(&index.sealed), active.unwrap_or_default())
    };
    for Sealed { part, .. } in sealed.iter() {
        names.extend(match part {
            SealedPart::Memory(part) => part.created.lock().page(prefix, from, limit),
            SealedPart::File(file) => file.names(prefix, from, limit)?,
        });
        // No name beyond the first `limit` is wanted, whichever segment it is from.
        if names.len() > limit.saturating_mul(2) {
            names.sort_unstable();
            names.truncate(limit);
        }
    }
    names.sort_unstable();
    names.dedup();
    names.truncate(limit);
    Ok(names)
}

impl IndexFile {
    fn names(&self, prefix: &str, from: Bound<&str>, limit: usize) -> Result<Vec<StreamId>, IndexFault> {
        let first = self.first_name(from)?;
        let mut found = Vec::new();
        for at in first..self.name_count() {
            let name = self.name(at)?;
            if found.len() == limit || !name.starts_with(prefix) {
                break;
            }
            found.extend(stream_id(&name));
        }
        Ok(found)
    }

    /// The place of the first name that is not in front of the bound.
    fn first_name(&self, from: Bound<&str>) -> Result<u64, IndexFault> {
        let (mut low, mut high) = (0, self.name_count());
        while low < high {
            let middle = low.midpoint(high);
            let name = self.name(middle)?;
            let is_in_front = match from {
                Bound::Included(bound) => name.as_str() < bound,
                Bound::Excluded(bound) => name.as_str() <= bound,
                Bound::Unbounded => false,
            };
            if is_in_front {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}
