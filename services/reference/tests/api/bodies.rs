//! What the tests send.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::client::Client;

pub(crate) const CUSTOMER: &str = "/api/customer";
pub(crate) const ORDER: &str = "/api/order";

pub(crate) fn new_id() -> String {
    Uuid::new_v4().to_string()
}

pub(crate) fn address(street: &str) -> Value {
    json!({"street": street, "city": "Dallas", "state": "Texas", "country": "USA", "postalCode": "75202"})
}

pub(crate) fn customer(street: &str) -> Value {
    json!({
        "id": new_id(), "firstName": "Joe", "lastName": "Blow",
        "shippingAddress": address(street), "creditAvailable": 100,
    })
}

pub(crate) fn item(price: f64) -> Value {
    json!({"productId": "89727b93-c4ad-4e53-9d23-cf1b3a1d5a0c", "productName": "Espresso", "productPrice": price})
}

pub(crate) fn order(customer_id: &str, street: &str) -> Value {
    json!({
        "id": new_id(), "customerId": customer_id, "orderDate": "2021-04-15T22:54:44.485Z",
        "orderItems": [item(2.5), item(3.5)], "shippingAddress": address(street),
    })
}

/// The same with other or more fields; null takes one out.
pub(crate) fn with(body: &Value, changes: &Value) -> Value {
    let mut body = body.clone();
    let fields = body.as_object_mut().expect("an object");
    for (name, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            fields.remove(name);
        } else {
            fields.insert(name.clone(), value.clone());
        }
    }
    body
}

pub(crate) fn id(body: &Value) -> &str {
    body["id"].as_str().expect("an id")
}

/// Creates a customer; its body with id and eTag.
pub(crate) async fn created_customer(client: &mut Client, street: &str) -> Value {
    client.post(CUSTOMER, &customer(street)).await.expect(201).json()
}

/// Creates an order; its body with id and eTag.
pub(crate) async fn created_order(client: &mut Client, customer_id: &str, street: &str) -> Value {
    client.post(ORDER, &order(customer_id, street)).await.expect(201).json()
}

/// Every event of an instance, as its history shows them.
pub(crate) async fn history(client: &mut Client, collection: &str, id: &str) -> Vec<Value> {
    let history = client.get(format!("{collection}/{id}/history")).await.expect(200).json();
    history.as_array().expect("an array").clone()
}

/// The names of the events in a history.
pub(crate) fn types(history: &[Value]) -> Vec<&str> {
    history.iter().filter_map(|event| event["type"].as_str()).collect()
}
