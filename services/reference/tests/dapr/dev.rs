//! `dev --dapr`: both services in one process, with a sidecar each that it starts itself.

use std::process::Stdio;
use std::sync::Arc;

use annals_parts::{Broker, Redis, Resources};
use serde_json::json;
use tempfile::TempDir;

use crate::bodies::{CUSTOMER, ORDER, address, created_customer, created_order, id, with};
use crate::pair::PUBSUB;
use crate::process::{Services, binary, eventually};

#[tokio::test]
async fn dev_starts_the_sidecars_and_events_go_through_them() {
    let redis = Redis::start();
    let data = Arc::new(TempDir::new().unwrap());
    let resources = data.path().join("components");
    Resources::default().pubsub(&redis.component(PUBSUB, "", &[])).write(&resources);
    let arguments = ["dev", "--dapr", "--pubsub", PUBSUB, "--dapr-resources", resources.to_str().unwrap()];
    let daprd = annals_parts::daprd();
    let services = Services::with_environment(&data, &arguments, &[("ANNALS_DAPRD", &daprd)]);
    let mut client = services.client();
    eventually("the sidecars are ready", async || (client.get("/readyz").await.status == 200).then_some(()))
        .await;
    let ready = client.get("/readyz").await.json();
    assert_eq!((&ready["broker"], &ready["services"]["order"]["broker"]), (&json!("dapr"), &json!("dapr")));
    assert!(ready["services"]["customer"]["sidecar"].is_string(), "{ready:#}");
    let one = created_customer(&mut client, "1 Elm").await;
    let order = created_order(&mut client, id(&one), "1 Elm").await;
    let moved = with(&one, &json!({"shippingAddress": address("9 Yew")}));
    client.put(CUSTOMER, &moved).await.expect(200);
    let path = format!("{ORDER}/{}", id(&order));
    eventually("the order has the customer's address", async || {
        let now = client.get(path.clone()).await.expect(200).json();
        (now["shippingAddress"] == address("9 Yew")).then_some(())
    })
    .await;
    let (status, _) = services.stop();
    assert!(status.success(), "{status}");
}

#[test]
fn without_a_sidecar_dev_says_how_to_get_one() {
    let output = binary()
        .args(["dev", "--dapr", "--listen", "127.0.0.1:0"])
        .env_remove("ANNALS_DAPRD")
        .env("PATH", "/nowhere")
        .env("HOME", "/nowhere")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("dapr init"), "{said}");
}
