//! The Customer service, put together.

use std::sync::Arc;

use annals::actors::{Inspector, inspector};
use annals::bus::{Outgoing, Publications, Topic};
use annals::http::{Running, Service, ServiceError, Setup, TopicDescription};
use annals::persistence::RecordedEvent;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use utoipa::OpenApi;
use uuid::Uuid;

use super::view::Customers;
use super::{Customer, CustomerEvent, api};
use crate::contract::{CUSTOMER_SOURCE, CustomerAddressUpdated};
use crate::routes::App;

const NAME: &str = "customer";

/// The Customer service: customers and their list. It publishes `v1.CustomerAddressUpdated`.
#[derive(Debug, Clone, Copy, Default)]
pub struct CustomerService;

impl Service for CustomerService {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "Customers: who they are, and where their orders go"
    }

    fn base_path(&self) -> &'static str {
        api::BASE
    }

    fn inspectors(&self) -> Vec<Arc<dyn Inspector>> {
        vec![inspector::<Customer>()]
    }

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        api::Api::openapi()
    }

    fn publications(&self) -> Vec<TopicDescription> {
        let topic = Topic::of::<CustomerAddressUpdated>();
        vec![TopicDescription { topic: topic.to_string(), event: "CustomerAddressUpdated".to_owned() }]
    }

    fn start(&self, setup: Setup) -> BoxFuture<'_, Result<Running, ServiceError>> {
        async move {
            let node = setup.node().aggregate::<Customer>().start().await?;
            let list = setup.read_model("customers", Customers::default());
            let bus = setup.bus(&node).publications(publications()).start().await?;
            let router = api::router(App { node: node.clone(), gateway: setup.gateway(), list });
            Ok(Running::new(node).router(router).bus(bus))
        }
        .boxed()
    }
}

fn publications() -> Publications {
    Publications::new(CUSTOMER_SOURCE)
        .publishes::<CustomerAddressUpdated>()
        .translate::<Customer>(|event, recorded| moved(event, recorded).iter().map(Outgoing::event).collect())
}

/// What others hear of a customer's event.
fn moved(event: &CustomerEvent, recorded: &RecordedEvent) -> Option<CustomerAddressUpdated> {
    let CustomerEvent::AddressChanged { shipping_address } = event else { return None };
    // The API makes every customer under a UUID; another name is none of its customers.
    let customer_id = Uuid::try_parse(recorded.stream.instance()).ok()?;
    Some(CustomerAddressUpdated { customer_id, shipping_address: shipping_address.clone() })
}
