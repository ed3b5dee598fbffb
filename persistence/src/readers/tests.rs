use super::*;

#[test]
fn the_one_that_has_come_least_far_counts() {
    let readers = Readers::default();
    let relay = readers.register("relay", false, Position(9));
    let model = readers.register("model", true, Position(12));
    let lowest = |of: Option<ReaderPosition>| of.map(|of| (of.name.to_string(), of.position.0));
    assert_eq!(lowest(readers.lowest()), Some(("relay".into(), 9)));
    assert_eq!(lowest(readers.lowest_of_internal()), Some(("model".into(), 12)));
    relay.moved_to(Position(20));
    assert_eq!(lowest(readers.lowest()), Some(("model".into(), 12)));
    drop(model);
    assert_eq!(lowest(readers.lowest()), Some(("relay".into(), 20)));
    assert_eq!(lowest(readers.lowest_of_internal()), None);
}
