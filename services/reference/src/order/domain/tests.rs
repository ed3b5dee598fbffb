//! The rules of orders.

use annals::http::Money;
use annals::prelude::{Event, Timestamp};
use annals::testing::{Given, given};
use proptest::prelude::*;

use super::OrderCommand::{Cancel, Change, Create, Remove, Ship};
use super::*;
use crate::testing::{address, assert_replay_is_live, config};

const ANNA: Uuid = Uuid::from_u128(1);
const BERT: Uuid = Uuid::from_u128(2);

fn item(price: i64) -> OrderItem {
    OrderItem {
        product_id: Uuid::from_u128(9),
        product_name: "Espresso".into(),
        product_price: Money::from_units(price),
    }
}

fn order_of(customer_id: Uuid, street: &str) -> OrderDetails {
    OrderDetails {
        customer_id,
        order_date: Timestamp(1_618_527_284_485_000),
        order_items: vec![item(25_000), item(35_000)],
        shipping_address: address(street),
    }
}

fn created() -> Given<Order> {
    given([OrderEvent::Created(order_of(ANNA, "1 Elm"))])
}

fn changed(details: OrderDetails) -> OrderEvent {
    let OrderDetails { customer_id, order_date, order_items, .. } = details;
    OrderEvent::Changed { customer_id, order_date, order_items }
}

fn follow(customer_id: Uuid, sequence: Option<u64>, street: &str) -> OrderCommand {
    OrderCommand::FollowCustomer { customer_id, sequence, shipping_address: address(street) }
}

fn moved(street: &str, customer: Option<(Uuid, u64)>) -> OrderEvent {
    let customer = customer.map(|(customer_id, sequence)| CustomerWord { customer_id, sequence });
    OrderEvent::AddressChanged { shipping_address: address(street), customer }
}

#[test]
fn an_order_is_created_once() {
    given::<Order>([])
        .when(Create(order_of(ANNA, "1 Elm")))
        .then([OrderEvent::Created(order_of(ANNA, "1 Elm"))])
        .when(Create(order_of(ANNA, "1 Elm")))
        .then_rejected(OrderRejection::Exists)
        .then_state(|order| {
            assert_eq!(order.state, OrderState::Created);
            let total = order.details.as_ref().and_then(OrderDetails::total);
            assert_eq!(total, Some(Money::from_units(60_000)));
        });
}

#[test]
fn a_change_always_leaves_an_event_and_an_address_event_only_if_it_moved() {
    let there = order_of(BERT, "2 Oak");
    created()
        .when(Change(order_of(ANNA, "1 Elm")))
        .then([changed(order_of(ANNA, "1 Elm"))])
        .when(Change(there.clone()))
        .then([changed(there.clone()), moved("2 Oak", None)])
        .then_state(|order| assert_eq!(order.details, Some(there)));
}

#[test]
fn what_is_shipped_is_shipped() {
    created()
        .when(Ship)
        .then([OrderEvent::Shipped {}])
        .when(Ship)
        .then_nothing()
        .when(Cancel)
        .then_rejected(OrderRejection::AlreadyShipped)
        .then_state(|order| assert_eq!(order.state, OrderState::Shipped));
}

#[test]
fn what_is_cancelled_is_cancelled() {
    created()
        .when(Cancel)
        .then([OrderEvent::Cancelled {}])
        .when(Cancel)
        .then_nothing()
        .when(Ship)
        .then_rejected(OrderRejection::AlreadyCancelled)
        .then_state(|order| assert_eq!(order.state, OrderState::Cancelled));
}

#[test]
fn an_order_that_does_not_exist_does_nothing() {
    given::<Order>([])
        .when(Change(order_of(ANNA, "1 Elm")))
        .then_rejected(OrderRejection::NotFound)
        .when(Ship)
        .then_rejected(OrderRejection::NotFound)
        .when(Cancel)
        .then_rejected(OrderRejection::NotFound)
        .when(Remove)
        .then_nothing()
        .when(follow(ANNA, Some(1), "2 Oak"))
        .then_nothing();
}

#[test]
fn a_removed_order_begins_anew_and_remembers_what_it_heard() {
    created()
        .when(follow(ANNA, Some(7), "2 Oak"))
        .then([moved("2 Oak", Some((ANNA, 7)))])
        .when(Ship)
        .then([OrderEvent::Shipped {}])
        .when(Remove)
        .then([OrderEvent::Removed {}])
        .then_state(|order| assert_eq!(order.state, OrderState::Initial))
        .when(follow(ANNA, Some(8), "3 Ash"))
        .then_nothing()
        .when(Create(order_of(ANNA, "1 Elm")))
        .then([OrderEvent::Created(order_of(ANNA, "1 Elm"))])
        .then_state(|order| assert_eq!(order.state, OrderState::Created))
        .when(follow(ANNA, Some(6), "4 Fir"))
        .then_nothing();
}

#[test]
fn the_customer_s_latest_word_wins_in_whatever_order_they_arrive() {
    created()
        .when(follow(ANNA, Some(5), "5 Fig"))
        .then([moved("5 Fig", Some((ANNA, 5)))])
        .when(follow(ANNA, Some(4), "4 Fir"))
        .then_nothing()
        .when(follow(ANNA, Some(5), "5 Fig"))
        .then_nothing()
        .when(Change(order_of(ANNA, "6 Own")))
        .then([changed(order_of(ANNA, "6 Own")), moved("6 Own", None)])
        .when(follow(ANNA, Some(4), "4 Fir"))
        .then_nothing()
        .when(follow(ANNA, Some(6), "6 Own"))
        .then([moved("6 Own", Some((ANNA, 6)))])
        .when(follow(ANNA, None, "7 Bay"))
        .then([moved("7 Bay", None)])
        .when(follow(ANNA, Some(6), "6 Own"))
        .then_nothing();
}

#[test]
fn another_customer_s_word_is_not_for_this_order() {
    created()
        .when(follow(BERT, Some(5), "5 Fig"))
        .then_nothing()
        .when(follow(ANNA, Some(9), "9 Yew"))
        .then([moved("9 Yew", Some((ANNA, 9)))])
        .when(Change(order_of(BERT, "9 Yew")))
        .then([changed(order_of(BERT, "9 Yew"))])
        .when(follow(BERT, Some(2), "2 Oak"))
        .then([moved("2 Oak", Some((BERT, 2)))]);
}

#[test]
fn a_total_that_money_cannot_say_is_none() {
    let order = OrderDetails { order_items: vec![item(i64::MAX), item(1)], ..order_of(ANNA, "1 Elm") };
    assert_eq!(order.total(), None);
}

#[test]
fn events_are_read_by_people() {
    let text = String::from_utf8(changed(order_of(ANNA, "1 Elm")).encode().unwrap()).unwrap();
    assert!(text.contains(r#""orderDate":"2021-04-15T22:54:44.485Z""#), "{text}");
    assert!(text.contains(r#""productPrice":2.5"#), "{text}");
}

fn commands() -> impl Strategy<Value = OrderCommand> {
    let customer = || prop_oneof![Just(ANNA), Just(BERT)];
    prop_oneof![
        3 => (customer(), "[a-c]").prop_map(|(customer, street)| Create(order_of(customer, &street))),
        3 => (customer(), "[a-c]").prop_map(|(customer, street)| Change(order_of(customer, &street))),
        1 => Just(Ship),
        1 => Just(Cancel),
        1 => Just(Remove),
        4 => (customer(), proptest::option::of(0..9_u64), "[a-c]")
            .prop_map(|(customer, sequence, street)| follow(customer, sequence, &street)),
    ]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn replay_is_live(commands in prop::collection::vec(commands(), 0..40)) {
        assert_replay_is_live::<Order>(commands);
    }
}
