//! The test kit: what it lets pass, and what it says when it does not.

use std::panic::{AssertUnwindSafe, catch_unwind};

use annals_actors::testing::given;
use annals_persistence::Timestamp;

use crate::support::{Command, Happened, Ledger, Refused, Unwritable};

fn added(amount: i64) -> Happened {
    Happened::Added { amount }
}

/// What a scenario that fails says.
fn complaint(scenario: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(scenario)).expect_err("the scenario should have failed");
    panic
        .downcast_ref::<String>()
        .cloned()
        .unwrap_or_else(|| panic.downcast_ref::<&str>().unwrap().to_string())
}

#[test]
fn a_scenario_goes_on_from_what_it_has_checked() {
    given::<Ledger>([added(1)])
        .by("anna")
        .instance("a")
        .at(Timestamp(5))
        .when(Command::AddMany(vec![2, 3]))
        .then([added(2), added(3)])
        .then_state(|ledger| assert_eq!((ledger.sum, ledger.count), (6, 3)))
        .when(Command::Nothing)
        .then_nothing()
        .when(Command::Refuse)
        .then_rejected(Refused { sum: 6 })
        .when(Command::Add(4))
        .then([added(4)])
        .then_state(|ledger| assert_eq!(ledger.sum, 10));
}

#[test]
fn other_events_are_told_as_a_diff() {
    let said = complaint(|| {
        given::<Ledger>([]).when(Command::AddMany(vec![1, 2])).then([added(1), added(3)]);
    });
    let expected = "not the events that were expected:\n  [\n      Added {\n          amount: 1,\n      },\n      Added {\n-         amount: 3,\n+         amount: 2,\n      },\n  ]\n";
    assert_eq!(said, expected);
}

#[test]
fn a_rejection_and_events_in_each_others_place_are_told() {
    let said = complaint(|| drop(given::<Ledger>([added(1)]).when(Command::Refuse).then([added(1)])));
    assert!(said.contains("but the command was rejected: refused at 1"), "{said}");
    let said = complaint(|| {
        given::<Ledger>([]).when(Command::Add(1)).then_rejected(Refused { sum: 0 });
    });
    assert!(said.contains("expected a rejection (refused at 0)\nbut the events were"), "{said}");
    assert!(said.contains("amount: 1"), "{said}");
    let said = complaint(|| {
        given::<Ledger>([]).when(Command::Refuse).then_rejected(Refused { sum: 9 });
    });
    assert!(said.contains("-     sum: 9") && said.contains("+     sum: 0"), "{said}");
    let said = complaint(|| {
        given::<Ledger>([]).when(Command::Add(1)).then_nothing();
    });
    assert!(said.contains("Added"), "{said}");
}

#[test]
fn an_event_that_does_not_survive_its_codec_is_told() {
    let said = complaint(|| drop(given::<Ledger>([Happened::Unwritable { what: Unwritable }])));
    assert!(
        said.contains("event \"unwritable\" cannot be encoded") && said.contains("this cannot be written"),
        "{said}"
    );
}
