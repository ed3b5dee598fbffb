//! The customers' rows of the API table, with every error.

use serde_json::{Value, json};

use crate::bodies::{CUSTOMER, address, created_customer, customer, history, id, new_id, types, with};
use crate::client::Request;
use crate::process::Services;

#[tokio::test]
async fn a_customer_without_id_gets_one() {
    let services = Services::start();
    let mut client = services.client();
    let body =
        with(&customer("1 Elm"), &json!({"id": null, "creditAvailable": null, "eTag": "77", "more": 1}));
    let created = client.post(CUSTOMER, &body).await.expect(201);
    assert_eq!(created.etag(), "1");
    let view = created.json();
    assert_eq!((view["creditAvailable"].as_f64(), view["more"].is_null()), (Some(0.0), true));
    let location = created.header("location").unwrap().to_owned();
    assert_eq!(location, format!("{CUSTOMER}/{}", id(&view)));
    assert_eq!(client.get(location).await.expect(200).etag(), "1");
}

#[tokio::test]
async fn money_is_kept_exactly() {
    let services = Services::start();
    let mut client = services.client();
    for (sent, kept) in [
        ("0", "0"),
        ("100", "100"),
        ("0.0001", "0.0001"),
        ("12.5000", "12.5"),
        ("1e3", "1000"),
        ("922337203685477.5807", "922337203685477.5807"),
        ("90071992547409.9301", "90071992547409.9301"),
    ] {
        let body = with(&customer("1 Elm"), &json!({"creditAvailable": "CREDIT"}));
        let text = body.to_string().replace("\"CREDIT\"", sent);
        let request = Request::post(CUSTOMER, &body).with_only("application/json", text.as_bytes());
        let created = client.send(request).await.expect(201);
        assert!(created.body.contains(&format!("\"creditAvailable\":{kept},")), "{sent}: {created:?}");
        let read = client.get(format!("{CUSTOMER}/{}", id(&body))).await.expect(200);
        assert_eq!(read.body, created.body);
    }
    let list = client.get(CUSTOMER).await.expect(200);
    assert!(list.body.contains("922337203685477.5807"), "{list:?}");
}

#[tokio::test]
async fn an_id_is_taken_once() {
    let services = Services::start();
    let mut client = services.client();
    let body = customer("1 Elm");
    client.post(CUSTOMER, &body).await.expect(201);
    client.post(CUSTOMER, &body).await.expect_problem(409, "already_exists");
}

#[tokio::test]
async fn every_wrong_field_is_named() {
    let services = Services::start();
    let mut client = services.client();
    let wrong = json!({
        "id": "7", "firstName": "", "lastName": 3, "creditAvailable": -1,
        "shippingAddress": {"street": "x".repeat(201), "city": "a\u{7}b", "state": null, "country": ["USA"]},
    });
    let paths = [
        "/creditAvailable",
        "/firstName",
        "/id",
        "/lastName",
        "/shippingAddress/city",
        "/shippingAddress/country",
        "/shippingAddress/postalCode",
        "/shippingAddress/state",
        "/shippingAddress/street",
    ];
    let refused = client.post(CUSTOMER, &wrong).await.expect_problem(422, "invalid_body");
    assert_eq!(refused.error_paths(), paths);
    let refused = client.put(CUSTOMER, &wrong).await.expect_problem(422, "invalid_body");
    assert_eq!(refused.error_paths(), paths);
    for (changes, path) in [
        (json!({"creditAvailable": 0.00001}), "/creditAvailable"),
        (json!({"creditAvailable": "5"}), "/creditAvailable"),
        (json!({"creditAvailable": 1e30}), "/creditAvailable"),
        (json!({"shippingAddress": "here"}), "/shippingAddress"),
        (json!({"firstName": null}), "/firstName"),
    ] {
        let body = with(&customer("1 Elm"), &changes);
        let refused = client.post(CUSTOMER, &body).await.expect_problem(422, "invalid_body");
        assert_eq!(refused.error_paths(), [path], "{changes}");
    }
    assert_eq!(client.get(CUSTOMER).await.expect(200).json(), json!([]));
}

#[tokio::test]
async fn what_is_no_json_is_refused_in_the_documented_order() {
    let services = Services::start();
    let mut client = services.client();
    let post =
        |content_type: &str, body: &[u8]| Request::post(CUSTOMER, &json!({})).with_only(content_type, body);
    client.send(post("application/json", b"{\"firstName\":")).await.expect_problem(400, "malformed_json");
    client.send(post("text/plain", b"{\"firstName\":")).await.expect_problem(415, "unsupported_media_type");
    let huge = vec![b'x'; 3 << 20];
    client.send(post("text/plain", &huge)).await.expect_problem(413, "body_too_large");
    // What was not read to its end cannot be followed by another request.
    let mut client = services.client();
    let refused = client.send(post("application/json; charset=utf-8", b"{}")).await;
    refused.expect_problem(422, "invalid_body");
    client.send(Request::delete(CUSTOMER)).await.expect_problem(405, "method_not_allowed");
    client.get("/api/nothing").await.expect_problem(404, "route_not_found");
}

#[tokio::test]
async fn who_is_not_there_is_not_found() {
    let services = Services::start();
    let mut client = services.client();
    let no_ids = ["7", "7/history", "%FF", "%FF/history"].map(str::to_owned);
    for path in no_ids.into_iter().chain([new_id(), format!("{}/history", new_id())]) {
        client.get(format!("{CUSTOMER}/{path}")).await.expect_problem(404, "not_found");
    }
    let nobody = with(&customer("1 Elm"), &json!({"eTag": "1"}));
    client.put(CUSTOMER, &nobody).await.expect_problem(404, "not_found");
    // 404 comes before 428, 422 before 404.
    let without_tag = with(&nobody, &json!({"eTag": null}));
    client.put(CUSTOMER, &without_tag).await.expect_problem(404, "not_found");
    let request = Request::put(CUSTOMER, &nobody).header("If-Match", "\"2\"");
    client.send(request).await.expect_problem(422, "etag_mismatch");
    client.delete(format!("{CUSTOMER}/7")).await.expect_problem(404, "not_found");
    client.delete(format!("{CUSTOMER}/%FF")).await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn a_change_names_the_version_it_changes() {
    let services = Services::start();
    let mut client = services.client();
    let one = created_customer(&mut client, "1 Elm").await;
    let without_tag = with(&one, &json!({"eTag": null}));
    client.put(CUSTOMER, &without_tag).await.expect_problem(428, "precondition_required");
    for stale in ["0", "2", "abc", ""] {
        let body = with(&one, &json!({"eTag": stale}));
        client.put(CUSTOMER, &body).await.expect_problem(409, "version_conflict");
    }
    let conditional = |body: &Value, tag: &str| Request::put(CUSTOMER, body).header("If-Match", tag);
    client.send(conditional(&one, "\"2\"")).await.expect_problem(422, "etag_mismatch");
    assert_eq!(client.send(conditional(&one, "\"1\"")).await.expect(200).etag(), "2");
    assert_eq!(client.send(conditional(&without_tag, "2")).await.expect(200).etag(), "3");
    assert_eq!(client.send(conditional(&without_tag, "*")).await.expect(200).etag(), "4");
    client.send(conditional(&without_tag, "\"2\"")).await.expect_problem(409, "version_conflict");
}

#[tokio::test]
async fn an_accepted_change_always_leaves_an_event() {
    let services = Services::start();
    let mut client = services.client();
    let one = created_customer(&mut client, "1 Elm").await;
    let two = client.put(CUSTOMER, &one).await.expect(200);
    assert_eq!(two.etag(), "2");
    let moved = with(&two.json(), &json!({"shippingAddress": address("2 Oak"), "creditAvailable": null}));
    let three = client.put(CUSTOMER, &moved).await.expect(200);
    assert_eq!(three.json(), with(&moved, &json!({"eTag": "4", "creditAvailable": 100})));
    let events = history(&mut client, CUSTOMER, id(&one)).await;
    let expected = ["customer-created", "customer-changed", "customer-changed", "customer-address-changed"];
    assert_eq!(types(&events), expected);
    assert_eq!(events[2]["time"], events[3]["time"], "one command has one time");
    assert_eq!(events[2]["commandId"], events[3]["commandId"]);
}

#[tokio::test]
async fn a_removed_customer_is_gone_and_can_come_back() {
    let services = Services::start();
    let mut client = services.client();
    let one = created_customer(&mut client, "1 Elm").await;
    let path = format!("{CUSTOMER}/{}", id(&one));
    client
        .send(Request::delete(&path).header("If-Match", "\"7\""))
        .await
        .expect_problem(409, "version_conflict");
    client.send(Request::delete(&path).header("If-Match", "\"1\"")).await.expect(204);
    client.delete(&path).await.expect(204);
    client.send(Request::delete(&path).header("If-Match", "\"7\"")).await.expect(204);
    client.delete(format!("{CUSTOMER}/{}", new_id())).await.expect(204);
    client.get(&path).await.expect_problem(404, "not_found");
    client.put(CUSTOMER, &one).await.expect_problem(404, "not_found");
    assert_eq!(client.get(CUSTOMER).await.expect(200).json(), json!([]));
    assert_eq!(history(&mut client, CUSTOMER, id(&one)).await.len(), 2);
    assert_eq!(client.get(format!("{path}?version=1")).await.expect(200).json(), one);
    client.get(format!("{path}?version=2")).await.expect_problem(404, "not_found");
    let again = client.post(CUSTOMER, &one).await.expect(201);
    assert_eq!(again.json(), with(&one, &json!({"eTag": "3"})));
    assert_eq!(client.get(CUSTOMER).await.expect(200).json(), json!([again.json()]));
}

#[tokio::test]
async fn a_history_says_who_when_and_why() {
    let services = Services::start();
    let mut client = services.client();
    let body = customer("1 Elm");
    let correlation = new_id();
    let request =
        Request::post(CUSTOMER, &body).header("X-Correlation-Id", &correlation).header("X-Actor", "anna");
    client.send(request).await.expect(201);
    let events = history(&mut client, CUSTOMER, id(&body)).await;
    let [event] = events.as_slice() else { panic!("{events:?}") };
    let mut names: Vec<_> = event.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    let expected = [
        "actor",
        "causationId",
        "command",
        "commandId",
        "correlationId",
        "data",
        "eventId",
        "position",
        "schemaVersion",
        "time",
        "type",
        "version",
    ];
    assert_eq!(names, expected);
    assert_eq!((event["version"].as_u64(), event["schemaVersion"].as_u64()), (Some(1), Some(1)));
    assert_eq!(event["correlationId"], correlation);
    assert_eq!(event["data"]["shippingAddress"], address("1 Elm"));
}
