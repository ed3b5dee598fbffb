//! The orders' rows of the API table, with every error.

use serde_json::json;

use crate::bodies::{ORDER, created_order, history, id, item, new_id, order, types, with};
use crate::client::Request;
use crate::process::Services;

#[tokio::test]
async fn an_id_is_taken_once() {
    let services = Services::start();
    let mut client = services.client();
    let body = order(&new_id(), "1 Elm");
    client.post(ORDER, &body).await.expect(201);
    client.post(ORDER, &body).await.expect_problem(409, "already_exists");
}

#[tokio::test]
async fn every_wrong_field_is_named() {
    let services = Services::start();
    let mut client = services.client();
    let wrong = json!({
        "id": 7, "customerId": "x", "orderDate": "yesterday", "shippingAddress": {},
        "orderItems": [item(1.0), {"productId": "x", "productName": "", "productPrice": -0.5}, 5],
        "quantity": "many",
    });
    let refused = client.post(ORDER, &wrong).await.expect_problem(422, "invalid_body");
    let paths = [
        "/customerId",
        "/id",
        "/orderDate",
        "/orderItems/1/productId",
        "/orderItems/1/productName",
        "/orderItems/1/productPrice",
        "/orderItems/2",
        "/quantity",
        "/shippingAddress/city",
        "/shippingAddress/country",
        "/shippingAddress/postalCode",
        "/shippingAddress/state",
        "/shippingAddress/street",
    ];
    assert_eq!(refused.error_paths(), paths);
    let huge = item(900_000_000_000_000.0);
    for (changes, path) in [
        (json!({"orderItems": []}), "/orderItems"),
        (json!({"orderItems": vec![item(1.0); 1001]}), "/orderItems"),
        (json!({"orderItems": [huge, huge]}), "/orderItems"),
        (json!({"orderItems": null}), "/orderItems"),
        (json!({"orderDate": "2021-04-15T22:54:44"}), "/orderDate"),
        (json!({"orderDate": 5}), "/orderDate"),
    ] {
        let body = with(&order(&new_id(), "1 Elm"), &changes);
        let refused = client.post(ORDER, &body).await.expect_problem(422, "invalid_body");
        assert_eq!(refused.error_paths(), [path]);
    }
    let most = with(&order(&new_id(), "1 Elm"), &json!({"orderItems": vec![item(0.1); 1000]}));
    let created = client.post(ORDER, &most).await.expect(201).json();
    assert_eq!(created["orderTotal"], 100);
}

#[tokio::test]
async fn stock_is_not_available() {
    let services = Services::start();
    let mut client = services.client();
    for (changes, paths) in [
        (json!({"inventoryId": new_id()}), vec!["/inventoryId"]),
        (json!({"quantity": 3}), vec!["/quantity"]),
        (json!({"inventoryId": new_id(), "quantity": 3}), vec!["/inventoryId", "/quantity"]),
    ] {
        let body = with(&order(&new_id(), "1 Elm"), &changes);
        let refused = client.post(ORDER, &body).await.expect_problem(422, "not_available");
        assert_eq!(refused.error_paths(), paths);
        client.get(format!("{ORDER}/{}", id(&body))).await.expect_problem(404, "not_found");
    }
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let services = Services::start();
    let mut client = services.client();
    for path in ["7", "state/7", "customer/7", "7/history", "%FF", "state/%FF", "customer/%FF", "%FF/history"]
    {
        client.get(format!("{ORDER}/{path}")).await.expect_problem(404, "not_found");
    }
    for path in [new_id(), format!("state/{}", new_id()), format!("{}/history", new_id())] {
        client.get(format!("{ORDER}/{path}")).await.expect_problem(404, "not_found");
    }
    for verb in ["ship", "cancel"] {
        client.put_empty(format!("{ORDER}/{verb}/{}/1", new_id())).await.expect_problem(404, "not_found");
        client.put_empty(format!("{ORDER}/{verb}/7/1")).await.expect_problem(404, "not_found");
        client.put_empty(format!("{ORDER}/{verb}/%FF/1")).await.expect_problem(404, "not_found");
    }
    let body = order(&new_id(), "1 Elm");
    client.put(ORDER, &body).await.expect_problem(404, "not_found");
    client.delete(format!("{ORDER}/7")).await.expect_problem(404, "not_found");
    client.delete(format!("{ORDER}/{}", new_id())).await.expect(204);
}

#[tokio::test]
async fn a_change_names_the_version_it_changes() {
    let services = Services::start();
    let mut client = services.client();
    let one = created_order(&mut client, &new_id(), "1 Elm").await;
    let without_tag = with(&one, &json!({"eTag": null}));
    client.put(ORDER, &without_tag).await.expect_problem(428, "precondition_required");
    client.put(ORDER, &with(&one, &json!({"eTag": "5"}))).await.expect_problem(409, "version_conflict");
    let request = Request::put(ORDER, &one).header("If-Match", "\"5\"");
    client.send(request).await.expect_problem(422, "etag_mismatch");
    let moved =
        with(&one, &json!({"shippingAddress": crate::bodies::address("2 Oak"), "orderItems": [item(1.25)]}));
    let changed = client.put(ORDER, &moved).await.expect(200);
    assert_eq!(changed.json(), with(&moved, &json!({"eTag": "3", "orderTotal": 1.25})));
    let events = history(&mut client, ORDER, id(&one)).await;
    assert_eq!(types(&events), ["order-created", "order-changed", "order-address-changed"]);
    for verb in ["ship", "cancel"] {
        let stale = client.put_empty(format!("{ORDER}/{verb}/{}/1", id(&one))).await;
        stale.expect_problem(409, "version_conflict");
    }
}

#[tokio::test]
async fn what_is_shipped_is_not_cancelled() {
    let services = Services::start();
    let mut client = services.client();
    let one = created_order(&mut client, &new_id(), "1 Elm").await;
    let path = |verb: &str, tag: &str| format!("{ORDER}/{verb}/{}/{tag}", id(&one));
    let shipped = client.put_empty(path("ship", "1")).await.expect(200);
    assert_eq!(client.put_empty(path("ship", "2")).await.expect(200).body, shipped.body);
    // 409 comes before 422.
    client.put_empty(path("cancel", "1")).await.expect_problem(409, "version_conflict");
    client.put_empty(path("cancel", "2")).await.expect_problem(422, "order_shipped");
    let state = client.get(format!("{ORDER}/state/{}", id(&one))).await.expect(200).json();
    assert_eq!(state, json!({"id": one["id"], "orderState": "shipped"}));
    assert_eq!(history(&mut client, ORDER, id(&one)).await.len(), 2);
}

#[tokio::test]
async fn what_is_cancelled_is_not_shipped() {
    let services = Services::start();
    let mut client = services.client();
    let one = created_order(&mut client, &new_id(), "1 Elm").await;
    let path = |verb: &str, tag: &str| format!("{ORDER}/{verb}/{}/{tag}", id(&one));
    let cancelled = client.put_empty(path("cancel", "1")).await.expect(200);
    assert_eq!(client.put_empty(path("cancel", "2")).await.expect(200).body, cancelled.body);
    client.put_empty(path("ship", "2")).await.expect_problem(422, "order_cancelled");
    let state = client.get(format!("{ORDER}/state/{}", id(&one))).await.expect(200).json();
    assert_eq!(state["orderState"], "cancelled");
}

#[tokio::test]
async fn a_removed_order_is_gone_and_can_come_back() {
    let services = Services::start();
    let mut client = services.client();
    let customer = new_id();
    let one = created_order(&mut client, &customer, "1 Elm").await;
    let path = format!("{ORDER}/{}", id(&one));
    client.send(Request::delete(&path).header("If-Match", "3")).await.expect_problem(409, "version_conflict");
    client.delete(&path).await.expect(204);
    client.delete(&path).await.expect(204);
    for gone in [path.clone(), format!("{ORDER}/state/{}", id(&one))] {
        client.get(gone).await.expect_problem(404, "not_found");
    }
    client.put(ORDER, &one).await.expect_problem(404, "not_found");
    client.put_empty(format!("{ORDER}/ship/{}/2", id(&one))).await.expect_problem(404, "not_found");
    for list in [ORDER.to_owned(), format!("{ORDER}/customer/{customer}")] {
        assert_eq!(client.get(list).await.expect(200).json(), json!([]));
    }
    assert_eq!(client.get(format!("{path}?version=1")).await.expect(200).json(), one);
    let again = client.post(ORDER, &one).await.expect(201).json();
    assert_eq!(again, with(&one, &json!({"eTag": "3"})));
}

#[tokio::test]
async fn an_order_can_change_hands() {
    let services = Services::start();
    let mut client = services.client();
    let (anna, bert) = (new_id(), new_id());
    let one = created_order(&mut client, &anna, "1 Elm").await;
    let changed = client.put(ORDER, &with(&one, &json!({"customerId": bert}))).await.expect(200).json();
    let of = |customer: &str| format!("{ORDER}/customer/{customer}");
    assert_eq!(client.get(of(&anna)).await.expect(200).json(), json!([]));
    assert_eq!(client.get(of(&bert)).await.expect(200).json(), json!([changed]));
}
