use super::count;

#[test]
fn one_is_singular() {
    assert_eq!([0, 1, 2].map(|number| count(number, "segment")), ["0 segments", "1 segment", "2 segments"]);
}
