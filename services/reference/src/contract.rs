//! What the services tell each other. Published events outlive releases: changed content takes a new version.

use annals::IntegrationEvent;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Address;

/// The name that the Customer service's events have as their source.
pub const CUSTOMER_SOURCE: &str = "customer";

/// A customer's orders go elsewhere from now on. Topic `v1.CustomerAddressUpdated`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, IntegrationEvent)]
#[integration_event(name = "CustomerAddressUpdated", version = 1)]
#[serde(rename_all = "camelCase")]
pub struct CustomerAddressUpdated {
    /// The customer.
    pub customer_id: Uuid,
    /// Where to.
    pub shipping_address: Address,
}
