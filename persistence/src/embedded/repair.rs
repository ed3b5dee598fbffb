//! Cutting a damaged log back to what is whole, when somebody has decided to go on without the rest.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{Files, remove_if_there};
use super::format::{Header, SEAL_BYTES, Seal};
use super::index::{index_path, table_path};
use super::lock;
use super::open::{check_mark, trim};
use super::recover::{Found, Recovery, unreadable};
use super::segment::{
    Room, SPARE, Segment, numbered, read_up_to, segment_bytes, segment_number, segment_path,
};
use super::verify::LogDamage;
use super::walk::{End, Versions};
use super::writer::new_salt;
use crate::{JournalId, OpenError, Position, Timestamp};

mod lost;

use lost::{Lost, lost};

/// What a repair cuts off, or would.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogRepair {
    /// What is wrong with the log: the first place from its beginning.
    pub damage: LogDamage,
    /// The last position that stays.
    pub last: Position,
    /// What is cut off.
    pub cut: Vec<CutPiece>,
    /// Where it is kept, once it is cut off.
    pub kept_in: PathBuf,
}

/// A file, or its end, that is cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CutPiece {
    /// The file.
    pub file: PathBuf,
    /// From where on, in bytes.
    pub offset: u64,
    /// How many bytes, zeros that nothing was written to yet included.
    pub bytes: u64,
    /// How many of them are in use.
    pub used: u64,
    /// How many events in them are whole, and go all the same; `None` where that cannot be told, as in a file whose
    /// header is damaged.
    pub events: Option<u64>,
}

/// A repair that was looked for and is yet to be done.
#[derive(Debug)]
pub(super) struct Plan {
    repair: LogRepair,
    /// The segment that is sealed where it is whole: the last one that is left, unless it ends with its seal.
    open: Option<(Arc<Segment>, u64, Seal)>,
    /// Segments that go on behind their seals, as an interrupted repair leaves one, and where these end.
    untrimmed: Vec<(Arc<Segment>, u64)>,
    /// The header of the segment that the log goes on in; `None` where nothing is left.
    next: Option<Header>,
    number: u64,
}

/// See [`crate::EmbeddedJournal::repair`].
pub(super) fn repair(files: &Files, cut: bool) -> Result<Option<LogRepair>, OpenError> {
    files.list()?;
    let _lock = lock(&*files.vfs, &files.dir)?;
    let Some(plan) = plan(files, cut)? else { return Ok(None) };
    if cut {
        carry_out(files, &plan).map_err(|source| unreadable(&files.dir, source))?;
    }
    Ok(Some(plan.repair))
}

/// Looks for the first damage.
fn plan(files: &Files, writable: bool) -> Result<Option<Plan>, OpenError> {
    let mut recovery = Recovery::new(files, writable, Versions::Whole { scavenged: 0 });
    let (found, mut damage) = recovery.segments_in_front()?;
    let mut untrimmed = Vec::new();
    for at in 0..found.len() {
        match go_through(&mut recovery, &found[at..]) {
            Ok(End::Sealed(end)) if end < found[at].len => {
                untrimmed.push((Arc::clone(&found[at].segment), end));
            }
            Ok(End::Sealed(_)) => {}
            Ok(End::Open { .. }) => break,
            Err(OpenError::Damaged { file, offset, reason }) => {
                damage = Some(LogDamage { file, offset, reason });
                break;
            }
            Err(error) => return Err(error),
        }
    }
    if damage.is_none() {
        match at_the_end(&recovery, files) {
            Ok(()) => return Ok(None),
            Err(OpenError::Damaged { file, offset, reason }) => {
                damage = Some(LogDamage { file, offset, reason })
            }
            Err(error) => return Err(error),
        }
    }
    damage.map(|damage| plan_for(files, &recovery, damage, untrimmed)).transpose()
}

fn go_through(recovery: &mut Recovery<'_>, rest: &[Found]) -> Result<End, OpenError> {
    let Found { segment, len } = &rest[0];
    recovery.walk.enter(segment, *len)?;
    let end = recovery.walk.through(segment, *len, &mut |_, _| ())?;
    if let End::Open { at, reason } = end {
        recovery.end_at(rest, at, reason)?;
    }
    Ok(end)
}

fn at_the_end(recovery: &Recovery<'_>, files: &Files) -> Result<(), OpenError> {
    if recovery.walk.index.active.is_none() {
        recovery.end_sealed()?;
    }
    check_mark(recovery, files)
}

fn plan_for(
    files: &Files,
    recovery: &Recovery<'_>,
    damage: LogDamage,
    untrimmed: Vec<(Arc<Segment>, u64)>,
) -> Result<Plan, OpenError> {
    let index = &recovery.walk.index;
    // A segment that was entered and does not follow was not.
    let open = index.active.as_ref().map(|active| {
        let seal = Seal {
            next: active.segment.header.number + 1,
            last: index.durable,
            group: index.group,
            count: active.part.records,
            latest: active.part.latest,
        };
        (Arc::clone(&active.segment), active.end, seal)
    });
    let last = index.last_segment();
    let number = last.map_or(1, |last| last.header.number + 1);
    let next = last.map(|last| Header {
        number,
        base: index.durable.position.next(),
        base_group: index.group,
        salt: new_salt(),
        previous_salt: last.header.salt,
        journal: JournalId::generate(),
        created: Timestamp::now(),
        secret: last.header.secret,
        generation: 0,
        forked_from: Some(last.header.journal),
    });
    let kept_in = files.dir.join(format!("cut-{}", Timestamp::now().0));
    let cut = pieces(files, open.as_ref().map(|(segment, end, _)| (&**segment, *end)), number)?;
    let repair = LogRepair { damage, last: index.durable.position, cut, kept_in };
    Ok(Plan { repair, open, untrimmed, next, number })
}

/// The end of the last segment that stays, and all segments from this number on.
fn pieces(files: &Files, open: Option<(&Segment, u64)>, from: u64) -> Result<Vec<CutPiece>, OpenError> {
    let mut cut = Vec::new();
    if let Some((segment, offset)) = open {
        let len = segment.file.len().map_err(|source| segment.unreadable(source))?;
        cut.push(piece(files, segment.path.clone(), offset, len)?);
    }
    let mut numbers: Vec<u64> = files.list()?.iter().filter_map(|name| segment_number(name)).collect();
    numbers.sort_unstable();
    for number in numbers.into_iter().filter(|number| *number >= from) {
        let file = segment_path(&files.dir, number);
        let opened = files.vfs.open(&file, false).and_then(|opened| opened.len());
        let len = opened.map_err(|source| unreadable(&file, source))?;
        cut.push(piece(files, file, 0, len)?);
    }
    Ok(cut)
}

fn piece(files: &Files, file: PathBuf, offset: u64, len: u64) -> Result<CutPiece, OpenError> {
    let Lost { used, events } = lost(files, &file, offset)?;
    Ok(CutPiece { file, offset, bytes: len.saturating_sub(offset), used, events })
}

/// In an order in which the log is refused until it is done, and a repair that was interrupted can be done again.
fn carry_out(files: &Files, plan: &Plan) -> io::Result<()> {
    let Files { vfs, dir } = files;
    let kept_in = &plan.repair.kept_in;
    vfs.create_dir_all(kept_in)?;
    remove_derived(files, plan.number - u64::from(plan.open.is_some()))?;
    plan.untrimmed.iter().try_for_each(|(segment, end)| trim(segment, *end))?;
    if let Some((segment, end, seal)) = &plan.open {
        keep_end(files, kept_in, segment, *end)?;
        vfs.sync_dir(kept_in)?;
        end_with_seal(segment, *end, seal)?;
    }
    for piece in plan.repair.cut.iter().filter(|piece| piece.offset == 0) {
        if let Some(name) = piece.file.file_name() {
            vfs.rename(&piece.file, &kept_in.join(name))?;
        }
    }
    vfs.sync_dir(kept_in)?;
    vfs.sync_dir(dir)?;
    if let Some(header) = &plan.next {
        // The next open makes room in it.
        let room = Room { bytes: segment_bytes(0, 0), filled: 0 };
        Segment::create(&**vfs, dir, header.clone(), room)?;
    } else {
        remove_if_there(&**vfs, &super::watermark::Watermark::path(dir))?;
    }
    Ok(())
}

fn remove_derived(files: &Files, from: u64) -> io::Result<()> {
    let names = files.vfs.list(&files.dir)?;
    let indexes = names.iter().filter_map(|name| numbered(name, ".idx"));
    for number in indexes.filter(|number| *number >= from) {
        remove_if_there(&*files.vfs, &index_path(&files.dir, number))?;
    }
    // Every table, since what one says is to be kept may have been set behind its segment.
    for number in names.iter().filter_map(|name| numbered(name, ".tbl")) {
        remove_if_there(&*files.vfs, &table_path(&files.dir, number))?;
    }
    remove_if_there(&*files.vfs, &files.dir.join(SPARE))
}

/// Copies what a segment has behind its whole groups.
fn keep_end(files: &Files, kept_in: &Path, segment: &Segment, end: u64) -> io::Result<()> {
    let len = segment.file.len()?.saturating_sub(end);
    let bytes = read_up_to(&*segment.file, end, len as usize)?;
    let name = format!("{:010}.log.from-{end}", segment.header.number);
    let file = files.vfs.create(&kept_in.join(name))?;
    file.write_all_at(&bytes, 0)?;
    file.sync_data()
}

fn end_with_seal(segment: &Segment, end: u64, seal: &Seal) -> io::Result<()> {
    // The seal first: without what is behind `end`, and without a seal, the log would look whole.
    segment.file.write_all_at(&seal.encode(segment.seed, end), end)?;
    segment.file.sync_data()?;
    segment.file.set_len(end + SEAL_BYTES as u64)?;
    segment.file.sync_data()
}
