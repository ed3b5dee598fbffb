//! Subscriptions that operators declare, with deliveries over HTTP.

use std::path::Path;

use annals_parts::{Broker, Redis, Resources};
use serde_json::json;
use tempfile::TempDir;

use crate::bodies::{CUSTOMER, ORDER, address, created_customer, created_order, id, with};
use crate::client::Client;
use crate::pair::{Member, PUBSUB, TOPIC};
use crate::process::eventually;

/// The subscription of deploy/dapr, with events brought to this route.
fn subscription(route: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/dapr/subscription.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let own = format!("default: /dapr/events/{TOPIC}");
    assert!(text.contains(&own), "{text}");
    text.replace(&own, &format!("default: {route}"))
}

struct World {
    redis: Redis,
    data: TempDir,
}

impl World {
    fn member(&self, service: &str, route: &str) -> Member {
        let component = self.redis.component(PUBSUB, service, &[TOPIC]);
        let resources =
            Resources::default().pubsub(&component).file("subscription.yaml", &subscription(route));
        Member::start_with(service, resources, true, self.data.path(), &["--subscriptions", "declarative"])
    }
}

#[tokio::test]
async fn an_event_that_was_brought_to_no_route_arrives_once_that_is_mended() {
    let world = World { redis: Redis::start(), data: TempDir::new().unwrap() };
    let route = format!("/dapr/events/{TOPIC}");
    let misled = world.member("order", "/nowhere");
    let customer = world.member("customer", &route);
    let mut orders = Client::new(misled.address);
    assert_eq!(orders.get("/dapr/subscribe").await.status, 401, "nobody but the sidecar may ask");
    eventually("health says where it goes wrong", async || {
        let said = orders.get("/readyz").await.expect(200).json();
        said["services"]["order"]["degraded"].to_string().contains(&route).then_some(())
    })
    .await;
    let mut client = Client::new(customer.address);
    let one = created_customer(&mut client, "1 Elm").await;
    let order = created_order(&mut orders, id(&one), "1 Elm").await;
    let moved = with(&one, &json!({"shippingAddress": address("9 Yew")}));
    client.put(CUSTOMER, &moved).await.expect(200);
    let refused =
        "annals_http_request_duration_seconds_count{route=\"unmatched\",method=\"POST\",status=\"421\"}";
    eventually("the event is refused", async || {
        orders.get("/metrics").await.body.contains(refused).then_some(())
    })
    .await;
    drop((orders, misled));
    let mended = world.member("order", &route);
    let mut orders = Client::new(mended.address);
    let path = format!("{ORDER}/{}", id(&order));
    eventually("the order has the customer's address", async || {
        let now = orders.get(path.clone()).await.expect(200).json();
        (now["shippingAddress"] == address("9 Yew")).then_some(())
    })
    .await;
    let ready = orders.get("/readyz").await.expect(200).json();
    assert_eq!(ready["services"]["order"]["degraded"], json!(null), "{ready:#}");
}
