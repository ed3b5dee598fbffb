//! A real sidecar over a real Redis, and the bare calls that ours stand beside.

use annals_parts::{App, Broker, Redis, Resources, Sidecar, SidecarOptions};
use dapr::dapr::proto::runtime::v1::dapr_client::DaprClient;
use tonic::transport::{Channel, Endpoint};

use crate::Failure;

/// What the component is called.
pub(super) const PUBSUB: &str = "bus";
/// The content type of envelopes.
pub(super) const ENVELOPE: &str = "application/cloudevents+json";

/// A sidecar for an app under this id.
pub(super) fn start(redis: &Redis, app_id: &str, app: App) -> Sidecar {
    let component = redis.component(PUBSUB, app_id, &[]);
    Sidecar::start(SidecarOptions::new(app_id, app, Resources::default().pubsub(&component)))
}

/// A bare client.
pub(super) fn client(sidecar: &Sidecar) -> Result<DaprClient<Channel>, Failure> {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", sidecar.grpc_port()))?;
    Ok(DaprClient::new(endpoint.tcp_nodelay(true).connect_lazy()))
}

/// An envelope such as ours: as long, with as many attributes.
pub(super) fn envelope(number: usize) -> Vec<u8> {
    let id = uuid::Uuid::from_u64_pair(7, number as u64);
    serde_json::json!({
        "specversion": "1.0", "id": id, "source": "sales", "type": "item-sold.v1", "topic": "bare", "subject": id,
        "partitionkey": format!("order-{id}"), "sequence": "17", "prevsequence": "16",
        "time": "2026-01-02T03:04:05.000006Z", "dataschema": "urn:annals:schema:v1.item-sold:1",
        "correlationid": id, "causationid": id, "datacontenttype": "application/json",
        "data": {
            "orderId": id, "productId": id, "productName": "Ballpoint pen, blue, refillable", "priceCents": 1295,
            "quantity": 2, "note": "Please wrap it as a present, with a card, in time.",
        },
    })
    .to_string()
    .into_bytes()
}
