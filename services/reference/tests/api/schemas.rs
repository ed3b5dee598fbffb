//! The schemas of topics, over HTTP and on the command line.

use serde_json::{Value, json};

use crate::client::Request;
use crate::process::{Services, run};

const TOPIC: &str = "v1.CustomerAddressUpdated";

fn path(rest: &str) -> String {
    format!("/api/schema/{TOPIC}{rest}")
}

/// As the topic's schema, with one more property that must be there.
fn stricter(schema: &Value) -> Value {
    let mut schema = schema.clone();
    schema["properties"]["reason"] = json!({"type": "string"});
    schema["required"].as_array_mut().unwrap().push(json!("reason"));
    schema
}

#[tokio::test]
async fn schemas_are_listed_read_checked_registered_and_removed() {
    let services = Services::start();
    let mut client = services.client();
    let listed = client.get("/api/schema").await.expect(200).json();
    assert_eq!((&listed[0]["topic"], &listed[0]["version"]), (&json!(TOPIC), &json!(1)));
    assert_eq!(
        (&listed[0]["service"], &listed[0]["compatibility"]),
        (&json!("customer"), &json!("backward"))
    );
    let first = client.get(path("")).await.expect(200).json();
    assert!(first["schema"].pointer("/properties/shippingAddress").is_some(), "{first:#}");

    let strict = stricter(&first["schema"]);
    let checked = client.post(path("/check"), &strict).await.expect(200).json();
    assert_eq!((&checked["compatible"], &checked["reasons"][0]["path"]), (&json!(false), &json!("/reason")));
    let refused = client.post(path(""), &strict).await.expect_problem(409, "schema_incompatible");
    assert_eq!(refused.error_paths(), ["/reason"]);
    client.post(path(""), &first["schema"]).await.expect(200);
    client.put(path(""), &json!({"compatibility": "none"})).await.expect(200);
    let created = client.post(path(""), &strict).await.expect(201);
    assert_eq!(created.header("location"), Some(path("/versions/2").as_str()));
    let versions = client.get(path("/versions")).await.expect(200).json();
    assert_eq!(versions.as_array().map(Vec::len), Some(2));
    assert_eq!(client.get(path("/versions/1")).await.expect(200).json()["schema"], first["schema"]);

    client.get(path("/versions/9")).await.expect_problem(404, "schema_not_found");
    client.get("/api/schema/v1.nothing").await.expect_problem(404, "schema_not_found");
    client.post(path("/check"), &json!({"type": "nonsense"})).await.expect_problem(422, "not_a_schema");
    client.put(path(""), &json!({"compatibility": "sideways"})).await.expect_problem(422, "invalid_body");
    client
        .send(Request::post(path(""), &strict).with_only("text/plain", b"x"))
        .await
        .expect_problem(415, "unsupported_media_type");
    client.delete(path("")).await.expect(204);
    client.get(path("")).await.expect_problem(404, "schema_not_found");
}

#[tokio::test]
async fn the_command_line_knows_schemas() {
    let services = Services::start();
    let url = services.url();
    let json = |arguments: &[&str]| {
        let output = run(&[&["schema"], arguments, &["--json", "--url", &url]].concat());
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, listed, _) = json(&["ls"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((code, &listed["topic"]), (Some(0), &json!(TOPIC)));
    let (_, shown, _) = json(&["show", TOPIC, "--version", "1"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("schema.json");
    std::fs::write(&file, stricter(&shown["schema"]).to_string()).unwrap();
    let file = file.to_str().unwrap();
    let (code, checked, _) = json(&["check", TOPIC, file]);
    assert_eq!(code, Some(1));
    assert!(checked.contains("/reason"), "{checked}");
    let (code, _, errors) = json(&["register", TOPIC, file]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("schema_incompatible") && errors.contains("/reason"), "{errors}");
    let (code, registered, errors) = json(&["register", TOPIC, file, "--compatibility", "none"]);
    assert_eq!(code, Some(0), "{errors}");
    assert_eq!(serde_json::from_str::<Value>(&registered).unwrap()["version"], 2);
    assert_eq!(json(&["show", "v1.nothing"]).0, Some(1));

    let (_, directory) = services.stop();
    let data = directory.path().join("data");
    let output = run(&["schema", "ls", "--json", "--data", data.to_str().unwrap()]);
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&listed["topic"], &listed["version"]), (&json!(TOPIC), &json!(2)));
}

#[tokio::test]
async fn what_events_pass_is_shown() {
    let services = Services::start();
    let output = run(&["bus", "--json", "--url", &services.url()]);
    let text = String::from_utf8(output.stdout).unwrap();
    let items: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<_> = items.iter().map(|item| (item["service"].as_str(), item["kind"].as_str())).collect();
    for kind in
        [("customer", "broker"), ("customer", "relay"), ("order", "broker"), ("order", "subscription")]
    {
        assert!(kinds.contains(&(Some(kind.0), Some(kind.1))), "{kind:?} is not in {text}");
    }
    assert!(items.iter().all(|item| item["state"] == "well"), "{text}");
}
