use super::*;
use crate::{EventId, JournalId};

fn snapshot(version: u64) -> Snapshot {
    Snapshot {
        journal: JournalId::from_u128(1),
        version: Version(version),
        event_id: EventId::from_u128(2),
        fingerprint: 3,
        state: vec![4; 100],
    }
}

fn envelope(serial: u64, version: u64) -> Envelope {
    Envelope { serial, snapshot: snapshot(version) }
}

/// The slot to overwrite is never the only good one.
#[test]
fn saves_take_turns() {
    let slot = |serial, version| Some(envelope(serial, version));
    let next =
        |slots: Slots, version| (next_slot(&slots, Version(version)), next_serial(slots.iter().flatten()));
    assert_eq!(next([None, None], 1), (0, 1));
    assert_eq!(next([slot(1, 1), None], 2), (1, 2));
    assert_eq!(next([None, slot(5, 1)], 2), (0, 6));
    assert_eq!(next([slot(1, 1), slot(2, 2)], 3), (0, 3));
    assert_eq!(next([slot(3, 3), slot(2, 2)], 4), (1, 4));
    assert_eq!(next([slot(3, 3), slot(2, 2)], 3), (0, 4), "the same version again");
    assert_eq!(next([slot(u64::MAX, 3), slot(2, 2)], 4).0, 1);
}

#[test]
fn the_last_two_of_different_versions_count() {
    let found = [envelope(2, 20), envelope(5, 40), envelope(3, 30), envelope(4, 40), envelope(1, 10)];
    assert_eq!(newest(found), [snapshot(40), snapshot(30)]);
    assert_eq!(newest([]), []);
}
