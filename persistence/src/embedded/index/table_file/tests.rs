use super::*;
use crate::Retention;

fn key(number: u64) -> StreamKey {
    StreamKey::from_bytes(u128::from(number).to_le_bytes())
}

/// An index of so many streams, of all of which the last event is kept.
fn index(streams: u64) -> Index {
    let mut index = Index::default();
    for number in 1..=streams {
        let last = Link { segment: 1, at: 0 };
        let (key, version, last_time) = (key(number), Version(number), Timestamp(1));
        index.streams.set(StreamEntry { key, version, last_time, last });
        index.set_kept(key, Retention { max_count: Some(1), ..Retention::default() });
    }
    index
}

#[test]
fn holding_a_table_against_an_index_takes_a_look_for_each_entry() {
    for streams in [10, 1000] {
        let (table, index) = (index(streams), index(streams));
        let mut comparison = Comparison::new(&table, &index, false);
        assert!(comparison.agrees());
        assert_eq!(comparison.looks as u64, 3 * streams, "{streams} streams");
    }
}

#[test]
fn a_table_that_says_less_or_other_does_not_agree() {
    let whole = index(9);
    let agrees = |table: &Index, scavenged| Comparison::new(table, &whole, scavenged).agrees();
    let less = index(8);
    assert!(!agrees(&less, false) && !agrees(&less, true));
    assert!(!Comparison::new(&whole, &less, false).agrees(), "it says more");
    let mut other = index(9);
    let last = Link { segment: 1, at: 0 };
    other.streams.set(StreamEntry { key: key(3), version: Version(77), last_time: Timestamp(1), last });
    assert!(!agrees(&other, false));
    assert!(agrees(&other, true), "records may have been scavenged");
    let mut unkept = index(9);
    unkept.forget_streams();
    whole.streams.entries().for_each(|entry| unkept.streams.set(*entry));
    assert!(!agrees(&unkept, false) && !agrees(&unkept, true));
}

#[test]
fn a_stream_that_was_forgotten_leaves_its_place_to_another() {
    let mut index = index(3);
    index.forget(key(2), 2);
    assert_eq!(index.streams.len(), 3, "it is in another segment");
    index.forget(key(2), 1);
    assert_eq!((index.streams.len(), index.streams.entries().count()), (2, 2));
    assert!(index.streams.get(key(2)).is_none() && index.streams.get(key(3)).is_some());
    let last = Link { segment: 4, at: 0 };
    let entry = StreamEntry { key: key(9), version: Version(1), last_time: Timestamp(1), last };
    let slot = index.streams.add(entry);
    assert_eq!((slot, index.streams.len(), index.streams.slots().len()), (1, 3, 3));
    assert_eq!(index.streams.get(key(9)).map(|found| found.version), Some(Version(1)));
}
