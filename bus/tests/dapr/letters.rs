//! What cannot be handled becomes a dead letter with its reason, other keys flow on, and a replay delivers it once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use annals_actors::Node;
use annals_bus::{
    Bus, DeadLetter, Delivery, Handler, HandlerError, IntegrationEvent, Reaction, SchemaOptions,
};
use annals_parts::{Broker, Nats, Rabbit, Redis};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::pair::{self, PUBSUB, topic};
use crate::support::{CustomerAddressUpdated, follow, quick, streets, until};

/// What is delivered in these tests has at most so many bytes.
const BYTES_MAX: usize = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn w8_what_nobody_can_handle_lands_in_the_dead_letters_with_its_reason() {
    lands_in_the_dead_letters(&Redis::start()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn w8_it_lands_there_over_jetstream_too() {
    lands_in_the_dead_letters(&Nats::start()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn w8_it_lands_there_over_rabbitmq_too() {
    lands_in_the_dead_letters(&Rabbit::start()).await;
}

async fn lands_in_the_dead_letters(broker: &dyn Broker) {
    let mended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&mended);
    let handler = move |event: CustomerAddressUpdated, delivery: Delivery| {
        let mended = flag.load(Ordering::Relaxed);
        async move {
            match event.street.as_str() {
                "poison" if !mended => Err(HandlerError::poison("it is poison")),
                "stubborn" if !mended => Err(HandlerError::retry("not yet")),
                _ => follow(event, delivery).await as Result<Reaction, HandlerError>,
            }
        }
    };
    let orders =
        pair::orders_with(broker, quick(), handler, |options| options.body_bytes_max = BYTES_MAX).await;
    let publish = |content_type: &str, body: String| {
        let status = orders.sidecar.publish(PUBSUB, topic().as_str(), content_type, body.as_bytes());
        assert_eq!(status, 204, "{body}");
    };
    let data = |customer: &str, street: &str| json!({"customerId": customer, "street": street}).to_string();

    publish("application/json", data("1", "poison"));
    publish("application/json", data("2", "stubborn"));
    publish("text/plain", "hello".to_owned());
    publish("application/octet-stream", "\u{1}\u{2}".to_owned());
    publish("application/json", json!({"customerId": 5, "street": 7}).to_string());
    publish("application/json", data("3", &"x".repeat(BYTES_MAX)));
    let unknown = json!({
        "specversion": "1.0", "id": "u", "source": "elsewhere", "type": "SomethingElse.v1", "subject": "4",
        "sequence": "1", "prevsequence": "0", "datacontenttype": "application/json",
        "data": {"customerId": "4", "street": "4 Oak"},
    });
    publish("application/cloudevents+json", unknown.to_string());
    publish("application/json", data("9", "9 Elm"));

    until("the others flow on", || async { streets(&orders.node, "9").await == ["9 Elm"] }).await;
    let letters = || async { orders.bus.dead_letters().list().await.unwrap() };
    until("all seven are dead letters", || async { letters().await.len() == 7 }).await;
    let found = letters().await;
    for part in [
        "it is poison",
        "not yet",
        "\"text/plain\" is not JSON",
        "\"application/octet-stream\" is not JSON",
        "more than the 2000 that are taken",
        "SomethingElse.v1",
    ] {
        assert!(found.iter().any(|letter| letter.reason.contains(part)), "{part}: {found:#?}");
    }
    let mismatch = found.iter().find(|letter| letter.reason.contains("schema_mismatch")).unwrap();
    for path in ["/customerId", "/street"] {
        assert!(mismatch.reason.contains(path), "{}", mismatch.reason);
    }

    // The policy of the subscription is three attempts; what no attempt can mend has none or one.
    let attempts = |part: &str| {
        let letter = found.iter().find(|letter| letter.reason.contains(part)).unwrap();
        letter.attempts
    };
    assert_eq!((attempts("not yet"), attempts("it is poison")), (3, 1), "{}", broker.name());
    assert!(found.iter().all(|letter| letter.attempts <= 3), "{found:#?}");

    mended.store(true, Ordering::Relaxed);
    let mut handled = Vec::new();
    for letter in &found {
        match orders.bus.dead_letters().replay(letter.id).await {
            Ok(()) => handled.push(letter),
            // It is as unreadable as before, and stays.
            Err(error) => assert_eq!(error.code(), "replay_failed", "{error}"),
        }
    }
    let can_be = ["it is poison", "not yet", "more than the 2000"];
    assert_eq!(handled.len(), can_be.len(), "{handled:#?}");
    for letter in handled {
        assert!(can_be.iter().any(|part| letter.reason.contains(part)), "{letter:#?}");
        let again = orders.bus.dead_letters().replay(letter.id).await.unwrap_err();
        assert_eq!(again.code(), "dead_letter_not_found", "it is handled, and no dead letter any more");
    }
    assert_eq!(streets(&orders.node, "1").await, ["poison"]);
    assert_eq!(streets(&orders.node, "2").await, ["stubborn"]);
    assert_eq!(streets(&orders.node, "3").await, ["x".repeat(BYTES_MAX)], "whoever replays it wants it");
    assert_eq!(letters().await.len(), 4);
    orders.bus.shutdown().await;

    let of = |part: &str| found.iter().find(|letter| letter.reason.contains(part)).unwrap();
    let takes = async |event: Lenient, delivery: Delivery| follow(event.into(), delivery).await;
    a_later_release_takes::<Lenient>(&orders.node, of("schema_mismatch"), takes).await;
    assert_eq!(streets(&orders.node, "5").await, ["7"]);
    let takes = async |event: SomethingElse, delivery: Delivery| follow(event.into(), delivery).await;
    a_later_release_takes::<SomethingElse>(&orders.node, of("SomethingElse.v1"), takes).await;
    assert_eq!(streets(&orders.node, "4").await, ["4 Oak"]);
}

/// Starts the service anew with another handler, which a replay brings the letter once.
async fn a_later_release_takes<E: IntegrationEvent>(
    node: &Node,
    letter: &DeadLetter,
    handler: impl Handler<E>,
) {
    let builder = Bus::builder(node.clone(), "order").schemas(SchemaOptions::default());
    let bus = builder.subscribe_with::<E>("address", quick(), handler).start().await.unwrap();
    bus.dead_letters().replay(letter.id).await.unwrap();
    let again = bus.dead_letters().replay(letter.id).await.unwrap_err();
    assert_eq!(again.code(), "dead_letter_not_found");
    bus.shutdown().await;
}

/// What the handler takes, mended: numbers too.
#[derive(Debug, Serialize, Deserialize, IntegrationEvent)]
#[integration_event(name = "CustomerAddressUpdated", version = 1)]
#[serde(rename_all = "camelCase")]
struct Lenient {
    customer_id: Value,
    street: Value,
}

impl From<Lenient> for CustomerAddressUpdated {
    fn from(Lenient { customer_id, street }: Lenient) -> Self {
        Self { customer_id: customer_id.to_string(), street: street.to_string() }
    }
}

/// The type that nobody knew, on the topic where it came.
#[derive(Debug, Serialize, Deserialize, IntegrationEvent)]
#[integration_event(name = "SomethingElse", version = 1, topic = "v1.CustomerAddressUpdated")]
#[serde(rename_all = "camelCase")]
struct SomethingElse {
    customer_id: String,
    street: String,
}

impl From<SomethingElse> for CustomerAddressUpdated {
    fn from(SomethingElse { customer_id, street }: SomethingElse) -> Self {
        Self { customer_id, street }
    }
}
