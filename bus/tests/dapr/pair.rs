//! Two services, each with a sidecar, over one broker.

use std::sync::Arc;
use std::time::Duration;

use annals_actors::Node;
use annals_bus::dapr::{AppChannel, DaprBroker, DaprOptions, HttpEndpoint, SidecarEndpoint};
use annals_bus::{Bus, Handler, SchemaOptions, SubscriptionOptions, Topic};
use annals_parts::{App, Broker, Resources, Sidecar, SidecarOptions, free_port};
use annals_persistence::MemoryJournal;

use crate::support::{CustomerAddressUpdated, customer_publications, node, until};

/// What the component is called.
pub(crate) const PUBSUB: &str = "bus";

/// The topic that customers publish on.
pub(crate) fn topic() -> Topic {
    Topic::of::<CustomerAddressUpdated>()
}

/// A service with its sidecar.
pub(crate) struct Party {
    pub(crate) node: Node,
    pub(crate) bus: Bus,
    pub(crate) sidecar: Sidecar,
}

/// A sidecar for an app on this port.
pub(crate) fn sidecar_options(broker: &dyn Broker, app_id: &str, app: App) -> SidecarOptions {
    let component = broker.component(PUBSUB, app_id, &[topic().as_str()]);
    SidecarOptions::new(app_id, app, Resources::default().pubsub(&component))
}

/// Options for the sidecar on this port, with the app on that.
pub(crate) fn options(sidecar: &Sidecar, app_port: u16) -> DaprOptions {
    let mut options = DaprOptions::new(PUBSUB);
    options.endpoint = SidecarEndpoint::local(sidecar.grpc_port());
    options.http_endpoint = Some(HttpEndpoint::local(sidecar.http_port()));
    options.app_channel = AppChannel::Grpc(([127, 0, 0, 1], app_port).into());
    options.probe_every = Duration::from_millis(100);
    options.relay.parked_retry = Duration::from_millis(300);
    options
}

/// What a service's bus is built on, with options of one's own.
pub(crate) async fn stage(
    sidecar: impl FnOnce(App) -> Sidecar,
    change: impl FnOnce(&mut DaprOptions),
) -> (Node, Arc<DaprBroker>, Sidecar) {
    let port = free_port();
    let sidecar = sidecar(App::Grpc(port));
    let node = node(&Arc::new(MemoryJournal::new())).await;
    let mut options = options(&sidecar, port);
    change(&mut options);
    (node, Arc::new(DaprBroker::new(options)), sidecar)
}

/// The customer service, which publishes.
pub(crate) async fn customers(broker: &dyn Broker) -> Party {
    customers_with(|app| Sidecar::start(sidecar_options(broker, "customer", app))).await
}

/// The customer service, with a sidecar of one's own.
pub(crate) async fn customers_with(sidecar: impl FnOnce(App) -> Sidecar) -> Party {
    let (node, broker, sidecar) = stage(sidecar, |_| {}).await;
    let bus = Bus::builder(node.clone(), "customer")
        .publications(customer_publications())
        .broker(broker)
        .start()
        .await
        .unwrap();
    Party { node, bus, sidecar }
}

/// The order service, which handles what customers publish.
pub(crate) async fn orders(
    broker: &dyn Broker,
    subscription: SubscriptionOptions,
    handler: impl Handler<CustomerAddressUpdated>,
) -> Party {
    orders_with(broker, subscription, handler, |_| {}).await
}

/// The order service, with other options.
pub(crate) async fn orders_with(
    broker: &dyn Broker,
    subscription: SubscriptionOptions,
    handler: impl Handler<CustomerAddressUpdated>,
    change: impl FnOnce(&mut DaprOptions),
) -> Party {
    let sidecar = |app| Sidecar::start(sidecar_options(broker, "order", app));
    orders_on(sidecar, subscription, handler, change).await
}

/// The order service, with a sidecar of one's own.
pub(crate) async fn orders_on(
    sidecar: impl FnOnce(App) -> Sidecar,
    subscription: SubscriptionOptions,
    handler: impl Handler<CustomerAddressUpdated>,
    change: impl FnOnce(&mut DaprOptions),
) -> Party {
    let (node, broker, sidecar) = stage(sidecar, change).await;
    let bus = Bus::builder(node.clone(), "order")
        .schemas(SchemaOptions::default())
        .subscribe_with::<CustomerAddressUpdated>("address", subscription, handler)
        .broker(broker)
        .start()
        .await
        .unwrap();
    until_ready(&bus).await;
    Party { node, bus, sidecar }
}

/// Waits until the sidecar has all that the service needs.
pub(crate) async fn until_ready(bus: &Bus) {
    until("the sidecar is ready", || async { bus.health().is_ready() }).await;
}
