//! Index files, tables and the mark are derived: whatever is done to them, the same is read.

use super::*;

/// Several sealed segments with several streams, closed; with a table after one of them.
async fn many_segments() -> (TempDir, Vec<RecordedEvent>) {
    let dir = tempfile::tempdir().unwrap();
    let journal = open(dir.path(), small());
    for number in 0..160 {
        let id = if number % 3 == 0 { "1".to_owned() } else { format!("of-{}", number % 40) };
        append_groups(&journal, &id, 1).await;
    }
    let events = everything(&journal).await;
    journal.close().await;
    (dir, events)
}

pub(super) fn derived(dir: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let is_derived = |path: &PathBuf| path.extension().is_some_and(|end| end == "idx" || end == "tbl");
    let mut found: Vec<_> = all.filter(is_derived).collect();
    found.sort();
    found
}

async fn reads_the_same(dir: &Path, events: &[RecordedEvent], case: &str) {
    let journal = open(dir, small());
    reads_the_same_in(&journal, events, case).await;
    journal.close().await;
}

async fn reads_the_same_in(journal: &Arc<dyn Journal>, events: &[RecordedEvent], case: &str) {
    assert_eq!(everything(journal).await, events, "{case}");
    let mut streams: Vec<_> = events.iter().map(|event| event.stream.clone()).collect();
    streams.sort();
    streams.dedup();
    let listed = journal.streams_page("", None, 1000).await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|info| info.stream).collect();
    assert_eq!(listed, streams, "{case}");
    for stream in &streams {
        let own: Vec<_> = events.iter().filter(|event| event.stream == *stream).cloned().collect();
        let last = own.len() as u64;
        let forward = journal.stream_page(stream, Version(1), Direction::Forward, 1000).await.unwrap();
        assert_eq!(forward.events, own, "{case}");
        let tail = journal.stream_page(stream, Version(last), Direction::Backward, 3).await.unwrap().events;
        let wanted: Vec<_> = own.iter().rev().take(3).cloned().collect();
        assert_eq!(tail, wanted, "{case}");
        assert_eq!(journal.stream_info(stream).await.unwrap().unwrap().version, Version(last), "{case}");
    }
}

#[tokio::test]
async fn every_sealed_segment_has_an_index_file_that_says_what_it_says() {
    let (dir, events) = many_segments().await;
    let segments = (1..).take_while(|number| is_begun(dir.path(), *number)).count();
    assert!(segments > 3);
    assert_eq!(
        derived(dir.path()).iter().filter(|path| path.extension().unwrap() == "idx").count(),
        segments - 1
    );
    let report = EmbeddedJournal::verify(dir.path(), Arc::new(RealVfs), |_| {}).unwrap();
    assert_eq!((report.damage, report.index_faults, report.events), (vec![], vec![], 160));
    reads_the_same(dir.path(), &events, "as it is").await;
}

#[tokio::test]
async fn index_files_that_are_gone_are_made_anew() {
    let (dir, events) = many_segments().await;
    let indexes = || -> Vec<PathBuf> {
        derived(dir.path()).into_iter().filter(|path| path.extension().unwrap() == "idx").collect()
    };
    let all = indexes();
    for (gone, case) in [(&all[..1], "the first"), (&all[1..2], "the second"), (&all[..], "all")] {
        gone.iter().for_each(|path| fs::remove_file(path).unwrap());
        reads_the_same(dir.path(), &events, case).await;
        assert_eq!(indexes(), all, "{case}");
        let report = EmbeddedJournal::verify(dir.path(), Arc::new(RealVfs), |_| {}).unwrap();
        assert_eq!(report.index_faults, [], "{case}");
    }
    derived(dir.path()).iter().for_each(|path| fs::remove_file(path).unwrap());
    reads_the_same(dir.path(), &events, "nor any table").await;
    derived(dir.path()).iter().for_each(|path| fs::remove_file(path).unwrap());
    let journal = open(dir.path(), EmbeddedOptions { read_only: true, ..small() });
    reads_the_same_in(&journal, &events, "read only").await;
    assert_eq!(derived(dir.path()), Vec::<PathBuf>::new());
}

/// Every bit, of one page of each kind.
#[tokio::test]
async fn a_flipped_bit_in_an_index_file_is_noticed_and_mended() {
    let (dir, events) = many_segments().await;
    let every = if std::env::var("ANNALS_FLIPS").is_ok_and(|flips| flips == "0") { 1 } else { 1201 };
    for path in derived(dir.path()).into_iter().take(2) {
        let original = fs::read(&path).unwrap();
        for bit in (0..original.len() * 8).step_by(every) {
            let mut flipped = original.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &flipped).unwrap();
            let report = EmbeddedJournal::verify(dir.path(), Arc::new(RealVfs), |_| {}).unwrap();
            assert_eq!((report.damage.len(), report.index_faults.len()), (0, 1), "bit {bit}");
            reads_the_same(dir.path(), &events, &format!("bit {bit} of {}", path.display())).await;
        }
        fs::write(&path, &original).unwrap();
    }
}

#[tokio::test]
async fn an_index_file_spoilt_under_an_open_journal_is_mended() {
    let (dir, events) = many_segments().await;
    let journal = open(dir.path(), small());
    let indexes = derived(dir.path()).into_iter().filter(|path| path.extension().unwrap() == "idx");
    for path in indexes {
        let len = fs::metadata(&path).unwrap().len() as usize;
        spoil(&path, |bytes| bytes[4096..len].fill(0xA5));
    }
    reads_the_same_in(&journal, &events, "spoilt").await;
    append_groups(&journal, "1", 1).await;
    journal.close().await;
    let report = EmbeddedJournal::verify(dir.path(), Arc::new(RealVfs), |_| {}).unwrap();
    assert_eq!((report.damage, report.index_faults), (vec![], vec![]));
}

#[tokio::test]
async fn the_files_of_another_segment_are_not_taken() {
    let (dir, events) = many_segments().await;
    let all = derived(dir.path());
    let (first, second) = (fs::read(&all[0]).unwrap(), fs::read(&all[1]).unwrap());
    fs::write(&all[0], &second).unwrap();
    fs::write(&all[1], &first).unwrap();
    reads_the_same(dir.path(), &events, "exchanged").await;
    for (path, bytes) in [(&all[0], &first[..]), (&all[0], &first[..4096]), (&all[0], &[])] {
        fs::write(path, bytes).unwrap();
        reads_the_same(dir.path(), &events, &format!("{} bytes", bytes.len())).await;
    }
}

/// Their checksums are right, and what they say is not.
#[tokio::test]
async fn derived_files_that_say_something_else_than_the_segments_are_told_of() {
    let (dir, _) = many_segments().await;
    let table = derived(dir.path()).into_iter().find(|path| path.extension().unwrap() == "tbl").unwrap();
    let number = index::table_number(Path::new(table.file_name().unwrap())).unwrap();
    let journal = EmbeddedJournal::open(dir.path(), small()).unwrap();
    let sealed = Arc::clone(&journal.shared.index.read().sealed);
    let segment = Arc::clone(&sealed[Index::sealed_at(&sealed, number).unwrap()].segment);
    journal.close().await;
    let faults = || EmbeddedJournal::verify(dir.path(), Arc::new(RealVfs), |_| {}).unwrap().index_faults;
    assert_eq!(faults(), []);
    assert!(journal.shared.files.write_table(&segment, &RwLock::default()).unwrap());
    let [fault] = &faults()[..] else { panic!("the table's") };
    assert_eq!((&fault.file, &*fault.reason), (&table, "it does not say what the segments say"));
    fs::remove_file(&table).unwrap();
    journal.shared.files.write_index(&segment, &index::MemoryPart::default()).unwrap().unwrap();
    let [fault] = &faults()[..] else { panic!("the index file's") };
    let file = index::index_path(dir.path(), number);
    assert_eq!((&fault.file, &*fault.reason), (&file, "it does not say what the segment says"));
}

#[tokio::test]
async fn a_table_is_written_also_where_the_journal_restarts_often() {
    let dir = tempfile::tempdir().unwrap();
    let tables = || {
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        names.filter(|path| path.extension().is_some_and(|extension| extension == "tbl")).count()
    };
    // Each time as many streams as fill a segment or two, and far fewer than there are.
    for start in 0..12 {
        let journal = open(dir.path(), small());
        for id in 0..60 {
            append(&journal, &format!("{}", (start * 60 + id) % 300), Expected::Any, b"1").await.unwrap();
        }
        journal.close().await;
    }
    assert!(tables() > 0, "every start would read all index files");
}

#[test]
fn a_table_is_the_same_whatever_order_a_segments_streams_are_in() {
    let dir = tempfile::tempdir().unwrap();
    let journal = Arc::new(EmbeddedJournal::open(dir.path(), small()).unwrap());
    let shared = &journal.shared;
    // The keeper leaves sealed segments in memory meanwhile.
    let nobody_settles = shared.rebuilding.lock();
    let dynamic: Arc<dyn Journal> = journal.clone();
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        while shared.index.read().sealed.len() < 2 {
            append_groups(&dynamic, "1", 2).await;
            append_groups(&dynamic, "2", 1).await;
        }
    });
    let sealed = shared.index.read().sealed[1].clone();
    let SealedPart::Memory(part) = &sealed.part else { panic!("it was settled") };
    let first = shared.index.read().sealed[0].segment.clone();
    let table = || index::table_bytes(&shared.index, &first);
    let before = table();
    let mut reversed = index::MemoryPart::default();
    part.streams.iter().rev().for_each(|stream| {
        reversed.add_stream(stream.clone());
    });
    assert_eq!(reversed.streams.len(), 2);
    let reversed = SealedPart::Memory(Arc::new(reversed));
    shared.index.write().replace_sealed(index::Sealed { part: reversed, ..sealed.clone() });
    let is_same = table() == before;
    shared.index.write().replace_sealed(sealed.clone());
    drop(nobody_settles);
    assert!(is_same);
}

#[tokio::test]
async fn a_table_that_cannot_be_told_any_more_is_given_up() {
    let (dir, _) = many_segments().await;
    let journal = EmbeddedJournal::open(dir.path(), small()).unwrap();
    let index = &journal.shared.index;
    // Of the streams that go on behind it, what they were then is in index files only.
    let first = Arc::clone(&index.read().sealed[0].segment);
    let before = derived(dir.path());
    assert!(!journal.shared.files.write_table(&first, index).unwrap());
    assert_eq!(derived(dir.path()), before);
    let unfinished = files::new_path(&index::table_path(dir.path(), first.header.number));
    assert!(!unfinished.exists(), "it would be there until the next start");
    journal.close().await;
}

#[tokio::test]
async fn of_a_table_that_is_damaged_further_on_nothing_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let journal = EmbeddedJournal::open(dir.path(), small()).unwrap();
    let mut all = Index::default();
    for number in 1..=20_000 {
        let key = all.key(&format!("order-{number}"));
        let last = index::Link { segment: 1, at: 0 };
        let (version, last_time) = (Version(1), Timestamp(1));
        all.streams.add(index::StreamEntry { key, version, last_time, last });
        all.set_kept(key, crate::Retention::gone());
    }
    let (shared, all) = (&journal.shared, RwLock::new(all));
    let segment = Arc::clone(&shared.index.read().active.as_ref().unwrap().segment);
    assert!(shared.files.write_table(&segment, &all).unwrap());
    let read = || {
        let (mut index, table) = (Index::default(), shared.files.table(&segment).unwrap().unwrap());
        let whole = shared.files.begin_with(&mut index, table, &segment).unwrap();
        (whole, index.streams.len(), index.retention().len())
    };
    assert_eq!(read(), (true, 20_000, 20_000));
    let path = index::table_path(dir.path(), segment.header.number);
    let sound = fs::read(&path).unwrap();
    for page in [100, sound.len() / 4096 - 1] {
        let mut damaged = sound.clone();
        damaged[page * 4096] ^= 1;
        fs::write(&path, damaged).unwrap();
        assert_eq!(read(), (false, 0, 0), "page {page}");
    }
    journal.close().await;
}
