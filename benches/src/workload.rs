//! The work: an order that takes items, written as a user would write it; events of about 200 bytes.

use annals::persistence::{
    CodecId, CommandMetadata, Event as _, EventError, EventId, NewEvent, RecordedEvent, StreamId, Timestamp,
};
use annals::prelude::*;
use serde::{Deserialize, Serialize};

use crate::Failure;

/// An order, as far as its items go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Shape)]
pub struct Order {
    /// How many items it has.
    pub items: u64,
    /// What they cost together, in cents.
    pub total_cents: u64,
}

/// What can be told to an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderCommand {
    /// Add an item.
    #[serde(rename_all = "camelCase")]
    AddItem {
        /// The product.
        product_id: String,
        /// What it is called.
        product_name: String,
        /// What one costs, in cents.
        price_cents: u64,
        /// How many.
        quantity: u32,
        /// What the customer says to it.
        note: String,
    },
}

/// What can have happened to an order.
#[derive(Debug, Clone, PartialEq, Eq, Event)]
pub enum OrderEvent {
    /// An item was added.
    #[event("order-item-added")]
    #[serde(rename_all = "camelCase")]
    ItemAdded {
        /// The product.
        product_id: String,
        /// What it is called.
        product_name: String,
        /// What one costs, in cents.
        price_cents: u64,
        /// How many.
        quantity: u32,
        /// What the customer says to it.
        note: String,
    },
}

/// An item that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an item has a quantity")]
pub struct NoQuantity;

impl Aggregate for Order {
    const TYPE: &'static str = "order";
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Rejection = NoQuantity;

    fn handle(&self, command: OrderCommand, _context: &Context) -> Result<Vec<OrderEvent>, NoQuantity> {
        match command {
            OrderCommand::AddItem { quantity: 0, .. } => Err(NoQuantity),
            OrderCommand::AddItem { product_id, product_name, price_cents, quantity, note } => {
                Ok(vec![OrderEvent::ItemAdded { product_id, product_name, price_cents, quantity, note }])
            }
        }
    }

    fn apply(&mut self, event: OrderEvent) {
        match event {
            OrderEvent::ItemAdded { price_cents, quantity, .. } => {
                self.items += u64::from(quantity);
                self.total_cents += price_cents * u64::from(quantity);
            }
        }
    }
}

const PRODUCT_ID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
const PRODUCT_NAME: &str = "Ballpoint pen, blue, refillable";
const NOTE: &str = "Please wrap it as a present, with a card, in time.";

/// The command that all clients send.
#[must_use]
pub fn command() -> OrderCommand {
    OrderCommand::AddItem {
        product_id: PRODUCT_ID.to_owned(),
        product_name: PRODUCT_NAME.to_owned(),
        price_cents: 1295,
        quantity: 2,
        note: NOTE.to_owned(),
    }
}

/// The event that comes of it.
#[must_use]
pub fn event() -> OrderEvent {
    OrderEvent::ItemAdded {
        product_id: PRODUCT_ID.to_owned(),
        product_name: PRODUCT_NAME.to_owned(),
        price_cents: 1295,
        quantity: 2,
        note: NOTE.to_owned(),
    }
}

/// The event as it is appended.
///
/// # Errors
/// When the codec refuses.
pub fn new_event() -> Result<NewEvent, Failure> {
    new_event_as(CodecId::Json)
}

/// The same in this codec.
///
/// # Errors
/// When the codec refuses.
pub fn new_event_as(codec: CodecId) -> Result<NewEvent, Failure> {
    let event = event();
    let event_type = event.event_type();
    Ok(NewEvent {
        id: EventId::generate(),
        type_name: event_type.name.into(),
        schema_version: event_type.version,
        codec,
        payload: event.encode_as(codec)?.into(),
        command: CommandMetadata::internal(Timestamp::now()),
        tags: Vec::new(),
    })
}

/// The id of an instance: a UUID, as services have them.
#[must_use]
pub fn instance_id(instance: usize) -> String {
    uuid::Uuid::from_u64_pair(0x0192_3456_789a_7000, 0x8000_0000_0000_0000 | instance as u64).to_string()
}

/// The stream of an instance.
///
/// # Errors
/// None, with the ids that [`instance_id`] makes.
pub fn stream(instance: usize) -> Result<StreamId, Failure> {
    Ok(StreamId::aggregate(Order::TYPE, &instance_id(instance))?)
}

/// Decodes a recorded event and applies it: what replay cannot do without.
///
/// # Errors
/// When the event is no order's.
pub fn apply(order: &mut Order, event: &RecordedEvent) -> Result<(), EventError> {
    event.decode::<OrderEvent>()?.into_iter().for_each(|event| order.apply(event));
    Ok(())
}

#[cfg(test)]
mod tests;
