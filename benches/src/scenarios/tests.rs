use std::time::Duration;

use super::{ALL, repeat};
use crate::{Plan, Workshop};

#[test]
fn work_is_repeated_for_the_window_and_timed_by_what_it_says() {
    let rate = repeat(Duration::ZERO, 10, || Ok(Duration::from_millis(500))).unwrap();
    assert!((rate - 20.0).abs() < 1e-9);
    assert!(repeat(Duration::ZERO, 1, || Err("no".into())).is_err());
}

#[test]
fn scenarios_have_names_of_their_own() {
    let names: std::collections::BTreeSet<_> = ALL.iter().map(|scenario| scenario.name).collect();
    assert_eq!(names.len(), ALL.len());
}

#[test]
fn the_hand_written_decoder_reads_what_the_journal_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let workshop = Workshop::new(runtime.handle().clone(), Plan::smoke(), dir.path()).unwrap();
    let journal = crate::journals::open(&dir.path().join("j")).unwrap();
    runtime.block_on(crate::journals::fill_many(&journal, 3, 2)).unwrap();
    runtime.block_on(journal.close());
    let segment = crate::baselines::frames::Segment::first(&dir.path().join("j")).unwrap();
    let mut seen = Vec::new();
    assert_eq!(segment.for_each(|event| seen.push(event)).unwrap(), 6);
    assert_eq!(seen[0].stream, crate::workload::stream(0).unwrap().as_str());
    assert_eq!(seen[0].type_name, "order-item-added");
    assert_eq!(seen[0].payload, crate::workload::new_event().unwrap().payload);
    assert!(workshop.encoded_event().unwrap().len() > seen[0].payload.len());
}
