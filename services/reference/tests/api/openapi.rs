//! The description of the API is complete and says what is there.

use serde_json::Value;

use crate::process::Services;

const ROUTES: [(&str, &[&str]); 10] = [
    ("/api/customer", &["get", "post", "put"]),
    ("/api/customer/{id}", &["delete", "get"]),
    ("/api/customer/{id}/history", &["get"]),
    ("/api/order", &["get", "post", "put"]),
    ("/api/order/cancel/{id}/{etag}", &["put"]),
    ("/api/order/customer/{customerId}", &["get"]),
    ("/api/order/ship/{id}/{etag}", &["put"]),
    ("/api/order/state/{id}", &["get"]),
    ("/api/order/{id}", &["delete", "get"]),
    ("/api/order/{id}/history", &["get"]),
];

/// Every reference in the document, wherever it stands.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| references(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_has_every_route_and_every_schema() {
    let services = Services::start();
    let mut client = services.client();
    let document = client.get("/openapi.json").await.expect(200).json();
    for (path, methods) in ROUTES {
        let described = document["paths"][path].as_object();
        let mut names: Vec<_> = described.into_iter().flat_map(|methods| methods.keys()).collect();
        names.sort();
        assert_eq!(names, methods, "{path}");
    }
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 20, "{document:#}");
    for reference in found {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let fields = &document["components"]["schemas"]["NewOrder"]["properties"];
    for name in ["id", "customerId", "orderDate", "orderItems", "shippingAddress", "inventoryId", "quantity"]
    {
        assert!(fields[name].is_object(), "{name}: {fields:#}");
    }
}

#[tokio::test]
async fn the_page_needs_no_network() {
    let services = Services::start();
    let mut client = services.client();
    let page = client.get("/docs/").await.expect(200);
    assert!(page.body.contains("swagger"), "{page:?}");
    assert!(!page.body.contains("https://"), "{page:?}");
}
