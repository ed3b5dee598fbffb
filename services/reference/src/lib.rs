//! The reference services: Customer and Order, each with a journal of its own, connected by the bus alone.
//!
//! They are what a service author reads to see how one is written, and what the runtime is measured with. Each is a
//! folder of concerns: `domain` decides and knows no I/O, `view` is what others see of it, `api` is HTTP, `service`
//! puts them together. [`contract`] is what one service knows of the other.
//!
//! The domain needs nothing but the test kit:
//!
//! ```
//! use annals::testing::given;
//! use annals_reference::customer::{Customer, CustomerCommand, CustomerDetails, CustomerEvent, CustomerRejection};
//!
//! let anna = CustomerDetails { first_name: "Anna".into(), ..CustomerDetails::default() };
//! given::<Customer>([])
//!     .when(CustomerCommand::Create(anna.clone()))
//!     .then([CustomerEvent::Created(anna.clone())])
//!     .when(CustomerCommand::Create(anna))
//!     .then_rejected(CustomerRejection::Exists);
//! ```

use std::sync::Arc;

use annals::http::Service;

mod address;
mod catalogue;
pub mod contract;
pub mod customer;

mod openapi;
pub mod order;
mod routes;
#[cfg(test)]
mod testing;

pub use address::Address;

/// Every service there is.
#[must_use]
pub fn services() -> Vec<Arc<dyn Service>> {
    vec![Arc::new(customer::CustomerService), Arc::new(order::OrderService)]
}
