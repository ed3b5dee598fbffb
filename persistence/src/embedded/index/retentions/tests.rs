use super::*;
use crate::Version;
use crate::embedded::hash::NameSecret;

fn key(number: u64) -> StreamKey {
    NameSecret::default().key(&number.to_string())
}

fn last(count: u64) -> Retention {
    Retention { max_count: Some(count), ..Retention::default() }
}

#[test]
fn what_was_set_last_counts() {
    let truncated = Retention { truncate_before: Version(3), ..Retention::gone() };
    let all = [last(1), Retention::gone(), last(2), truncated, Retention::default()];
    for (first, second) in all.iter().flat_map(|first| all.iter().map(move |second| (*first, *second))) {
        let mut retentions = Retentions::default();
        assert_eq!(retentions.get(key(1)), None);
        retentions.set(key(1), first);
        retentions.set(key(2), last(9));
        assert_eq!(retentions.get(key(1)), Some(first));
        retentions.set(key(1), second);
        assert_eq!((retentions.get(key(1)), retentions.get(key(2))), (Some(second), Some(last(9))));
        assert_eq!((retentions.get(key(3)), retentions.len()), (None, 2));
    }
}

#[test]
fn they_are_told_all_and_chunk_by_chunk() {
    let mut retentions = Retentions::default();
    for number in 0..10_000 {
        retentions.set(key(number), if number % 2 == 0 { Retention::gone() } else { last(number) });
    }
    let all: Vec<_> = retentions.iter().collect();
    assert_eq!(all.len(), 10_000);
    for (number, (found, kept)) in (0..10_000).zip(&all) {
        assert_eq!((*found, Some(*kept)), (key(number), retentions.get(key(number))));
    }
    assert!(retentions.chunk(0).chain(retentions.chunk(1)).eq(all));
    assert_eq!(retentions.chunk(2).next(), None);
}

#[test]
fn of_streams_that_are_gone_it_holds_little() {
    let mut retentions = Retentions::default();
    (0..1000).for_each(|number| retentions.set(key(number), Retention::gone()));
    assert_eq!((size_of::<Entry>(), retentions.others.len()), (24, 0));
}
