use super::{History, Row};
use crate::Measurement;

fn rows(name: &str, ours: f64, theirs: f64) -> Vec<Row> {
    let rates = vec![("ours", vec![ours]), ("theirs", vec![theirs])];
    let measured = Measurement {
        name: name.into(),
        unit: "x/s",
        rates,
        goal: Some(("theirs", crate::Goal::AtLeast(0.5))),
    };
    Row::of("b", &measured)
}

#[test]
fn a_row_has_figures_names_and_goal() {
    let row = rows("m", 3.0, 4.0).remove(0);
    assert_eq!((row.name.as_str(), row.unit.as_str()), ("m / theirs", "x/s"));
    assert_eq!((row.value, row.baseline, row.ratio), (3.0, Some(4.0), Some(0.75)));
    assert!(row.is_good_enough());
    assert!(!rows("m", 1.0, 4.0).remove(0).is_good_enough());
}

#[test]
fn the_next_run_is_compared_with_this_one() {
    let dir = tempfile::tempdir().unwrap();
    let history = History(dir.path());
    let mut first = [rows("m", 1.0, 2.0), rows("n", 1.0, 1.0)].concat();
    history.keep("b", &mut first, true).unwrap();
    assert_eq!(first[0].change, None);

    let mut second = rows("m", 3.0, 4.0);
    let kept = history.keep("b", &mut second, false).unwrap();
    assert_eq!(second[0].change, Some(1.5));
    let names: Vec<_> = kept.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(names, ["m / theirs", "n / theirs"]);
    assert!(dir.path().join("previous.json").exists());
}

#[test]
fn a_whole_run_leaves_nothing_of_its_bench_but_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let history = History(dir.path());
    history.keep("b", &mut rows("old", 1.0, 1.0), true).unwrap();
    let mut other = rows("other", 1.0, 1.0);
    other[0].bench = "c".into();
    history.keep("c", &mut other, true).unwrap();
    let kept = history.keep("b", &mut rows("new", 1.0, 1.0), true).unwrap();
    let names: Vec<_> = kept.iter().map(|row| row.measurement.as_str()).collect();
    assert_eq!(names, ["new", "other"]);
}

#[test]
fn an_unreadable_run_before_is_as_good_as_none() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("latest.json"), "{").unwrap();
    let mut now = rows("m", 1.0, 1.0);
    History(dir.path()).keep("b", &mut now, true).unwrap();
    assert_eq!(now[0].change, None);
}
