//! A log to be spoilt, of which it is known where everything lies.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_persistence::{
    Batch, CHECKPOINT_EVENT_TYPE, CodecId, Direction, EmbeddedJournal, EventId, Expected, Filter, Journal,
    JournalExt, NewEvent, OpenError, Position, ReadError, RecordedEvent, Retention, ScavengeOptions, SimVfs,
    StreamId, Survival, Version, Vfs,
};
use futures_util::{Stream, StreamExt, TryStreamExt};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::check::everything;
use crate::support::{self, DIR, block_on, dynamic, open_with};

const HEADER_BYTES: usize = 4096;
const FRAME_HEADER_BYTES: usize = 16;
const RECORD: u8 = 1;
const COMMIT: u8 = 2;
const SEAL: u8 = 3;
const RETENTION: u8 = 5;
/// These, and gaps.
const KINDS: [u8; 5] = [RECORD, COMMIT, SEAL, 4, RETENTION];
/// Those of a log of one segment.
const FIRST_KINDS: [u8; 3] = [RECORD, COMMIT, RETENTION];

/// A log in which every batch is a group of its own, some streams are no longer kept as a whole, and a segment was written
/// anew without what is not kept.
pub(super) struct Log {
    pub(super) disk: SimVfs,
    pub(super) events: Vec<RecordedEvent>,
    /// What is read of each stream.
    streams: BTreeMap<StreamId, Vec<RecordedEvent>>,
    groups: Vec<Group>,
    /// Where the payloads of events lie.
    pub(super) payloads: Vec<(PathBuf, Range<usize>)>,
    pub(super) seals: Vec<(PathBuf, Range<usize>)>,
    /// The segments, and the file that was made ahead of them.
    pub(super) files: Vec<PathBuf>,
    /// How the files looked some time before.
    pub(super) earlier: SimVfs,
}

#[derive(Debug)]
struct Group {
    file: PathBuf,
    bytes: Range<usize>,
    /// How many events there are up to and with it.
    events: usize,
}

impl Group {
    fn is_hit(&self, file: &Path, range: &Range<usize>) -> bool {
        self.file == file && self.bytes.start < range.end && range.start < self.bytes.end
    }
}

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The journal is refused, or what reads it.
    Noticed,
    /// All is there.
    Harmless,
    /// The last groups, all of them hit, were cut off.
    Cut,
}

/// What is left beside the segments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    /// Whether it was noted how far the log goes.
    pub(super) marked: bool,
    /// Whether there is a file that was made ahead.
    pub(super) spare: bool,
}

impl Left {
    pub(super) fn any(random: &mut StdRng) -> Self {
        Self { marked: random.random(), spare: random.random() }
    }
}

/// How a log is written: with so many batches, then (where there were any) scavenged, then with so many more in segments of
/// this length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recipe {
    pub(super) before: usize,
    pub(super) behind: usize,
    pub(super) segment_bytes: u64,
}

impl Recipe {
    /// Answers the journal too, and how the disk looked some time before.
    fn follow(self, disk: &SimVfs, random: &mut StdRng) -> (Arc<EmbeddedJournal>, SimVfs) {
        let batches = self.before + self.behind;
        let looked_at = random.random_range(1..batches);
        let first_bytes = if self.before > 0 { 0 } else { self.segment_bytes };
        let (mut journal, mut earlier) = (open_with(disk, first_bytes).unwrap(), SimVfs::new());
        for nth in 0..batches {
            if nth == self.before && nth > 0 {
                scavenge(&journal);
                block_on(journal.close());
                journal = open_with(disk, self.segment_bytes).unwrap();
            }
            if nth == looked_at {
                earlier = disk.image(Survival::Everything, 0);
            }
            let batch = block_on(batch(&journal, nth, random));
            block_on(support::append(&journal, batch)).unwrap();
        }
        (journal, earlier)
    }
}

impl Log {
    pub(super) fn written(seed: u64, recipe: Recipe) -> Self {
        let disk = SimVfs::new();
        let (journal, earlier) = recipe.follow(&disk, &mut StdRng::seed_from_u64(seed));
        let events = block_on(everything(&journal));
        let ids: BTreeSet<_> = events.iter().map(|event| &event.stream).collect();
        let of = |id| dynamic(&journal).read_stream(id, Version(1), Direction::Forward).try_collect();
        let streams = ids.into_iter().map(|id| (id.clone(), block_on(of(id)).unwrap())).collect();
        block_on(journal.close());
        let files = segments(&disk);
        let Places { groups, records, seals, kinds } = Places::of(&disk, &files);
        assert_eq!(records.len(), events.len(), "there are records that are not read");
        // The payload is the rest of it.
        let payload =
            |((file, end), event): ((PathBuf, usize), &RecordedEvent)| (file, end - event.payload.len()..end);
        let payloads = records.into_iter().zip(&events).map(payload).collect();
        let all: &[u8] = if recipe.before > 0 { &KINDS } else { &FIRST_KINDS };
        assert!(kinds.iter().eq(all), "the log has every kind of frame: {kinds:?}");
        Self { disk, events, streams, groups, payloads, seals, files, earlier }
    }

    /// Spoils bytes of a file, and holds what comes of it against what may. Of a log that is marked, nothing may be
    /// cut off.
    pub(super) fn spoilt(
        &self,
        file: &Path,
        range: Range<usize>,
        left: Left,
        change: impl FnOnce(&mut Vec<u8>),
        case: &str,
    ) -> Found {
        let marked = left.marked;
        let disk = self.disk.image(Survival::Everything, 0);
        disk.spoil(file, change);
        self.leave(&disk, file, left);
        let for_opening =
            disk.bytes(file).is_some_and(|spoilt| self.is_for_opening(file, &range, &spoilt, marked));
        let journal = match support::open(&disk) {
            Err(OpenError::Damaged { .. } | OpenError::Format { .. }) => return Found::Noticed,
            Err(other) => panic!("{case}: {other}"),
            Ok(journal) => journal,
        };
        assert!(!for_opening, "{case}: it opens, and what is wrong is in what opening reads");
        let everything = dynamic(&journal).read_all(Position::START, Filter::everything());
        let (read, damaged) = block_on(as_far_as_it_goes(everything, case));
        assert!(self.events.starts_with(&read), "{case}: a wrong event is served");
        let whole = self.streams_serve_nothing_wrong(&journal, case);
        match damaged {
            true => return Found::Noticed,
            false if read.len() == self.events.len() => {
                assert!(whole, "{case}: a stream is not what it was");
                return Found::Harmless;
            }
            false => assert!(!marked, "{case}: events are gone, and nobody notices"),
        }
        for lost in self.groups.iter().filter(|group| group.events > read.len()) {
            assert!(lost.is_hit(file, &range), "{case}: {lost:?} is gone although nothing happened to it");
        }
        Found::Cut
    }

    /// Takes away what is not left, but for what is spoilt.
    fn leave(&self, disk: &SimVfs, spoilt: &Path, left: Left) {
        if !left.marked {
            disk.remove(&Path::new(DIR).join("watermark")).unwrap();
        }
        if let Some(spare) = self.files.last().filter(|last| !left.spare && *last != spoilt)
            && spare != self.last_used()
        {
            disk.remove(spare).unwrap();
        }
    }

    /// The last segment that has a header.
    fn last_used(&self) -> &PathBuf {
        let is_used = |file: &&PathBuf| self.disk.bytes(file).is_some_and(|bytes| bytes[0] != 0);
        self.files.iter().rfind(is_used).unwrap()
    }

    /// Whether opening must notice that a file has become this, in the range: it reads the headers and seals of all segments,
    /// and of the one that is not sealed everything, of which it may take only the last groups for such as were never
    /// acknowledged. The rest is noticed when it is read.
    fn is_for_opening(&self, file: &Path, range: &Range<usize>, spoilt: &[u8], marked: bool) -> bool {
        let whole = self.disk.bytes(file).unwrap();
        if !self.files.iter().any(|segment| segment == file) || whole[0] == 0 {
            return false;
        }
        // What is not there is as good as never written.
        let differs = |bytes: &Range<usize>| {
            let mut both = bytes.start.max(range.start)..bytes.end.min(range.end);
            both.any(|at| whole[at] != spoilt.get(at).copied().unwrap_or(0))
        };
        let hit: Vec<bool> = self.groups_to_read(file).map(|group| differs(&group.bytes)).collect();
        let first = hit.iter().position(|hit| *hit);
        let is_in_front = first.is_some_and(|first| marked || hit[first..].contains(&false));
        let mut seals = self.seals.iter().filter(|(of, _)| of == file);
        is_in_front || differs(&(0..HEADER_BYTES)) || seals.any(|(_, bytes)| differs(bytes))
    }

    /// The groups of the segment that is not sealed.
    fn groups_to_read(&self, file: &Path) -> impl Iterator<Item = &Group> {
        let is_sealed = self.seals.iter().any(|(of, _)| of == file);
        self.groups.iter().filter(move |group| !is_sealed && group.file == file)
    }

    /// What is found by way of the indexes; whether all of it is there, and nothing that is no longer kept.
    fn streams_serve_nothing_wrong(&self, journal: &Arc<EmbeddedJournal>, case: &str) -> bool {
        let is_right = |event: &RecordedEvent| {
            let at = self.events.binary_search_by_key(&event.position, |event| event.position);
            at.is_ok_and(|at| self.events[at] == *event)
        };
        let is_whole = |(id, events): (&StreamId, &Vec<RecordedEvent>)| {
            let stream = dynamic(journal).read_stream(id, Version(1), Direction::Forward);
            let (read, damaged) = block_on(as_far_as_it_goes(stream, case));
            assert!(read.iter().all(is_right), "{case}: a wrong event of {id} is served");
            !damaged && read == *events
        };
        // All of them, also behind one that is not.
        self.streams.iter().map(is_whole).fold(true, |all, whole| all & whole)
    }

    /// Everything in the directory that is not empty.
    pub(super) fn all_files(&self) -> Vec<PathBuf> {
        let mut files = self.disk.list(Path::new(DIR)).unwrap();
        files.sort();
        let paths = files.into_iter().map(|name| Path::new(DIR).join(name));
        paths.filter(|path| self.disk.bytes(path).is_some_and(|bytes| !bytes.is_empty())).collect()
    }

    /// The last segment that anything was written to, and where that ends.
    pub(super) fn end(&self) -> (&Path, usize) {
        let last = self.groups.last().unwrap();
        (&last.file, last.bytes.end)
    }
}

/// What is read before damage is met, if it is.
async fn as_far_as_it_goes(
    mut read: impl Stream<Item = Result<RecordedEvent, ReadError>> + Unpin,
    case: &str,
) -> (Vec<RecordedEvent>, bool) {
    let mut events = Vec::new();
    while let Some(event) = read.next().await {
        match event {
            Ok(event) => events.push(event),
            Err(ReadError::Damaged { .. }) => return (events, true),
            Err(other) => panic!("{case}: {other}"),
        }
    }
    (events, false)
}

/// Gives back what is no longer kept, in at least one segment.
fn scavenge(journal: &EmbeddedJournal) {
    let end = journal.durable().borrow().position.next();
    let options = ScavengeOptions { percent_min: 0, duty_percent: 100, ..ScavengeOptions::below(end) };
    let scavenged = journal.scavenge(&options, |_| ControlFlow::Continue(())).unwrap();
    assert!(scavenged.rewritten > 0 && scavenged.events > 0, "{scavenged:?}");
}

/// Events of orders, and noise beside them and by itself of which little is kept; now and then the state of an order in the
/// place of all that was before it.
async fn batch(journal: &Arc<EmbeddedJournal>, nth: usize, random: &mut StdRng) -> Batch {
    let order = StreamId::aggregate("order", &random.random_range(0..5).to_string()).unwrap();
    let noise = StreamId::internal("noise").unwrap();
    let own: Vec<_> = (0..random.random_range(1..4)).map(|_| event(random, "noted")).collect();
    match nth % 4 {
        1 => {
            let few = Retention { max_count: Some(2), ..Retention::default() };
            Batch::of(order, Expected::Any, own)
                .and(noise.clone(), Expected::Any, [event(random, "noise")])
                .retaining(noise, few)
        }
        2 => Batch::of(noise, Expected::Any, own),
        3 => {
            let info = journal.stream_info(&order).await.unwrap();
            let version = info.map_or(Version::NONE, |info| info.version);
            let kept = Retention { truncate_before: version.next(), ..Retention::default() };
            Batch::of(order.clone(), Expected::Version(version), [event(random, CHECKPOINT_EVENT_TYPE)])
                .retaining(order, kept)
        }
        _ => Batch::of(order, Expected::Any, own),
    }
}

fn event(random: &mut StdRng, type_name: &'static str) -> NewEvent {
    let payload: Vec<u8> = (0..random.random_range(0..300)).map(|_| random.random()).collect();
    let event = support::event(EventId::from_u128(random.random()), type_name, payload);
    NewEvent { codec: CodecId::Bincode, tags: vec!["red".into()], ..event }
}

fn segments(disk: &SimVfs) -> Vec<PathBuf> {
    let mut files = disk.list(Path::new(DIR)).unwrap();
    files.retain(|name| name.extension().is_some_and(|extension| extension == "log"));
    files.sort();
    files.into_iter().map(|name| Path::new(DIR).join(name)).collect()
}

/// A frame, as docs/log-format.md has it.
struct Frame {
    kind: u8,
    /// Behind the body, and behind what pads it.
    ends: [usize; 2],
}

fn frames(bytes: &[u8]) -> Vec<Frame> {
    let (mut frames, mut start) = (Vec::new(), HEADER_BYTES);
    while bytes.get(start..start + 2) == Some(&[0xE1, 0xA7]) {
        let len = u32::from_le_bytes(bytes[start + 4..start + 8].try_into().unwrap());
        let end = start + FRAME_HEADER_BYTES + len as usize;
        frames.push(Frame { kind: bytes[start + 2], ends: [end, end.next_multiple_of(8)] });
        start = end.next_multiple_of(8);
    }
    frames
}

/// Where everything lies.
#[derive(Default)]
struct Places {
    /// Each with how many records there are up to and with it.
    groups: Vec<Group>,
    /// Where the bodies of records end.
    records: Vec<(PathBuf, usize)>,
    seals: Vec<(PathBuf, Range<usize>)>,
    kinds: BTreeSet<u8>,
}

impl Places {
    fn of(disk: &SimVfs, files: &[PathBuf]) -> Self {
        let mut places = Self::default();
        for file in files {
            places.add(file, &disk.bytes(file).unwrap());
        }
        places
    }

    fn add(&mut self, file: &Path, bytes: &[u8]) {
        let (mut group, mut start) = (HEADER_BYTES, HEADER_BYTES);
        for Frame { kind, ends: [body, end] } in frames(bytes) {
            self.kinds.insert(kind);
            match kind {
                RECORD => self.records.push((file.to_owned(), body)),
                SEAL => self.seals.push((file.to_owned(), start..end)),
                COMMIT => {
                    let (file, events) = (file.to_owned(), self.records.len());
                    self.groups.push(Group { file, bytes: group..end, events });
                    group = end;
                }
                _ => {}
            }
            start = end;
        }
    }
}
