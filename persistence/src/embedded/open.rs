//! Putting in order what recovery has found, so that the log can go on.

use std::io;
use std::sync::Arc;

use super::EmbeddedOptions;
use super::files::{Files, remove_if_there};
use super::format::{COMMIT_BYTES, HEADER_BYTES, Header, SEGMENT_BYTES_MAX};
use super::hash::NameSecret;
use super::index::Index;
use super::keeper::Spare;
use super::recover::{Recovery, Torn, Unfinished, missing_segment, unreadable};
use super::segment::{Room, SPARE, Segment, fill, read_up_to, segment_bytes};
use super::walk::LastWritten;
use super::watermark::{Mark, Watermark};
use super::writer::{self, Active, is_no_space};
use crate::planted::{Fault, planted, unless};
use crate::{JournalId, OpenError, Position, Timestamp};

/// How much of a segment is filled with zeros while somebody waits for it.
const FILLED_AT_ONCE: u64 = 4 << 20;

/// What recovery leaves behind, put in order.
pub(super) struct Opened {
    pub(super) id: JournalId,
    pub(super) index: Index,
    /// Where to append, and where to note how far; `None` when nothing may change.
    pub(super) writing: Option<(Active, Watermark)>,
    /// The next segment's file, where one that was made ahead is left.
    pub(super) spare: Option<Spare>,
    /// See [`Recovery::touched`].
    pub(super) touched: usize,
}

impl Opened {
    pub(super) fn read_only(recovery: Recovery<'_>, files: &Files) -> Result<Self, OpenError> {
        check_mark(&recovery, files)?;
        let index = recovery.walk.index;
        let Some(last) = index.last_segment() else {
            let none = io::Error::new(io::ErrorKind::NotFound, "there is no journal in this directory");
            return Err(unreadable(&files.dir, none));
        };
        Ok(Self { id: last.header.journal, index, writing: None, spare: None, touched: 0 })
    }

    pub(super) fn writable(
        mut recovery: Recovery<'_>,
        files: &Files,
        options: &EmbeddedOptions,
    ) -> Result<Self, OpenError> {
        check_mark(&recovery, files)?;
        let spare =
            clear_up(&mut recovery, files, options).map_err(|source| unreadable(&files.dir, source))?;
        if let Some(last) = &recovery.walk.last_written {
            let rewritten = unless(Fault::LastGroupNotRewritten, || rewrite(last));
            rewritten.map_err(|source| last.segment.unreadable(source))?;
        }
        if let Some(torn) = &recovery.torn {
            let cut = unless(Fault::TornTailNotCut, || cut(torn));
            cut.map_err(|source| torn.segment.unreadable(source))?;
        }
        for (segment, end) in &recovery.untrimmed {
            trim(segment, *end).map_err(|source| segment.unreadable(source))?;
        }
        let (mut index, touched) = (recovery.walk.index, recovery.touched);
        let segment = match &index.active {
            Some(active) => Arc::clone(&active.segment),
            None => first_segment(&mut index, files, options)?,
        };
        let end = index.active.as_ref().map_or(HEADER_BYTES as u64, |active| active.end);
        let capacity = restored(&segment, end, options).map_err(|source| segment.unreadable(source))?;
        let id = segment.header.journal;
        let active = Active { segment, end, capacity: capacity.min(SEGMENT_BYTES_MAX) };
        let watermark =
            Watermark::open(files).map_err(|source| unreadable(&Watermark::path(&files.dir), source))?;
        Ok(Self { id, index, writing: Some((active, watermark)), spare, touched })
    }
}

/// Whether the log reaches as far as it was once noted that it is durable.
pub(super) fn check_mark(recovery: &Recovery<'_>, files: &Files) -> Result<(), OpenError> {
    let mark = Watermark::read(files).map_err(|source| unreadable(&Watermark::path(&files.dir), source))?;
    let index = &recovery.walk.index;
    if mark.is_none() && index.durable.position > Position::START {
        let dir = files.dir.display();
        tracing::warn!(%dir, "it is not noted how far the log goes, so that a lost end would not be noticed");
    }
    let Some(mark) = mark.filter(|_| !planted(Fault::MarkNotRead)) else { return Ok(()) };
    let Some(last) = index.last_segment() else { return Err(missing_segment(&files.dir, 1)) };
    let reaches = index.durable.position >= mark.position && index.group >= mark.group;
    if reaches || last.header.journal != mark.journal {
        return Ok(());
    }
    let end = recovery.walk.group_start().unwrap_or(HEADER_BYTES as u64);
    let Mark { position, group, .. } = mark;
    let found = index.durable.position;
    let reason = format!(
        "the log ends here with position {found} (group {}), but position {position} (group {group}) was durable",
        index.group
    );
    Err(last.damaged(end, reason))
}

/// Removes what was being made when the journal was last left; answers with the next segment's file, if it was ready.
fn clear_up(
    recovery: &mut Recovery<'_>,
    files: &Files,
    options: &EmbeddedOptions,
) -> io::Result<Option<Spare>> {
    let vfs = &*files.vfs;
    writer::remove_space_probe(vfs, &files.dir)?;
    remove_if_there(vfs, &files.dir.join(SPARE))?;
    let Some(Unfinished { path, blank }) = recovery.unfinished.take() else { return Ok(None) };
    let follows = recovery.walk.index.last_segment().is_some();
    let of_that_length = |(_, bytes): &(_, u64)| follows && *bytes == segment_bytes(options.segment_bytes, 0);
    if let Some((file, bytes)) = blank.filter(of_that_length)
        // Without even the beginning of a header; that there is nothing behind it is known.
        && read_up_to(&*file, 0, HEADER_BYTES)?.iter().all(|byte| *byte == 0)
    {
        return Ok(Some(Spare { file, bytes }));
    }
    vfs.remove(&path)?;
    vfs.sync_dir(&files.dir)?;
    Ok(None)
}

/// Writes the last group again, with the bytes it has, and syncs it. When a sync has failed, the system may keep the
/// bytes in memory as if they had been written: they read well, and are gone after a loss of power. The sync that
/// failed was the last one, so it is the last group that is doubtful, or the seal behind it.
fn rewrite(last: &LastWritten) -> io::Result<()> {
    let LastWritten { segment, start, end } = last;
    let bytes = read_up_to(&*segment.file, *start, (end - start) as usize)?;
    segment.file.write_all_at(&bytes, *start)?;
    segment.file.sync_data()
}

/// Gives back what a sealed segment did not use, so that it ends with its seal.
pub(super) fn trim(segment: &Segment, end: u64) -> io::Result<()> {
    segment.file.set_len(end)?;
    segment.file.sync_data()
}

/// Cuts the remains of a group off, so that nothing of it is ever taken for part of a later one.
fn cut(torn: &Torn) -> io::Result<()> {
    let Torn { segment, offset, bytes, reason } = torn;
    tracing::warn!(
        file = %segment.path.display(), offset, bytes, reason,
        "cut off a last group that was not whole: as a rule one that was never acknowledged"
    );
    let too_far = if planted(Fault::TornTailCutTooFar) { COMMIT_BYTES as u64 } else { 0 };
    segment.file.set_len(offset - too_far)?;
    segment.file.sync_data()
}

fn first_segment(
    index: &mut Index,
    files: &Files,
    options: &EmbeddedOptions,
) -> Result<Arc<Segment>, OpenError> {
    let secret = NameSecret::generate();
    let header = Header {
        number: 1,
        base: Position(1),
        base_group: 0,
        salt: writer::new_salt(),
        previous_salt: 0,
        journal: JournalId::generate(),
        created: Timestamp::now(),
        secret,
        generation: 0,
        forked_from: None,
    };
    let segment = Segment::create(&*files.vfs, &files.dir, header, at_once(HEADER_BYTES as u64, options));
    let segment = segment.map_err(|source| unreadable(&files.dir, source))?;
    *index = Index::new(secret);
    index.begin(Arc::clone(&segment), HEADER_BYTES as u64);
    Ok(segment)
}

/// How long a segment is that is made while somebody waits for it, and begins its use at `end`: what is filled of it
/// takes a moment, and the next one is made ahead.
fn at_once(end: u64, options: &EmbeddedOptions) -> Room {
    let bytes = segment_bytes(options.segment_bytes, 0);
    if !options.zero_fill {
        return Room { bytes, filled: 0 };
    }
    let bytes = (end + FILLED_AT_ONCE).next_multiple_of(4096).min(bytes);
    Room { bytes, filled: bytes }
}

/// Makes room again in a segment that lost what was behind its last group, or never had much; answers how long it is.
fn restored(segment: &Segment, end: u64, options: &EmbeddedOptions) -> io::Result<u64> {
    let len = segment.file.len()?;
    let room = at_once(end, options);
    if len >= room.bytes || len - end.min(len) >= FILLED_AT_ONCE / 2 {
        return Ok(len);
    }
    let file = &*segment.file;
    let made = file.reserve(room.bytes).and_then(|()| match room.filled {
        0 => file.sync_data(),
        filled => fill(file, len..filled),
    });
    match made {
        Ok(()) => {}
        // The next group then goes to another segment, or is refused until there is space.
        Err(error) if is_no_space(&error) => {}
        Err(error) => return Err(error),
    }
    segment.file.len()
}
