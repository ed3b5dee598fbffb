//! The bodies that the routes take.

use annals::http::fields::{etag, integer, list, money, object, text, time, uuid};
use annals::http::{ETag, Fields, FromFields, Money, Problem};
use annals::prelude::Timestamp;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{OrderDetails, OrderItem};
use crate::Address;

/// How many items an order has.
const ITEMS: std::ops::RangeInclusive<usize> = 1..=1000;

/// An order to create.
#[derive(Debug, Clone, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct NewOrder {
    /// The id it shall have; a new one where none is given.
    pub(crate) id: Option<Uuid>,
    /// Who orders.
    pub(crate) customer_id: Uuid,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) order_date: Timestamp,
    /// What.
    #[schema(min_items = 1, max_items = 1000)]
    pub(crate) order_items: Vec<OrderItem>,
    /// Where it goes.
    pub(crate) shipping_address: Address,
    /// The stock to take it from. Not available yet.
    pub(crate) inventory_id: Option<Uuid>,
    /// How much of it. Not available yet.
    pub(crate) quantity: Option<i64>,
}

/// An order as it shall be.
#[derive(Debug, Clone, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct ChangedOrder {
    /// The order's id.
    pub(crate) id: Uuid,
    /// Who orders.
    pub(crate) customer_id: Uuid,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) order_date: Timestamp,
    /// What.
    #[schema(min_items = 1, max_items = 1000)]
    pub(crate) order_items: Vec<OrderItem>,
    /// Where it goes.
    pub(crate) shipping_address: Address,
    /// The stock to take it from. Not available yet.
    pub(crate) inventory_id: Option<Uuid>,
    /// How much of it. Not available yet.
    pub(crate) quantity: Option<i64>,
    /// The version that is changed; the header `If-Match` can say it instead.
    #[schema(value_type = Option<String>, example = "1")]
    pub(crate) e_tag: Option<ETag>,
}

impl FromFields for NewOrder {
    fn from_fields(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let id = fields.optional("id", uuid());
        let customer_id = fields.required("customerId", uuid());
        let order_date = fields.required("orderDate", time());
        let order_items = items(fields);
        let shipping_address = fields.required("shippingAddress", object::<Address>());
        let inventory_id = fields.optional("inventoryId", uuid());
        let quantity = fields.optional("quantity", integer(0..=i64::MAX));
        Some(Self {
            id: id?,
            customer_id: customer_id?,
            order_date: order_date?,
            order_items: order_items?,
            shipping_address: shipping_address?,
            inventory_id: inventory_id?,
            quantity: quantity?,
        })
    }
}

impl FromFields for ChangedOrder {
    fn from_fields(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let id = fields.required("id", uuid());
        let customer_id = fields.required("customerId", uuid());
        let order_date = fields.required("orderDate", time());
        let order_items = items(fields);
        let shipping_address = fields.required("shippingAddress", object::<Address>());
        let inventory_id = fields.optional("inventoryId", uuid());
        let quantity = fields.optional("quantity", integer(0..=i64::MAX));
        let e_tag = fields.optional("eTag", etag());
        Some(Self {
            id: id?,
            customer_id: customer_id?,
            order_date: order_date?,
            order_items: order_items?,
            shipping_address: shipping_address?,
            inventory_id: inventory_id?,
            quantity: quantity?,
            e_tag: e_tag?,
        })
    }
}

impl FromFields for OrderItem {
    fn from_fields(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let product_id = fields.required("productId", uuid());
        let product_name = fields.required("productName", text());
        let product_price = fields.required("productPrice", money());
        Some(Self { product_id: product_id?, product_name: product_name?, product_price: product_price? })
    }
}

fn items(fields: &mut Fields<'_, '_>) -> Option<Vec<OrderItem>> {
    let items = fields.required("orderItems", list(object::<OrderItem>(), ITEMS))?;
    if Money::checked_sum(items.iter().map(|item: &OrderItem| item.product_price)).is_none() {
        fields.fail("orderItems", "out_of_range", "the prices are too much together");
        return None;
    }
    Some(items)
}

/// Stock is taken by a saga, and there are none yet.
fn refuse_stock(inventory_id: Option<Uuid>, quantity: Option<i64>) -> Result<(), Problem> {
    let given = [("inventoryId", inventory_id.is_some()), ("quantity", quantity.is_some())];
    if given.iter().all(|(_, given)| !given) {
        return Ok(());
    }
    let problem = Problem::rejected("not_available", "orders cannot be taken from stock yet; leave it out");
    let wrong = given.into_iter().filter(|(_, given)| *given);
    Err(wrong.fold(problem, |problem, (name, _)| {
        problem.with_error(format!("/{name}"), "not_available", "is not available yet")
    }))
}

impl TryFrom<NewOrder> for OrderDetails {
    type Error = Problem;

    fn try_from(new: NewOrder) -> Result<Self, Problem> {
        refuse_stock(new.inventory_id, new.quantity)?;
        let NewOrder { customer_id, order_date, order_items, shipping_address, .. } = new;
        Ok(Self { customer_id, order_date, order_items, shipping_address })
    }
}

impl TryFrom<ChangedOrder> for OrderDetails {
    type Error = Problem;

    fn try_from(changed: ChangedOrder) -> Result<Self, Problem> {
        refuse_stock(changed.inventory_id, changed.quantity)?;
        let ChangedOrder { customer_id, order_date, order_items, shipping_address, .. } = changed;
        Ok(Self { customer_id, order_date, order_items, shipping_address })
    }
}
