//! The Order service, put together.

use std::sync::Arc;

use annals::actors::{Inspector, inspector};
use annals::bus::Topic;
use annals::http::{Running, Service, ServiceError, Setup, TopicDescription};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use utoipa::OpenApi;

use super::subscription::FollowCustomer;
use super::view::Orders;
use super::{Order, api, subscription};
use crate::contract::CustomerAddressUpdated;
use crate::routes::App;

const NAME: &str = "order";

/// The Order service: orders and their lists. It subscribes to `v1.CustomerAddressUpdated`.
#[derive(Debug, Clone, Copy, Default)]
pub struct OrderService;

impl Service for OrderService {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "Orders: what customers ordered, and where it goes"
    }

    fn base_path(&self) -> &'static str {
        api::BASE
    }

    fn inspectors(&self) -> Vec<Arc<dyn Inspector>> {
        vec![inspector::<Order>()]
    }

    fn openapi(&self) -> utoipa::openapi::OpenApi {
        api::Api::openapi()
    }

    fn subscriptions(&self) -> Vec<TopicDescription> {
        let topic = Topic::of::<CustomerAddressUpdated>();
        vec![TopicDescription { topic: topic.to_string(), event: "CustomerAddressUpdated".to_owned() }]
    }

    fn start(&self, setup: Setup) -> BoxFuture<'_, Result<Running, ServiceError>> {
        async move {
            let node = setup.node().aggregate::<Order>().start().await?;
            let list = setup.read_model("orders", Orders::default());
            let handler = FollowCustomer { orders: list.clone() };
            let bus = setup.bus(&node).subscribe(subscription::NAME, handler).start().await?;
            let router = api::router(App { node: node.clone(), gateway: setup.gateway(), list });
            Ok(Running::new(node).router(router).bus(bus))
        }
        .boxed()
    }
}
