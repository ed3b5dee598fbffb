//! What customers and orders have in their journals stays readable: `events.lock` has the shapes of their events, and
//! `tests/golden` their bytes.
#![allow(missing_docs, reason = "tests")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use annals::http::Money;
use annals::prelude::Timestamp;
use annals_reference::Address;
use annals_reference::customer::{Customer, CustomerDetails, CustomerEvent};
use annals_reference::order::{CustomerWord, Order, OrderDetails, OrderEvent, OrderItem};
use uuid::Uuid;

annals::testing::events_lock!(Customer, Order);

annals::testing::golden_events!(Customer => customer_events(), Order => order_events());

fn address() -> Address {
    Address {
        street: "Elm Street 1".into(),
        city: "Dallas".into(),
        state: "Texas".into(),
        country: "USA".into(),
        postal_code: "75202".into(),
    }
}

fn customer_events() -> Vec<CustomerEvent> {
    vec![
        CustomerEvent::Created(CustomerDetails {
            first_name: "Ann".into(),
            last_name: "O'Hara \"Zoë\"".into(),
            shipping_address: address(),
            credit_available: money("1234.5"),
        }),
        CustomerEvent::Changed {
            first_name: "Ann".into(),
            last_name: "Smith".into(),
            credit_available: money("0.0001"),
        },
        CustomerEvent::AddressChanged { shipping_address: address() },
        CustomerEvent::Removed {},
    ]
}

fn order_events() -> Vec<OrderEvent> {
    let customer_id = Uuid::from_u128(1);
    let order_date = Timestamp(1_767_225_600_123_456);
    let order_items = vec![OrderItem {
        product_id: Uuid::from_u128(2),
        product_name: "Lamp".into(),
        product_price: money("19.99"),
    }];
    vec![
        OrderEvent::Created(OrderDetails {
            customer_id,
            order_date,
            order_items: order_items.clone(),
            shipping_address: address(),
        }),
        OrderEvent::Changed { customer_id, order_date, order_items },
        OrderEvent::AddressChanged {
            shipping_address: address(),
            customer: Some(CustomerWord { customer_id, sequence: 3 }),
        },
        OrderEvent::AddressChanged { shipping_address: address(), customer: None },
        OrderEvent::Shipped {},
        OrderEvent::Cancelled {},
        OrderEvent::Removed {},
    ]
}

fn money(text: &str) -> Money {
    text.parse().unwrap()
}
