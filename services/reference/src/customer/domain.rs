//! What can be done to a customer, and what happens then. No I/O, no HTTP.

use annals::http::Money;
use annals::prelude::{Aggregate, Context, Event, Shape};
use serde::{Deserialize, Serialize};

use crate::Address;

/// A customer; without details before it was created and after it was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Shape)]
pub struct Customer {
    /// What is known of it.
    pub details: Option<CustomerDetails>,
}

/// What is known of a customer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, Shape)]
#[serde(rename_all = "camelCase")]
pub struct CustomerDetails {
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Where its orders go.
    pub shipping_address: Address,
    /// What it may still spend.
    pub credit_available: Money,
}

/// What a customer can be told to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CustomerCommand {
    /// Begin to exist.
    Create(CustomerDetails),
    /// Become this.
    Change(CustomerChange),
    /// Cease to exist; nothing happens if it does not.
    Remove,
}

/// A customer as it shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomerChange {
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Where its orders go.
    pub shipping_address: Address,
    /// What it may still spend; as it is where nothing is said.
    pub credit_available: Option<Money>,
}

/// What happens to customers.
#[derive(Debug, Clone, PartialEq, Eq, Event)]
pub enum CustomerEvent {
    /// It exists.
    #[event("customer-created")]
    Created(CustomerDetails),
    /// Its details were set, to other values or to the same.
    #[event("customer-changed")]
    #[serde(rename_all = "camelCase")]
    Changed {
        /// First name.
        first_name: String,
        /// Last name.
        last_name: String,
        /// What it may still spend.
        credit_available: Money,
    },
    /// Its orders go elsewhere from now on.
    #[event("customer-address-changed")]
    #[serde(rename_all = "camelCase")]
    AddressChanged {
        /// Where to.
        shipping_address: Address,
    },
    /// It exists no more.
    #[event("customer-removed")]
    Removed {},
}

/// Why a customer says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CustomerRejection {
    /// There is a customer with this id.
    #[error("a customer with this id exists")]
    Exists,
    /// There is no such customer.
    #[error("there is no such customer")]
    NotFound,
}

impl CustomerRejection {
    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Exists => "already_exists",
            Self::NotFound => "not_found",
        }
    }
}

impl Aggregate for Customer {
    const TYPE: &'static str = "customer";
    type Command = CustomerCommand;
    type Event = CustomerEvent;
    type Rejection = CustomerRejection;

    fn handle(&self, command: CustomerCommand, _: &Context) -> Result<Vec<CustomerEvent>, CustomerRejection> {
        match (command, &self.details) {
            (CustomerCommand::Create(_), Some(_)) => Err(CustomerRejection::Exists),
            (CustomerCommand::Create(details), None) => Ok(vec![CustomerEvent::Created(details)]),
            (CustomerCommand::Change(_), None) => Err(CustomerRejection::NotFound),
            (CustomerCommand::Change(change), Some(details)) => Ok(details.change(change)),
            (CustomerCommand::Remove, None) => Ok(vec![]),
            (CustomerCommand::Remove, Some(_)) => Ok(vec![CustomerEvent::Removed {}]),
        }
    }

    fn apply(&mut self, event: CustomerEvent) {
        match event {
            CustomerEvent::Created(details) => self.details = Some(details),
            CustomerEvent::Removed {} => self.details = None,
            other => {
                if let Some(details) = &mut self.details {
                    details.apply(other);
                }
            }
        }
    }
}

impl CustomerDetails {
    /// An accepted change always leaves an event, so that it is in the history and the version moves.
    fn change(&self, change: CustomerChange) -> Vec<CustomerEvent> {
        let mut events = vec![CustomerEvent::Changed {
            first_name: change.first_name,
            last_name: change.last_name,
            credit_available: change.credit_available.unwrap_or(self.credit_available),
        }];
        if change.shipping_address != self.shipping_address {
            events.push(CustomerEvent::AddressChanged { shipping_address: change.shipping_address });
        }
        events
    }

    fn apply(&mut self, event: CustomerEvent) {
        match event {
            CustomerEvent::Changed { first_name, last_name, credit_available } => {
                self.first_name = first_name;
                self.last_name = last_name;
                self.credit_available = credit_available;
            }
            CustomerEvent::AddressChanged { shipping_address } => self.shipping_address = shipping_address,
            CustomerEvent::Created(details) => *self = details,
            // The customer around it is what goes away.
            CustomerEvent::Removed {} => {}
        }
    }
}

#[cfg(test)]
mod tests;
