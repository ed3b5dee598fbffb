use annals::testing::given;

use super::{NoQuantity, Order, OrderCommand, command, event, instance_id, new_event, stream};

#[test]
fn an_events_payload_has_about_200_bytes() {
    let bytes = new_event().unwrap().payload.len();
    assert!((190..=210).contains(&bytes), "{bytes}");
}

#[test]
fn the_command_makes_the_event() {
    let OrderCommand::AddItem { product_id, product_name, price_cents, note, .. } = command();
    let none = OrderCommand::AddItem { product_id, product_name, price_cents, quantity: 0, note };
    let _ = given::<Order>([])
        .when(command())
        .then([event()])
        .then_state(|order| assert_eq!((order.items, order.total_cents), (2, 2590)));
    let _ = given::<Order>([event()]).when(none).then_rejected(NoQuantity);
}

#[test]
fn instances_have_ids_and_streams_of_their_own() {
    assert_eq!(instance_id(9_999).len(), 36);
    assert_ne!(instance_id(1), instance_id(2));
    assert_eq!(stream(1).unwrap().instance(), instance_id(1));
}
