use super::*;

fn damage_of(dir: &Path) -> (PathBuf, u64) {
    match refused(dir) {
        OpenError::Damaged { file, offset, .. } => (file, offset),
        other => panic!("no damage: {other}"),
    }
}

#[tokio::test]
async fn a_flipped_bit_in_front_of_the_last_group_is_damage_where_it_is() {
    let (dir, _) = prepared(small(), 4).await;
    let file = log_file(dir.path(), 1);
    let original = fs::read(&file).unwrap();
    let all = frames(&file);
    for (start, _, bytes) in &all[..all.len() - 2] {
        for at in *start as usize..*start as usize + bytes {
            let mut flipped = original.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&file, &flipped).unwrap();
            assert_eq!(damage_of(dir.path()), (file.clone(), *start), "byte {at}");
            assert_eq!(fs::read(&file).unwrap(), flipped, "nothing is changed");
            let report = EmbeddedJournal::verify(dir.path(), Arc::new(RealVfs), |_| {}).unwrap();
            assert_eq!(report.damage[0].offset, *start);
        }
    }
}

/// Sealed segments are taken at their footers' word: what is wrong in one is noticed when it is read, or verified.
#[tokio::test]
async fn a_flipped_bit_in_an_earlier_segment_is_an_error_where_it_is() {
    let (dir, events) = prepared(small(), 120).await;
    assert!(is_begun(dir.path(), 3));
    let file = log_file(dir.path(), 2);
    let original = fs::read(&file).unwrap();
    let all = frames(&file);
    let seal = all.last().unwrap().0;
    for (start, kind, bytes) in all {
        let mut flipped = original.clone();
        flipped[start as usize + bytes / 2] ^= 4;
        fs::write(&file, &flipped).unwrap();
        let report = EmbeddedJournal::verify(dir.path(), Arc::new(RealVfs), |_| {}).unwrap();
        let wanted = (file.clone(), start);
        assert_eq!((report.damage[0].file.clone(), report.damage[0].offset), wanted);
        if start == seal {
            for at in start as usize..start as usize + bytes {
                let mut flipped = original.clone();
                flipped[at] ^= 4;
                fs::write(&file, &flipped).unwrap();
                assert_eq!(damage_of(dir.path()), wanted, "byte {at}");
            }
            continue;
        }
        let journal = open(dir.path(), EmbeddedOptions { read_only: true, ..small() });
        let mut read = journal.read_all(Position(1), Filter::everything());
        let mut served = Vec::new();
        let error = loop {
            match futures_util::StreamExt::next(&mut read).await.unwrap() {
                Ok(event) => served.push(event),
                Err(error) => break error,
            }
        };
        let ReadError::Damaged { file: named, offset, .. } = error else { panic!("{error}") };
        assert_eq!((named, offset), wanted);
        assert_eq!(served, events[..served.len()]);
        if kind == format::Kind::Record {
            let page = journal.stream_page(&stream("1"), Version(1), Direction::Forward, 1000).await;
            assert!(matches!(page, Err(ReadError::Damaged { offset, .. }) if offset == start));
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_in_a_header_is_never_taken_for_good() {
    let (dir, _) = prepared(small(), 2).await;
    let file = log_file(dir.path(), 1);
    let original = fs::read(&file).unwrap();
    for at in (0..96).chain((96..4092).step_by(97)).chain(4092..4096) {
        let mut flipped = original.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&file, &flipped).unwrap();
        // Version 1 with its lowest bit flipped is 0, which no release has written.
        let code = if at < 12 && at != 8 { "journal_format" } else { "journal_damaged" };
        assert_eq!(refused(dir.path()).code(), code, "byte {at}");
    }
}

#[tokio::test]
async fn another_format_is_refused_by_name() {
    let (dir, _) = prepared(small(), 2).await;
    let file = log_file(dir.path(), 1);
    spoil(&file, |bytes| bytes[8] = 99);
    let error = refused(dir.path());
    assert!(matches!(&error, OpenError::Format { file: named, .. } if *named == file), "{error}");
    assert!(error.to_string().contains("format version 99"), "{error}");
    fs::write(&file, b"a diary, line by line\n".repeat(500)).unwrap();
    assert_eq!(refused(dir.path()).code(), "journal_format");
}

#[tokio::test]
async fn a_frame_from_elsewhere_does_not_pass() {
    let (dir, events) = prepared(small(), 3).await;
    let file = log_file(dir.path(), 1);
    let all = frames(&file);
    let (from, _, bytes) = all[0];
    let (to, kind, len) = all[all.len() - 1];
    assert_eq!(kind, format::Kind::Commit);
    // A whole group written a second time behind the end: right bytes, wrong place.
    spoil(&file, |all| {
        let group = all[from as usize..from as usize + bytes + len].to_vec();
        all[to as usize + len..][..group.len()].copy_from_slice(&group);
    });
    let journal = open(dir.path(), small());
    assert_eq!(everything(&journal).await, events);
}

#[tokio::test]
async fn damage_under_an_open_journal_is_an_error_of_the_read() {
    let (dir, _) = prepared(small(), 3).await;
    let journal = open(dir.path(), small());
    let file = log_file(dir.path(), 1);
    let start = frames(&file)[2].0;
    spoil(&file, |bytes| bytes[start as usize + 40] ^= 1);
    let of_stream = journal.stream_page(&stream("1"), Version(1), Direction::Forward, 9).await;
    let of_all = journal.all_page(Position(1), &Filter::everything(), 9).await;
    for error in [of_stream.unwrap_err(), of_all.unwrap_err()] {
        let ReadError::Damaged { file: named, offset, .. } = error else { panic!("{error}") };
        assert_eq!((named, offset), (file.clone(), start));
    }
    let one = journal.stream_page(&stream("1"), Version(3), Direction::Forward, 9).await.unwrap().events;
    assert_eq!(one.len(), 1);
}

/// Any bytes at all must be refused or read, never panic, loop or claim memory.
#[tokio::test]
async fn random_bytes_never_panic() {
    use rand::{Rng, SeedableRng, rngs::StdRng};
    let (dir, events) = prepared(small(), 60).await;
    let file = log_file(dir.path(), 1);
    let original = fs::read(&file).unwrap();
    for seed in crate::conformance::replayable(200) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut bytes = original.clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(4096..bytes.len());
            let len = random.random_range(1..64).min(bytes.len() - at);
            random.fill(&mut bytes[at..at + len]);
        }
        fs::write(&file, &bytes).unwrap();
        match EmbeddedJournal::verify(dir.path(), Arc::new(RealVfs), |_| {}) {
            Ok(report) => assert!(!report.damage.is_empty() || report.events == events.len() as u64),
            Err(error) => panic!("ANNALS_SEED={seed}: {error}"),
        }
    }
}

#[tokio::test]
async fn verification_says_where_it_is_not_noted_how_far_the_log_goes() {
    let (dir, _) = prepared(small(), 40).await;
    let unmarked = || EmbeddedJournal::verify(dir.path(), Arc::new(RealVfs), |_| {}).unwrap().unmarked;
    assert!(!unmarked());
    spoil(&super::watermark::Watermark::path(dir.path()), |bytes| bytes.fill(7));
    assert!(unmarked());
    unmark(dir.path());
    assert!(unmarked());
}

#[tokio::test]
async fn verification_goes_on_behind_a_broken_header_and_a_missing_segment() {
    let (dir, events) = prepared(small(), 400).await;
    let last = log_file(dir.path(), 8);
    assert!(last.exists());
    spoil(&log_file(dir.path(), 2), |bytes| bytes[70] ^= 1);
    fs::remove_file(log_file(dir.path(), 4)).unwrap();
    let start = frames(&log_file(dir.path(), 6))[3].0;
    spoil(&log_file(dir.path(), 6), |bytes| bytes[start as usize + 20] ^= 1);
    let report = EmbeddedJournal::verify(dir.path(), Arc::new(RealVfs), |_| {}).unwrap();
    let named: Vec<_> = report.damage.iter().map(|damage| (damage.file.clone(), damage.offset)).collect();
    let of = |number, offset| (log_file(dir.path(), number), offset);
    assert_eq!(named, [of(2, 0), of(4, 0), of(6, start)]);
    assert!(report.events > 0 && report.events < events.len() as u64);
}
