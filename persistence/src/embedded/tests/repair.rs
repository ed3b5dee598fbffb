//! Going on without what is damaged.

use super::*;
use crate::{SimVfs, Survival};

fn real() -> Arc<dyn Vfs> {
    Arc::new(RealVfs)
}

fn everything_in(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect();
    all.sort();
    all
}

async fn repairs(dir: &Path, events: &[RecordedEvent], last: u64, case: &str) -> LogRepair {
    let before = everything_in(dir);
    let plan = EmbeddedJournal::repair(dir, real(), false).unwrap().expect(case);
    assert_eq!(everything_in(dir), before, "{case}: nothing is changed without being told to");
    assert_eq!(plan.last, Position(last), "{case}");
    let report = EmbeddedJournal::verify(dir, real(), |_| {}).unwrap();
    assert_eq!(report.damage.first(), Some(&plan.damage), "{case}");
    let done = EmbeddedJournal::repair(dir, real(), true).unwrap().expect(case);
    assert_eq!((done.last, &done.cut), (plan.last, &plan.cut), "{case}");
    assert_eq!(
        EmbeddedJournal::repair(dir, real(), true).unwrap(),
        None,
        "{case}: there is nothing left to do"
    );
    let journal = open(dir, small());
    assert_eq!(everything(&journal).await, events[..last as usize], "{case}");
    append_groups(&journal, "1", 60).await;
    journal.close().await;
    let report = EmbeddedJournal::verify(dir, real(), |_| {}).unwrap();
    assert_eq!((report.damage, report.events), (vec![], last + 60), "{case}");
    done
}

#[tokio::test]
async fn damage_and_everything_behind_it_is_cut_off_and_kept() {
    let (dir, events) = prepared(small(), 120).await;
    let id = open(dir.path(), small()).id();
    assert!(is_begun(dir.path(), 4));
    let file = log_file(dir.path(), 2);
    let all = frames(&file);
    let (at, _, _) = all[4];
    let original = fs::read(&file).unwrap();
    spoil(&file, |bytes| bytes[at as usize + 20] ^= 1);
    let first =
        frames(&log_file(dir.path(), 1)).iter().filter(|(_, kind, _)| *kind == format::Kind::Record).count();
    let done = repairs(dir.path(), &events, first as u64 + 2, "in the middle").await;
    assert_eq!((done.damage.file.clone(), done.damage.offset), (file.clone(), at));
    let whole: u64 = done.cut.iter().map(|piece| piece.events.unwrap()).sum();
    assert_eq!(whole, events.len() as u64 - done.last.0 - 1, "all but the damaged one and those that stay");
    let used: Vec<_> = done.cut.iter().map(|piece| piece.used).collect();
    assert!(used[..3].iter().all(|used| *used > 0), "{used:?}");
    assert!(done.cut.iter().all(|piece| piece.used <= piece.bytes), "{:?}", done.cut);
    let kept = fs::read(done.kept_in.join(format!("0000000002.log.from-{at}"))).unwrap();
    assert_eq!(kept.len(), original.len() - at as usize);
    assert_eq!(kept[21..], original[at as usize + 21..]);
    assert!(done.kept_in.join("0000000003.log").exists() && done.kept_in.join("0000000004.log").exists());
    assert_ne!(open(dir.path(), small()).id(), id, "it is another history");
}

#[tokio::test]
async fn a_segment_that_is_gone_or_has_no_header_ends_the_log() {
    let (dir, events) = prepared(small(), 120).await;
    let records = |number| {
        frames(&log_file(dir.path(), number))
            .iter()
            .filter(|(_, kind, _)| *kind == format::Kind::Record)
            .count() as u64
    };
    let first_two = records(1) + records(2);
    let copy = copy_of(dir.path());
    fs::remove_file(log_file(copy.path(), 3)).unwrap();
    let done = repairs(copy.path(), &events, first_two, "gone").await;
    assert_eq!(done.damage.reason, "the segment is missing");
    let copy = copy_of(dir.path());
    spoil(&log_file(copy.path(), 3), |bytes| bytes[20] ^= 1);
    let done = repairs(copy.path(), &events, first_two, "a header").await;
    assert_eq!(done.cut[0].events, None, "{:?}", done.cut);
    let copy = copy_of(dir.path());
    spoil(&log_file(copy.path(), 1), |bytes| bytes[20] ^= 1);
    repairs(copy.path(), &events, 0, "the first header").await;
}

#[tokio::test]
async fn a_lost_end_can_be_accepted() {
    let (dir, events) = prepared(small(), 3).await;
    let file = log_file(dir.path(), 1);
    let last = frames(&file)[4].0 as usize;
    spoil(&file, |bytes| bytes[last..].fill(0));
    repairs(dir.path(), &events, 2, "a lost end").await;
}

#[tokio::test]
async fn what_is_whole_is_left_alone() {
    let (dir, _) = prepared(small(), 60).await;
    let begun = (1..).take_while(|number| is_begun(dir.path(), *number));
    let bytes: Vec<_> =
        begun.map(|number| fs::metadata(log_file(dir.path(), number)).unwrap().len()).collect();
    // Whether the keeper came to it before the end or not.
    fs::write(log_file(dir.path(), bytes.len() as u64 + 1), [0; 4096]).unwrap();
    let before = everything_in(dir.path());
    let report = EmbeddedJournal::verify(dir.path(), real(), |_| {}).unwrap();
    let of_segments = (bytes.len(), bytes.iter().sum());
    assert_eq!((report.segments, report.bytes), of_segments, "a file made ahead is none");
    assert_eq!(EmbeddedJournal::repair(dir.path(), real(), true).unwrap(), None);
    assert_eq!(everything_in(dir.path()), before);
    let journal = open(dir.path(), small());
    let error = EmbeddedJournal::repair(dir.path(), real(), true).unwrap_err();
    assert_eq!(error.code(), "journal_in_use");
    drop(journal);
    assert!(EmbeddedJournal::repair(dir.path().join("nowhere"), real(), true).is_err());
}

/// The power goes at every call of a repair; done again, it comes to the same.
#[tokio::test]
async fn a_repair_that_was_interrupted_is_done_again() {
    let dir = Path::new("/journal");
    let disk = SimVfs::new();
    let on = |disk: &SimVfs| EmbeddedOptions { vfs: Arc::new(disk.clone()), ..small() };
    let journal = open(dir, on(&disk));
    append_groups(&journal, "1", 120).await;
    let events = everything(&journal).await;
    journal.close().await;
    drop(journal);
    let damaged = dir.join("0000000002.log");
    disk.spoil(&damaged, |bytes| bytes[5000] ^= 1);
    let mut calls = 0;
    for call in 1.. {
        let image = disk.image(Survival::Everything, 0);
        image.crash_at(call);
        let done = EmbeddedJournal::repair(dir, Arc::new(image.clone()), true);
        if !image.crashed() {
            done.unwrap();
            break;
        }
        calls = call;
        for survival in [Survival::Nothing, Survival::Everything, Survival::Prefix, Survival::Sectors(512)] {
            let image = image.image(survival, call);
            EmbeddedJournal::repair(dir, Arc::new(image.clone()), true).unwrap();
            let journal = open(dir, on(&image));
            let left = everything(&journal).await;
            assert!(left.len() > 20 && events.starts_with(&left), "call {call}, {survival:?}");
            append_groups(&journal, "1", 3).await;
        }
    }
    assert!(calls > 10, "it makes {calls} calls");
}
