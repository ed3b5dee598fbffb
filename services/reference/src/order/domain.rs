//! What can be done to an order, and what happens then. No I/O, no HTTP.

use annals::http::Money;
use annals::prelude::{Aggregate, Context, Event, Shape, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Address;

/// An order; without details before it was created and after it was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Shape)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// What is known of it.
    pub details: Option<OrderDetails>,
    /// How far it is.
    pub state: OrderState,
    /// The customer's last word on the address, as far as this order has heard of it. It outlives the order's
    /// removal: what is old stays old.
    pub heard: Option<CustomerWord>,
}

/// What is known of an order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Shape)]
#[serde(rename_all = "camelCase")]
pub struct OrderDetails {
    /// Who ordered.
    pub customer_id: Uuid,
    /// When.
    #[serde(with = "annals::http::rfc3339")]
    pub order_date: Timestamp,
    /// What.
    pub order_items: Vec<OrderItem>,
    /// Where it goes.
    pub shipping_address: Address,
}

/// One thing ordered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Shape, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderItem {
    /// The product.
    pub product_id: Uuid,
    /// Its name.
    #[schema(min_length = 1, max_length = 200)]
    pub product_name: String,
    /// Its price.
    pub product_price: Money,
}

/// How far an order is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, Shape, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OrderState {
    /// It is not placed.
    #[default]
    Initial,
    /// It waits for credit and stock.
    Pending,
    /// It is placed.
    Created,
    /// It is on its way.
    Shipped,
    /// It will not be shipped.
    Cancelled,
}

/// Which event of which customer an address came with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Shape)]
#[serde(rename_all = "camelCase")]
pub struct CustomerWord {
    /// The customer.
    pub customer_id: Uuid,
    /// The number of its event.
    pub sequence: u64,
}

/// What an order can be told to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderCommand {
    /// Begin to exist.
    Create(OrderDetails),
    /// Become this.
    Change(OrderDetails),
    /// Go on its way.
    Ship,
    /// Not be shipped.
    Cancel,
    /// Cease to exist; nothing happens if it does not.
    Remove,
    /// Go where its customer now is.
    FollowCustomer {
        /// The customer.
        customer_id: Uuid,
        /// The number of its event that says so; an event without a number counts as new.
        sequence: Option<u64>,
        /// Where the customer is.
        shipping_address: Address,
    },
}

/// What happens to orders.
#[derive(Debug, Clone, PartialEq, Eq, Event)]
pub enum OrderEvent {
    /// It exists.
    #[event("order-created")]
    Created(OrderDetails),
    /// Its details were set, to other values or to the same.
    #[event("order-changed")]
    #[serde(rename_all = "camelCase")]
    Changed {
        /// Who ordered.
        customer_id: Uuid,
        /// When.
        #[serde(with = "annals::http::rfc3339")]
        order_date: Timestamp,
        /// What.
        order_items: Vec<OrderItem>,
    },
    /// It goes elsewhere.
    #[event("order-address-changed")]
    #[serde(rename_all = "camelCase")]
    AddressChanged {
        /// Where to.
        shipping_address: Address,
        /// The customer's event behind it; nothing if the order itself was changed.
        customer: Option<CustomerWord>,
    },
    /// It is on its way.
    #[event("order-shipped")]
    Shipped {},
    /// It will not be shipped.
    #[event("order-cancelled")]
    Cancelled {},
    /// It exists no more.
    #[event("order-removed")]
    Removed {},
}

/// Why an order says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderRejection {
    /// There is an order with this id.
    #[error("an order with this id exists")]
    Exists,
    /// There is no such order.
    #[error("there is no such order")]
    NotFound,
    /// It is on its way.
    #[error("a shipped order cannot be cancelled")]
    AlreadyShipped,
    /// It was cancelled.
    #[error("a cancelled order cannot be shipped")]
    AlreadyCancelled,
}

impl OrderRejection {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Exists => "already_exists",
            Self::NotFound => "not_found",
            Self::AlreadyShipped => "order_shipped",
            Self::AlreadyCancelled => "order_cancelled",
        }
    }
}

impl Aggregate for Order {
    const TYPE: &'static str = "order";
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Rejection = OrderRejection;

    fn handle(&self, command: OrderCommand, _: &Context) -> Result<Vec<OrderEvent>, OrderRejection> {
        let Some(details) = &self.details else { return decide_without_order(command) };
        match command {
            OrderCommand::Create(_) => Err(OrderRejection::Exists),
            OrderCommand::Change(new) => Ok(details.change(new)),
            OrderCommand::Ship => self.state.ship(),
            OrderCommand::Cancel => self.state.cancel(),
            OrderCommand::Remove => Ok(vec![OrderEvent::Removed {}]),
            OrderCommand::FollowCustomer { customer_id, .. } if customer_id != details.customer_id => {
                Ok(vec![])
            }
            OrderCommand::FollowCustomer { customer_id, sequence, shipping_address } => {
                let customer = sequence.map(|sequence| CustomerWord { customer_id, sequence });
                Ok(self.follow(customer, shipping_address))
            }
        }
    }

    fn apply(&mut self, event: OrderEvent) {
        match event {
            OrderEvent::Created(details) => {
                self.details = Some(details);
                self.state = OrderState::Created;
            }
            OrderEvent::Changed { customer_id, order_date, order_items } => {
                self.amend(|details| OrderDetails {
                    customer_id,
                    order_date,
                    order_items,
                    ..std::mem::take(details)
                });
            }
            OrderEvent::AddressChanged { shipping_address, customer } => {
                self.amend(|details| OrderDetails { shipping_address, ..std::mem::take(details) });
                self.heard = customer.or_else(|| self.heard.take());
            }
            OrderEvent::Shipped {} => self.state = OrderState::Shipped,
            OrderEvent::Cancelled {} => self.state = OrderState::Cancelled,
            OrderEvent::Removed {} => {
                self.details = None;
                self.state = OrderState::Initial;
            }
        }
    }
}

/// What an order that does not exist does. A customer's new address is no news to it, and no mistake either.
fn decide_without_order(command: OrderCommand) -> Result<Vec<OrderEvent>, OrderRejection> {
    match command {
        OrderCommand::Create(details) => Ok(vec![OrderEvent::Created(details)]),
        OrderCommand::Remove | OrderCommand::FollowCustomer { .. } => Ok(vec![]),
        OrderCommand::Change(_) | OrderCommand::Ship | OrderCommand::Cancel => Err(OrderRejection::NotFound),
    }
}

impl Order {
    /// The address is taken even if it is the same: the order has then heard of it, and of nothing older.
    fn follow(&self, customer: Option<CustomerWord>, shipping_address: Address) -> Vec<OrderEvent> {
        let old = customer.as_ref().zip(self.heard.as_ref()).is_some_and(|(word, heard)| {
            word.customer_id == heard.customer_id && word.sequence <= heard.sequence
        });
        if old {
            return vec![];
        }
        vec![OrderEvent::AddressChanged { shipping_address, customer }]
    }

    fn amend(&mut self, amend: impl FnOnce(&mut OrderDetails) -> OrderDetails) {
        if let Some(details) = &mut self.details {
            *details = amend(details);
        }
    }
}

impl OrderDetails {
    /// An accepted change always leaves an event, so that it is in the history and the version moves.
    fn change(&self, new: OrderDetails) -> Vec<OrderEvent> {
        let moved = new.shipping_address != self.shipping_address;
        let mut events = vec![OrderEvent::Changed {
            customer_id: new.customer_id,
            order_date: new.order_date,
            order_items: new.order_items,
        }];
        if moved {
            let shipping_address = new.shipping_address;
            events.push(OrderEvent::AddressChanged { shipping_address, customer: None });
        }
        events
    }

    /// What its items cost together; nothing if that is more than money can say.
    #[must_use]
    pub fn total(&self) -> Option<Money> {
        Money::checked_sum(self.order_items.iter().map(|item| item.product_price))
    }
}

impl OrderState {
    fn ship(self) -> Result<Vec<OrderEvent>, OrderRejection> {
        match self {
            Self::Cancelled => Err(OrderRejection::AlreadyCancelled),
            Self::Shipped => Ok(vec![]),
            Self::Initial | Self::Pending | Self::Created => Ok(vec![OrderEvent::Shipped {}]),
        }
    }

    fn cancel(self) -> Result<Vec<OrderEvent>, OrderRejection> {
        match self {
            Self::Shipped => Err(OrderRejection::AlreadyShipped),
            Self::Cancelled => Ok(vec![]),
            Self::Initial | Self::Pending | Self::Created => Ok(vec![OrderEvent::Cancelled {}]),
        }
    }
}

#[cfg(test)]
mod tests;
