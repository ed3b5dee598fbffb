//! The rules of customers.

use annals::Event;
use annals::http::Money;
use annals::testing::given;
use proptest::prelude::*;

use super::CustomerCommand::{Change, Create, Remove};
use super::*;
use crate::testing::{address, assert_replay_is_live, config};

fn joe() -> CustomerDetails {
    CustomerDetails {
        first_name: "Joe".into(),
        last_name: "Blow".into(),
        shipping_address: address("123 Main Street"),
        credit_available: Money::from_units(1_000_000),
    }
}

fn change(street: &str, credit: Option<i64>) -> CustomerChange {
    CustomerChange {
        first_name: "Jane".into(),
        last_name: "Doe".into(),
        shipping_address: address(street),
        credit_available: credit.map(Money::from_units),
    }
}

fn changed(credit: i64) -> CustomerEvent {
    CustomerEvent::Changed {
        first_name: "Jane".into(),
        last_name: "Doe".into(),
        credit_available: Money::from_units(credit),
    }
}

#[test]
fn a_customer_is_created_once() {
    given::<Customer>([])
        .when(Create(joe()))
        .then([CustomerEvent::Created(joe())])
        .when(Create(joe()))
        .then_rejected(CustomerRejection::Exists)
        .then_state(|customer| assert_eq!(customer.details, Some(joe())));
}

#[test]
fn a_change_always_leaves_an_event_and_an_address_event_only_if_it_moved() {
    given::<Customer>([CustomerEvent::Created(joe())])
        .when(Change(change("123 Main Street", Some(5))))
        .then([changed(5)])
        .when(Change(change("123 Main Street", Some(5))))
        .then([changed(5)])
        .when(Change(change("9 Elm Street", Some(5))))
        .then([changed(5), CustomerEvent::AddressChanged { shipping_address: address("9 Elm Street") }]);
}

#[test]
fn a_change_that_does_not_speak_of_credit_keeps_it() {
    given::<Customer>([CustomerEvent::Created(joe())])
        .when(Change(change("123 Main Street", None)))
        .then([changed(1_000_000)]);
}

#[test]
fn a_customer_that_does_not_exist_cannot_be_changed_and_need_not_be_removed() {
    given::<Customer>([])
        .when(Change(change("9 Elm Street", None)))
        .then_rejected(CustomerRejection::NotFound)
        .when(Remove)
        .then_nothing();
}

#[test]
fn a_removed_customer_can_be_created_again() {
    given::<Customer>([CustomerEvent::Created(joe())])
        .when(Remove)
        .then([CustomerEvent::Removed {}])
        .when(Remove)
        .then_nothing()
        .when(Change(change("9 Elm Street", None)))
        .then_rejected(CustomerRejection::NotFound)
        .when(Create(joe()))
        .then([CustomerEvent::Created(joe())]);
}

#[test]
fn events_are_read_by_people() {
    let text = String::from_utf8(CustomerEvent::Created(joe()).encode().unwrap()).unwrap();
    assert_eq!(
        text,
        r#"{"firstName":"Joe","lastName":"Blow","shippingAddress":{"street":"123 Main Street","city":"Dallas","state":"Texas","country":"USA","postalCode":"75202"},"creditAvailable":100}"#
    );
}

fn commands() -> impl Strategy<Value = CustomerCommand> {
    prop_oneof![
        "[a-c]".prop_map(|street| Create(CustomerDetails { shipping_address: address(&street), ..joe() })),
        ("[a-c]", proptest::option::of(0..9_i64))
            .prop_map(|(street, credit)| Change(change(&street, credit))),
        Just(Remove),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn replay_is_live(commands in prop::collection::vec(commands(), 0..40)) {
        assert_replay_is_live::<Customer>(commands);
    }
}
