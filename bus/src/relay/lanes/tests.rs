use super::*;

#[test]
fn the_first_position_is_that_of_the_first_event_that_is_not_acknowledged() {
    let mut outstanding = Outstanding::default();
    for position in [3, 4, 4, 7] {
        outstanding.add(Position(position));
    }
    outstanding.remove(Position(4));
    outstanding.remove(Position(7));
    assert_eq!(outstanding.first(), Some(Position(3)));
    outstanding.remove(Position(3));
    assert_eq!(outstanding.first(), Some(Position(4)));
    outstanding.remove(Position(4));
    assert_eq!(outstanding.first(), None);
}

#[test]
fn what_is_acknowledged_behind_one_that_waits_takes_no_room() {
    let mut outstanding = Outstanding::default();
    outstanding.add(Position(1));
    for position in 2..1_000_000 {
        outstanding.add(Position(position));
        if position > 10 {
            outstanding.remove(Position(position - 5));
        }
    }
    assert_eq!(outstanding.first(), Some(Position(1)));
    assert!(outstanding.positions.len() < 4 * CLEARED_AT_ONCE, "{}", outstanding.positions.len());
}
