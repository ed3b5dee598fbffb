//! Integration events between services, on the event log of Annals.
//!
//! A service says what its domain events mean to others ([`Publications`]) and what others' events make it do
//! ([`Handler`]). Between the two:
//!
//! * a **relay** ([`Relay`]) reads the publisher's journal, which is the outbox, and publishes every event at least
//!   once, in the order of its key, under one id;
//! * a **broker** ([`Broker`]) carries it: [`InProcessBroker`] between the services of one process;
//! * a **subscription** ([`Inlet`]) runs its handler once for each event, in the order of its key and with other keys
//!   beside it, and carries out the commands that the handler answers with. Its **inbox** is part of the same append
//!   as the command's own events, so that a crash anywhere leaves one effect, and the event is acknowledged when
//!   that is durable;
//! * an event that cannot be handled becomes a **dead letter** ([`DeadLetters`]) and can be replayed.
//!
//! ```
//! use std::sync::Arc;
//!
//! use annals_actors::{Aggregate, Context, Event, Node, Shape};
//! use annals_bus::{Bus, Delivery, HandlerError, InProcessBroker, IntegrationEvent, Outgoing, Publications, Reaction};
//! use annals_persistence::MemoryJournal;
//! use serde::{Deserialize, Serialize};
//!
//! /// What the customer service publishes, as `v1.CustomerMoved`.
//! #[derive(Serialize, Deserialize, IntegrationEvent)]
//! #[integration_event(name = "CustomerMoved")]
//! struct CustomerMoved {
//!     customer_id: String,
//!     street: String,
//! }
//! # #[derive(Debug, thiserror::Error)]
//! # #[error("no")]
//! # struct No;
//! # macro_rules! aggregate { ($aggregate:ident, $name:literal, $command:ident, $event:ident, $moved:literal) => {
//! #     #[derive(Default, Clone, Serialize, Deserialize, Shape)]
//! #     struct $aggregate { street: String }
//! #     #[derive(Serialize, Deserialize)]
//! #     enum $command { Move { street: String } }
//! #     #[derive(Event)]
//! #     enum $event { #[event($moved)] Moved { street: String } }
//! #     impl Aggregate for $aggregate {
//! #         const TYPE: &'static str = $name;
//! #         type Command = $command;
//! #         type Event = $event;
//! #         type Rejection = No;
//! #         fn handle(&self, command: $command, _: &Context) -> Result<Vec<$event>, No> {
//! #             let $command::Move { street } = command;
//! #             Ok(vec![$event::Moved { street }])
//! #         }
//! #         fn apply(&mut self, event: $event) { let $event::Moved { street } = event; self.street = street; }
//! #     }
//! # } }
//! # aggregate!(Customer, "customer", CustomerCommand, CustomerEvent, "customer-moved");
//! # aggregate!(Order, "order", OrderCommand, OrderEvent, "order-moved");
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let broker = InProcessBroker::new();
//!
//! // The customer service publishes what its own events mean to others.
//! let customers = Node::builder().journal(Arc::new(MemoryJournal::new())).aggregate::<Customer>().start().await?;
//! let publications = Publications::new("customer").translate::<Customer>(|event, recorded| match event {
//!     CustomerEvent::Moved { street } => vec![Outgoing::event(&CustomerMoved {
//!         customer_id: recorded.stream.instance().to_owned(),
//!         street: street.clone(),
//!     })],
//! });
//! let customer_bus =
//!     Bus::builder(customers.clone(), "customer").publications(publications).in_process(&broker).start().await?;
//!
//! // The order service answers them with commands for its own aggregates.
//! let orders = Node::builder().journal(Arc::new(MemoryJournal::new())).aggregate::<Order>().start().await?;
//! let order_bus = Bus::builder(orders.clone(), "order")
//!     .subscribe("order-address", async |event: CustomerMoved, _: Delivery| {
//!         let command = OrderCommand::Move { street: event.street };
//!         Ok::<_, HandlerError>(Reaction::none().command::<Order>(&event.customer_id, command))
//!     })
//!     .in_process(&broker)
//!     .start()
//!     .await?;
//!
//! customers.aggregate::<Customer>("7").send(CustomerCommand::Move { street: "Elm Street".into() }).await?;
//! # while order_bus.subscriptions()[0].lag() > 0 { tokio::task::yield_now().await; }
//! assert_eq!(orders.aggregate::<Order>("7").state().await?.state.street, "Elm Street");
//!
//! order_bus.shutdown().await;
//! customer_bus.shutdown().await;
//! # Ok(())
//! # }
//! ```

// The derives name this crate by its name, also in its own tests.
extern crate self as annals_bus;

mod broker;
mod bus;
mod caretaker;
mod causes;
mod dead_letter;
mod ended;
mod envelope;
mod error;
mod event;
mod handler;
mod identity;
mod inbox;
mod mailbox;
mod publication;
mod reaction;
mod record;
mod relay;
mod retry;
mod schema;
mod subscription;
mod topic;

pub use annals_macros::IntegrationEvent;
#[cfg(feature = "dapr")]
pub use broker::dapr;
pub use broker::{Attachment, Broker, BrokerHealth, InProcessBroker, PublishError, Publisher, ServicePort};
pub use bus::{Bus, BusBuilder};
#[doc(hidden)]
pub use causes::with_causes;
pub use dead_letter::{
    DeadLetter, DeadLetterError, DeadLetterId, DeadLetterStream, DeadLetters, Discarded, ReplayStream,
    ReplaySummary, Replayed, dead_letters, stream_dead_letters,
};
pub use envelope::{Envelope, EnvelopeError};
pub use error::BusStartError;
pub use event::IntegrationEvent;
pub use handler::{Delivery, Handler, HandlerError};
pub use inbox::InboxError;
pub use publication::{Outgoing, Publications, TranslationError};
pub use reaction::Reaction;
pub use relay::{Answer, Relay, RelayOptions, RelayParts, RelayStatus, StartFrom};
pub use retry::RetryPolicy;
pub use schema::{
    Compatibility, Incompatibility, Registered, RegisteredSchema, SCHEMA_BYTES_MAX, SchemaError, SchemaFault,
    SchemaOptions, SchemaRegistry, SchemaValidator, TopicSchemas, incompatibilities,
};
pub use subscription::{DeliveryError, Inlet, SubscriptionOptions, SubscriptionStatus};
pub use topic::{TOPIC_BYTES_MAX, Topic, TopicArguments, TopicParts};

/// What the derives' code needs; no part of the interface.
#[doc(hidden)]
pub mod __private {
    pub use annals_persistence as persistence;
    pub use schemars;
    pub use serde;
    pub use serde_json;

    /// The traits of this crate.
    pub mod bus {
        pub use crate::{IntegrationEvent, TopicParts};
    }
}
