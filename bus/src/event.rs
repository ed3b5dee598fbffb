//! Integration events as Rust types: what `#[derive(IntegrationEvent)]` implements.

use schemars::Schema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::TopicParts;

/// What a service publishes for others: a name, a version, a topic and a JSON Schema.
///
/// Derive it beside serde's traits. Published events outlive releases: changed content takes a new version, and
/// with it a new topic.
///
/// ```
/// use annals_bus::{IntegrationEvent, Topic};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, IntegrationEvent)]
/// #[integration_event(name = "CustomerAddressUpdated", version = 2)]
/// #[serde(rename_all = "camelCase")]
/// struct CustomerAddressUpdated {
///     customer_id: String,
/// }
///
/// assert_eq!(Topic::of::<CustomerAddressUpdated>().as_str(), "v2.CustomerAddressUpdated");
/// let schema = CustomerAddressUpdated::schema();
/// assert!(schema.pointer("/properties/customerId").is_some());
/// ```
pub trait IntegrationEvent: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The stable name.
    const NAME: &'static str;

    /// The version of its content, from 1.
    const VERSION: u16;

    /// What the attribute says of the topic.
    const TOPIC: TopicParts<'static>;

    /// The JSON Schema of its content.
    fn schema() -> Schema;

    /// Its type as it stands in an envelope: `<name>.v<version>`.
    #[must_use]
    fn type_name() -> String {
        format!("{}.v{}", Self::NAME, Self::VERSION)
    }
}
