//! The description of the API is complete and says what is there.

use std::collections::HashSet;

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

/// Every operation, with a name for messages.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let of_path = |(path, item): (&String, &Value)| -> Vec<String> {
        let methods = item.as_object().expect("operations");
        methods.keys().map(|method| format!("/paths/{}/{method}", path.replace('/', "~1"))).collect()
    };
    let pointers = paths.iter().flat_map(of_path);
    pointers.map(|pointer| (pointer.clone(), document.pointer(&pointer).expect("an operation"))).collect()
}

#[track_caller]
fn assert_valid(name: &str, operation: &Value) {
    let responses = operation["responses"].as_object().expect("responses");
    for (status, response) in responses {
        let description = response["description"].as_str().unwrap_or_default();
        assert!(!description.is_empty(), "{name} does not describe {status}");
    }
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        assert!(parameter["schema"]["type"].is_string(), "{name}: {parameter}");
    }
    if operation["requestBody"].is_object() {
        for status in ["400", "413", "415", "422"] {
            assert!(responses.contains_key(status), "{name} has a body and no {status}");
        }
    }
}

#[tokio::test]
async fn the_document_is_valid() {
    let services = Services::start();
    let mut client = services.client();
    let document = client.get("/openapi.json").await.expect(200).json();
    assert_eq!(document["info"]["title"], "Customer, Order");
    let operations = operations(&document);
    assert_eq!(operations.len(), ROUTES.iter().map(|(_, methods)| methods.len()).sum::<usize>());
    let mut ids = HashSet::new();
    for (name, operation) in operations {
        assert_valid(&name, operation);
        let id = operation["operationId"].as_str().expect("an id");
        assert!(ids.insert(id.to_owned()), "{name}: {id} occurs twice");
    }
    let command = &document["components"]["schemas"]["HistoryEvent"]["properties"]["command"];
    assert_eq!(command["type"], "string");
    assert!(command["description"].as_str().is_some_and(|text| text.contains("hash")), "{command}");
}

#[tokio::test]
async fn the_page_needs_no_network() {
    let services = Services::start();
    let mut client = services.client();
    let page = client.get("/docs/").await.expect(200);
    assert!(page.body.contains("swagger"), "{page:?}");
    assert!(!page.body.contains("https://"), "{page:?}");
}
