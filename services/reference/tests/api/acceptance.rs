//! The seed's 14 acceptance scenarios, under its wording.

use serde_json::{Value, json};

use super::process::{Services, eventually};
use crate::bodies::{
    CUSTOMER, ORDER, address, created_customer, created_order, customer, id, new_id, order, with,
};

/// Customer Service: View customers.
#[tokio::test]
async fn view_customers() {
    let services = Services::start();
    let mut client = services.client();
    let one = created_customer(&mut client, "1 Elm").await;
    let two = created_customer(&mut client, "2 Oak").await;
    assert_eq!(client.get(CUSTOMER).await.expect(200).json(), json!([one, two]));
}

/// Customer Service: View a customer.
#[tokio::test]
async fn view_a_customer() {
    let services = Services::start();
    let mut client = services.client();
    let one = created_customer(&mut client, "1 Elm").await;
    assert_eq!(client.get(format!("{CUSTOMER}/{}", id(&one))).await.expect(200).json(), one);
}

/// Customer Service: Create a customer.
#[tokio::test]
async fn create_a_customer() {
    let services = Services::start();
    let mut client = services.client();
    let body = customer("1 Elm");
    let created = client.post(CUSTOMER, &body).await.expect(201);
    let location = format!("{CUSTOMER}/{}", id(&body));
    assert_eq!(created.header("location"), Some(location.as_str()));
    assert_eq!(created.json(), with(&body, &json!({"eTag": "1"})));
    assert_eq!(client.get(location).await.expect(200).json(), created.json());
}

/// Customer Service: Update a customer.
#[tokio::test]
async fn update_a_customer() {
    let services = Services::start();
    let mut client = services.client();
    let one = created_customer(&mut client, "1 Elm").await;
    let body = with(&one, &json!({"firstName": "Jane"}));
    let updated = client.put(CUSTOMER, &body).await.expect(200);
    assert_eq!(updated.json(), with(&body, &json!({"eTag": "2"})));
}

/// Customer Service: Remove a customer.
#[tokio::test]
async fn remove_a_customer() {
    let services = Services::start();
    let mut client = services.client();
    let one = created_customer(&mut client, "1 Elm").await;
    client.delete(format!("{CUSTOMER}/{}", id(&one))).await.expect(204);
    client.get(format!("{CUSTOMER}/{}", id(&one))).await.expect_problem(404, "not_found");
}

/// Order Service: View orders.
#[tokio::test]
async fn view_orders() {
    let services = Services::start();
    let mut client = services.client();
    let one = created_order(&mut client, &new_id(), "1 Elm").await;
    let two = created_order(&mut client, &new_id(), "2 Oak").await;
    assert_eq!(client.get(ORDER).await.expect(200).json(), json!([one, two]));
}

/// Order Service: View orders by customer.
#[tokio::test]
async fn view_orders_by_customer() {
    let services = Services::start();
    let mut client = services.client();
    let customer_id = new_id();
    let one = created_order(&mut client, &customer_id, "1 Elm").await;
    created_order(&mut client, &new_id(), "2 Oak").await;
    let three = created_order(&mut client, &customer_id, "3 Ash").await;
    let of_customer = client.get(format!("{ORDER}/customer/{customer_id}")).await;
    assert_eq!(of_customer.expect(200).json(), json!([one, three]));
}

/// Order Service: View an order.
#[tokio::test]
async fn view_an_order() {
    let services = Services::start();
    let mut client = services.client();
    let one = created_order(&mut client, &new_id(), "1 Elm").await;
    assert_eq!(client.get(format!("{ORDER}/{}", id(&one))).await.expect(200).json(), one);
}

/// Order Service: Create an order.
#[tokio::test]
async fn create_an_order() {
    let services = Services::start();
    let mut client = services.client();
    let body = order(&new_id(), "1 Elm");
    let created = client.post(ORDER, &body).await.expect(201);
    let location = format!("{ORDER}/{}", id(&body));
    assert_eq!(created.header("location"), Some(location.as_str()));
    let expected = with(&body, &json!({"eTag": "1", "orderTotal": 6, "orderState": "created"}));
    assert_eq!(created.json(), expected);
    assert_eq!(client.get(location).await.expect(200).json(), expected);
}

/// Order Service: Update an order.
#[tokio::test]
async fn update_an_order() {
    let services = Services::start();
    let mut client = services.client();
    let one = created_order(&mut client, &new_id(), "1 Elm").await;
    let body = with(&one, &json!({"orderDate": "2022-01-01T00:00:00Z"}));
    let updated = client.put(ORDER, &body).await.expect(200);
    assert_eq!(updated.json(), with(&body, &json!({"eTag": "2"})));
}

/// Order Service: Ship an order.
#[tokio::test]
async fn ship_an_order() {
    let services = Services::start();
    let mut client = services.client();
    let one = created_order(&mut client, &new_id(), "1 Elm").await;
    let shipped = client.put_empty(format!("{ORDER}/ship/{}/1", id(&one))).await.expect(200);
    assert_eq!(shipped.json(), with(&one, &json!({"eTag": "2", "orderState": "shipped"})));
}

/// Order Service: Cancel an order.
#[tokio::test]
async fn cancel_an_order() {
    let services = Services::start();
    let mut client = services.client();
    let one = created_order(&mut client, &new_id(), "1 Elm").await;
    let cancelled = client.put_empty(format!("{ORDER}/cancel/{}/1", id(&one))).await.expect(200);
    assert_eq!(cancelled.json(), with(&one, &json!({"eTag": "2", "orderState": "cancelled"})));
}

/// Order Service: Remove an order.
#[tokio::test]
async fn remove_an_order() {
    let services = Services::start();
    let mut client = services.client();
    let one = created_order(&mut client, &new_id(), "1 Elm").await;
    client.delete(format!("{ORDER}/{}", id(&one))).await.expect(204);
    client.get(format!("{ORDER}/{}", id(&one))).await.expect_problem(404, "not_found");
}

/// Publish Subscribe: Data propagation over the event bus. A customer's new address reaches its orders.
#[tokio::test]
async fn publish_customer_address_updated_event() {
    let services = Services::start();
    let mut client = services.client();
    let one = created_customer(&mut client, "1 Elm").await;
    let orders = [
        created_order(&mut client, id(&one), "1 Elm").await,
        created_order(&mut client, id(&one), "1 Elm").await,
    ];
    let moved = with(&one, &json!({"shippingAddress": address("9 Yew")}));
    client.put(CUSTOMER, &moved).await.expect(200);
    for order in &orders {
        let path = format!("{ORDER}/{}", id(order));
        eventually("the order has the customer's address", async || {
            let now: Value = client.get(path.clone()).await.expect(200).json();
            (now["shippingAddress"] == address("9 Yew")).then_some(())
        })
        .await;
    }
}
