//! What the Order service does when a customer moves.

use annals::bus::{Delivery, Handler, HandlerError, Reaction};
use annals::http::ReadModel;

use super::view::Orders;
use super::{Order, OrderCommand};
use crate::contract::CustomerAddressUpdated;

/// The subscription's name; what was handled is found by it, so it stays.
pub(super) const NAME: &str = "customer-address";

/// Sends every order of the customer after it.
///
/// The orders are looked up in the service's own read model as of the event's arrival or later, so an order that was
/// acknowledged before the customer's change is among them. One that is created after the change, while the event is
/// on its way, may be among them too: it then goes where its customer is, not where its own request says. What the
/// orders do with it is theirs to decide: they know what they heard last.
#[derive(Debug)]
pub(super) struct FollowCustomer {
    pub(super) orders: ReadModel<Orders>,
}

impl Handler<CustomerAddressUpdated> for FollowCustomer {
    async fn handle(
        &self,
        event: CustomerAddressUpdated,
        delivery: &Delivery,
    ) -> Result<Reaction, HandlerError> {
        let CustomerAddressUpdated { customer_id, shipping_address } = event;
        let ids = self.orders.read(|orders| orders.ids_of(customer_id)).await.map_err(HandlerError::retry)?;
        let sequence = delivery.sequence();
        Ok(ids.into_iter().fold(Reaction::none(), |reaction, id| {
            let shipping_address = shipping_address.clone();
            let command = OrderCommand::FollowCustomer { customer_id, sequence, shipping_address };
            reaction.command::<Order>(id.to_string(), command)
        }))
    }
}
