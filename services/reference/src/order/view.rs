//! What others see of orders.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use annals::http::{ETag, Fold, Money, Page, Problem};
use annals::persistence::{EventError, Filter, RecordedEvent};
use annals::prelude::{Aggregate, Position, Timestamp, Version};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Order, OrderDetails, OrderEvent, OrderItem, OrderState};
use crate::Address;
use crate::catalogue::Catalogue;

/// An order as an answer shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderView {
    /// The order's id.
    pub id: Uuid,
    /// Who ordered.
    pub customer_id: Uuid,
    /// When.
    #[serde(with = "annals::http::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub order_date: Timestamp,
    /// What.
    pub order_items: Vec<OrderItem>,
    /// Where it goes.
    pub shipping_address: Address,
    /// What it costs.
    pub order_total: Money,
    /// How far it is.
    pub order_state: OrderState,
    /// The version of this state; a change has to name it.
    #[schema(example = "1")]
    pub e_tag: String,
}

/// How far an order is, and no more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderStateView {
    /// The order's id.
    pub id: Uuid,
    /// How far it is.
    pub order_state: OrderState,
}

impl OrderView {
    /// The view of an order at a version.
    #[must_use]
    pub fn new(id: Uuid, details: OrderDetails, order_state: OrderState, version: Version) -> Self {
        // No order is taken whose total money cannot say.
        let order_total = details.total().unwrap_or_default();
        let OrderDetails { customer_id, order_date, order_items, shipping_address } = details;
        let e_tag = ETag::text(version);
        Self { id, customer_id, order_date, order_items, shipping_address, order_total, order_state, e_tag }
    }

    fn apply(&mut self, event: OrderEvent) {
        match event {
            OrderEvent::Changed { customer_id, order_date, order_items } => {
                self.order_total =
                    Money::checked_sum(order_items.iter().map(|item| item.product_price)).unwrap_or_default();
                (self.customer_id, self.order_date, self.order_items) =
                    (customer_id, order_date, order_items);
            }
            OrderEvent::AddressChanged { shipping_address, .. } => self.shipping_address = shipping_address,
            OrderEvent::Shipped {} => self.order_state = OrderState::Shipped,
            OrderEvent::Cancelled {} => self.order_state = OrderState::Cancelled,
            // These make and end the view itself.
            OrderEvent::Created(_) | OrderEvent::Removed {} => {}
        }
    }
}

/// Every order, in the order of creation, also by customer.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    all: Catalogue<OrderView>,
    by_customer: HashMap<Uuid, BTreeSet<Position>>,
}

impl Orders {
    /// Everything that the page asks for.
    pub(crate) fn page(&self, page: &Page) -> Result<Vec<Arc<OrderView>>, Problem> {
        self.all.page(page)
    }

    /// What the page asks for of one customer's orders.
    pub(crate) fn page_of(&self, customer: Uuid, page: &Page) -> Result<Vec<Arc<OrderView>>, Problem> {
        let after = self.all.start(page)?;
        let Some(orders) = self.by_customer.get(&customer) else { return Ok(Vec::new()) };
        let orders =
            orders.range((after, std::ops::Bound::Unbounded)).filter_map(|created| self.all.at(*created));
        Ok(orders.take(page.limit.unwrap_or(usize::MAX)).map(Arc::clone).collect())
    }

    /// The ids of a customer's orders.
    pub(crate) fn ids_of(&self, customer: Uuid) -> Vec<Uuid> {
        let orders = self.by_customer.get(&customer).into_iter().flatten();
        orders.filter_map(|created| self.all.at(*created)).map(|order| order.id).collect()
    }

    fn take(&mut self, id: Uuid, event: OrderEvent, recorded: &RecordedEvent) {
        match event {
            OrderEvent::Created(details) => {
                self.by_customer.entry(details.customer_id).or_default().insert(recorded.position);
                let view = OrderView::new(id, details, OrderState::Created, recorded.version);
                self.all.insert(id, recorded.position, view);
            }
            OrderEvent::Removed {} => self.remove(id),
            event => self.amend(id, event, recorded.version),
        }
    }

    fn amend(&mut self, id: Uuid, event: OrderEvent, version: Version) {
        let Some(view) = self.all.get_mut(id) else { return };
        let before = view.customer_id;
        view.apply(event);
        view.e_tag = ETag::text(version);
        let after = view.customer_id;
        if after != before {
            self.hand_over(id, before, after);
        }
    }

    fn remove(&mut self, id: Uuid) {
        if let (Some(created), Some(order)) = (self.all.created(id), self.all.remove(id)) {
            self.forget(order.customer_id, created);
        }
    }

    fn hand_over(&mut self, id: Uuid, from: Uuid, to: Uuid) {
        if let Some(created) = self.all.created(id) {
            self.forget(from, created);
            self.by_customer.entry(to).or_default().insert(created);
        }
    }

    fn forget(&mut self, customer: Uuid, created: Position) {
        if let Some(orders) = self.by_customer.get_mut(&customer) {
            orders.remove(&created);
            if orders.is_empty() {
                self.by_customer.remove(&customer);
            }
        }
    }
}

impl Fold for Orders {
    fn filter(&self) -> Filter {
        Filter::default().category(Order::TYPE)
    }

    fn apply(&mut self, recorded: &RecordedEvent) -> Result<(), EventError> {
        let events = recorded.decode::<OrderEvent>()?;
        // The API makes every order under a UUID; another name is none of its orders.
        if let Ok(id) = Uuid::try_parse(recorded.stream.instance()) {
            events.into_iter().for_each(|event| self.take(id, event, recorded));
        }
        Ok(())
    }
}
