use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(second: u64) -> Timestamp {
    Timestamp(0).plus(SECOND * u32::try_from(second).unwrap())
}

fn seen() -> Seen {
    Seen::nothing(StreamId::aggregate("order", "1").unwrap())
}

fn sight(number: u64, taken: u64, count: usize) -> Sight {
    let handling = (number > 0).then_some(Handling { number, command: 0 });
    Sight { handling, waiting: Waiting { taken, count }, in_flight: count }
}

fn lasts<T>(what: Option<&Lasting<T>>, second: u64) -> Option<u64> {
    what.map(|lasting| lasting.lasts(at(second)).as_secs())
}

#[test]
fn a_request_lasts_as_long_as_it_is_the_same() {
    let mut seen = seen();
    for (second, number, lasting) in [
        (0, 1, Some(0)),
        (1, 1, Some(1)),
        (5, 1, Some(5)),
        (6, 3, Some(0)),
        (7, 3, Some(1)),
        (8, 0, None),
        (9, 3, Some(0)),
    ] {
        seen.go_on(&sight(number, 0, 0), at(second));
        assert_eq!(lasts(seen.handling.as_ref(), second), lasting, "second {second}");
    }
}

/// A queue is as old as what was in it at some look and still is: one that moves gets no older, however long it is.
#[test]
fn a_mailbox_lasts_as_long_as_something_in_it() {
    let mut seen = seen();
    for (second, taken, count, lasting) in [
        (0, 0, 10, Some(0)),
        // Nine of the ten are gone, and others have come.
        (3, 9, 10, Some(3)),
        (4, 10, 10, Some(0)),
        (5, 19, 100, Some(1)),
        (6, 20, 100, Some(0)),
        (7, 120, 0, None),
        (8, 120, 1, Some(0)),
        // Put back: it was taken and not begun.
        (9, 119, 2, Some(1)),
    ] {
        seen.go_on(&sight(0, taken, count), at(second));
        assert_eq!(lasts(seen.waiting.as_ref(), second), lasting, "second {second}");
        assert_eq!(seen.count, count);
    }
}
