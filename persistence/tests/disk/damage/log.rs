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
/// These, seals, gaps, and what sets retention.
const KINDS: [u8; 5] = [RECORD, COMMIT, 3, 4, 5];

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

/// How a log is written: with so many batches, then scavenged, then with so many more in segments of this length.
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
        let (mut journal, mut earlier) = (support::open(disk).unwrap(), SimVfs::new());
        for nth in 0..batches {
            if nth == self.before {
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
        let (groups, payloads) = places(&disk, &files, &events);
        Self { disk, events, streams, groups, payloads, files, earlier }
    }

    /// Spoils bytes of a file, and holds what comes of it against what may. Of a log that is `marked`, nothing may be
    /// cut off.
    pub(super) fn spoilt(
        &self,
        file: &Path,
        range: Range<usize>,
        marked: bool,
        change: impl FnOnce(&mut Vec<u8>),
        case: &str,
    ) -> Found {
        let disk = self.disk.image(Survival::Everything, 0);
        disk.spoil(file, change);
        if !marked {
            disk.remove(&Path::new(DIR).join("watermark")).unwrap();
        }
        let journal = match support::open(&disk) {
            Err(OpenError::Damaged { .. } | OpenError::Format { .. }) => return Found::Noticed,
            Err(other) => panic!("{case}: {other}"),
            Ok(journal) => journal,
        };
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

/// Where the groups lie, and the payloads of these events, which are all that there are.
fn places(
    disk: &SimVfs,
    files: &[PathBuf],
    events: &[RecordedEvent],
) -> (Vec<Group>, Vec<(PathBuf, Range<usize>)>) {
    let (mut groups, mut payloads, mut kinds) = (Vec::new(), Vec::new(), BTreeSet::new());
    for file in files {
        let mut start = HEADER_BYTES;
        for Frame { kind, ends: [body, end] } in frames(&disk.bytes(file).unwrap()) {
            kinds.insert(kind);
            if kind == RECORD {
                // The payload is the rest of it.
                let from = body - events[payloads.len()].payload.len();
                payloads.push((file.clone(), from..body));
            } else if kind == COMMIT {
                groups.push(Group { file: file.clone(), bytes: start..end, events: payloads.len() });
                start = end;
            }
        }
    }
    assert_eq!(payloads.len(), events.len(), "there are records that are not read");
    assert_eq!(kinds, BTreeSet::from(KINDS), "the log has every kind of frame");
    (groups, payloads)
}
