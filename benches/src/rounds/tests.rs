use std::cell::RefCell;

use super::{System, alternate, median};
use crate::Plan;

fn plan(rounds: usize) -> Plan {
    Plan { rounds, ..Plan::smoke() }
}

#[test]
fn systems_take_turns_and_the_first_turn_does_not_count() {
    let turns = RefCell::new(Vec::new());
    let system = |name: &'static str, rate: f64| {
        let turns = &turns;
        System::new(name, move |window| {
            turns.borrow_mut().push((name, window));
            Ok(rate)
        })
    };
    let measured = alternate("m", "x/s", &plan(2), vec![system("ours", 6.0), system("theirs", 4.0)]).unwrap();
    let names: Vec<_> = turns.borrow().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["ours", "theirs", "theirs", "ours", "ours", "theirs"]);
    assert!(turns.borrow()[0].1 < turns.borrow()[2].1);
    assert_eq!(measured.rates[0].1.len(), 2);
}

#[test]
fn the_median_of_the_ratios_counts_not_the_ratio_of_the_medians() {
    let mut swings = [1.0, 10.0, 1.0, 8.0].into_iter();
    let mut follows = [1.0, 20.0, 2.0, 2.0].into_iter();
    let systems = vec![
        System::new("ours", move |_| Ok(swings.next().unwrap())),
        System::new("theirs", move |_| Ok(follows.next().unwrap())),
    ];
    let measured = alternate("m", "x/s", &plan(3), systems).unwrap().with_goal("theirs", 0.5);
    let compared = &measured.comparisons()[0];
    assert_eq!(
        (compared.ratio, compared.spread, compared.goal),
        (0.5, (0.5, 4.0), Some(crate::Goal::AtLeast(0.5)))
    );
    assert_eq!((compared.value, compared.baseline), (8.0, 2.0));
}

#[test]
fn a_failure_names_the_system() {
    let failed = alternate("m", "x/s", &plan(1), vec![System::new("ours", |_| Err("broke".into()))]);
    assert_eq!(failed.unwrap_err().to_string(), "m, ours: broke");
}

#[test]
fn medians() {
    assert!(median(&[]).is_nan());
    assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
}
