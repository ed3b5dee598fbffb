//! The bodies that the routes take.

use annals::http::fields::{etag, money, object, text, uuid};
use annals::http::{ETag, Fields, FromFields, Money};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{CustomerChange, CustomerDetails};
use crate::Address;

/// A customer to create.
#[derive(Debug, Clone, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct NewCustomer {
    /// The id it shall have; a new one where none is given.
    pub(crate) id: Option<Uuid>,
    /// First name.
    #[schema(min_length = 1, max_length = 200)]
    pub(crate) first_name: String,
    /// Last name.
    #[schema(min_length = 1, max_length = 200)]
    pub(crate) last_name: String,
    /// Where its orders go.
    pub(crate) shipping_address: Address,
    /// What it may spend; nothing where nothing is said. Not negative.
    pub(crate) credit_available: Option<Money>,
}

/// A customer as it shall be.
#[derive(Debug, Clone, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct ChangedCustomer {
    /// The customer's id.
    pub(crate) id: Uuid,
    /// First name.
    #[schema(min_length = 1, max_length = 200)]
    pub(crate) first_name: String,
    /// Last name.
    #[schema(min_length = 1, max_length = 200)]
    pub(crate) last_name: String,
    /// Where its orders go.
    pub(crate) shipping_address: Address,
    /// What it may spend; as it is where nothing is said. Not negative.
    pub(crate) credit_available: Option<Money>,
    /// The version that is changed; the header `If-Match` can say it instead.
    #[schema(value_type = Option<String>, example = "1")]
    pub(crate) e_tag: Option<ETag>,
}

impl FromFields for NewCustomer {
    fn from_fields(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let id = fields.optional("id", uuid());
        let first_name = fields.required("firstName", text());
        let last_name = fields.required("lastName", text());
        let shipping_address = fields.required("shippingAddress", object::<Address>());
        let credit_available = fields.optional("creditAvailable", money());
        Some(Self {
            id: id?,
            first_name: first_name?,
            last_name: last_name?,
            shipping_address: shipping_address?,
            credit_available: credit_available?,
        })
    }
}

impl FromFields for ChangedCustomer {
    fn from_fields(fields: &mut Fields<'_, '_>) -> Option<Self> {
        let id = fields.required("id", uuid());
        let first_name = fields.required("firstName", text());
        let last_name = fields.required("lastName", text());
        let shipping_address = fields.required("shippingAddress", object::<Address>());
        let credit_available = fields.optional("creditAvailable", money());
        let e_tag = fields.optional("eTag", etag());
        Some(Self {
            id: id?,
            first_name: first_name?,
            last_name: last_name?,
            shipping_address: shipping_address?,
            credit_available: credit_available?,
            e_tag: e_tag?,
        })
    }
}

impl From<NewCustomer> for CustomerDetails {
    fn from(new: NewCustomer) -> Self {
        let NewCustomer { first_name, last_name, shipping_address, credit_available, .. } = new;
        Self {
            first_name,
            last_name,
            shipping_address,
            credit_available: credit_available.unwrap_or_default(),
        }
    }
}

impl From<ChangedCustomer> for CustomerChange {
    fn from(changed: ChangedCustomer) -> Self {
        let ChangedCustomer { first_name, last_name, shipping_address, credit_available, .. } = changed;
        Self { first_name, last_name, shipping_address, credit_available }
    }
}
